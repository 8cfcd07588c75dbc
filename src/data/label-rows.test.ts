import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BatchPlan } from './batches.js';
import { CsrBuilder } from './builder.js';
import { type DatasetContent, DatasetDirectory, writeDatasetDirectory } from './cache.js';
import { Featurizer } from './featurizer/index.js';
import { BatchesWithLabels, labelRows, withLabelRows } from './label-rows.js';
import { plantedDataset } from './planted.js';
import { concatRows } from './rows.js';

const texts = ['red apple', 'green pear', 'red car', 'green car'];
const columns = texts.map((title) => ({ title, note: 'apple car' }));
const featurizer = Featurizer.fit(columns, { text: ['title', 'note'], vocabulary: { minDocuments: 1 } });
const labelNames = ['Apple', 'zebra', 'Car_(red)'];

function content(more: Partial<DatasetContent> = {}): DatasetContent {
  const builder = new CsrBuilder({ features: featurizer.features, labels: 3 });
  for (const [row, column] of columns.entries()) {
    const { indices, values } = featurizer.featurize([column]);
    builder.row(indices, values, [row % 3]);
  }
  const train = builder.finish({ labelNames });
  return { name: 'fruit', origin: 'made', licence: 'none', train, featurizer, ...more };
}

let home: string;
const opened = async (name: string, more?: Partial<DatasetContent>) => {
  await writeDatasetDirectory(join(home, name), content(more));
  return DatasetDirectory.open(join(home, name));
};
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-label-rows-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

describe('labelRows', () => {
  it('are the names as a text of the first column, each with its label alone; none of unknown words', async () => {
    const rows = await labelRows(await opened('names'));
    expect([...rows.labelIds]).toEqual([0, 2]);
    expect([...rows.labelIndptr]).toEqual([0, 1, 2]);
    const wanted = featurizer.featurize([{ title: 'Apple' }, { title: 'Car (red)' }]);
    expect(rows.indices).toEqual(wanted.indices);
    expect(rows.values).toEqual(wanted.values);
    expect([...rows.indptr]).toEqual([...wanted.indptr]);
    // Words of the other column are other features.
    expect(wanted.indices).not.toEqual(featurizer.featurize([{ note: 'Apple' }, { note: 'Car' }]).indices);
  });

  it('are texts of labels where the dataset has such, which the fingerprint tells', async () => {
    const plain = await opened('plain');
    const own = await opened('texts', { labelTexts: ['pear', 'green', ''] });
    expect(await plain.labelTexts()).toEqual(labelNames);
    const rows = await labelRows(own);
    expect([...rows.labelIds]).toEqual([0, 1]);
    expect(rows.indices).toEqual(featurizer.featurize([{ title: 'pear' }, { title: 'green' }]).indices);
    expect(own.fingerprint).not.toBe(plain.fingerprint);
    await expect(opened('few', { labelTexts: ['pear'] })).rejects.toMatchObject({ code: 'DATASET_CONTENT' });
  });

  it('of more labels than are read at once go to the right ones', async () => {
    const names = Array.from({ length: 9000 }, (_, l) => `${l % 3 === 1 ? texts[l % 4] : 'zebra'} n${l}`);
    const builder = new CsrBuilder({ features: featurizer.features, labels: names.length });
    builder.row([0], [1], [0]);
    const rows = await labelRows(await opened('many', { train: builder.finish({ labelNames: names }) }));
    const wanted = names.flatMap((_, l) => (l % 3 === 1 ? [l] : []));
    expect([...rows.labelIds]).toEqual(wanted);
    for (const [row, label] of wanted.entries()) {
      const alone = featurizer.featurize([names[label]]);
      expect(rows.indices.subarray(rows.indptr[row], rows.indptr[row + 1])).toEqual(alone.indices);
    }
  });

  it('are refused where labels have no names or features are no words', async () => {
    const { train } = content();
    const refusal = { facts: { code: 'LABEL_ROWS', kind: 'usage' } };
    const numbered = await opened('numbers', { featurizer: undefined });
    await expect(labelRows(numbered)).rejects.toMatchObject(refusal);
    const nameless = await opened('nameless', {
      train: plantedDataset({ features: train.features, labels: 3, rows: 4, seed: 1 }),
    });
    await expect(labelRows(nameless)).rejects.toMatchObject(refusal);
    const weights = Featurizer.fit([{ weight: 1 }, { weight: 2 }], { numeric: ['weight'] });
    const builder = new CsrBuilder({ features: 1, labels: 3 });
    builder.row([0], [1], [0]);
    const measured = { featurizer: weights, train: builder.finish({ labelNames }) };
    await expect(labelRows(await opened('measured', measured))).rejects.toMatchObject(refusal);
  });
});

