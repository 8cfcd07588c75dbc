import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { rowRecords } from './arbitrary.testing.js';
import { DatasetDirectory } from './cache.js';
import { importXc } from './import-xc.js';
import { readXc } from './xc.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'espalier-import-'));
});
afterEach(() => rm(directory, { recursive: true }));

const files = { train: 'fixtures/planted/train.txt', test: 'fixtures/planted/test.txt' };

it('sets a tenth aside for validation; trainAll holds the rows of the file', async () => {
  const seen = new Set<string>();
  const path = join(directory, 'planted');
  const info = await importXc(files, path, { onProgress: (file) => seen.add(file) });
  expect(info).toMatchObject({ name: 'planted', splits: { train: { rows: 360 }, validation: { rows: 40 } } });
  expect([...seen]).toEqual([files.train, files.test]);
  const all = await (await DatasetDirectory.open(path)).load('trainAll');
  const sorted = (rows: object[]) => rows.map((row) => JSON.stringify(row)).sort();
  expect(sorted(rowRecords(all))).toEqual(sorted(rowRecords(await readXc(files.train))));
});

it('takes a validation file and label names, and can do without validation', async () => {
  const names = join(directory, 'Y.txt');
  await writeFile(names, Array.from({ length: 40 }, (_, l) => `label ${l}\r\n`).join(''));
  const path = join(directory, 'x');
  await importXc({ ...files, validation: files.test, labelNames: names }, path);
  const opened = await DatasetDirectory.open(path);
  expect([opened.rows('train'), opened.rows('validation')]).toEqual([400, 100]);
  expect((await opened.load('validation')).labelName(39)).toBe('label 39');
  const info = await importXc(files, path, { validationShare: 0, licence: 'mine' });
  expect([info.splits.validation, info.licence]).toEqual([undefined, 'mine']);
});

it('refuses names that do not match, and files of different shapes, and writes nothing', async () => {
  const names = join(directory, 'Y.txt');
  await writeFile(names, 'one\ntwo\n');
  const path = join(directory, 'x');
  await expect(importXc({ ...files, labelNames: names }, path)).rejects.toMatchObject({
    code: 'XC_LABEL_NAMES',
  });
  const other = join(directory, 'other.txt');
  await writeFile(other, '1 160 41\n40 1:1\n');
  await expect(importXc({ ...files, test: other }, path)).rejects.toMatchObject({ code: 'DATASET_CONTENT' });
  expect((await readdir(directory)).sort()).toEqual(['Y.txt', 'other.txt']);
});
