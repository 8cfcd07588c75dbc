/** Seeded problems for the tests of the factored layer, and the comparison with its dense twin. */
import { expect } from 'vitest';
import type { Positives } from '../../kernels/face.js';
import { RandomStream } from '../../kernels/random.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import { DenseTwin } from './dense-twin.js';
import { FactoredOutput } from './factored-output.js';
import type { FactoredOptions } from './options.js';

export interface Problem {
  readonly h: Float64Array;
  readonly targets: Positives;
}

export interface ProblemShape {
  readonly batch: number;
  readonly inputs: number;
  readonly labels: number;
  /** K, targets of every example. */
  readonly perRow: number;
  /** Length of every hidden vector; default 1. */
  readonly length?: number;
}

/** Hidden vectors of one length with a common direction, K targets each, target values in [0.5, 1.5). */
export function problem(draws: RandomStream, shape: ProblemShape): Problem {
  const { batch, inputs, labels, perRow, length = 1 } = shape;
  const h = Float64Array.from({ length: batch * inputs }, () => Math.fround(draws.uniform() - 0.25));
  for (let j = 0; j < batch; j++) {
    const row = h.subarray(j * inputs, (j + 1) * inputs);
    const size = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
    for (let i = 0; i < inputs; i++) row[i] = Math.fround((row[i] / size) * length);
  }
  const keys = new Set<number>();
  for (let row = 0; row < batch; row++) {
    const own = new Set<number>();
    while (own.size < Math.min(perRow, labels)) own.add(draws.below(labels));
    for (const label of own) keys.add(label * batch + row);
  }
  const sorted = [...keys].sort((a, b) => a - b);
  return {
    h,
    targets: {
      count: sorted.length,
      label: Uint32Array.from(sorted, (key) => Math.floor(key / batch)),
      row: Uint32Array.from(sorted, (key) => key % batch),
      values: Float64Array.from(sorted, () => Math.fround(0.5 + draws.uniform())),
    },
  };
}

export function hidden(device: Device, inputs: number, { h }: Problem): Tensor {
  device.arena.reset();
  return device.fromArray([h.length / inputs, inputs], h);
}

/** Largest difference relative to the largest element. */
export function relative(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let [worst, size] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const off = Math.abs(actual[i] - expected[i]);
    if (!(off <= worst)) worst = Number.isNaN(off) ? Infinity : off;
    size = Math.max(size, Math.abs(expected[i]));
  }
  return size === 0 ? worst : worst / size;
}

/** The same layer in both forms, from the same start. */
export function twins(device: Device, options: Omit<FactoredOptions, 'stream'>, on = device) {
  const stream = () => RandomStream.named(5, 'output');
  return {
    layer: new FactoredOutput(device, { ...options, stream: stream() }),
    twin: new DenseTwin(on, { ...options, stream: stream() }),
  };
}
