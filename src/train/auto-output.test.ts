import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeDatasetDirectory } from '../data/cache.js';
import { plantedDataset } from '../data/planted.js';
import { selectKernels } from '../kernels/index.js';
import { chooseOutput } from './auto-output.js';
import { parseConfig, type TrainConfigInput } from './config.js';
import type { TrainEvent } from './events.js';
import { leavesOutputOpen } from './open-output.js';
import { planTraining } from './plan.js';
import { type TrainOptions, train } from './train.js';

const kernels = selectKernels({ backend: 'reference' });
const few = plantedDataset({ rows: 200, features: 100, labels: 60, seed: 3 });
const many = plantedDataset({ rows: 300, features: 500, labels: 3000, seed: 3 });
let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-auto-'));
  await writeDatasetDirectory(join(home, 'many'), {
    ...{ name: 'planted', origin: 'made', licence: 'none' },
    train: many,
    validation: plantedDataset({ rows: 40, features: 500, labels: 3000, seed: 3, split: 'validation' }),
  });
});
afterAll(() => rm(home, { recursive: true, force: true }));

const input = (out: string, more: Partial<TrainConfigInput> = {}): TrainConfigInput => ({
  ...{ data: join(home, 'many'), out: join(home, out), backend: 'reference', batch: 32, epochs: 1 },
  model: { encoder: { embedding: 64 } },
  ...more,
});
const roomy = { maxMemory: Number.POSITIVE_INFINITY, baseRss: 0 };
const choose = (
  rows = many,
  model: TrainConfigInput['model'] = {},
  room: { maxMemory: number; baseRss: number } = roomy,
) =>
  chooseOutput(
    input('none', { model: { encoder: { embedding: 64 }, ...model } }),
    kernels,
    { rows, validation: null },
    room,
  );