describe('withLabelRows', () => {
  const shape = { features: 20, labels: 9, seed: 4 };
  const own = plantedDataset({ ...shape, rows: 30 });
  const ofLabels = plantedDataset({ ...shape, rows: 7, split: 'labels' });

  it('joins both, and the rows of the data are a view of what it made', () => {
    const { rows, examples = rows } = withLabelRows(own, ofLabels);
    const joined = concatRows(own, ofLabels);
    for (const of of ['indptr', 'indices', 'values', 'labelIndptr', 'labelIds'] as const) {
      expect(examples[of]).toEqual(joined[of]);
      expect(rows[of]).toEqual(own[of]);
      expect(rows[of].buffer).toBe(examples[of].buffer);
    }
  });

  it('leaves rows as they are where there are none of labels', () => {
    expect(withLabelRows(own, null)).toEqual({ rows: own });
    const none = new CsrBuilder(shape).finish();
    expect(withLabelRows(own, none)).toEqual({ rows: own });
  });
});

describe('BatchesWithLabels', () => {
  const plans = (rows = 50, there = 23, each = 6, until = 1000) => {
    const own = new BatchPlan({ rows, batch: 8, seed: 5 });
    const beside = new BatchPlan({ rows: there, batch: each, seed: 5, stream: 'label-rows' });
    return { own, all: new BatchesWithLabels(own, beside, { first: rows, until }) };
  };
  const steps = (n: number) =>
    Array.from({ length: n }, (_, s) => ({ epoch: Math.floor(s / 7), step: s % 7 }));

  it('keeps the batches of the data as they are, rows of labels behind them until the step that was named', () => {
    const { own, all } = plans(50, 23, 6, 10);
    expect(all.stepsPerEpoch).toBe(own.stepsPerEpoch);
    for (const [s, position] of steps(21).entries()) {
      const alone = [...own.rowIds(position)];
      const both = [...all.rowIds(position)];
      expect(both.slice(0, alone.length)).toEqual(alone);
      expect(both.slice(alone.length).every((row) => row >= 50 && row < 73)).toBe(true);
      expect(both.length > alone.length).toBe(s < 10);
    }
  });

  it('shows every label once before any comes again, never two of one in a batch', () => {
    const { own, all } = plans();
    // 23 rows by 6: turns of 4 steps.
    const shown = steps(28).map((position) => [...all.rowIds(position)].slice(own.rowIds(position).length));
    for (let turn = 0; turn < 7; turn++) {
      const rows = shown.slice(4 * turn, 4 * turn + 4).flat();
      expect(rows.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 23 }, (_, i) => 50 + i));
    }
    expect(shown.slice(0, 4).flat()).not.toEqual(shown.slice(4, 8).flat());
  });

  it('depends on the position alone, so that a run resumes anywhere', () => {
    const forward = steps(21).map((position) => [...plans().all.rowIds(position)]);
    const { all } = plans();
    const back = steps(21)
      .reverse()
      .map((position) => [...all.rowIds(position)]);
    expect(back.reverse()).toEqual(forward);
  });
});
