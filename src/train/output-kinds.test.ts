/** Every kind of output layer through the whole of training: planned, trained, saved, stopped, resumed, loaded. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Tape } from '../autograd/tape.js';
import { DatasetDirectory, writeDatasetDirectory } from '../data/cache.js';
import { plantedDataset } from '../data/planted.js';
import { selectKernels } from '../kernels/index.js';
import { loadClassifier } from '../model/model-io.js';
import { modelArrays } from '../model/state.js';
import { mostFrequent } from '../output/head-tail-parts.js';
import type { TrainConfigInput } from './config.js';
import { evaluateModel } from './evaluate.js';
import type { TrainEvent } from './events.js';
import { train } from './train.js';

const shape = { features: 120, labels: 40, seed: 3 };
const kernels = selectKernels({ backend: 'reference' });
let home: string;
let data: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-kinds-'));
  data = join(home, 'data');
  await writeDatasetDirectory(data, {
    name: 'planted',
    origin: 'made',
    licence: 'none',
    train: plantedDataset({ ...shape, rows: 600 }),
    validation: plantedDataset({ ...shape, rows: 100, split: 'validation' }),
    test: plantedDataset({ ...shape, rows: 200, split: 'test' }),
  });
});
afterAll(() => rm(home, { recursive: true, force: true }));

type Output = NonNullable<TrainConfigInput['model']>['output'];
const topology = { kind: 'set', every: 10 } as const;
type More = Partial<TrainConfigInput> & { readonly encoder?: object };
type Kind = { output: Output; labelsInHead?: number; more?: More; loss?: Loss };
/** An encoder with hidden layers whose inputs backward keeps block-sparse. */
const pruned = (activation: 'relu' | 'gelu'): More => ({
  encoder: { hidden: [48, 40], activation, layerNorm: true },
  saved: {
    inputs: { kind: 'bsr', block: 8, keep: { from: 0.9, to: 0.5, steps: 40 } },
    rules: [
      { op: 'gelu', form: { kind: 'bsr', block: 8, keep: 0.9 } },
      { op: 'linear', form: { kind: 'recompute' } },
    ],
    warmup: 10,
    sampleEvery: 7,
  },
});
type Loss = 'taylorSoftmax' | 'zLoss' | 'softmax';
const plainSgd = (rate: number) => ({ more: { outputOptimizer: { kind: 'sgd', rate } as const } });
const kinds: Record<string, Kind> = {
  dense: { output: { kind: 'dense' } },
  grouped: { output: { kind: 'grouped', fanIn: 10, group: 4, topology } },
  'grouped by clusters': { output: { kind: 'grouped', fanIn: 10, group: 4, order: 'clusters', topology } },
  'grouped by clusters, with a head': {
    output: { kind: 'grouped', fanIn: 10, group: 4, order: 'clusters', head: 0.2, topology },
  },
  'grouped in random order': { output: { kind: 'grouped', fanIn: 10, group: 4, order: 'random', topology } },
  'grouped with a dense head': {
    output: { kind: 'grouped', fanIn: 8, group: 8, head: 0.2, topology },
    labelsInHead: 8,
  },
  'grouped with a head of five': {
    output: { kind: 'grouped', fanIn: 8, group: 8, head: 5, topology },
    labelsInHead: 5,
  },
  'grouped behind an intermediate layer': {
    output: { kind: 'grouped', fanIn: 8, group: 4, topology, intermediate: { width: 32 } },
  },
  'sparse beside a low-rank part': {
    output: {
      ...{ kind: 'fan-in', fanIn: 10, shared: 4, topology: { kind: 'rigl', every: 10 } },
      intermediate: { width: 28, activation: 'none', start: 'identity' },
    },
  },
  'grouped in bfloat16 with a dense head': {
    output: { kind: 'grouped', fanIn: 8, group: 8, head: 5, precision: 'bf16', topology },
    labelsInHead: 5,
  },
  'dense in bfloat16': { output: { kind: 'dense', precision: 'bf16' } },
  'dense with softmax': { output: { kind: 'dense' }, loss: 'softmax' },
  'fan-in with softmax': { output: { kind: 'fan-in', fanIn: 10, topology }, loss: 'softmax' },
  'fan-in with softmax and RigL': {
    output: { kind: 'fan-in', fanIn: 10, topology: { kind: 'rigl', every: 10 } },
    loss: 'softmax',
  },
  'fan-in in bfloat16': {
    output: { kind: 'fan-in', fanIn: 10, precision: 'bf16', form: 'compact', topology },
    ...plainSgd(9.6),
  },
  'grouped with RigL': {
    output: { kind: 'grouped', fanIn: 10, group: 4, topology: { kind: 'rigl', every: 10 } },
  },
  'grouped with softmax, RigL and a dense head': {
    output: { kind: 'grouped', fanIn: 10, group: 4, head: 5, topology: { kind: 'rigl', every: 10 } },
    loss: 'softmax',
    labelsInHead: 5,
  },
  'dense with sampled softmax': { output: { kind: 'dense', samples: 16 }, loss: 'softmax' },
  'bottleneck with sampled softmax': {
    output: { kind: 'bottleneck', width: 8, samples: 16 },
    loss: 'softmax',
  },
  'dense behind pruned activations': { output: { kind: 'dense' }, more: pruned('relu') },
  'fan-in behind pruned activations': {
    output: { kind: 'fan-in', fanIn: 10, topology },
    more: pruned('gelu'),
  },
  'grouped behind pruned activations and an intermediate layer': {
    output: { kind: 'grouped', fanIn: 8, group: 4, topology, intermediate: { width: 32 } },
    more: pruned('gelu'),
  },
  'factored behind pruned activations': {
    output: { kind: 'factored' },
    loss: 'taylorSoftmax',
    more: { ...pruned('relu'), ...plainSgd(3).more },
  },
  'a bottleneck behind pruned activations': {
    output: { kind: 'bottleneck', width: 12 },
    more: pruned('gelu'),
  },
  'sampled softmax behind pruned activations': {
    output: { kind: 'dense', samples: 16 },
    loss: 'softmax',
    more: pruned('relu'),
  },
  'grouped with a dense head behind pruned activations': {
    output: { kind: 'grouped', fanIn: 8, group: 8, head: 0.2, topology },
    labelsInHead: 8,
    more: pruned('relu'),
  },
  bottleneck: { output: { kind: 'bottleneck', width: 12 } },
  factored: { output: { kind: 'factored' }, loss: 'taylorSoftmax', ...plainSgd(3) },
  'factored with the Z-loss': {
    output: { kind: 'factored', startScale: 1 },
    loss: 'zLoss',
    ...plainSgd(1),
  },
  'the dense twin of factored': {
    output: { kind: 'factored', form: 'dense' },
    loss: 'taylorSoftmax',
    ...plainSgd(3),
  },
};

