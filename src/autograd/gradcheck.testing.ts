/** Checks gradients of a computation against central finite differences in float64. */
import { expect } from 'vitest';
import { RandomStream } from '../kernels/random.js';
import { referenceKernels } from '../kernels/reference/index.js';
import { scale } from '../ops/elementwise.js';
import { Device } from '../tensor/device.js';
import type { Shape, Tensor } from '../tensor/tensor.js';
import { Parameter, type ParameterOptions } from './parameter.js';
import { Tape } from './tape.js';

export const float64Device = (): Device => new Device(referenceKernels('float64'));

/** A parameter with the given values, or with normal ones from the named stream. */
export function parameter(
  device: Device,
  shape: Shape,
  values: ArrayLike<number> | string,
  options: ParameterOptions = {},
): Parameter {
  const made = new Parameter(device, shape, options);
  if (typeof values !== 'string') made.data.set(values);
  else {
    const stream = RandomStream.named(1, values);
    for (let i = 0; i < made.size; i++) made.data[i] = stream.normal();
  }
  return made;
}

/** The gradient that backward left, as a dense array; null when there is none. */
export function gradientOf(p: Parameter): Float64Array | null {
  if (!p.hasGradient) return null;
  if (p.rowGradient === null) return Float64Array.from(p.grad!.data);
  const dense = new Float64Array(p.size);
  const { count, rows, values } = p.rowGradient;
  const dim = p.size / p.shape[0];
  for (let t = 0; t < count; t++) {
    for (let j = 0; j < dim; j++) dense[rows[t] * dim + j] += values.data[t * dim + j];
  }
  return dense;
}

export interface GradcheckOptions {
  /** Half of the finite difference; its error is of the order of the square. */
  readonly delta?: number;
  /** |analytic - numeric| <= tolerance * max(1, |numeric|) */
  readonly tolerance?: number;
}

/**
 * Compares d<build(...), R>/dp for every element of every parameter, R fixed random numbers, with
 * (f(p + delta) - f(p - delta)) / (2 delta). `build` must compute the same function on every call.
 */
export function gradcheck(
  device: Device,
  parameters: readonly Parameter[],
  build: (tape: Tape) => Tensor,
  { delta = 1e-5, tolerance = 1e-7 }: GradcheckOptions = {},
): void {
  const projection = RandomStream.named(7, 'gradcheck');
  let weights = new Float64Array(0);

  for (const p of parameters) p.zeroGrad();
  device.arena.reset();
  const tape = new Tape(device);
  const root = build(tape);
  weights = Float64Array.from({ length: root.size }, () => projection.normal());
  tape.backward(root, device.fromArray(root.shape, weights, 'gradients'));
  const analytic = parameters.map(gradientOf);

  const value = (): number => {
    device.arena.reset();
    const { data } = build(new Tape(device));
    return weights.reduce((sum, w, i) => sum + w * data[i], 0);
  };
  for (const [i, p] of parameters.entries()) {
    const found = analytic[i];
    expect(found, `parameter ${i} has no gradient`).not.toBeNull();
    for (let j = 0; j < p.size; j++) {
      const kept = p.data[j];
      p.data[j] = kept + delta;
      const above = value();
      p.data[j] = kept - delta;
      const below = value();
      p.data[j] = kept;
      const numeric = (above - below) / (2 * delta);
      const error = Math.abs(found![j] - numeric) / Math.max(1, Math.abs(numeric));
      const where = `parameter ${i}, element ${j}: backward says ${found![j]}, differences say ${numeric}`;
      expect(error, where).toBeLessThanOrEqual(tolerance);
    }
  }
  device.arena.reset();
}

/** How an operation meets its arguments: as parameters, or as results of other operations. */
export const arrivals: readonly {
  readonly name: string;
  readonly via: (tape: Tape, p: Parameter) => Tensor;
}[] = [
  { name: 'parameters', via: (_tape, p) => p },
  { name: 'intermediate tensors', via: (tape, p) => tape.run(scale, { x: p, alpha: 1 }) },
];
