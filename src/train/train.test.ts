import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DatasetDirectory, writeDatasetDirectory } from '../data/cache.js';
import { plantedDataset } from '../data/planted.js';
import { labelFrequencies } from '../data/statistics.js';
import { selectKernels } from '../kernels/index.js';
import { propensities } from '../metrics/propensities.js';
import { loadClassifier } from '../model/model-io.js';
import { predictRows } from '../model/predict.js';
import { modelArrays } from '../model/state.js';
import { readRunLog } from '../store/index.js';
import type { TrainConfigInput } from './config.js';
import { evaluateModel } from './evaluate.js';
import type { TrainEvent } from './events.js';
import { train } from './train.js';

const shape = { features: 120, labels: 40, seed: 3 };
let home: string;
let data: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-train-'));
  data = join(home, 'data');
  await writeDatasetDirectory(data, {
    name: 'planted',
    origin: 'made',
    licence: 'none',
    train: plantedDataset({ ...shape, rows: 600 }),
    validation: plantedDataset({ ...shape, rows: 100, split: 'validation' }),
    test: plantedDataset({ ...shape, rows: 200, split: 'test' }),
  });
});
afterAll(() => rm(home, { recursive: true, force: true }));

const config = (out: string, more: Partial<TrainConfigInput> = {}): TrainConfigInput => ({
  data,
  out: join(home, out),
  backend: 'reference',
  batch: 32,
  epochs: 6,
  optimizer: { kind: 'adam', rate: 2e-2 },
  outputOptimizer: { kind: 'adam', rate: 2e-2 },
  model: {
    encoder: { embedding: 24, dropout: 0.1 },
    output: { kind: 'fan-in', fanIn: 8, topology: { kind: 'set', every: 10 } },
  },
  ...more,
});

const topologies = {
  set: { kind: 'set', every: 10 },
  'rigl of a batch': { kind: 'rigl', every: 10, sample: 'batch' },
  'rigl of positives': { kind: 'rigl', every: 10, start: 'random' },
  'set from the gradient': { kind: 'set', every: 10, start: 'gradient' },
  'static from the gradient': { kind: 'static', start: 'gradient' },
} as const;
const withTopology = (topology: (typeof topologies)[keyof typeof topologies]) => ({
  model: {
    encoder: { embedding: 24, dropout: 0.1 },
    output: { kind: 'fan-in', fanIn: 8, topology } as const,
  },
});

/** Every array of a model, by name, as plain bytes. */
async function bytesOf(run: string): Promise<Record<string, string>> {
  const { classifier } = await loadClassifier(run, selectKernels({ backend: 'reference' }));
  return Object.fromEntries(
    modelArrays(classifier).map(({ name, data }) => [
      name,
      Buffer.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)).toString('base64'),
    ]),
  );
}

