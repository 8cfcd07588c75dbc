import {
  cp,
  lstat,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ModelParts, pruneModels, resolveModel, saveModel } from './model-directory.js';
import { openModel } from './model-reader.js';
import { restoreArrays } from './safetensors-reader.js';
import { refusalOf, scratchDirectory } from './scratch.testing.js';

const arraysOf = (value: number) => [{ name: 'w', shape: [3], data: new Float32Array(3).fill(value) }];

const partsOf = (value: number): ModelParts => ({
  config: { model: { hidden: [value] } },
  arrays: arraysOf(value),
  labels: ['cat', 'dog'],
  metrics: { 'p@1': 0.5, loss: Number.NaN },
  versions: { espalier: '0.1.0' },
  files: { 'featurizer.json': '{}', 'rows.bin': [Uint8Array.of(1), '2'] },
});

async function valueAt(path: string): Promise<number> {
  const model = await openModel(path, { checksums: true });
  const arrays = arraysOf(0);
  await restoreArrays(model.tensors, arrays);
  await model.close();
  return arrays[0].data[0];
}

async function labelsAt(path: string): Promise<string[]> {
  const model = await openModel(path);
  const labels: string[] = [];
  try {
    for await (const some of model.labels()) labels.push(...some);
  } finally {
    await model.close();
  }
  return labels;
}

describe('saving and opening', () => {
  test('everything comes back, through the run, the pointer, the directory and the manifest', async () => {
    const run = join(await scratchDirectory(), 'runs/a');
    const { directory, digest, bytes } = await saveModel(run, partsOf(7));
    expect(basename(directory)).toBe(`model-${digest}`);
    const paths = [run, `${run}/`, join(run, 'model'), directory, join(directory, 'espalier.json')];
    for (const path of paths) {
      expect(await resolveModel(path)).toBe(await realpath(directory));
      expect(await valueAt(path)).toBe(7);
      expect(await labelsAt(path)).toEqual(['cat', 'dog']);
    }
    const model = await openModel(run);
    await model.close();
    const { config, metrics, versions, labels } = model.manifest;
    expect({ config, metrics, versions }).toEqual({
      config: partsOf(7).config,
      metrics: partsOf(7).metrics,
      versions: partsOf(7).versions,
    });
    expect(labels).toBe(2);
    expect(await readFile(model.path('rows.bin'), 'latin1')).toBe('\x012');
    const sizes = await Promise.all(
      (await readdir(directory)).map(async (f) => (await lstat(join(directory, f))).size),
    );
    expect(sizes.reduce((a, b) => a + b)).toBe(bytes);
  });

  test('label names may contain anything', async () => {
    const run = await scratchDirectory();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: 'binary' })), async (labels) => {
        const all = [...labels, '', '\n', '\u2028', '\ud800', '"', '\0', '\ufeff'];
        async function* stream() {
          yield* all;
        }
        const { directory } = await saveModel(run, { config: {}, arrays: [], labels: stream() });
        expect(await labelsAt(directory)).toEqual(all);
      }),
      { numRuns: 15 },
    );
  });

  test('a model without label names has none', async () => {
    const run = await scratchDirectory();
    await saveModel(run, { config: {}, arrays: [] });
    expect(await labelsAt(run)).toEqual([]);
    expect((await openModelAndClose(run)).manifest.labels).toBe(null);
  });

  test('the same model is the same directory, a damaged one of its name is replaced', async () => {
    const run = await scratchDirectory();
    const first = await saveModel(run, partsOf(1));
    expect(await saveModel(run, partsOf(1))).toEqual(first);
    await truncate(join(first.directory, 'model.safetensors'), 20);
    expect(await saveModel(run, partsOf(1))).toEqual(first);
    expect(await valueAt(run)).toBe(1);
    expect((await readdir(run)).sort()).toEqual(['model', basename(first.directory)]);
  });

  test('names of further files that would leave the directory or hide its own files are refused', async () => {
    const run = await scratchDirectory();
    const names = [
      '../x',
      'a/b',
      'a\\b',
      '.hidden',
      '',
      '..',
      'espalier.json',
      'labels.jsonl',
      'model.safetensors',
    ];
    for (const name of names) {
      const error = await refusalOf(() => saveModel(run, { config: {}, arrays: [], files: { [name]: 'x' } }));
      expect(error.facts).toMatchObject({ code: 'MODEL_FILE_NAME', kind: 'usage' });
    }
    expect(
      (await refusalOf(() => saveModel(run, { config: {}, arrays: [], labels: [1 as never] }))).code,
    ).toBe('MODEL_LABELS');
    expect(await readdir(run)).toEqual([]);
  });
});

