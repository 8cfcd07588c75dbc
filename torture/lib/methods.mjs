/** Every method as a tiny training: classifiers as settings of `espalier train`, networks as a program beside it. */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { plantedDataset, writeDatasetDirectory } from '../../dist/data/index.js';
import { espalier } from './program.mjs';

const networkChild = fileURLToPath(new URL('./network-child.mjs', import.meta.url));
const every = 20;
const set = { kind: 'set', every };

/** @typedef {{ model?: object, saved?: object, auxiliary?: object, outputOptimizer?: object, clip?: number, network?: string }} Method */

/** @type {Readonly<Record<string, Method>>} */
export const methods = {
  dense: { model: { output: { kind: 'dense' } } },
  'dense-bf16': { model: { output: { kind: 'dense', precision: 'bf16' } } },
  'fan-in-set': { model: { output: { kind: 'fan-in', fanIn: 8, topology: set } } },
  'fan-in-rigl': { model: { output: { kind: 'fan-in', fanIn: 8, topology: { kind: 'rigl', every } } } },
  'fan-in-auxiliary': {
    model: {
      output: { kind: 'fan-in', fanIn: 8, form: 'compact', topology: set, intermediate: { width: 48 } },
    },
    auxiliary: { lambda: 0.4, cutoff: 10, maxClusterSize: 10 },
    clip: 1,
  },
  grouped: { model: { output: { kind: 'grouped', fanIn: 16, group: 8, topology: set } } },
  'head-tail': {
    model: { output: { kind: 'grouped', fanIn: 16, group: 8, head: 0.1, precision: 'bf16', topology: set } },
  },
  bottleneck: { model: { output: { kind: 'bottleneck', width: 12 } } },
  factored: { model: { output: { kind: 'factored' } }, outputOptimizer: { kind: 'sgd', rate: 0.05 } },
  'sampled-softmax': { model: { loss: 'softmax', output: { kind: 'dense', samples: 32 } } },
  'block-sparse': {
    model: { encoder: { hidden: [32, 32] }, output: { kind: 'dense' } },
    saved: { inputs: { kind: 'bsr', block: 8, keep: 0.4 }, warmup: 50, sampleEvery: 40 },
  },
  gates: { network: 'gates' },
  'dense-sparse-dense': { network: 'dsd' },
  'block-sparse-network': { network: 'bsr' },
};

/** Makes the dataset that classifiers train on. */
export async function makeData(/** @type {string} */ path) {
  const shape = { features: 300, labels: 150, seed: 5 };
  await writeDatasetDirectory(path, {
    ...{ name: 'planted', origin: 'made', licence: 'none' },
    train: plantedDataset({ ...shape, rows: 1200 }),
    validation: plantedDataset({ ...shape, rows: 100, split: 'validation' }),
    test: plantedDataset({ ...shape, rows: 50, split: 'test' }),
  });
}

/**
 * Arguments for Node that begin the run `run`, or go on with it where it has begun.
 * @param {string} name of a method
 * @param {{ home: string, data: string, run: string, epochs: number, seed?: number, threads?: number, checkpointMs?: number, saveEvery?: number }} how
 *   `saveEvery`: epochs between the checkpoints of networks
 */
export async function argumentsFor(
  name,
  { home, data, run, epochs, seed = 1, threads = 2, checkpointMs = 60, saveEvery = 1 },
) {
  const { network, model = {}, ...more } = methods[name];
  if (network !== undefined) {
    return [networkChild, network, run, String(epochs), String(seed), String(threads), String(saveEvery)];
  }
  if (existsSync(join(run, 'config.json'))) return [espalier, 'train', '--resume', run];
  const file = join(home, `${name}.json`);
  const { encoder, ...rest } = /** @type {{ encoder?: object }} */ (model);
  const config = {
    ...{ seed, threads, epochs, batch: 32, validation: { rows: 50, every: epochs / 4 }, ...more },
    model: { encoder: { embedding: 48, dropout: 0.1, ...encoder }, ...rest },
    checkpoint: { everyMinutes: checkpointMs / 60_000 },
  };
  await writeFile(file, JSON.stringify(config));
  return [espalier, 'train', data, '--out', run, '--config', file];
}

/** Every record of a log; throws where a line is none. */
export async function recordsOf(/** @type {string} */ run) {
  const text = await readFile(join(run, 'log.jsonl'), 'utf8');
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line of the log is cut off');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/** What depends on time, or on where a run was interrupted, and so differs between two runs of the same bits. */
const passing = new Set([
  'start',
  'progress',
  'checkpoint',
  'checkpoint-damaged',
  'memory',
  'end',
  'clusters',
]);
const strip = (/** @type {Record<string, unknown>} */ { t: _, seconds: __, ...rest }) => JSON.stringify(rest);

/**
 * What is wrong with a log beside that of the uninterrupted run, or null.
 * @param {readonly any[]} found @param {readonly any[]} whole
 */
export function gapOrRepeat(found, whole) {
  let [at, counted] = [0, 0];
  for (const record of found) {
    // Speaks of a step that is not reached again yet.
    if (record.event === 'checkpoint-damaged') continue;
    if (record.step < at && record.event !== 'start') return `step ${record.step} after step ${at}`;
    if (record.event === 'start' && record.resumedAt !== at && at !== 0) {
      return `resumed at step ${record.resumedAt} after a record of step ${at}`;
    }
    if (record.event === 'progress') {
      counted += record.lossSteps;
      if (counted !== record.step) return `${counted} steps counted up to step ${record.step}`;
    }
    at = Math.max(at, record.step);
  }
  const last = whole.at(-1)?.step;
  if (counted !== last || at !== last) return `it ends at step ${at} instead of ${last}`;
  const lasting = (/** @type {readonly any[]} */ log) =>
    log.filter(({ event }) => !passing.has(event)).map(strip);
  const [ours, theirs] = [lasting(found), lasting(whole)];
  if (ours.length !== theirs.length) return `${ours.length} lasting records instead of ${theirs.length}`;
  const differs = ours.findIndex((line, i) => line !== theirs[i]);
  return differs < 0 ? null : `${ours[differs]} instead of ${theirs[differs]}`;
}
