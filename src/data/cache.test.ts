import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { arbitraryDataset, datasetOf, rowRecords } from './arbitrary.testing.js';
import { DatasetDirectory, writeDatasetDirectory } from './cache.js';
import { CsrDataset } from './dataset.js';
import { readDatasetFile, writeDatasetFile } from './dataset-file.js';
import { Featurizer } from './featurizer/index.js';
import { buildDataset } from './named-datasets.js';
import { concatRows } from './rows.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'espalier-cache-'));
});
afterEach(() => rm(directory, { recursive: true }));

const refusal = (code: string) => expect.objectContaining({ code });
const row = (feature: number, label: number) => ({
  features: [feature],
  values: [feature + 0.1],
  labels: [label],
});

describe('dataset files', () => {
  it('give back what was written, to the bit', async () => {
    const file = join(directory, 'x.bin');
    await fc.assert(
      fc.asyncProperty(arbitraryDataset(), async (dataset) => {
        const digest = await writeDatasetFile(file, dataset);
        const again = await readDatasetFile(file, {}, digest);
        expect(again.indptr).toEqual(dataset.indptr);
        expect(rowRecords(again)).toEqual(rowRecords(dataset));
        expect([again.features, again.labels]).toEqual([dataset.features, dataset.labels]);
      }),
      { numRuns: 15 },
    );
  });

  it('any flipped byte, any cut and any addition is refused', async () => {
    const file = join(directory, 'x.bin');
    await writeDatasetFile(file, datasetOf([row(1, 0), row(2, 1)], 3, 2));
    const good = await readFile(file);
    for (let at = 0; at < good.length; at++) {
      const bad = Buffer.from(good);
      bad[at] ^= 0x41;
      await writeFile(file, bad);
      await expect(readDatasetFile(file)).rejects.toThrow(/DATASET_FILE_/);
    }
    for (const length of [0, 7, 95, 96, good.length - 1]) {
      await writeFile(file, good.subarray(0, length));
      await expect(readDatasetFile(file)).rejects.toThrow(/DATASET_FILE_(MAGIC|LENGTH)/);
    }
    await writeFile(file, Buffer.concat([good, Buffer.of(0)]));
    await expect(readDatasetFile(file)).rejects.toThrow(refusal('DATASET_FILE_LENGTH'));
  });

  it('sizes that lie are refused before anything is allocated', async () => {
    const file = join(directory, 'x.bin');
    await writeDatasetFile(file, datasetOf([row(1, 0)], 3, 2));
    const lie = await readFile(file);
    lie.writeBigUInt64LE(2n ** 50n, 40);
    await writeFile(file, lie);
    await expect(readDatasetFile(file)).rejects.toThrow(refusal('DATASET_FILE_LENGTH'));
  });

  it('a file of another dataset is refused by its digest', async () => {
    const file = join(directory, 'x.bin');
    await writeDatasetFile(file, datasetOf([row(1, 0)], 3, 2));
    await expect(readDatasetFile(file, {}, '0'.repeat(64))).rejects.toThrow(refusal('DATASET_FILE_DIGEST'));
    await expect(readDatasetFile(join(directory, 'none.bin'))).rejects.toThrow(refusal('FILE_MISSING'));
  });
});

