/** Labels that learnt alone are brought to the level of the others. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CsrBuilder } from '../data/builder.js';
import { writeDatasetDirectory } from '../data/cache.js';
import { CsrDataset } from '../data/dataset.js';
import { plantedDataset } from '../data/planted.js';
import { selectRows } from '../data/rows.js';
import { selectKernels } from '../kernels/index.js';
import { loadClassifier } from '../model/model-io.js';
import { scoreDataset } from '../model/score.js';
import type { TopK } from '../output/layer.js';
import type { TrainConfigInput } from './config.js';
import type { TrainEvent } from './events.js';
import { levelOf } from './level-labels.js';
import { train } from './train.js';

const shape = { features: 120, labels: 40, seed: 7 };
const old = 32;
const kernels = selectKernels({ backend: 'reference' });
let home: string;
let validation: CsrDataset;

/** Labels below `labels` alone, by name; rows that have none of them go. */
function below(dataset: CsrDataset, labels: number): CsrDataset {
  const builder = new CsrBuilder({ features: dataset.features, labels });
  for (let row = 0; row < dataset.rows; row++) {
    const own = [...dataset.labelIds.subarray(dataset.labelIndptr[row], dataset.labelIndptr[row + 1])];
    const kept = own.filter((label) => label < labels);
    const [from, to] = [dataset.indptr[row], dataset.indptr[row + 1]];
    if (kept.length > 0)
      builder.row([...dataset.indices.subarray(from, to)], [...dataset.values.subarray(from, to)], kept);
  }
  const labelNames = Array.from({ length: labels }, (_, l) => `label ${l}`);
  return new CsrDataset({ ...builder.finish(), labelNames });
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-level-'));
  const rows = plantedDataset({ ...shape, rows: 500 });
  validation = plantedDataset({ ...shape, rows: 400, split: 'test' });
  for (const [name, labels] of [
    ['first', old],
    ['more', shape.labels],
  ] as const) {
    await writeDatasetDirectory(join(home, name), {
      ...{ name, origin: 'made', licence: 'none' },
      ...{ train: below(rows, labels), validation: below(validation, labels) },
    });
  }
  await train({
    ...{ data: join(home, 'first'), out: join(home, 'base'), backend: 'reference', batch: 32, epochs: 3 },
    optimizer: { kind: 'adam', rate: 2e-2 },
    outputOptimizer: { kind: 'adam', rate: 2e-2 },
    model: {
      encoder: { embedding: 24, activation: 'relu', dropout: 0.5 },
      output: { kind: 'fan-in', fanIn: 10 },
    },
  } as TrainConfigInput);
});
afterAll(() => rm(home, { recursive: true, force: true }));

const alone = (out: string, more: object = {}): TrainConfigInput => ({
  ...{ data: join(home, 'more'), out: join(home, out), epochs: 3 },
  start: { model: join(home, 'base'), learn: 'new' },
  ...more,
});

describe('levelOf', () => {
  it('is nothing once it was applied, and undoes whatever all new logits were moved by', async () => {
    await train(alone('moved', { start: { ...alone('').start, mostLost: 100 } }));
    const { classifier } = await loadClassifier(join(home, 'moved'), kernels);
    const level = async (mostLost = 100) =>
      (await levelOf(classifier, validation, old, { batch: 64, mostLost })).by;
    expect(Math.abs((await level()) ?? Number.NaN)).toBeLessThan(1e-4);
    for (const by of [2, -0.75]) {
      classifier.output.shiftLogits?.(old, by);
      expect(await level()).toBeCloseTo(-by, 4);
      classifier.output.shiftLogits?.(old, -by);
    }
  });

  it('goes further down where old labels would lose more than they may, to the very point', async () => {
    const { classifier } = await loadClassifier(join(home, 'moved'), kernels);
    const level = (mostLost: number) => levelOf(classifier, validation, old, { batch: 64, mostLost });
    const even = await level(100);
    expect(even.lost).toBeGreaterThan(0);
    const none = await level(0);
    expect(none).toMatchObject({ lost: 0, by: expect.any(Number) });
    const half = await level(even.lost / 2);
    expect(half.lost).toBeLessThanOrEqual(even.lost / 2);
    expect(none.by).toBeLessThan(half.by ?? Number.NaN);
    expect(half.by).toBeLessThan(even.by ?? Number.NaN);
    // What is said to be lost is: with the logits moved, so many rows without a new label answer with one.
    const plain = Array.from({ length: validation.rows }, (_, row) => row).filter(
      (row) =>
        Math.max(...validation.labelIds.subarray(...validation.labelIndptr.subarray(row, row + 2))) < old,
    );
    const answers = async () => {
      const best: boolean[] = [];
      const add = ({ k, labels }: TopK, truth: CsrDataset, rows: ArrayLike<number>) => {
        for (let r = 0; r < rows.length; r++)
          best.push(
            truth.labelIds
              .subarray(...truth.labelIndptr.subarray(rows[r], rows[r] + 2))
              .includes(labels[r * k]),
          );
      };
      await scoreDataset(
        classifier,
        selectRows(validation, Uint32Array.from(plain)),
        { add },
        { batch: 64, k: 1 },
      );
      return best.filter(Boolean).length;
    };
    classifier.output.shiftLogits?.(old, -64);
    const before = await answers();
    classifier.output.shiftLogits?.(old, 64 + (half.by ?? 0));
    expect((100 * (before - (await answers()))) / plain.length).toBeCloseTo(half.lost, 5);
  });

  it('says nothing where fewer than twenty are right, or wrong', async () => {
    const { classifier } = await loadClassifier(join(home, 'moved'), kernels);
    const some = selectRows(
      validation,
      Uint32Array.from({ length: 20 }, (_, row) => row),
    );
    expect(await levelOf(classifier, some, old, { batch: 64, mostLost: 100 })).toMatchObject({ by: null });
  });
});

describe('a run in which new labels learn alone', () => {
  it('ends with their logits moved, says by how much, and scores and calibrates what it saved', async () => {
    const events: TrainEvent[] = [];
    const { validation: scores } = await train(alone('told'), { onEvent: (e) => events.push(e) });
    const moved = events.find((e) => e.event === 'labels-levelled');
    expect(moved).toMatchObject({ rows: validation.rows, by: expect.any(Number) });
    const before = events.findLast((e) => e.event === 'validation');
    expect(scores?.precision).not.toEqual(before?.event === 'validation' ? before.precision : null);
    // Calibration comes after, from what the moved logits are.
    const order = events.map((e) => e.event);
    expect(order.indexOf('calibration')).toBeGreaterThan(order.indexOf('labels-levelled'));
  });

  it('without validation rows moves nothing', async () => {
    const events: TrainEvent[] = [];
    await train(alone('untold', { validation: { rows: 0 } }), { onEvent: (e) => events.push(e) });
    expect(events.some((e) => e.event === 'labels-levelled')).toBe(false);
  });
});