describe('train', () => {
  it('learns planted labels far beyond the most frequent ones, and the saved model scores the same', async () => {
    const events: TrainEvent[] = [];
    const result = await train(config('learns'), { onEvent: (e) => events.push(e) });
    expect(result.finished).toBe(true);
    expect(result.validation?.precision['1']).toBeGreaterThan(75);
    const directory = await DatasetDirectory.open(data);
    const kernels = selectKernels({ backend: 'reference' });
    const model = await loadClassifier(join(home, 'learns'), kernels);
    // Scorings while training know of no calibration.
    const byScore = { ...model, calibration: null };
    const again = await evaluateModel(byScore, directory, 'validation', kernels);
    expect(100 * again.at[0].precision.value).toBeCloseTo(result.validation?.precision['1'] ?? 0, 9);
    expect(events.some((e) => e.event === 'rewire' && e.replaced > 0)).toBe(true);
  });

  it('saves with the model how often its labels were seen; the more rare ones are favoured, the rarer are the answers', async () => {
    const directory = await DatasetDirectory.open(data);
    const model = await loadClassifier(join(home, 'learns'), selectKernels({ backend: 'reference' }));
    const rows = await directory.load('train');
    expect(model.frequencies).toEqual({ rows: rows.rows, counts: labelFrequencies(rows) });
    const byScore = { ...model, calibration: null };
    // Of the best k by z + tau s, the sum of s never falls as tau grows.
    const p = propensities(labelFrequencies(rows), rows.rows);
    const sums: number[] = [];
    for (const rare of [0.1, 0.5, 1, 2, 5, 10]) {
      const [answer] = await predictRows({ ...byScore, rare }, [{ indices: [3, 7], values: [1, 0.5] }], 5);
      sums.push(answer.reduce((sum, { label }) => sum + Math.log(p[label]), 0));
    }
    for (let i = 1; i < sums.length; i++) expect(sums[i]).toBeLessThanOrEqual(sums[i - 1] + 1e-9);
    expect(sums.at(-1)).toBeLessThan(sums[0]);
  });

  it.each(Object.entries(topologies))(
    'the step arena never grows, and accounted bytes stay within the plan (%s)',
    async (name, topology) => {
      const events: TrainEvent[] = [];
      const { memory, classifier } = await train(
        config(`memory-${name}`, { epochs: 1, ...withTopology(topology) }),
        {
          onEvent: (e) => events.push(e),
        },
      );
      expect(classifier.device.arena.growths).toBe(0);
      const start = events.find((e) => e.event === 'start');
      expect(memory.accountedPeak).toBeLessThanOrEqual(start?.event === 'start' ? start.plannedBytes : 0);
      expect(memory.accountedPeak).toBeGreaterThan(0);
    },
  );

  it.each(Object.entries(topologies))(
    'a run that was stopped and resumed ends with the same bits and a log without gap or repeat (%s)',
    async (name, topology) => {
      const [whole, halves] = [`whole-${name}`, `halves-${name}`];
      const more = withTopology(topology);
      await train(config(whole, more));
      const stop = new AbortController();
      const stopped = await train(config(halves, more), {
        signal: stop.signal,
        onEvent: (e) => {
          if (e.event === 'validation' && e.epoch >= 2) stop.abort();
        },
      });
      expect(stopped.finished).toBe(false);
      expect(stopped.model).toBeNull();
      const resumed = await train(config(halves, more), { resume: true });
      expect(resumed.finished).toBe(true);
      expect(await bytesOf(join(home, halves))).toEqual(await bytesOf(join(home, whole)));
      const validations: number[] = [];
      for await (const record of readRunLog(join(home, halves, 'log.jsonl'))) {
        if (record.event === 'validation') validations.push(record.step);
      }
      expect(validations).toEqual([19, 38, 57, 76, 95, 114]);
    },
  );

  it.each(Object.entries(topologies))(
    'a run that was stopped before its first step begins once: the same bits and records (%s)',
    async (name, topology) => {
      const [whole, late] = [`begun-${name}`, `begun-late-${name}`];
      const more = { ...withTopology(topology), epochs: 1 };
      await train(config(whole, more));
      const stop = new AbortController();
      const onEvent = (e: TrainEvent) => {
        if (e.event === 'snapshot') stop.abort();
      };
      const stopped = await train(config(late, more), { signal: stop.signal, onEvent });
      expect(stopped.steps).toBe(0);
      await train(config(late, more), { resume: true });
      expect(await bytesOf(join(home, late))).toEqual(await bytesOf(join(home, whole)));
      const begun = async (run: string) => {
        const events: string[] = [];
        for await (const { event, step } of readRunLog(join(home, run, 'log.jsonl')))
          if (event === 'rewire' || event === 'snapshot') events.push(`${event} ${step}`);
        return events;
      };
      expect(await begun(late)).toEqual(await begun(whole));
    },
  );

  it('the same seed gives the same bits, another seed others', async () => {
    await train(config('seed-a', { epochs: 1 }));
    await train(config('seed-b', { epochs: 1 }));
    await train(config('seed-c', { epochs: 1, seed: 2 }));
    const a = await bytesOf(join(home, 'seed-a'));
    expect(await bytesOf(join(home, 'seed-b'))).toEqual(a);
    expect(await bytesOf(join(home, 'seed-c'))).not.toEqual(a);
  });

  const scoringOften = (out: string, validation: object): TrainConfigInput => ({
    ...config(out, { validation: { every: 0.5, ...validation } }),
    schedule: { kind: 'constant', warmup: 0 },
    outputOptimizer: { kind: 'adam', rate: 0.2 },
    model: {
      encoder: { embedding: 24, activation: 'relu', dropout: 0.1 },
      output: { kind: 'fan-in', fanIn: 8, topology: { kind: 'set', every: 10 } },
    },
  });

  it('keeps the model of the best scoring, with its scores; told not to, that of the last step', async () => {
    const values: number[] = [];
    const steps: number[] = [];
    const kept: TrainEvent[] = [];
    const onEvent = (e: TrainEvent) => {
      if (e.event === 'validation') steps.push(e.step) && values.push(e.precision['1']);
      if (e.event === 'best') kept.push(e);
    };
    const best = await train(scoringOften('best', {}), { onEvent });
    const top = Math.max(...values);
    // What the test is for: the best was not the last.
    expect(values.at(-1)).toBeLessThan(top);
    expect(kept).toMatchObject([{ keptStep: steps[values.indexOf(top)], step: steps.at(-1), value: top }]);
    expect(best.validation?.precision['1']).toBe(top);
    const kernels = selectKernels({ backend: 'reference' });
    const directory = await DatasetDirectory.open(data);
    const scored = async (run: string) => {
      const byScore = { ...(await loadClassifier(join(home, run), kernels)), calibration: null };
      return (await evaluateModel(byScore, directory, 'validation', kernels)).at[0].precision.value;
    };
    expect(100 * (await scored('best'))).toBeCloseTo(top, 9);
    await train(scoringOften('last', { best: false }));
    expect(100 * (await scored('last'))).toBeCloseTo(values.at(-1) as number, 9);
  });

  it('ends when patience is out, and stopped and resumed it ends at the same step with the same bits', async () => {
    const whole: TrainEvent[] = [];
    const onEvent = (e: TrainEvent) => whole.push(e);
    const impatient = (out: string) => scoringOften(out, { patience: 2 });
    const result = await train(impatient('impatient'), { onEvent });
    const scorings = whole.filter((e) => e.event === 'validation');
    expect(result.finished).toBe(true);
    expect(scorings.length).toBeLessThan(12);
    const values = scorings.map((e) => e.precision['1']);
    expect(values.slice(-2).every((value) => value <= values[values.length - 3])).toBe(true);
    const stop = new AbortController();
    const interrupted = (e: TrainEvent) => {
      if (e.event === 'validation' && e.step === scorings[scorings.length - 2].step) stop.abort();
    };
    const half = await train(impatient('halves'), { signal: stop.signal, onEvent: interrupted });
    expect(half.finished).toBe(false);
    const rest = await train(impatient('halves'), { resume: true });
    expect(rest.steps).toBe(result.steps);
    expect(await bytesOf(join(home, 'halves'))).toEqual(await bytesOf(join(home, 'impatient')));
  });

  it('clipping bounds the step: a tiny bound leaves the model near its start, no bound does not', async () => {
    const sgd = { kind: 'sgd', rate: 0.5 } as const;
    const same = { epochs: 1, optimizer: sgd, outputOptimizer: sgd };
    const loss = async (out: string, clip: number | null) => {
      // Over all steps: how many of them one progress event speaks of depends on time.
      let [sum, steps] = [0, 0];
      await train(config(out, { ...same, clip }), {
        onEvent: (e) => {
          if (e.event !== 'progress') return;
          sum += e.loss * (e.step - steps);
          steps = e.step;
        },
      });
      return sum / steps;
    };
    const free = await loss('clip-none', null);
    const bound = await loss('clip-tiny', 1e-6);
    expect(bound).toBeGreaterThan(free);
  });

  it('a diverging run stops with step, cause and remedy, and leaves no model', async () => {
    const run = config('diverges', { outputOptimizer: { kind: 'sgd', rate: 1e60 }, epochs: 3 });
    await expect(train(run)).rejects.toMatchObject({ code: 'TRAINING_DIVERGED', exitCode: 1 });
    expect(await readdir(join(home, 'diverges'))).not.toContain('model');
  });

  it('refuses to write over a run, and to resume one with other settings', async () => {
    await train(config('once', { epochs: 0.1 }));
    const before = await readFile(join(home, 'once', 'config.json'), 'utf8');
    await expect(train(config('once', { epochs: 0.1 }))).rejects.toMatchObject({ code: 'RUN_EXISTS' });
    await expect(train(config('once', { epochs: 2 }), { resume: true })).rejects.toMatchObject({
      code: 'RESUME_CONFIG',
    });
    expect(await readFile(join(home, 'once', 'config.json'), 'utf8')).toBe(before);
  });

  it('refuses to predict features that the model does not know', async () => {
    const model = await loadClassifier(join(home, 'learns'), selectKernels({ backend: 'reference' }));
    await expect(predictRows(model, [{ indices: [120], values: [1] }], 3)).rejects.toMatchObject({
      code: 'PREDICT_FEATURE',
    });
    const [row] = await predictRows(model, [{ indices: [], values: [] }], 99);
    expect(row).toHaveLength(40);
  });
});