describe('dataset directories', () => {
  const named = (dataset: CsrDataset) =>
    new CsrDataset({ ...dataset, labelNames: ['line\nbreak', '"quoted", ü'] });
  const content = {
    name: 'tiny',
    origin: 'by hand',
    licence: 'none needed',
    train: named(datasetOf([row(1, 0), row(2, 1)], 3, 2)),
    validation: datasetOf([row(0, 1)], 3, 2),
    test: datasetOf([row(2, 0)], 3, 2),
    testRows: [{ key: 'k1', text: 'any\ntext' }],
  };

  it('hold splits, names and row texts; trainAll is train, then validation', async () => {
    const path = join(directory, 'tiny');
    const info = await writeDatasetDirectory(path, content);
    const opened = await DatasetDirectory.open(path);
    expect(opened.info).toEqual(info);
    expect(opened.splits).toEqual(['train', 'validation', 'test', 'trainAll']);
    const train = await opened.load('train');
    expect(train.labelNames).toEqual(content.train.labelNames);
    expect(rowRecords(train)).toEqual(rowRecords(content.train));
    const all = await opened.load('trainAll');
    expect(rowRecords(all)).toEqual(rowRecords(concatRows(content.train, content.validation)));
    expect(opened.rows('trainAll')).toBe(all.rows);
    expect((await opened.load('test')).labelName(0)).toBe('line\nbreak');
    expect(await opened.testRows()).toEqual(content.testRows);
    expect(await opened.featurizer()).toBeUndefined();
    expect(await readdir(directory)).toEqual(['tiny']);
  });

  it('without a validation split trainAll is train, and what is not there is refused by name', async () => {
    const path = join(directory, 'tiny');
    await writeDatasetDirectory(path, { ...content, validation: undefined, test: undefined, testRows: [] });
    const opened = await DatasetDirectory.open(path);
    expect((await opened.load('trainAll')).rows).toBe(2);
    expect(opened.rows('test')).toBe(0);
    await expect(opened.load('test')).rejects.toThrow(refusal('DATASET_SPLIT'));
  });

  it('keep a featurizer that works', async () => {
    const featurizer = Featurizer.fit(['red sky', 'red apple', 'apple'], { text: ['text'] });
    const train = datasetOf([{ features: [0], values: [1], labels: [0] }], featurizer.features, 1);
    const about = { name: 'x', origin: '', licence: '' };
    await writeDatasetDirectory(join(directory, 'x'), { ...about, train, featurizer });
    const again = await (await DatasetDirectory.open(join(directory, 'x'))).featurizer();
    expect(again?.featurize(['red'])).toEqual(featurizer.featurize(['red']));
  });

  it('are replaced whole; the fingerprint follows the content, not the path', async () => {
    const path = join(directory, 'tiny');
    await writeDatasetDirectory(path, content);
    const first = (await DatasetDirectory.open(path)).fingerprint;
    await writeDatasetDirectory(join(directory, 'copy'), content);
    expect((await DatasetDirectory.open(join(directory, 'copy'))).fingerprint).toBe(first);
    await writeDatasetDirectory(path, { ...content, validation: datasetOf([row(1, 1)], 3, 2) });
    expect((await DatasetDirectory.open(path)).fingerprint).not.toBe(first);
  });

  it('refuse changed, missing and foreign files', async () => {
    const path = join(directory, 'tiny');
    await writeDatasetDirectory(path, content);
    await writeFile(join(path, 'labels.jsonl'), '"a"\n"b"\n');
    const opened = await DatasetDirectory.open(path);
    await expect(opened.load('train')).rejects.toThrow(refusal('DATASET_DAMAGED'));
    await rm(join(path, 'test.rows.jsonl'));
    await expect(opened.testRows()).rejects.toThrow(refusal('FILE_MISSING'));
    await truncate(join(path, 'dataset.json'), 100);
    await expect(DatasetDirectory.open(path)).rejects.toThrow(refusal('DATASET_INFO'));
    await expect(DatasetDirectory.open(directory)).rejects.toThrow(refusal('DATASET_MISSING'));
  });

  it.each([
    ['features', { validation: datasetOf([], 4, 2) }],
    ['labels', { test: datasetOf([], 3, 3), testRows: [] }],
    ['row texts', { testRows: [] }],
  ])('refuse splits that differ in %s, before writing', async (_name, change) => {
    const path = join(directory, 'tiny');
    await expect(writeDatasetDirectory(path, { ...content, ...change })).rejects.toThrow(
      refusal('DATASET_CONTENT'),
    );
    expect(await readdir(directory)).toEqual([]);
  });

  it('of unknown names are refused with the nearest name', async () => {
    await expect(buildDataset('wordnet-relatd', join(directory, 'x'))).rejects.toThrow(
      /DATASET_NAME.*wordnet-related\?/,
    );
  });
});
