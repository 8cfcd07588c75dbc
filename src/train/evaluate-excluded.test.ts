/** Evaluation without pairs that are no question: figures of the list that is left, against one made from all labels. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CsrBuilder } from '../data/builder.js';
import { DatasetDirectory, writeDatasetDirectory } from '../data/cache.js';
import type { CsrDataset } from '../data/dataset.js';
import { readExclusions } from '../data/exclusions.js';
import { RandomStream } from '../kernels/random.js';
import { referenceKernels } from '../kernels/reference/index.js';
import { type LoadedModel, loadClassifier } from '../model/model-io.js';
import { topRows } from '../model/predict.js';
import { saveTinyModel, tinyCalibration } from '../model/tiny-model.testing.js';
import { evaluateModel, evaluateRares } from './evaluate.js';

const [features, labels, rows] = [20, 37, 300];
const kernels = referenceKernels('float32');
let home: string;
let data: DatasetDirectory;
let truth: CsrDataset;
let model: LoadedModel;

function drawn(seed: number): CsrDataset {
  const random = RandomStream.named(seed, 'excluded');
  const some = (n: number, below: number) => [
    ...new Set(Array.from({ length: 1 + random.below(n) }, () => random.below(below))),
  ];
  const builder = new CsrBuilder({ features, labels });
  for (let row = 0; row < rows; row++) {
    const indices = some(4, features);
    const values = indices.map(() => 1 + random.uniform());
    builder.row(indices, values, some(4, labels));
  }
  return builder.finish();
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-evaluate-excluded-'));
  const path = join(home, 'data');
  const splits = { train: drawn(1), test: drawn(2) };
  await writeDatasetDirectory(path, { name: 'drawn', origin: 'made', licence: 'none', ...splits });
  data = await DatasetDirectory.open(path);
  truth = await data.load('test');
  const run = join(home, 'run');
  await saveTinyModel(run, { labels, text: false, calibration: tinyCalibration(labels, 9) });
  model = await loadClassifier(run, kernels);
});
afterAll(() => rm(home, { recursive: true, force: true }));

const ownOf = (row: number) => [
  ...truth.labelIds.subarray(truth.labelIndptr[row], truth.labelIndptr[row + 1]),
];

/** P@k of the first k of all labels in order that no pair excludes. */
async function slow(asked: LoadedModel, pairs: readonly (readonly number[])[], k: number): Promise<number> {
  const inputs = Array.from({ length: rows }, (_, row) => ({
    indices: truth.indices.subarray(truth.indptr[row], truth.indptr[row + 1]),
    values: truth.values.subarray(truth.indptr[row], truth.indptr[row + 1]),
  }));
  const all = await topRows(asked, inputs, labels);
  let right = 0;
  for (let row = 0; row < rows; row++) {
    const out = pairs.filter(([r]) => r === row).map(([, label]) => label);
    const list = [...all.labels.subarray(row * labels, (row + 1) * labels)];
    const left = list.filter((label) => !out.includes(label)).slice(0, k);
    right += left.filter((label) => ownOf(row).includes(label)).length / k;
  }
  return right / rows;
}

async function excluding(pairs: readonly (readonly number[])[]) {
  const file = join(home, 'pairs.txt');
  await writeFile(file, pairs.map((pair) => pair.join(' ')).join('\n'));
  return readExclusions(file, { rows, labels });
}

describe('evaluation without some pairs', () => {
  const random = RandomStream.named(3, 'pairs');
  // Some rows have many, most none; some of them are right.
  const pairs = Array.from({ length: 900 }, () => [random.below(80), random.below(labels)]);

  it.each([0, 1, 2.5])(
    'has the figures of the lists that are left, rare ones favoured by %d',
    async (rare) => {
      const excluded = await excluding(pairs);
      for (const calibration of [null, model.calibration]) {
        const asked = { ...model, calibration, rare };
        const found = await evaluateModel(
          asked,
          data,
          'test',
          kernels,
          undefined,
          [1, 3, 5],
          undefined,
          excluded,
        );
        for (const { k, precision } of found.at)
          expect(precision.value).toBeCloseTo(await slow(asked, pairs, k), 9);
        const plain = await evaluateModel(asked, data, 'test', kernels);
        expect(found.at[2].precision.value).not.toBe(plain.at[2].precision.value);
        expect(plain.excluded).toBeNull();
      }
    },
  );

  it('counts the pairs, and those that are right, which nothing can find', async () => {
    const excluded = await excluding(pairs);
    const [found] = await evaluateRares(model, data, 'test', [0], { excluded });
    const distinct = [...new Set(pairs.map(([row, label]) => `${row} ${label}`))];
    const right = distinct.filter((pair) => {
      const [row, label] = pair.split(' ').map(Number);
      return ownOf(row).includes(label);
    });
    expect(found.excluded).toEqual({ pairs: distinct.length, right: right.length });
    expect(right.length).toBeGreaterThan(10);
  });

  it('finds nothing where all that is right is out, and everything where all else is', async () => {
    const all = Array.from({ length: rows }, (_, row) =>
      Array.from({ length: labels }, (_, l) => [row, l]),
    ).flat();
    const isRight = ([row, label]: number[]) => ownOf(row).includes(label);
    const figures = async (out: number[][]) => {
      const [{ at }] = await evaluateRares(model, data, 'test', [0], { excluded: await excluding(out) });
      return at.map(({ precision }) => precision.value);
    };
    expect(await figures(all.filter(isRight))).toEqual([0, 0, 0]);
    const [first] = await figures(all.filter((pair) => !isRight(pair)));
    expect(first).toBe(1);
  });
});