describe('the output layer of a run that names none', () => {
  it('is open where nothing is said of it, or kind is auto, and nowhere else', () => {
    const outputs = [undefined, {}, { kind: 'auto' }];
    for (const output of outputs) expect(leavesOutputOpen({ model: { output } })).toBe(true);
    expect(leavesOutputOpen({})).toBe(true);
    for (const output of [{ fanIn: 8 }, { kind: 'dense' }, { startScale: 1 }])
      expect(leavesOutputOpen({ model: { output } })).toBe(false);
    expect(() => leavesOutputOpen({ model: { output: { kind: 'auto', fanIn: 8 } } })).toThrow(
      /CONFIG_AUTO.*|fanIn/,
    );
  });

  it('is dense over few labels, sparse over many, factored for losses that nothing else can train', async () => {
    expect((await choose(few)).config.model.output.kind).toBe('dense');
    const sparse = await choose(many);
    expect(sparse.config.model.output).toMatchObject({ kind: 'fan-in', fanIn: 32 });
    expect(sparse.choice).toMatchObject({ name: 'fan-in 32', tooLarge: [] });
    expect(sparse.choice.reason).toMatch(/^3,000 labels over 64 hidden units \(L\/d = 47\), \d+ % /);
    const factored = await choose(many, { loss: 'zLoss' });
    expect(factored.config.model).toMatchObject({ loss: 'zLoss', output: { kind: 'factored' } });
    expect(factored.config.outputOptimizer.kind).toBe('sgd');
  });

  it('has three sixteenths of a wide hidden layer for each label, and is planned to shrink as it does', async () => {
    const model = { encoder: { embedding: 256 } };
    const { config, choice } = await choose(many, model);
    const topology = { kind: 'static', start: 'gradient' };
    expect(config.model.output).toMatchObject({ kind: 'fan-in', fanIn: 48, topology });
    expect(choice).toMatchObject({ name: 'fan-in 48', tooLarge: [] });
    const data = { rows: many, validation: null };
    const { lines } = await planTraining(config, kernels, data, { calibrate: false });
    const weights = 3000 * 48 * 4;
    const less = { maxMemory: 50e6 + lines[0].totalBytes - 0.9 * weights, baseRss: 50e6 };
    const short = await choose(many, model, less);
    expect(short.config.model.output).toMatchObject({ kind: 'fan-in', form: 'compact' });
    expect(short.choice.tooLarge[0]).toBe('fan-in 48');
    const planned = await planTraining(config, kernels, data, { calibrate: false, ...less });
    expect(planned.fitting?.tried.map(({ name }) => name)).toEqual([
      ...short.choice.tooLarge,
      short.choice.name,
    ]);
    // Where another layer is configured, plan recommends the same.
    const dense = parseConfig(input('dense', { model: { ...model, output: { kind: 'dense' } } }));
    const { advice } = await planTraining(dense, kernels, data, { calibrate: false });
    expect(advice.choice).toBe(choice.name);
  });

  it('never has more connections than half of a narrow hidden layer', async () => {
    const narrow = await choose(many, { encoder: { embedding: 24 } });
    expect(narrow.config.model.output).toMatchObject({ kind: 'fan-in', fanIn: 12 });
  });

  it('shrinks until it fits the memory, names what did not, and refuses what nothing fits', async () => {
    const weights = 3000 * 32 * 4;
    const { config } = await choose();
    const data = { rows: many, validation: null };
    const { lines } = await planTraining(config, kernels, data, { calibrate: false });
    const bound = lines[0].totalBytes - weights / 4;
    const fitting = await choose(many, {}, { maxMemory: 50e6 + bound, baseRss: 50e6 });
    expect(fitting.choice.tooLarge[0]).toBe('fan-in 32');
    expect(fitting.config.model.output).toMatchObject({ kind: 'fan-in', precision: 'bf16' });
    await expect(choose(many, {}, { maxMemory: 50.4e6, baseRss: 50e6 })).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
      facts: {
        problem: expect.stringContaining('even with the output layer fan-in 8 compact bf16'),
        received: expect.stringMatching(/^a plan of \d MiB: .*weights/),
      },
    });
  });

  it('is told, stands in the config of the run, and trains what the same settings written out train', async () => {
    const events: TrainEvent[] = [];
    const chosen = await train(input('chosen'), { onEvent: (e) => events.push(e) });
    expect(chosen.choice?.name).toBe('fan-in 32');
    expect(events.filter((e) => e.event === 'output-chosen')).toEqual([
      { event: 'output-chosen', ...chosen.choice },
    ]);
    const stored = JSON.parse(await readFile(join(home, 'chosen', 'config.json'), 'utf8'));
    expect(stored.model.output).toEqual(chosen.config.model.output);
    const { model } = chosen.config;
    const written = await train(input('written', { model }));
    expect(written.choice).toBeNull();
    expect(written.validation).toEqual(chosen.validation);
    const auto = await train(
      input('auto', { model: { encoder: { embedding: 64 }, output: { kind: 'auto' } } }),
    );
    expect(auto.validation).toEqual(chosen.validation);
  });

  it('is not chosen again when a run is resumed, even where another would fit now', async () => {
    const stopAfter = (steps: number): TrainOptions => {
      const stop = new AbortController();
      return { signal: stop.signal, onEvent: (e) => e.event === 'memory' && e.step >= steps && stop.abort() };
    };
    const tight = { ...stopAfter(4), maxMemory: process.memoryUsage.rss() + 200e6 };
    expect((await train(input('halves'), tight)).finished).toBe(false);
    const stored = JSON.parse(await readFile(join(home, 'halves', 'config.json'), 'utf8'));
    // As though the run had been begun where less memory was.
    stored.model.output.precision = 'bf16';
    stored.model.output.form = 'compact';
    const file = join(home, 'halves', 'config.json');
    await rm(join(home, 'halves', 'checkpoints'), { recursive: true });
    await writeFile(file, `${JSON.stringify(stored, null, 2)}\n`);
    const resumed = await train(input('halves'), { resume: true });
    expect(resumed.config.model.output).toMatchObject({ form: 'compact', precision: 'bf16' });
    expect(resumed.choice).toBeNull();
    const whole = await train(input('whole', { model: resumed.config.model }));
    expect(resumed.validation).toEqual(whole.validation);
  });
});

describe('a refused start', () => {
  it.each([
    ['a wrong setting', { epochs: -1 }, 'CONFIG_INVALID'],
    ['settings beside auto', { model: { output: { kind: 'auto', fanIn: 3 } } }, 'CONFIG_AUTO'],
    ['no dataset', { data: 'nowhere' }, 'DATASET_MISSING'],
    ['no memory', { model: { encoder: { embedding: 1e12 } } }, 'OUT_OF_MEMORY'],
    [
      'a loss that the layer does not have',
      { model: { loss: 'zLoss', output: { kind: 'dense' } } },
      'LOSS_UNSUPPORTED',
    ],
    ['a model that is not there', { start: { model: 'nowhere' } }, 'MODEL_MISSING'],
  ] as const)('leaves no run directory behind: %s', async (_, more, code) => {
    await expect(train(input('refused', more as Partial<TrainConfigInput>))).rejects.toMatchObject({ code });
    expect(await readdir(home)).not.toContain('refused');
  });
});
