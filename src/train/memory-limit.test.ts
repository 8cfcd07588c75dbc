import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writeDatasetDirectory } from '../data/cache.js';
import { plantedDataset } from '../data/planted.js';
import { selectKernels } from '../kernels/index.js';
import { Linear, Sequential } from '../nn/layers.js';
import { Flatten } from '../nn/network-layers.js';
import { blobs } from './network/blobs.testing.js';
import { imageTask, NetworkTraining } from './network/index.js';
import { train } from './train.js';

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-memory-'));
  await writeDatasetDirectory(join(home, 'data'), {
    ...{ name: 'planted', origin: 'made', licence: 'none' },
    train: plantedDataset({ rows: 60, features: 40, labels: 30, seed: 1 }),
  });
});
afterAll(() => rm(home, { recursive: true, force: true }));

const run = (embedding: number, maxMemory?: number) =>
  train(
    {
      ...{ data: join(home, 'data'), out: join(home, `run-${embedding}`), epochs: 1, backend: 'reference' },
      model: { encoder: { embedding }, output: { kind: 'dense' } },
    },
    { maxMemory },
  );

it('a run beyond the memory of this machine is refused with the numbers of its plan, before anything is made', async () => {
  // 40 features x 10^12 units: 160 TB.
  const refused = run(1e12);
  await expect(refused).rejects.toMatchObject({
    code: 'OUT_OF_MEMORY',
    facts: { kind: 'system', received: expect.stringMatching(/^a plan of [\d,]+ MiB: .*weights [\d,]+ MiB/) },
  });
  expect(await readdir(home)).not.toContain(`run-${1e12}`);
});

it('a limit that the user gives counts instead of what the machine has', async () => {
  await expect(run(16, process.memoryUsage.rss() + 1024)).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' });
  expect((await run(16, process.memoryUsage.rss() + 2 ** 30)).finished).toBe(true);
});

it('networks are refused likewise', () => {
  const task = (width: number) =>
    imageTask({
      ...{ train: blobs(32), batch: 16, seed: 1 },
      model: (device, stream) => new Sequential(new Flatten(), new Linear(device, 64, width, { stream })),
    });
  const options = { kernels: selectKernels({ backend: 'reference' }), epochs: 1, seed: 1 };
  const optimizer = { kind: 'sgd', rate: 0.1 } as const;
  expect(() => new NetworkTraining(task(1e11), { ...options, optimizer })).toThrow(/OUT_OF_MEMORY/);
});
