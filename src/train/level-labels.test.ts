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
    model: { encoder: { embedding: 24 }, output: { kind: 'fan-in', fanIn: 10 } },
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
    await train(alone('moved'));
    const { classifier } = await loadClassifier(join(home, 'moved'), kernels);
    const level = () => levelOf(classifier, validation, old, 64);
    expect(Math.abs((await level()) ?? Number.NaN)).toBeLessThan(1e-4);
    for (const by of [2, -0.75]) {
      classifier.output.shiftLogits?.(old, by);
      expect(await level()).toBeCloseTo(-by, 4);
      classifier.output.shiftLogits?.(old, -by);
    }
  });

  it('says nothing where fewer than twenty are right, or wrong', async () => {
    const { classifier } = await loadClassifier(join(home, 'moved'), kernels);
    const some = selectRows(
      validation,
      Uint32Array.from({ length: 20 }, (_, row) => row),
    );
    expect(await levelOf(classifier, some, old, 64)).toBeNull();
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
