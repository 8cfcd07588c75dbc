import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeDatasetDirectory } from '../data/cache.js';
import { plantedDataset } from '../data/planted.js';
import { selectKernels } from '../kernels/index.js';
import { Classifier } from '../model/classifier.js';
import { loadClassifier } from '../model/model-io.js';
import { modelSpec } from '../model/spec.js';
import { modelArrays } from '../model/state.js';
import { openModel } from '../store/index.js';
import { Device } from '../tensor/device.js';
import type { TrainConfigInput } from './config.js';
import type { TrainEvent } from './events.js';
import { train } from './train.js';

const shape = { features: 120, labels: 40, seed: 3 };
let home: string;
let data: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-auxiliary-'));
  data = join(home, 'data');
  await writeDatasetDirectory(data, {
    name: 'planted',
    origin: 'made',
    licence: 'none',
    train: plantedDataset({ ...shape, rows: 400 }),
    validation: plantedDataset({ ...shape, rows: 60, split: 'validation' }),
    test: plantedDataset({ ...shape, rows: 60, split: 'test' }),
  });
});
afterAll(() => rm(home, { recursive: true, force: true }));

const auxiliary = { lambda: 0.5, cutoff: 2, maxClusterSize: 5 };
const fanIn = (intermediate: unknown = null) =>
  ({ kind: 'fan-in', fanIn: 4, topology: { kind: 'set', every: 10 }, intermediate }) as const;

const config = (out: string, more: Partial<TrainConfigInput> = {}): TrainConfigInput => ({
  data,
  out: join(home, out),
  backend: 'reference',
  batch: 32,
  epochs: 3,
  optimizer: { kind: 'adam', rate: 2e-2 },
  outputOptimizer: { kind: 'adam', rate: 2e-2 },
  validation: { rows: 60, every: 0.5 },
  auxiliary,
  model: { encoder: { embedding: 24, dropout: 0.2, featureDropout: 0.1 }, output: fanIn() },
  ...more,
});

async function bytesOf(run: string): Promise<Record<string, string>> {
  const { classifier } = await loadClassifier(join(home, run), selectKernels({ backend: 'reference' }));
  return Object.fromEntries(
    modelArrays(classifier).map(({ name, data: { buffer, byteOffset, byteLength } }) => [
      name,
      Buffer.from(new Uint8Array(buffer, byteOffset, byteLength)).toString('base64'),
    ]),
  );
}

async function trained(settings: TrainConfigInput) {
  const events: TrainEvent[] = [];
  const result = await train(settings, { onEvent: (e) => events.push(e) });
  const progress = events.filter((e) => e.event === 'progress');
  return { ...result, events, progress };
}

/** Stops after the first validation at or after `epoch`, then goes on to the end. */
async function inTwoParts(settings: TrainConfigInput, epoch: number): Promise<void> {
  const stop = new AbortController();
  const onEvent = (e: TrainEvent) => {
    if (e.event === 'validation' && e.epoch >= epoch) stop.abort();
  };
  expect((await train(settings, { signal: stop.signal, onEvent })).finished).toBe(false);
  expect((await train(settings, { resume: true })).finished).toBe(true);
}

describe('the auxiliary objective', () => {
  it('with weight 0 changes no bit of the model', async () => {
    await trained(config('none', { auxiliary: null, epochs: 2 }));
    await trained(config('zero', { auxiliary: { ...auxiliary, lambda: 0 }, epochs: 2 }));
    await trained(config('some', { epochs: 2 }));
    const none = await bytesOf('none');
    expect(await bytesOf('zero')).toEqual(none);
    expect(await bytesOf('some')).not.toEqual(none);
  });

  it('tells its weight, loss and share; the weight falls to 0 at the cutoff, then the head is gone', async () => {
    const { events, progress, classifier, memory } = await trained(
      // A progress event per step.
      config('told', { validation: { rows: 60, every: 1 / 13 } }),
    );
    const clusters = events.find((e) => e.event === 'clusters');
    expect(clusters).toMatchObject({ clusters: 8, largest: 5 });
    const during = progress.filter((e) => e.epoch <= auxiliary.cutoff).map((e) => e.auxiliary);
    const after = progress.filter((e) => e.epoch > auxiliary.cutoff).map((e) => e.auxiliary);
    expect([during.length, after.length]).toEqual([26, 13]);
    expect(after.every((a) => a === null)).toBe(true);
    const lambdas = during.map((a) => a?.lambda ?? Number.NaN);
    expect([...lambdas].sort((a, b) => b - a)).toEqual(lambdas);
    expect(lambdas[0]).toBe(auxiliary.lambda);
    expect(lambdas.at(-1)).toBeLessThan(0.01);
    // The same rows in both epochs.
    const epochLoss = (from: number) =>
      during.slice(from, from + 13).reduce((sum, a) => sum + (a?.loss ?? Number.NaN), 0);
    expect(epochLoss(13)).toBeLessThan(0.95 * epochLoss(0));
    for (const a of during) {
      expect(a?.mainNorm).toBeGreaterThan(0);
      expect(a?.auxiliaryNorm).toBeGreaterThan(0);
    }
    expect(memory.measured.auxiliary).toBeGreaterThan(0);
    expect(classifier.device.ledger.live().auxiliary).toBe(0);
  });

  it.each([null, 1])('stays within the plan, and the arena does not grow (clip %s)', async (clip) => {
    const model = {
      encoder: { embedding: 24, dropout: 0.2 },
      output: fanIn({ width: 48, activation: 'gelu' }),
    };
    const run = await trained(config(`plan-${clip}`, { epochs: 0.5, clip, model }));
    expect(run.classifier.device.arena.growths).toBe(0);
    const start = run.events.find((e) => e.event === 'start');
    expect(run.memory.accountedPeak).toBeLessThanOrEqual(start?.plannedBytes ?? 0);
    // The rivals have neither head nor clusters.
    expect([run.memory.denseSame.auxiliary, run.memory.denseAdam.auxiliary]).toEqual([0, 0]);
  });

  it.each([
    ['before', 1],
    ['after', 2.5],
  ])(
    'a run stopped %s the cutoff goes on to the same bits, intermediate layer and all',
    async (name, epoch) => {
      const model = { encoder: { embedding: 24, dropout: 0.2 }, output: fanIn({ width: 40 }) };
      await trained(config(`whole-${name}`, { model }));
      await inTwoParts(config(`parts-${name}`, { model }), epoch);
      expect(await bytesOf(`parts-${name}`)).toEqual(await bytesOf(`whole-${name}`));
    },
  );

  it('leaves no head in the model', async () => {
    const { model } = await trained(config('exported', { epochs: 1 }));
    const stored = await openModel(model as string);
    const names = [...stored.tensors.tensors.keys()];
    await stored.close();
    expect(names.filter((name) => !/^(encoder|output)\./.test(name))).toEqual([]);
  });

  it('refuses to put all labels into one cluster', async () => {
    const one = config('one', { auxiliary: { ...auxiliary, maxClusterSize: 40 } });
    await expect(train(one)).rejects.toMatchObject({ code: 'AUXILIARY_ONE_CLUSTER', exitCode: 2 });
  });
});

