/** Run directories for tests: logs as a training writes them, with names that would like to be markup. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { saveEvaluation } from './evaluation.js';
import type { Evaluation } from './types.js';

export const evilName = '<script>document.title="owned"</script>';

export interface FakeRun {
  readonly steps?: number;
  /** Of `steps`; default all, with an end. */
  readonly taken?: number;
  readonly seed?: number;
  readonly output?: Record<string, unknown>;
  readonly evaluated?: boolean;
  /** Milliseconds since 1970 of the first record. */
  readonly began?: number;
}

/** Records of a run, one text per line. */
export function fakeLog({
  steps = 400,
  taken = steps,
  seed = 1,
  began = 1_700_000_000_000,
}: FakeRun = {}): string[] {
  const lines: string[] = [];
  const put = (event: string, step: number, facts: object) =>
    lines.push(JSON.stringify({ t: began + step * 100, event, step, ...facts }));
  const bytes = (growth: number) => ({
    ...{
      weights: 92e6 * seed,
      indices: 28e6,
      optimizer: 184e6 * seed,
      gradients: 4e6,
      activations: 1e6 * growth,
    },
    ...{ workspace: 9e5, data: 31e6, auxiliary: growth < 40 ? 12e6 : 0 },
  });
  const bell = (width: number) => {
    const heights = Array.from({ length: 40 }, (_, i) => Math.exp(-(((i - 19.5) / width) ** 2)));
    const sum = heights.reduce((a, b) => a + b, 0);
    return heights.map((h) => h / sum);
  };
  const bucket = (x: number) => ({ precision: x + 8, recall: x, contribution: x / 3 });
  put('start', 0, {
    ...{ kernels: 'native/avx512', threads: 2, rows: 99_110, features: 63_460, labels: 109_103, steps },
    ...{ resumedAt: 0, plannedBytes: 633_158_404, weights: 46_566_319 },
  });
  for (let step = 1; step <= taken; step++) {
    const share = step / steps;
    const loss = (30 / seed) * Math.exp(-4 * share) + 6 + Math.sin(step * 1.7 + seed);
    put('progress', step, {
      ...{
        steps,
        epoch: 4 * share,
        epochs: 4,
        loss,
        rate: 0.02 * Math.cos((Math.PI / 2) * share),
        encoderNorm: 0.2 + 0.1 * Math.sin(step),
      },
      ...{
        auxiliary: null,
        examplesPerSecond: 2200 * seed + 100 * Math.sin(step / 9),
        etaSeconds: (steps - step) / 10,
        rssBytes: 5e8 + 1e5 * step,
      },
    });
    if (step % Math.ceil(steps / 20) === 0) {
      put('memory', step, { bytes: bytes(20 + 40 * share), rssBytes: 5e8 });
      put('snapshot', step, {
        weights: ['encoder.layers.0.weight', 'output.weights'].map((name, i) => ({
          ...{
            name,
            from: -0.3 - share * (1 + i),
            to: 0.3 + share * (1 + i),
            shares: bell(10 - 7 * share),
            count: 131_072,
          },
          ...{ zeros: i * 0.1, rms: 0.1 + share / 4 },
        })),
        inDegree: {
          ...{
            from: 20_000 - 9_000 * share,
            to: 35_000 + 30_000 * share,
            shares: bell(6 + 4 * share),
            count: 512,
          },
          ...{ units: 512, unconnected: 0, mean: 27_275, median: 26_000, topTenth: 0.1 + share / 5 },
        },
      });
      put('rewire', step, {
        replaced: Math.round(2e6 * (1 - share)),
        connections: 13_965_184,
        threshold: null,
        explored: 0.25 + share / 2,
      });
    }
    if (step % Math.ceil(steps / 8) === 0) {
      const p = (32 - 25 * Math.exp(-5 * share)) * (1 - 0.05 * seed);
      const byBucket = (x: number) => ({ 1: bucket(x * 0.6), 3: bucket(x * 0.8), 5: bucket(x) });
      put('validation', step, {
        ...{ epoch: 4 * share, rows: 2_000, precision: { 1: p, 3: p * 0.54, 5: p * 0.37 } },
        ...{ ndcg: { 1: p, 3: p * 0.8, 5: p * 0.77 }, psp: { 1: p * 0.47, 3: p * 0.49, 5: p / 2 } },
        buckets: { head: byBucket(2 * p), torso: byBucket(p), tail: byBucket(p / 5) },
      });
    }
  }
  if (taken >= steps) {
    put('end', steps, {
      ...{
        seconds: steps / 10,
        examplesPerSecond: 2310,
        bytes: bytes(60),
        accountedPeak: 629_145_600,
        peakRss: 780_000_000,
      },
      ...{ baseRss: 6e7, model: 'model-0123456789abcdef' },
    });
  }
  return lines;
}

export function fakeEvaluation(): Evaluation {
  const words = ['cat', 'dog', 'wolf', 'fox', evilName, 'a label with a name that goes on and on and on'];
  const named = (label: number) => ({ label, name: words[label % words.length] });
  const interval = (value: number) => ({ value, low: value - 1.2, high: value + 1.2 });
  const bucket = (x: number) => ({ precision: x + 8, recall: x, contribution: x / 3 });
  return {
    ...{ split: 'test', rows: 5_784, model: 'model-0123456789abcdef' },
    at: [1, 3, 5].map((k) => ({
      ...{ k, precision: interval(33 / k), ndcg: interval(30), psp: interval(16) },
      buckets: { head: bucket(50), torso: bucket(30), tail: bucket(8) },
    })),
    confusion: {
      wrongRows: 3_890,
      pairs: [0, 1, 2, 3, 4].map((i) => ({
        truth: named(i),
        predicted: named(i + 1),
        count: 23 - 4 * i,
        cosine: 0.91 - 0.1 * i,
      })),
      labels: words.map((_, i) => named(i)),
      counts: words.map((_, i) =>
        words.map((__, j) => (i === j ? 31 : Math.max(0, 20 - 5 * Math.abs(i - j) - i))),
      ),
    },
    samples: words.map((word, i) => ({
      text:
        i === 5
          ? null
          : `${word}: a carnivorous mammal, usually domesticated, that hunts ${words[(i + 2) % 6]}`,
      truth: [named(i), named(i + 1)],
      predictions: [0, 1, 2, 3, 4].map((r) => ({
        ...{ ...named(i + r), score: 2 - r, probability: 1 / (1 + Math.exp(r - 2)), right: r < 2 },
      })),
    })),
  };
}

/** Makes a run directory. */
export async function makeRun(directory: string, options: FakeRun = {}): Promise<void> {
  await mkdir(directory, { recursive: true });
  const output = options.output ?? { kind: 'fan-in', fanIn: 128 };
  await writeFile(
    join(directory, 'config.json'),
    JSON.stringify({ data: 'data/wn', out: directory, model: { output } }),
  );
  await writeFile(join(directory, 'log.jsonl'), `${fakeLog(options).join('\n')}\n`);
  if (options.evaluated !== false) await saveEvaluation(directory, fakeEvaluation());
}
