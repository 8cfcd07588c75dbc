/**
 * Losses of small networks on dense targets: summed over outputs, a mean over examples, as one [1] tensor.
 * Targets are 0 or 1, or anything between (soft); squaredError takes any number. They get no gradient.
 * Plain loops: outputs by the hundred. Outputs by the thousand belong to an output layer, which never holds
 * the logits.
 */
import type { Operation } from '../autograd/tape.js';
import type { Tensor } from '../tensor/tensor.js';
import { expectRank, expectShape } from './check.js';

export interface LossArgs {
  /** [B, n] */
  readonly z: Tensor;
  /** [B, n] */
  readonly targets: Tensor;
}

/** log(1 + e^x); exp sees only -|x|, so nothing overflows. */
const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

/** 1 / (1 + e^-x), without overflow and with full precision in the left tail. */
function sigmoid(x: number): number {
  const e = Math.exp(-Math.abs(x));
  return x < 0 ? e / (1 + e) : 1 / (1 + e);
}

/** y softplus(-z) + (1 - y) softplus(z): binary cross-entropy of p = sigmoid(z), never through p itself. */
export const bceWithLogits = pointwise(
  'bceWithLogits',
  10,
  (z, y) => y * softplus(-z) + (1 - y) * softplus(z),
  // sigmoid(z) - y, written so that nothing cancels where the prediction is right
  (z, y) => (1 - y) * sigmoid(z) - y * sigmoid(-z),
);

/** NOTE: Math.max keeps a NaN: a broken network must not look like one without loss. */
const slack = (z: number, y: number): number => Math.max(0, 1 - (2 * y - 1) * z);

/** max(0, 1 - s z)^2 with s = 2y - 1. */
export const squaredHinge = pointwise(
  'squaredHinge',
  4,
  (z, y) => slack(z, y) ** 2,
  (z, y) => -2 * (2 * y - 1) * slack(z, y),
);

/** (z - y)^2, without a factor 1/2. */
export const squaredError = pointwise(
  'squaredError',
  3,
  (z, y) => (z - y) ** 2,
  (z, y) => 2 * (z - y),
);

/** loss = 1/B sum_bj l(z_bj, y_bj);  dz_bj = dloss l'(z_bj, y_bj) / B. */
function pointwise(
  name: string,
  flopsPerOutput: number,
  loss: (z: number, y: number) => number,
  slope: (z: number, y: number) => number,
): Operation<LossArgs, void> {
  return {
    name,

    infer({ z, targets }) {
      expectRank(name, 'z', z, 2);
      expectShape(name, 'targets', targets, z.shape);
      return [1];
    },

    inputs: ({ z }) => [z],

    forward({ dry }, { z, targets }, out) {
      if (dry) return;
      const [x, y] = [z.data, targets.data];
      let sum = 0;
      for (let i = 0; i < z.size; i++) sum += loss(x[i], y[i]);
      out.data[0] = sum / Math.max(1, z.shape[0]);
    },

    backward(device, { z, targets }, _saved, _out, dout, into) {
      const dz = device.temporary('gradients', z.shape);
      if (!device.dry) {
        const [x, y, d] = [z.data, targets.data, dz.data];
        const factor = dout.data[0] / Math.max(1, z.shape[0]);
        for (let i = 0; i < z.size; i++) d[i] = factor * slope(x[i], y[i]);
      }
      into.give(z, dz);
    },

    flops: ({ z }) => flopsPerOutput * z.size,
  };
}
