import { execFileSync } from 'node:child_process';
import { cp, mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { RandomStream } from '../kernels/random.js';
import { CheckpointStore, hasCheckpoints, openCheckpoint } from './checkpoint.js';
import { sha256OfFile } from './checksum.js';
import { restoreArrays } from './safetensors-reader.js';
import { refusalOf, scratchDirectory } from './scratch.testing.js';

const arraysAt = (step: number) => [
  { name: 'output.weights', shape: [4, 2], data: new Float32Array(8).fill(step) },
  { name: 'output.columns', shape: [4, 2], data: new Uint16Array(8).fill(step) },
];

async function storeWith(steps: number[], options?: { keep?: number }) {
  const run = await scratchDirectory();
  const store = await CheckpointStore.open(run, options);
  for (const step of steps) await store.save({ step, arrays: arraysAt(step), state: { step } });
  return { run, store };
}

async function latestStep(store: CheckpointStore): Promise<[number | null, number[]]> {
  const { checkpoint, broken } = await store.latest();
  await checkpoint?.tensors.close();
  return [checkpoint?.step ?? null, broken.map(({ step }) => step)];
}

describe('saving and loading', () => {
  test('arrays and state come back to the bit, random streams and infinities too', async () => {
    const { store } = await storeWith([]);
    const rng = RandomStream.named(1, 'x');
    rng.uint32();
    const state = {
      rng: rng.state(),
      best: Number.NEGATIVE_INFINITY,
      last: Number.NaN,
      log: 2 ** 40,
      names: ['ü\n'],
    };
    const saved = await store.save({ step: 1234, arrays: arraysAt(7), state });
    expect(saved.directory).toBe(join(store.directory, 'step-00001234'));
    const { checkpoint } = await store.latest();
    const back = arraysAt(0);
    await restoreArrays(checkpoint!.tensors, back);
    await checkpoint!.tensors.close();
    expect(back).toEqual(arraysAt(7));
    expect(checkpoint).toMatchObject({ step: 1234, best: false, directory: saved.directory });
    expect(checkpoint!.state).toEqual(state);
  });

  test('an empty run has no checkpoint', async () => {
    const { run, store } = await storeWith([]);
    expect(await hasCheckpoints(run)).toBe(false);
    expect(await store.latest()).toEqual({ checkpoint: null, broken: [] });
    await store.save({ step: 0, arrays: [], state: null });
    expect(await hasCheckpoints(run)).toBe(true);
    expect(await latestStep(store)).toEqual([0, []]);
    expect(await hasCheckpoints(join(run, 'nowhere'))).toBe(false);
  });

  test.skipIf(process.platform !== 'linux')('sha256sum agrees with SHA256SUMS', async () => {
    const { store } = await storeWith([5]);
    const out = execFileSync('sha256sum', ['-c', 'SHA256SUMS'], { cwd: store.path(5), encoding: 'utf8' });
    expect(out).toBe('arrays.safetensors: OK\nstate.json: OK\n');
  });

  test('steps beyond eight digits sort by number', async () => {
    const { store } = await storeWith([99_999_998, 100_000_001], { keep: 5 });
    expect(await store.steps()).toEqual([99_999_998, 100_000_001]);
    expect(await latestStep(store)).toEqual([100_000_001, []]);
  });

  test('steps, states and numbers of checkpoints that make no sense are refused', async () => {
    const { run, store } = await storeWith([]);
    expect((await refusalOf(() => store.save({ step: -1, arrays: [], state: {} }))).code).toBe(
      'CHECKPOINT_STEP',
    );
    const map = { step: 1, arrays: [], state: { streams: new Map() } };
    expect((await refusalOf(() => store.save(map))).code).toBe('JSON_VALUE');
    expect((await refusalOf(() => CheckpointStore.open(run, { keep: 0 }))).code).toBe('CHECKPOINT_KEEP');
    expect(await readdir(store.directory)).toEqual([]);
  });
});

describe('retention', () => {
  test('the newest ones and the best stay', async () => {
    const { store } = await storeWith([1, 2]);
    await store.save({ step: 3, arrays: [], state: {}, best: true });
    for (const step of [4, 5]) await store.save({ step, arrays: [], state: {} });
    const { removed } = await store.save({ step: 6, arrays: [], state: {} });
    expect(removed).toEqual([4]);
    expect(await store.steps()).toEqual([3, 5, 6]);
    const { checkpoint } = await store.best();
    await checkpoint!.tensors.close();
    expect(checkpoint!.step).toBe(3);
    await store.save({ step: 7, arrays: [], state: {}, best: true });
    await store.save({ step: 8, arrays: [], state: {} });
    expect(await store.steps()).toEqual([7, 8]);
  });

  test('saving before later steps removes them: they belong to an abandoned continuation', async () => {
    const { store } = await storeWith([10, 20, 30], { keep: 3 });
    const { removed } = await store.save({ step: 15, arrays: [], state: {} });
    expect(removed).toEqual([30, 20]);
    expect(await latestStep(store)).toEqual([15, []]);
  });

  test('the same step can be saved again', async () => {
    const { store } = await storeWith([1]);
    await store.save({ step: 1, arrays: [], state: 'second' });
    const { checkpoint } = await store.latest();
    await checkpoint!.tensors.close();
    expect(checkpoint!.state).toBe('second');
    expect(await readdir(store.directory)).toEqual(['step-00000001']);
  });

  test('a damaged checkpoint does not take the place of a sound one', async () => {
    const { run } = await storeWith([1, 2, 3], { keep: 2 });
    const store = await CheckpointStore.open(run, { keep: 2 });
    await truncate(join(store.path(3), 'arrays.safetensors'), 50);
    expect(await latestStep(store)).toEqual([2, [3]]);
    await store.save({ step: 4, arrays: [], state: {} });
    expect(await store.steps()).toEqual([2, 3, 4]);
    await store.save({ step: 5, arrays: [], state: {} });
    expect(await store.steps()).toEqual([4, 5]);
  });
});

describe('damage', () => {
  test('any flipped or missing byte of any file is found, and the one before is used', async () => {
    const { store } = await storeWith([1, 2]);
    const rng = RandomStream.named(3, 'damage');
    const directory = store.path(2);
    for (const name of await readdir(directory)) {
      const path = join(directory, name);
      const sound = await readFile(path);
      for (let round = 0; round < 40; round++) {
        const bytes = Buffer.from(sound);
        bytes[rng.below(bytes.length)] ^= 1 + rng.below(255);
        await writeFile(path, round % 4 === 0 ? sound.subarray(0, rng.below(sound.length)) : bytes);
        expect(await latestStep(store)).toEqual([1, [2]]);
      }
      await writeFile(path, sound.subarray(0, -1));
      expect(await latestStep(store)).toEqual([1, [2]]);
      await rm(path);
      expect(await latestStep(store)).toEqual([1, [2]]);
      await writeFile(path, sound);
      expect(await latestStep(store)).toEqual([2, []]);
    }
  });

  test('the report says what is wrong with which file', async () => {
    const { store } = await storeWith([1]);
    const path = join(store.path(1), 'arrays.safetensors');
    await truncate(path, 50);
    const { checkpoint, broken } = await store.latest();
    expect(checkpoint).toBe(null);
    expect(broken[0].error.facts).toMatchObject({ code: 'FILE_DAMAGED', kind: 'data', file: path });
  });

  test('a checkpoint under the name of another step is not believed', async () => {
    const { store } = await storeWith([1, 2]);
    await cp(store.path(1), store.path(9), { recursive: true });
    expect(await latestStep(store)).toEqual([2, [9]]);
  });

  test('a checkpoint of a newer format stops the search instead of losing steps', async () => {
    const { store } = await storeWith([1, 2]);
    const directory = store.path(2);
    const state = await readFile(join(directory, 'state.json'), 'utf8');
    await writeFile(join(directory, 'state.json'), state.replace('"version": 1', '"version": 2'));
    const sums = ['arrays.safetensors', 'state.json'].map(
      async (name) => `${await sha256OfFile(join(directory, name))}  ${name}\n`,
    );
    await writeFile(join(directory, 'SHA256SUMS'), await Promise.all(sums));
    expect((await refusalOf(() => store.latest())).code).toBe('CHECKPOINT_VERSION');
    expect((await refusalOf(() => openCheckpoint(directory))).code).toBe('CHECKPOINT_VERSION');
  });
});

describe('leftovers of a killed process', () => {
  // 2^22 is the largest process number of Linux.
  const dead = 4194305;

  test('half written checkpoints go, those of a living process stay', async () => {
    const { run, store } = await storeWith([1]);
    const names = [`.step-00000002.tmp-${dead}-ab12`, `.step-00000002.tmp-${process.pid}-ab12`];
    const living = `.step-00000002.tmp-${process.ppid}-ab12`;
    for (const name of [...names, living]) await mkdir(join(store.directory, name));
    await CheckpointStore.open(run);
    expect((await readdir(store.directory)).sort()).toEqual([living, 'step-00000001']);
  });

  test('a checkpoint moved aside and never replaced comes back', async () => {
    const { run, store } = await storeWith([1]);
    await rename(store.path(1), join(store.directory, `.step-00000001.old-${dead}-ab12`));
    expect(await latestStep(await CheckpointStore.open(run))).toEqual([1, []]);
  });

  test('what has other names is left alone', async () => {
    const { run, store } = await storeWith([1]);
    for (const name of ['notes.txt', `.other.tmp-${dead}-ab`, 'step-7', 'step-000000001']) {
      await writeFile(join(store.directory, name), '');
    }
    await CheckpointStore.open(run);
    expect(await readdir(store.directory)).toHaveLength(5);
    expect(await store.steps()).toEqual([1]);
  });
});