describe('the pointer', () => {
  test('moves to the new model; an opened model stays the one it was', async () => {
    const run = await scratchDirectory();
    await saveModel(run, partsOf(1));
    const opened = await openModel(run);
    await saveModel(run, partsOf(2));
    const arrays = arraysOf(0);
    await restoreArrays(opened.tensors, arrays);
    await opened.close();
    expect(arrays[0].data[0]).toBe(1);
    expect(await valueAt(run)).toBe(2);
  });

  test.skipIf(process.platform === 'win32')(
    'is a relative link, so that a run directory can move',
    async () => {
      const parent = await scratchDirectory();
      const { directory } = await saveModel(join(parent, 'a'), partsOf(3));
      expect((await lstat(join(parent, 'a/model'))).isSymbolicLink()).toBe(true);
      await rename(join(parent, 'a'), join(parent, 'b'));
      expect(await valueAt(join(parent, 'b'))).toBe(3);
      expect(await readFile(join(parent, 'b/model/espalier.json'))).toEqual(
        await readFile(join(parent, 'b', basename(directory), 'espalier.json')),
      );
    },
  );

  test('may be a text file, and a link takes its place at the next save', async () => {
    const run = await scratchDirectory();
    const { directory } = await saveModel(run, partsOf(4));
    const pointer = join(run, 'model');
    await rm(pointer);
    await writeFile(pointer, `${basename(directory)}\n`);
    expect(await valueAt(run)).toBe(4);
    expect(await valueAt(pointer)).toBe(4);
    await saveModel(run, partsOf(5));
    expect(await valueAt(pointer)).toBe(5);
  });

  test('a text that names no model of the run is refused, whatever it names', async () => {
    const parent = await scratchDirectory();
    const run = join(parent, 'a');
    await saveModel(run, partsOf(4));
    const elsewhere = join('../b', basename((await saveModel(join(parent, 'b'), partsOf(4))).directory));
    expect(await valueAt(join(run, elsewhere))).toBe(4);
    const pointer = join(run, 'model');
    for (const text of ['', '..', '/etc', elsewhere, 'model-0000000000000000', 'x'.repeat(1000)]) {
      await rm(pointer);
      await writeFile(pointer, text);
      for (const path of [run, pointer]) {
        expect((await refusalOf(() => openModel(path))).code).toBe('MODEL_MISSING');
      }
    }
  });

  test('a real directory in its place is not overwritten, but read when it is a model', async () => {
    const run = await scratchDirectory();
    const { directory } = await saveModel(run, partsOf(6));
    await rm(join(run, 'model'));
    await cp(directory, join(run, 'model'), { recursive: true });
    expect(await valueAt(run)).toBe(6);
    const error = await refusalOf(() => saveModel(run, partsOf(7)));
    expect(error.code).toBe('MODEL_POINTER');
    expect(await valueAt(run)).toBe(6);
  });

  test('pruning removes the models it does not point at', async () => {
    const run = await scratchDirectory();
    const old = await saveModel(run, partsOf(1));
    await saveModel(run, partsOf(2));
    await writeFile(join(run, 'model-notes'), '');
    expect(await pruneModels(run)).toEqual([basename(old.directory)]);
    expect(await pruneModels(run)).toEqual([]);
    expect(await valueAt(run)).toBe(2);
    expect(await readdir(run)).toHaveLength(3);
  });
});

