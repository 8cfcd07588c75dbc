/** A small, seeded slice of `npm run torture -- fuzz`: readers answer hostile input with an EspalierError or a value. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import * as data from '../src/data/index.js';
import * as png from '../src/data/png-folders.js';
import * as readers from '../src/data/readers/index.js';
import * as scipy from '../src/data/readers/scipy.js';
import * as zip from '../src/data/readers/zip.js';
import { EspalierError } from '../src/errors.js';
import * as kernels from '../src/kernels/index.js';
import * as calibration from '../src/model/calibration.js';
import { Classifier } from '../src/model/classifier.js';
import * as frequencies from '../src/model/frequencies.js';
import * as io from '../src/model/model-io.js';
import * as remembered from '../src/model/remembered/file.js';
import { modelSpec } from '../src/model/spec.js';
import * as store from '../src/store/index.js';
import { Device } from '../src/tensor/device.js';
import * as config from '../src/train/config.js';
import { clear, fuzzTargets, type Target } from '../torture/lib/fuzz-targets.mjs';
import { caseOf } from '../torture/lib/mutate.mjs';

const cases = 120;
const names = [
  ...[
    'xc',
    'jsonl',
    'csv',
    'parquet',
    'npz',
    'idx',
    'safetensors',
    'shards',
    'config',
    'run-log',
    'dataset-file',
  ],
  ...['dataset-directory', 'featurizer', 'model', 'labels', 'calibration', 'frequencies', 'votes', 'png'],
];
let home: string;
let targets: Record<string, Target>;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-fuzz-'));
  const model = { Classifier, Device, modelSpec };
  const parts = { calibration, frequencies, remembered, zip };
  targets = await fuzzTargets(
    { ...{ data, readers, scipy, kernels, store, config, io, model, png }, ...parts },
    join(home, 'valid'),
  );
});
afterAll(() => rm(home, { recursive: true, force: true }));

it('the slice is of every reader', () => expect(Object.keys(targets)).toEqual(names));

it('a case is its seed and its number, whatever cases came before', () => {
  const { calibration } = targets;
  const pass = () =>
    Array.from({ length: 2500 }, (_, index) => caseOf(calibration, 5, index).toString('latin1'));
  const first = pass();
  expect(pass()).toEqual(first);
});

it.each(names)('%s: what is damaged is sound before', async (name) => {
  const place = join(home, 'target');
  for (const bytes of targets[name].corpus) {
    await clear(place);
    await targets[name].read(bytes, place);
  }
});

it.each(names)('%s: nothing but EspalierError, no prototype changed, nothing outside', async (name) => {
  const place = join(home, 'target');
  const members = Object.getOwnPropertyNames(Object.prototype).length;
  const strange: string[] = [];
  for (let index = 0; index < cases; index++) {
    await clear(place);
    await targets[name].read(caseOf(targets[name], 7, index), place).catch((error: unknown) => {
      if (!(error instanceof EspalierError))
        strange.push(`case ${index}: ${error instanceof Error ? error.stack : error}`);
    });
  }
  expect(strange).toEqual([]);
  expect(Object.getOwnPropertyNames(Object.prototype)).toHaveLength(members);
  expect((await readdir(home)).sort()).toEqual(['target', 'valid']);
});
