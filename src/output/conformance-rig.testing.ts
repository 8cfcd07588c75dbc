/** What the checks of output layers work with: problems, a layer on a device of its own, and the dense oracle beside it. */
import { expect } from 'vitest';
import type { Floats, LabelLoss, Positives } from '../kernels/face.js';
import { RandomStream } from '../kernels/random.js';
import type { OptimizerSpec } from '../optim/rules.js';
import { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Backend } from './backends.testing.js';
import type { OutputLayer, TopK } from './layer.js';
import type { DenseOracle } from './oracle.testing.js';

export interface Setup {
  readonly inputs: number;
  readonly labels: number;
  readonly loss: LabelLoss;
  readonly optimizer: OptimizerSpec;
  readonly chunk?: number;
  readonly seed?: number;
  readonly initialBias?: number | Floats;
}

export interface Subject {
  readonly name: string;
  readonly inputs: number;
  readonly labels: number;
  readonly batch: number;
  readonly chunk: number;
  /** By default all. */
  readonly losses?: readonly LabelLoss[];
  /** For a large subject: fewer batches and optimisers. */
  readonly brief?: boolean;
  make(device: Device, setup: Setup): OutputLayer;
  /** Sets every weight to 0 and the bias of label l to bias(l); by default weights and biases are rows by label. */
  flatten?(layer: OutputLayer, bias: (label: number) => number): void;
}

/** Large enough eps that float32 and float64 agree on tiny gradients too. */
export const optimizers: readonly { readonly name: string; readonly optimizer: OptimizerSpec }[] = [
  { name: 'sgd', optimizer: { kind: 'sgd', rate: 0.5 } },
  { name: 'sgd with weight decay', optimizer: { kind: 'sgd', rate: 0.5, weightDecay: 0.01 } },
  { name: 'sgd with momentum', optimizer: { kind: 'sgd', rate: 0.2, momentum: 0.9, weightDecay: 0.01 } },
  {
    name: 'sgd with Nesterov momentum',
    optimizer: { kind: 'sgd', rate: 0.2, momentum: 0.8, nesterov: true },
  },
  { name: 'adam', optimizer: { kind: 'adam', rate: 0.05, eps: 1e-3 } },
  { name: 'adam with weight decay', optimizer: { kind: 'adam', rate: 0.05, eps: 1e-3, weightDecay: 0.02 } },
  {
    name: 'adamw',
    optimizer: { kind: 'adamw', rate: 0.05, eps: 1e-3, weightDecay: 0.1, beta1: 0.8, beta2: 0.95 },
  },
  { name: 'adagrad', optimizer: { kind: 'adagrad', rate: 0.1, eps: 1e-3, weightDecay: 0.01 } },
];
export const allLosses: readonly LabelLoss[] = ['bce', 'squaredHinge', 'softmax'];
export const plainSgd: OptimizerSpec = { kind: 'sgd', rate: 0.5 };
export const adam: OptimizerSpec = { kind: 'adam', rate: 0.05, eps: 1e-3 };

/** Positives from pairs, in the order that the contract asks for. */
export function positivesOf(pairs: readonly (readonly [label: number, row: number])[]): Positives {
  const sorted = pairs.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]);
  return {
    count: sorted.length,
    label: Uint32Array.from(sorted, ([label]) => label),
    row: Uint32Array.from(sorted, ([, row]) => row),
  };
}

/** Largest |a - b| / (1 + |b|); Infinity when a number is missing or not a number. */
export function distance(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i] - expected[i]) / (1 + Math.abs(expected[i]));
    if (!(error <= worst)) worst = Number.isNaN(error) ? Infinity : error;
  }
  return worst;
}

export interface Problem {
  readonly h: Float64Array;
  readonly positives: Positives;
}

