import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DatasetDirectory, writeDatasetDirectory } from '../../data/cache.js';
import { plantedDataset } from '../../data/planted.js';
import { selectKernels } from '../../kernels/index.js';
import { RandomStream } from '../../kernels/random.js';
import { evaluateModel } from '../../train/evaluate.js';
import { train } from '../../train/train.js';
import { bootstrap, type RowRatio } from './bootstrap.js';
import { compareRuns } from './compare.js';
import { comparePage } from './page.js';
import { breakEvenOf, inWords } from './words.js';

const refusal = (code: string) => expect.objectContaining({ code });

/** 0 or 1 for each row, 1 with a chance. */
function coin(rows: number, chance: number, name: string): RowRatio {
  const stream = RandomStream.named(1, name);
  return {
    part: Float64Array.from({ length: rows }, () => Number(stream.uniform() < chance)),
    whole: new Float64Array(rows).fill(1),
  };
}

describe('bootstrap intervals', () => {
  it('of a share are those of the normal law, and the same for the same seed', () => {
    const share = coin(2_000, 0.3, 'a');
    const { draws, runs } = bootstrap([[share]], 7);
    const [{ value, low, high, difference }] = runs[0];
    const half = 1.96 * Math.sqrt((value * (1 - value)) / 2_000);
    expect([draws, difference]).toEqual([1_000, null]);
    expect(value).toBe(share.part.reduce((a, b) => a + b, 0) / 2_000);
    expect(Math.abs(value - low - half)).toBeLessThan(0.2 * half);
    expect(Math.abs(high - value - half)).toBeLessThan(0.2 * half);
    expect(bootstrap([[share]], 7)).toEqual({ draws, runs });
    expect(bootstrap([[share]], 8).runs[0][0]).not.toEqual(runs[0][0]);
  });

  it('of differences are paired: a run that is right on nearly the same rows is told apart, as the two alone are not', () => {
    const first = coin(2_000, 0.5, 'b');
    const better = { ...first, part: first.part.map((x, i) => (i % 100 === 0 ? 1 : x)) };
    const [[a], [b]] = bootstrap([[first], [better]], 1).runs;
    expect(b.low).toBeLessThan(a.high);
    expect(b.difference?.low).toBeGreaterThan(0);
    const same = bootstrap([[first], [first]], 1).runs[1][0];
    expect(same.difference).toEqual({ value: 0, low: 0, high: 0 });
  });

  it('of ratios count every row with its own whole; nothing there is 0', () => {
    const ratio = { part: Float64Array.of(1, 0, 2), whole: Float64Array.of(1, 3, 4) };
    expect(bootstrap([[ratio]], 1).runs[0][0].value).toBe(3 / 8);
    const nothing = { part: new Float64Array(3), whole: new Float64Array(3) };
    expect(bootstrap([[nothing]], 1).runs[0][0]).toMatchObject({ value: 0, low: 0, high: 0 });
  });
});