const config = (
  out: string,
  output: Output,
  { encoder = {}, ...more }: More = {},
  loss?: Loss,
): TrainConfigInput => ({
  data,
  out: join(home, out),
  backend: 'reference',
  batch: 32,
  epochs: 6,
  optimizer: { kind: 'adam', rate: 2e-2 },
  outputOptimizer: { kind: 'adam', rate: 2e-2 },
  model: {
    encoder: { embedding: 24, dropout: 0.1, ...encoder },
    output,
    ...(loss === undefined ? {} : { loss }),
  },
  ...more,
});

const arraysOf = async (run: string) => {
  const { classifier } = await loadClassifier(join(home, run), kernels);
  return Object.fromEntries(modelArrays(classifier).map(({ name, data }) => [name, Array.from(data)]));
};

describe.each(Object.entries(kinds))('output %s', (name, { output, labelsInHead, more = {}, loss }) => {
  it('learns planted labels within its planned memory; the saved model scores the same', async () => {
    const events: TrainEvent[] = [];
    const result = await train(config(`${name} learns`, output, more, loss), {
      onEvent: (e) => events.push(e),
    });
    expect(result.validation?.precision['1']).toBeGreaterThan(70);
    const directory = await DatasetDirectory.open(data);
    const model = await loadClassifier(join(home, `${name} learns`), kernels);
    // Scorings while training know of no calibration.
    const byScore = { ...model, calibration: null };
    const again = await evaluateModel(byScore, directory, 'validation', kernels);
    expect(100 * again.at[0].precision.value).toBeCloseTo(result.validation?.precision['1'] ?? 0, 9);
    expect(result.classifier.device.arena.growths).toBe(0);
    const start = events.find((e) => e.event === 'start');
    expect(result.memory.accountedPeak).toBeLessThanOrEqual(
      start?.event === 'start' ? start.plannedBytes : 0,
    );
    if (labelsInHead === undefined) return;
    const head = (await arraysOf(`${name} learns`))['output.head.labels'];
    expect(head).toEqual(Array.from(mostFrequent(result.frequencies, labelsInHead)));
  });

  it('stopped and resumed ends with the same bits', async () => {
    const [whole, halves] = [`${name} whole`, `${name} halves`];
    await train(config(whole, output, { epochs: 3, ...more }, loss));
    const stop = new AbortController();
    const onEvent = (e: TrainEvent) => {
      if (e.event === 'validation') stop.abort();
    };
    const stopped = await train(config(halves, output, { epochs: 3, ...more }, loss), {
      signal: stop.signal,
      onEvent,
    });
    expect(stopped.finished).toBe(false);
    await train(config(halves, output, { epochs: 3, ...more }, loss), { resume: true });
    expect(await arraysOf(halves)).toEqual(await arraysOf(whole));
  });
});

