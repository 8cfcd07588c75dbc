/** Accounted memory against what the system sees, in a process that does nothing but train. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeDatasetDirectory } from '../src/data/cache.js';
import { plantedDataset } from '../src/data/planted.js';

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const MiB = 2 ** 20;
let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-memory-'));
  await writeDatasetDirectory(join(home, 'data'), {
    name: 'planted',
    origin: 'made',
    licence: 'none',
    train: plantedDataset({ rows: 400, features: 30_000, labels: 150_000, seed: 3 }),
  });
});
afterAll(() => rm(home, { recursive: true, force: true }));

describe.skipIf(process.platform !== 'linux')('peak memory of a training process', () => {
  const sgd = { kind: 'sgd', rate: 0.1 };
  it.each([
    { name: 'adam', output: { kind: 'fan-in', fanIn: 96, topology: { every: 2 } } },
    { name: 'rigl', output: { kind: 'fan-in', fanIn: 96, topology: { kind: 'rigl', every: 2 } } },
    { name: 'sgd, compact', output: { kind: 'fan-in', fanIn: 128, form: 'compact' }, outputOptimizer: sgd },
    { name: 'dense, sgd', output: { kind: 'dense' }, outputOptimizer: sgd },
  ])(
    'is what was accounted and Node itself, within 15 %, and the plan within 10 %: $name',
    async ({ name, output, ...more }) => {
      const config = { model: { encoder: { embedding: 256 }, output }, batch: 64, epochs: 1, ...more };
      const run = join(home, name);
      const sets = ['model', 'batch', 'epochs', 'outputOptimizer'].flatMap((key) =>
        key in config ? ['--set', `${key}=${JSON.stringify(config[key as keyof typeof config])}`] : [],
      );
      const espalier = (...args: string[]) => {
        const ended = spawnSync(process.execPath, [program, ...args, ...sets], { encoding: 'utf8' });
        expect(ended.status, ended.stderr).toBe(0);
        return ended.stdout;
      };
      const planned = JSON.parse(espalier('plan', join(home, 'data'), '--json', '--no-calibrate'));
      espalier('train', join(home, 'data'), '--out', run);
      const log = (await readFile(join(run, 'log.jsonl'), 'utf8')).trim().split('\n');
      const end = log.map((line) => JSON.parse(line)).find(({ event }) => event === 'end');
      expect(end.accountedPeak).toBeGreaterThan(150 * MiB);
      const seen = end.peakRss - end.baseRss;
      expect(seen / end.accountedPeak).toBeGreaterThan(0.85);
      expect(seen / end.accountedPeak).toBeLessThan(1.15);
      const configured = planned.lines[0];
      expect(configured.peakRss / end.peakRss, 'the plan against the run').toBeGreaterThan(0.9);
      expect(configured.peakRss / end.peakRss, 'the plan against the run').toBeLessThan(1.1);
    },
  );
});