describe('the intermediate layer', () => {
  it('is trained, saved, loaded and used: the loaded model scores as the trained one did', async () => {
    const model = { encoder: { embedding: 24, dropout: 0.1 }, output: fanIn({ width: 64 }) };
    const { validation, classifier } = await trained(config('wide', { model, auxiliary: null, epochs: 4 }));
    expect(validation?.precision['1']).toBeGreaterThan(60);
    expect(classifier.output.inputs).toBe(64);
    const loaded = await loadClassifier(join(home, 'wide'), selectKernels({ backend: 'reference' }));
    const arrays = (c: typeof classifier) => modelArrays(c).map(({ name, data: d }) => [name, Array.from(d)]);
    expect(arrays(loaded.classifier)).toEqual(arrays(classifier));
    expect(arrays(classifier).map(([name]) => name)).toContain('intermediate.layers.0.weight');
    expect(classifier.weightCount).toBe(120 * 24 + 24 + 24 * 64 + 64 + 40 * 5);
  });

  it('may be wider than 16 bits can count', async () => {
    const model = {
      encoder: { embedding: 2, dropout: 0 },
      output: { kind: 'fan-in', fanIn: 4, topology: { kind: 'static' }, intermediate: { width: 65_537 } },
    } as const;
    const run = config('wider', { model, auxiliary: null, epochs: 0.1, validation: { rows: 0 } });
    const { classifier } = await trained({ ...run, optimizer: { kind: 'sgd', rate: 0.1 } });
    const columns = classifier.output.state().model.find(({ name }) => name === 'columns');
    expect(columns?.data).toBeInstanceOf(Uint32Array);
    const loaded = await loadClassifier(join(home, 'wider'), selectKernels({ backend: 'reference' }));
    expect(loaded.classifier.output.connections(3)).toEqual(classifier.output.connections(3));
  });

  it.each(['bottleneck', 'factored'])('is no matter of a %s layer, which refuses it', async (kind) => {
    const model = { output: { kind, intermediate: { width: 8 } } } as never;
    await expect(train(config(kind, { model }))).rejects.toMatchObject({ code: 'CONFIG_UNKNOWN_KEY' });
  });

  it('linear and started from the identity, it changes nothing before it learns, before whatever layer', () => {
    const device = new Device(selectKernels({ backend: 'reference' }));
    const made = (output: unknown, labels = 40) =>
      new Classifier(
        device,
        { features: 12, labels },
        modelSpec.parse({ encoder: { embedding: 8, dropout: 0 }, output }),
        { seed: 3, outputOptimizer: { kind: 'sgd', rate: 1 } },
      );
    const batch = {
      ...{ rows: 2, nnz: 3, width: 12, indptr: Int32Array.of(0, 2, 3) },
      ...{ indices: Uint32Array.of(1, 7, 4), values: Float32Array.of(0.5, -2, 1) },
    };
    for (const kind of ['dense', 'fan-in', 'grouped']) {
      const own = kind === 'dense' ? { kind } : { kind, fanIn: 4 };
      for (const width of [8, 11]) {
        const intermediate = { width, activation: 'none', start: 'identity' };
        const [plain, behind] = [made(own), made({ ...own, intermediate })];
        const [h, wide] = [plain.infer(batch), behind.infer(batch)];
        for (let b = 0; b < 2; b++)
          expect(wide.data.slice(b * width, b * width + 8)).toEqual(h.data.slice(8 * b, 8 * b + 8));
        if (width > 8) expect(wide.data[8]).not.toBe(0);
      }
    }
  });
});