describe('a loss of the other family', () => {
  it.each([
    { kind: 'dense', loss: 'zLoss', code: 'LOSS_UNSUPPORTED' },
    { kind: 'fan-in', loss: 'squaredError', code: 'LOSS_UNSUPPORTED' },
    { kind: 'factored', loss: 'bce', code: 'FACTORED_LOSS' },
  ] as const)('is refused before training: $loss by $kind', async ({ kind, loss, code }) => {
    const model = { encoder: { embedding: 24 }, output: { kind }, loss };
    const input = {
      ...config(`refused ${kind}`, { kind }),
      model,
      outputOptimizer: { kind: 'sgd' },
    } as const;
    await expect(train(input)).rejects.toMatchObject({ code, exitCode: 2 });
  });
});

describe('a bottleneck', () => {
  it('is a linear layer on the tape, then a dense layer of its width', async () => {
    const { classifier } = await train(
      config('factored', { kind: 'bottleneck', width: 12 }, { epochs: 0.1 }),
    );
    expect(classifier.output).toMatchObject({ kind: 'dense', inputs: 12, labels: 40 });
    const encoder = 120 * 24 + 24;
    expect(classifier.weightCount).toBe(encoder + (24 * 12 + 12) + 40 * (12 + 1));
    // Linear: without a bias, twice the input gives twice the output.
    const { device, intermediate } = classifier;
    const bias = modelArrays(classifier).find(({ name }) => name === 'intermediate.layers.0.bias');
    bias?.data.fill(0);
    const h = Float32Array.from({ length: 24 }, (_, i) => Math.sin(i));
    const of = (x: Float32Array) =>
      Array.from(classifier.widen(device.fromArray([1, 24], x), new Tape(device), false).data);
    const [once, twice] = [of(h), of(h.map((x) => -2 * x))];
    expect(intermediate).not.toBeNull();
    for (const [i, y] of once.entries()) expect(twice[i]).toBeCloseTo(-2 * y, 5);
  });
});
