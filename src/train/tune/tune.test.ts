import { appendFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DatasetDirectory, writeDatasetDirectory } from '../../data/cache.js';
import { plantedDataset } from '../../data/planted.js';
import { labelFrequencies } from '../../data/statistics.js';
import { parseConfig } from '../config.js';
import { train } from '../train.js';
import { type TrialRecord, type TuneInput, type TuneOptions, type TuneResult, tune } from './index.js';
import { drawSettings, withDraw } from './space.js';
import { Samples } from './subsample.js';

const shape = { features: 60, labels: 260, seed: 3 };
const rows = plantedDataset({ ...shape, rows: 270 });
const validation = plantedDataset({ ...shape, rows: 60, split: 'validation' });
let home: string;
let data: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-tune-'));
  data = join(home, 'data');
  const about = { name: 'planted', origin: 'made', licence: 'none', train: rows };
  const test = plantedDataset({ ...shape, rows: 40, split: 'test' });
  await writeDatasetDirectory(data, { ...about, validation, test });
  // What is never read can be gone.
  await rm(join(data, 'test.bin'));
  await writeDatasetDirectory(join(home, 'no-validation'), about);
});
afterAll(() => rm(home, { recursive: true, force: true }));

const given = { backend: 'reference', batch: 4, epochs: 2, model: { encoder: { embedding: 16 } } } as const;
const input = (out: string, more: Partial<TuneInput> = {}): TuneInput => ({
  ...{ data, out: join(home, out), minutes: 60, trials: 7, leastRows: 30, maxMemory: 1e9, config: given },
  ...more,
});
/** What does not depend on time. */
const told = ({ trials }: TuneResult) =>
  trials.map(({ trial, draw, rung, rows, settings, score, bytes, status }: TrialRecord) => ({
    ...{ trial, draw, rung, rows, settings, score, bytes, status },
  }));
/** A clock on which every look takes a millisecond. */
const ticking = () => {
  let looks = 0;
  return { now: () => ++looks, looks: () => looks };
};

let whole: TuneResult;
beforeAll(async () => {
  whole = await tune(input('whole'));
});

describe('tune', () => {
  it('tries the default settings first, on the fewest rows, and follows the best draws to all of them', () => {
    expect(whole.rungs.map(({ rows: n }) => n)).toEqual([30, 90, 270]);
    expect(whole.trials[0]).toMatchObject({ draw: 0, rung: 0, rows: 30, settings: {}, status: 'done' });
    expect(whole.trials.slice(0, 4).map(({ rung }) => rung)).toEqual([0, 0, 0, 1]);
    expect(whole.control?.draw).toBe(0);
    expect(whole.chosen.rung).toBe(1);
  });

  it('tries the same in the same order for a seed, and something else for another', async () => {
    expect(told(await tune(input('again', { trials: 4 })))).toEqual(told(whole).slice(0, 4));
    const other = await tune(input('other', { trials: 2, seed: 2 }));
    expect(other.trials[1].settings).not.toEqual(whole.trials[1].settings);
  });

  it('cut by its budget, ended from outside and killed in a line, it goes on to the same trials', async () => {
    const looks = ticking();
    const cut = await tune(input('cut', { minutes: 0.075 / 60 }), looks);
    expect(cut.trials.at(-1)?.status).toBe('cut');
    expect(cut.trials.length).toBeLessThan(7);
    const spent = await tune(input('cut', { minutes: 0.075 / 60 }), ticking());
    expect(told(spent)).toEqual(told(cut));

    const stop = new AbortController();
    const onEvent: TuneOptions['onEvent'] = (e) =>
      e.event === 'trial' && e.record.trial === 3 && stop.abort();
    const ended = await tune(input('cut'), { onEvent, signal: stop.signal });
    expect(told(ended)).toEqual(told(whole).slice(0, 4));

    const file = join(home, 'cut', 'trials.jsonl');
    await appendFile(file, '{"t":1,"event":"trial","step":4,"tri');
    const resumed = await tune(input('cut'));
    expect(told(resumed)).toEqual(told(whole));
  });

  it.each([40, 75, 130])('begins no step after its budget: %i looks at the clock', async (ms) => {
    const clock = ticking();
    await tune(input(`budget-${ms}`, { minutes: ms / 60_000 }), clock).catch((error) => {
      expect(error).toMatchObject({ code: 'TUNE_BUDGET' });
    });
    // The look that sees the end, one of a last progress record, and one for the seconds of the trial.
    expect(clock.looks()).toBeGreaterThanOrEqual(ms);
    expect(clock.looks()).toBeLessThanOrEqual(ms + 5);
  });

  it('writes settings that train takes as they are', async () => {
    const text = await readFile(whole.files.config, 'utf8');
    expect(JSON.parse(text)).toEqual(whole.config);
    const { config, finished } = await train({ ...JSON.parse(text), out: join(home, 'trained') });
    expect(finished).toBe(true);
    expect({ ...config, out: 'none' }).toEqual(whole.chosen.config);
    expect(await readFile(whole.files.picture, 'utf8')).toMatch(/^<svg .*<\/svg>\n$/s);
  });

  it('passes over what does not fit', async () => {
    const most = whole.trials[0].bytes;
    const small = await tune(input('small', { trials: 3, maxMemory: most }));
    expect(Math.max(...small.trials.map(({ bytes }) => bytes))).toBeLessThanOrEqual(most);
    expect(small.trials.some(({ passedOver }) => passedOver > 0)).toBe(true);
  });

  it.each([
    ['no budget', { minutes: 0 }, 'TUNE_OPTIONS'],
    ['an unknown objective', { objective: 'speed' }, 'TUNE_OPTIONS'],
    ['a setting that does not exist', { config: { epoch: 3 } }, 'CONFIG_UNKNOWN_KEY'],
    ['a value that does not fit', { config: { epochs: -3 } }, 'CONFIG_INVALID'],
    ['a model to start from', { config: { start: { model: 'x' } } }, 'TUNE_CONFIG'],
    ['validation rows that train', { config: { rows: 'all' } }, 'TUNE_CONFIG'],
    ['a dataset that is not there', { data: 'nowhere' }, 'DATASET_MISSING'],
    ['too little memory', { maxMemory: 1000 }, 'OUT_OF_MEMORY'],
  ] as const)('refuses %s, and leaves nothing behind', async (_, more, code) => {
    await expect(tune(input('refused', more as Partial<TuneInput>))).rejects.toMatchObject({ code });
    expect(await readdir(home)).not.toContain('refused');
  });

  it('refuses a dataset without validation rows, and a directory of another search', async () => {
    const without = tune(input('refused', { data: join(home, 'no-validation') }));
    await expect(without).rejects.toMatchObject({ code: 'TUNE_VALIDATION' });
    await expect(tune(input('whole', { seed: 9 }))).rejects.toMatchObject({
      code: 'TUNE_OTHER_SEARCH',
      facts: { received: 'another seed' },
    });
  });
});

