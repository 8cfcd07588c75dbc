/** A disk that fills up at any byte, is read-only, or makes no links: one clear refusal, or the other way, and nothing half done. */
import { lstat, readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { CheckpointStore } from './checkpoint.js';
import { resolveModel, saveModel } from './model-directory.js';
import { RunLog, readRunLog } from './run-log.js';
import { writeSafetensors } from './safetensors-writer.js';
import { refusalOf, scratchDirectory } from './scratch.testing.js';

const disk = vi.hoisted(() => {
  const state = {
    links: true,
    readOnly: false,
    room: Number.POSITIVE_INFINITY,
    take: (_bytes: number): number => 0,
  };
  /** How many of `bytes` still fit; throws, as the system does, when none do. */
  state.take = (bytes) => {
    const fit = Math.min(bytes, state.room);
    if (fit === 0 && bytes > 0) {
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), {
        errno: -28,
        code: 'ENOSPC',
        syscall: 'write',
      });
    }
    state.room -= fit;
    return fit;
  };
  return state;
});

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const open: typeof real.open = async (...args) => {
    const handle = await real.open(...args);
    const write = handle.write.bind(handle) as (...all: unknown[]) => Promise<unknown>;
    handle.write = (async (data: Uint8Array, offset: number, length: number, position?: number) =>
      write(data, offset, disk.take(length), position)) as typeof handle.write;
    return handle;
  };
  const symlink: typeof real.symlink = async (...args) => {
    if (disk.links) return real.symlink(...args);
    throw Object.assign(new Error('EPERM: operation not permitted, symlink'), {
      errno: -1,
      code: 'EPERM',
      syscall: 'symlink',
    });
  };
  // As Linux and Node do it: the recursive form hides the reason.
  const mkdir = (async (path: string, options?: { recursive?: boolean }) => {
    if (!disk.readOnly) return real.mkdir(path, options);
    const code = options?.recursive === true ? 'ENOENT' : 'EROFS';
    throw Object.assign(new Error(`${code}: mkdir`), { errno: -30, code, syscall: 'mkdir' });
  }) as typeof real.mkdir;
  return { ...real, open, symlink, mkdir };
});

vi.mock('node:fs', async (original) => {
  const real = await original<typeof import('node:fs')>();
  const write = real.writeSync as (...all: unknown[]) => number;
  const writeSync = (fd: number, data: Uint8Array, offset: number, length: number, position: number) =>
    write(fd, data, offset, disk.take(length), position);
  return { ...real, writeSync };
});

afterEach(() => {
  disk.links = true;
  disk.readOnly = false;
  disk.room = Number.POSITIVE_INFINITY;
});

const arraysOf = (value: number) => [{ name: 'w', shape: [20], data: new Float32Array(20).fill(value) }];

/** Runs `work` on disks with ever more room until it succeeds; `check` sees the state after every refusal. */
async function untilItFits(
  step: number,
  work: () => Promise<unknown>,
  check: () => Promise<void>,
): Promise<number> {
  for (let refusals = 0; ; refusals++) {
    disk.room = refusals * step;
    try {
      await work();
      return refusals;
    } catch (error) {
      disk.room = Number.POSITIVE_INFINITY;
      expect(error).toMatchObject({
        code: 'FILE_DISK_FULL',
        facts: { kind: 'system', hint: expect.any(String) },
      });
      await check();
    }
  }
}

test('a safetensors file is whole or the one before', async () => {
  const directory = await scratchDirectory();
  const path = join(directory, 'x.safetensors');
  await writeSafetensors(path, arraysOf(1));
  const before = await readFile(path);
  const refusals = await untilItFits(
    7,
    () => writeSafetensors(path, arraysOf(2)),
    async () => {
      expect(await readFile(path)).toEqual(before);
      expect(await readdir(directory)).toEqual(['x.safetensors']);
    },
  );
  expect(refusals).toBeGreaterThan(10);
});

test('a model is there as a whole, or the old one is still the current', async () => {
  const run = await scratchDirectory();
  const old = await saveModel(run, { config: {}, arrays: arraysOf(1) });
  const entries = await readdir(run);
  const refusals = await untilItFits(
    29,
    () => saveModel(run, { config: {}, arrays: arraysOf(2), labels: ['a', 'b'], files: { 'x.json': '{}' } }),
    async () => {
      expect(await readdir(run)).toEqual(entries);
      expect(basename(await resolveModel(run))).toBe(basename(old.directory));
    },
  );
  expect(refusals).toBeGreaterThan(10);
  expect(basename(await resolveModel(run))).not.toBe(basename(old.directory));
});

test('a checkpoint is there as a whole, or the one before is the latest', async () => {
  const run = await scratchDirectory();
  const store = await CheckpointStore.open(run);
  await store.save({ step: 1, arrays: arraysOf(1), state: {} });
  const refusals = await untilItFits(
    29,
    () => store.save({ step: 2, arrays: arraysOf(2), state: {} }),
    async () => {
      expect(await readdir(store.directory)).toEqual(['step-00000001']);
    },
  );
  expect(refusals).toBeGreaterThan(10);
  expect(await store.steps()).toEqual([1, 2]);
});

test('a log keeps its whole records and goes on when there is room again', async () => {
  const path = join(await scratchDirectory(), 'log.jsonl');
  const log = RunLog.open(path, { now: () => 1 });
  log.write({ event: 'a', step: 1 });
  const { length } = await readFile(path);
  for (let room = 0; room < length; room++) {
    disk.room = room;
    expect((await refusalOf(() => log.write({ event: 'a', step: 2 }))).code).toBe('FILE_DISK_FULL');
    expect(log.position()).toBe(length);
    expect(await readFile(path)).toHaveLength(length);
  }
  disk.room = length;
  log.write({ event: 'a', step: 3 });
  log.close();
  const steps: number[] = [];
  for await (const { step } of readRunLog(path)) steps.push(step);
  expect(steps).toEqual([1, 3]);
});

test('a read-only disk is called so, not a directory that is missing', async () => {
  const run = join(await scratchDirectory(), 'below', 'run');
  disk.readOnly = true;
  for (const work of [
    () => saveModel(run, { config: {}, arrays: arraysOf(1) }),
    () => CheckpointStore.open(run),
    () => writeSafetensors(join(run, 'x.safetensors'), arraysOf(1)),
  ]) {
    expect((await refusalOf(work)).code).toBe('FILE_READ_ONLY');
  }
});

test('where links cannot be made, the pointer is a text file', async () => {
  const run = await scratchDirectory();
  disk.links = false;
  for (const value of [1, 2]) {
    const { directory } = await saveModel(run, { config: {}, arrays: arraysOf(value) });
    expect((await lstat(join(run, 'model'))).isFile()).toBe(true);
    expect(basename(await resolveModel(run))).toBe(basename(directory));
  }
  expect((await readdir(run)).filter((name) => name.startsWith('.'))).toEqual([]);
});