describe('refusals', () => {
  test('paths without a model say what is there and what to do', async () => {
    const run = await scratchDirectory();
    const nowhere = await refusalOf(() => openModel(join(run, 'nowhere')));
    expect(nowhere.facts).toMatchObject({ code: 'MODEL_MISSING', kind: 'usage' });
    expect((await refusalOf(() => openModel(run))).code).toBe('MODEL_MISSING');
    await mkdir(join(run, 'checkpoints'));
    const unfinished = await refusalOf(() => openModel(run));
    expect(unfinished.facts.received).toBe('checkpoints');
    expect(unfinished.facts.hint).toContain('resume');
    await symlink('model-0123456789abcdef', join(run, 'model'));
    expect((await refusalOf(() => openModel(join(run, 'model')))).code).toBe('MODEL_MISSING');
  });

  test('a newer format is refused with the release to update to', async () => {
    const run = await scratchDirectory();
    const manifest = { format: 'espalier-model', version: 2, versions: { espalier: '9.1.0' } };
    await writeFile(join(run, 'espalier.json'), JSON.stringify(manifest));
    const error = await refusalOf(() => openModel(run));
    expect(error.facts).toMatchObject({ code: 'MODEL_VERSION', kind: 'data' });
    expect(error.facts.hint).toContain('9.1.0');
  });

  test('a changed manifest is found by the name of its directory', async () => {
    const run = await scratchDirectory();
    const { directory } = await saveModel(run, partsOf(1));
    const path = join(directory, 'espalier.json');
    await writeFile(path, (await readFile(path, 'utf8')).replace('"p@1": 0.5', '"p@1": 0.9'));
    expect((await refusalOf(() => openModel(run))).code).toBe('JSON_DAMAGED');
  });

  test('missing and shortened files are found at once, changed ones with checksums', async () => {
    const run = await scratchDirectory();
    const { directory } = await saveModel(run, partsOf(1));
    for (const name of ['model.safetensors', 'labels.jsonl', 'rows.bin']) {
      const path = join(directory, name);
      const sound = await readFile(path);
      await writeFile(path, sound.subarray(1));
      expect((await refusalOf(() => openModel(run))).facts).toMatchObject({
        code: 'FILE_DAMAGED',
        file: path,
      });
      const flipped = Buffer.from(sound);
      flipped[flipped.length - 1] ^= 1;
      await writeFile(path, flipped);
      const error = await refusalOf(() => openModel(run, { checksums: true }));
      expect(error.facts).toMatchObject({ code: 'FILE_DAMAGED', file: path });
      await rm(path);
      expect((await refusalOf(() => openModel(run))).code).toBe('FILE_MISSING');
      await writeFile(path, sound);
    }
    expect(await valueAt(run)).toBe(1);
  });

  test('manifests that are no manifests, or name files outside, are refused', async () => {
    const directory = await scratchDirectory();
    const sha256 = 'a'.repeat(64);
    const sound = { format: 'espalier-model', version: 1, versions: {}, labels: null, files: {} };
    const cases = [
      'no JSON',
      { ...sound, format: 'other' },
      { ...sound, version: '1' },
      { ...sound, files: [] },
      { ...sound, labels: -1 },
      { ...sound, files: { '../x': { bytes: 1, sha256 } } },
      { ...sound, files: { x: { bytes: 1, sha256: 'short' } } },
      { ...sound, files: { x: null } },
    ];
    for (const value of cases) {
      await writeFile(
        join(directory, 'espalier.json'),
        typeof value === 'string' ? value : JSON.stringify(value),
      );
      expect((await refusalOf(() => openModel(directory))).code).toBe('JSON_DAMAGED');
    }
  });

  test('label lines that are no texts, or too few, are named', async () => {
    const run = await scratchDirectory();
    const { directory } = await saveModel(run, partsOf(1));
    const path = join(directory, 'labels.jsonl');
    await writeFile(path, '"cat"\n12345\n');
    expect((await refusalOf(() => labelsAt(run))).facts).toMatchObject({
      code: 'JSON_DAMAGED',
      file: path,
      line: 2,
    });
    await writeFile(path, '"cat, dog!"\n');
    expect((await refusalOf(() => labelsAt(run))).code).toBe('JSON_DAMAGED');
  });

  test('a further file that the model lacks is named', async () => {
    const run = await scratchDirectory();
    await saveModel(run, partsOf(1));
    const model = await openModelAndClose(run);
    expect((await refusalOf(() => model.path('vocabulary.json'))).code).toBe('MODEL_FILE_MISSING');
    expect((await refusalOf(() => model.path('constructor'))).code).toBe('MODEL_FILE_MISSING');
  });
});

test('what a killed process left in a run directory goes at the next save, other files stay', async () => {
  const run = await scratchDirectory();
  // 2^22 is the largest process number of Linux.
  const dead = 4194305;
  await mkdir(join(run, `.model-tmp-${dead}-ab12cd34`));
  await symlink('x', join(run, `.model-link-tmp-${dead}-ab12cd34`));
  await writeFile(join(run, `.config.json.tmp-${dead}-ab12cd34`), '');
  const { directory } = await saveModel(run, partsOf(1));
  expect((await readdir(run)).sort()).toEqual([
    `.config.json.tmp-${dead}-ab12cd34`,
    'model',
    basename(directory),
  ]);
});

async function openModelAndClose(path: string) {
  const model = await openModel(path);
  await model.close();
  return model;
}