describe('draws', () => {
  const all = { ...given, data: 'd', out: 'o' };
  const base = parseConfig(all);
  const settings = (number: number, config: object = all) =>
    drawSettings(number, { seed: 1, given: config, base });

  it('leave alone what is given, without shifting the others', () => {
    for (let number = 1; number < 30; number++) {
      const drawn = settings(number);
      expect(drawn).not.toHaveProperty('epochs');
      const { 'optimizer.rate': _, ...others } = drawn;
      expect(settings(number, { ...all, optimizer: { rate: 1e-3 } })).toEqual(others);
      const named = settings(number, { ...all, model: { output: { kind: 'dense' } } });
      expect(named).not.toHaveProperty('model.output');
    }
  });

  it('are settings that are taken, around the defaults, none with more connections than save anything', () => {
    const kinds = new Set<string>();
    for (let number = 1; number < 100; number++) {
      const config = parseConfig(withDraw(all, settings(number)));
      kinds.add(config.model.output.kind);
      const { output } = config.model;
      if ('fanIn' in output) expect(output.fanIn).toBeLessThanOrEqual(8);
      expect(config.optimizer.rate / base.optimizer.rate).toBeGreaterThan(0.2);
      expect(config.optimizer.rate / base.optimizer.rate).toBeLessThan(4.1);
    }
    expect([...kinds].sort()).toEqual(['dense', 'fan-in', 'grouped']);
  });
});

describe('samples of rows', () => {
  it('are even, each within the next, and say which share of labels and of answers they can know', async () => {
    const samples = new Samples(rows, validation, { seed: 1, leastRows: 30 });
    const sets = samples.rungs.map((_, rung) => {
      const some = samples.rowsOf(rung);
      return Array.from({ length: some.rows }, (_, r) =>
        [
          some.indices.subarray(some.indptr[r], some.indptr[r + 1]),
          some.labelIds.subarray(some.labelIndptr[r], some.labelIndptr[r + 1]),
        ].join('|'),
      );
    });
    expect(sets.map(({ length }) => length)).toEqual([30, 90, 270]);
    for (const [rung, set] of sets.slice(0, -1).entries())
      for (const row of set) expect(sets[rung + 1]).toContain(row);
    const seen = labelFrequencies(samples.rowsOf(0));
    let possible = 0;
    for (let row = 0; row < validation.rows; row++) {
      const own = validation.labelIds.subarray(validation.labelIndptr[row], validation.labelIndptr[row + 1]);
      if (own.some((label) => seen[label] > 0)) possible++;
    }
    expect(samples.rungs[0].ceiling).toBeCloseTo(possible / validation.rows, 12);
    expect(samples.rungs[0].ceiling).toBeLessThan(samples.rungs[1].ceiling);
    expect(samples.rungs.at(-1)?.labelsSeen).toBe(1);
    expect((await DatasetDirectory.open(data)).rows('train')).toBe(270);
  });
});