describe('compareRuns', () => {
  let home: string;
  let data: DatasetDirectory;
  const kernels = selectKernels({ backend: 'reference' });
  const evil = '<script>alert(1)<b>';

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'espalier-compare-'));
    const shape = { features: 120, labels: 40, seed: 3 };
    await writeDatasetDirectory(join(home, 'data'), {
      ...{ name: 'planted', origin: 'made', licence: 'none' },
      train: plantedDataset({ ...shape, rows: 500 }),
      test: plantedDataset({ ...shape, rows: 150, split: 'test' }),
    });
    data = await DatasetDirectory.open(join(home, 'data'));
    for (const [name, epochs, kind] of [
      ['short', 1, 'fan-in'],
      [evil, 5, 'dense'],
    ] as const) {
      await train({
        ...{ data: join(home, 'data'), out: join(home, name), backend: 'reference', batch: 32, epochs },
        ...{ optimizer: { kind: 'adam', rate: 2e-2 }, outputOptimizer: { kind: 'adam', rate: 2e-2 } },
        model: {
          encoder: { embedding: 24, dropout: 0.1 },
          output: kind === 'dense' ? { kind } : { kind, fanIn: 8 },
        },
      });
    }
  });
  afterAll(() => rm(home, { recursive: true, force: true }));

  it('gives the figures of `evaluate`, sees who learned longer, and says so on a page that runs nothing', async () => {
    const runs = [join(home, 'short'), join(home, evil)];
    const comparison = await compareRuns({ runs, data, split: 'test', kernels, pricePerHour: 2 });
    const [short, long] = comparison.runs;
    for (const run of comparison.runs) {
      const { at } = await evaluateModel(run.directory, data, 'test', kernels);
      for (const [i, k] of [1, 3, 5].entries())
        expect(run.accuracy[`P@${k}`].value).toBeCloseTo(at[i].precision.value, 12);
      const { buckets } = at[2];
      for (const bucket of ['head', 'torso', 'tail'] as const)
        expect(run.accuracy[`${bucket} found@5`].value).toBeCloseTo(buckets?.[bucket].recall ?? -1, 12);
      expect(run.trainingSeconds).toBeGreaterThan(0);
      expect(run.peakBytes).toBeGreaterThan(0);
      expect(run.modelBytes).toBeGreaterThan(1000);
      expect(run.speed.latency.p50).toBeLessThanOrEqual(run.speed.latency.p99);
    }
    expect(short.words).toEqual({ gained: [], lost: [], alike: [] });
    expect(long.accuracy['P@1'].difference?.low).toBeGreaterThan(0);
    expect(long.words.gained.join('\n')).toMatch(/First prediction right \(P@1\): [\d.]+ points more/);
    expect(JSON.parse(JSON.stringify(comparison))).toEqual(comparison);
    const html = comparePage(comparison);
    expect(html).not.toMatch(/<script/i);
    expect(html).toContain('&lt;script&gt;alert(1)&lt;b&gt;');
    expect(html).not.toMatch(/(?:src|href)=|url\(|@import/);
    expect(html.match(/<svg /g)?.length).toBe(8);
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('refuses other data, no runs, and too many', async () => {
    await expect(compareRuns({ runs: [], data, split: 'test', kernels })).rejects.toEqual(
      refusal('COMPARE_RUNS'),
    );
    const many = new Array(9).fill(join(home, 'short'));
    await expect(compareRuns({ runs: many, data, split: 'test', kernels })).rejects.toEqual(
      refusal('COMPARE_RUNS'),
    );
  });

  it('words and break-even follow the numbers', async () => {
    const [plain] = (await compareRuns({ runs: [join(home, 'short')], data, split: 'test', kernels })).runs;
    const speed = (rowsPerSecond: number) => ({ ...plain.speed, rowsPerSecond });
    const first = { ...plain, trainingSeconds: 3600, speed: speed(1_000) };
    const dearer = {
      ...first,
      trainingSeconds: 10_800,
      speed: speed(2_000),
      peakBytes: (plain.peakBytes ?? 0) / 4,
    };
    const even = breakEvenOf(dearer, first, 3);
    // Two hours more; a second serves 1,000 more: 1e6 answers save 500 s.
    expect(even?.answers).toBeCloseTo((7200 / 500) * 1e6, 3);
    expect(even?.trainingCost).toBeCloseTo(6, 9);
    expect(even?.servingCostPerMillion).toBeCloseTo((-500 / 3600) * 3, 9);
    expect(even?.words).toMatch(/pays for itself after 14,400,000 answers/);
    expect(breakEvenOf({ ...dearer, speed: speed(500) }, first, null)?.words).toMatch(/never pays/);
    expect(breakEvenOf({ ...first, trainingSeconds: 60 }, first, null)?.words).toMatch(/from the start/);
    expect(breakEvenOf({ ...first, trainingSeconds: null }, first, null)).toBeNull();
    const words = inWords(dearer, first);
    expect(words.gained).toContain('4.00 times less memory in training');
    expect(words.gained).toContain('2.00 times more answers a second');
    expect(words.lost).toContain('3.00 times as much training time');
  });
});