/** Hidden vectors and positives: about two per row, none in row 0, label 0 and the last one among them. */
export function problem(name: string, batch: number, inputs: number, labels: number): Problem {
  const draws = RandomStream.named(9, name);
  // Float32 numbers in [-2, 2), so that every backend sees the same ones; quick to make, 66,000 to a row.
  let word = draws.uint32();
  const h = Float64Array.from({ length: batch * inputs }, () => {
    word = (Math.imul(word, 1664525) + 1013904223) >>> 0;
    return (word >>> 8) * 2 ** -22 - 2;
  });
  const pairs = new Map<number, [number, number]>();
  for (let row = 1; row < batch; row++) {
    for (const label of [draws.below(labels), draws.below(labels)])
      pairs.set(label * batch + row, [label, row]);
  }
  const last = batch - 1;
  if (last > 0) {
    pairs.set(last, [0, last]);
    pairs.set((labels - 1) * batch + last, [labels - 1, last]);
  }
  return { h, positives: positivesOf([...pairs.values()]) };
}

/** Copies of everything that training changes. */
export const snapshot = (layer: OutputLayer) => {
  const { model, optimizer } = layer.state();
  return [...model, ...optimizer].map(({ name, data }) => ({ name, data: Array.from(data) }));
};

/** [rows][labels] of the scores that a ranking of all labels holds. */
export function byLabel({ k, labels: ranked, scores }: TopK, labels: number): number[][] {
  return Array.from({ length: ranked.length / k }, (_, b) => {
    const row = new Array<number>(labels).fill(Number.NaN);
    for (let i = b * k; i < (b + 1) * k; i++) if (ranked[i] < labels) row[ranked[i]] = scores[i];
    return row;
  });
}

export function flattenRows(layer: OutputLayer, bias: (label: number) => number): void {
  const arrays = new Map(layer.state().model.map(({ name, data }) => [name, data]));
  arrays.get('weights')!.fill(0);
  const biases = arrays.get('bias')!;
  for (let l = 0; l < layer.labels; l++) biases[l] = bias(l);
}

/** One subject on one backend; `start` before every test. */
export function rigOf(subject: Subject, backend: Backend) {
  const { inputs, labels, batch, chunk } = subject;
  const { kernels, tolerance } = backend;
  let device: Device;
  const make = (setup: Partial<Setup> = {}, on = device) =>
    subject.make(on, {
      inputs,
      labels,
      chunk,
      loss: 'bce',
      optimizer: plainSgd,
      seed: 3,
      initialBias: -0.5,
      ...setup,
    });
  const hidden = (h: Float64Array): Tensor => {
    device.arena.reset();
    return device.fromArray([h.length / inputs, inputs], h);
  };
  const one = problem('one', batch, inputs, labels);

  /** Everything that `connections` shows, against the oracle's matrix. */
  const expectSameWeights = (layer: OutputLayer, oracle: DenseOracle, within = tolerance) => {
    expect(layer.labels).toBe(oracle.labels);
    for (let l = 0; l < oracle.labels; l++) {
      const own = layer.connections(l);
      const row = oracle.weights.subarray(l * inputs, (l + 1) * inputs);
      expect(
        distance(
          own.weights,
          Array.from(own.inputs, (j) => row[j]),
        ),
      ).toBeLessThanOrEqual(within);
      expect(distance([own.bias], [oracle.bias[l]])).toBeLessThanOrEqual(within);
    }
  };
  const expectSameStep = async (
    layer: OutputLayer,
    oracle: DenseOracle,
    { h, positives }: Problem,
    rate: number,
  ) => {
    const result = await layer.step(hidden(h), positives, { rate });
    const expected = oracle.step(h, positives, { rate });
    expect(distance([result.loss], [expected.loss])).toBeLessThanOrEqual(tolerance);
    expect(result.dh!.shape).toEqual([h.length / inputs, inputs]);
    expect(distance(result.dh!.data, expected.dh)).toBeLessThanOrEqual(tolerance);
    expect(result.squares).toBeNull();
  };

  return {
    ...{ subject, backend, one, make, hidden, expectSameWeights, expectSameStep },
    get device() {
      return device;
    },
    start() {
      // Checks of a backend that is not there are skipped.
      if (kernels !== null) device = new Device(kernels);
    },
  };
}

export type Rig = ReturnType<typeof rigOf>;
