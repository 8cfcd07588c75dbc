import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { referenceKernels } from '../kernels/reference/index.js';
import { LabelTable } from './label-table.js';
import { loadClassifier } from './model-io.js';
import { predictTexts, topRows } from './predict.js';
import { adoptModel, shareModel } from './shared-model.js';
import { modelArrays } from './state.js';
import { kinds, saveTinyModel, words } from './tiny-model.testing.js';

const kernels = referenceKernels('float32');
let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-shared-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

describe.each(Object.entries(kinds))('a shared model, %s', (name, output) => {
  it('answers with the bits of the loaded one, from arrays that are not copied', async () => {
    const run = join(home, name.replaceAll(' ', '-'));
    await saveTinyModel(run, { output });
    const loaded = await loadClassifier(run, kernels);
    const shared = await shareModel(run, kernels);
    const adopted = [adoptModel(shared, kernels), adoptModel(structuredClone(shared), kernels)];
    const rows = words.map(
      (word, i) => loaded.featurizer?.featurize([{ text: word, title: words[i % 3] }]) as never,
    );
    const expected = await topRows(loaded, rows, 40);
    const before = shared.arrays.map((array) => array.slice());
    for (const model of adopted) {
      const top = await topRows(model, rows, 40);
      expect(top.labels).toEqual(expected.labels);
      expect(top.scores).toEqual(expected.scores);
      for (const { data } of modelArrays(model.classifier)) {
        expect(data.length === 0 || shared.arrays.some(({ buffer }) => buffer === data.buffer)).toBe(
          model === adopted[0],
        );
      }
    }
    expect(shared.arrays.map((array) => array.slice())).toEqual(before);
    const names = new LabelTable(shared.labels);
    const [{ predictions }] = await predictTexts(loaded, [words[0]], 3);
    for (const { label, name: found } of predictions) {
      expect(names.name(label)).toBe(found);
      expect(names.find(found)).toBe(label);
    }
    expect(names.find('nothing of the kind')).toBe(-1);
    expect(names.name(37)).toBeUndefined();
  });
});

it('arrays of another model are refused, too few, too many or of another size', async () => {
  await saveTinyModel(join(home, 'a'), {});
  const shared = await shareModel(join(home, 'a'), kernels);
  const refusal = /SHARED_ARRAYS/;
  const arrays = [...shared.arrays];
  expect(() => adoptModel({ ...shared, arrays: arrays.slice(1) }, kernels)).toThrow(refusal);
  expect(() => adoptModel({ ...shared, arrays: arrays.slice(0, -1) }, kernels)).toThrow(refusal);
  expect(() => adoptModel({ ...shared, arrays: [...arrays, arrays[0]] }, kernels)).toThrow(refusal);
  const shape = { ...shared.shape, labels: 36 };
  expect(() => adoptModel({ ...shared, shape }, kernels)).toThrow(refusal);
  const copied = arrays.map((array) => array.slice());
  expect(() => adoptModel({ ...shared, arrays: copied }, kernels)).toThrow(refusal);
});
