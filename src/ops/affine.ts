import type { Operation } from '../autograd/tape.js';
import type { Tensor } from '../tensor/tensor.js';
import { expectShape } from './check.js';
import { scaleGradient } from './saved-gradients.js';

export interface AffineOpArgs {
  /** [..., d] */
  readonly x: Tensor;
  /** [d] */
  readonly gamma: Tensor;
  /** [d] */
  readonly beta: Tensor | null;
}

/** y = x * gamma + beta along the last dimension: Aff of Touvron et al. 2021 (ResMLP), eq. 1. */
export const affine: Operation<AffineOpArgs, void> = {
  name: 'affine',

  infer({ x, gamma, beta }) {
    const width = [x.shape.at(-1) ?? 0];
    expectShape('affine', 'gamma', gamma, width);
    if (beta !== null) expectShape('affine', 'beta', beta, width);
    return x.shape;
  },

  inputs: ({ x, gamma, beta }) => [x, gamma, beta],

  forward({ kernels }, { x, gamma, beta }, out) {
    kernels.affine({
      rows: x.size / gamma.size,
      dim: gamma.size,
      x: x.data,
      gamma: gamma.data,
      beta: beta?.data ?? null,
      y: out.data,
    });
  },

  needs: ({ x, gamma }) =>
    gamma.requiresGrad
      ? [{ tensor: x, as: 'values', reach: 'weights', takes: ['bsr', 'pooled', 'recompute'] }]
      : [],

  // dgamma = sum_rows dy x;  dbeta = sum_rows dy;  dx = dy gamma
  backward(device, { x, gamma, beta }, _saved, _out, dout, into, kept) {
    if (into.wants(gamma)) scaleGradient(device, kept, x, dout, into.place(gamma));
    const dbeta = into.wants(beta) ? device.temporary('gradients', gamma.shape) : null;
    const wanted = into.wants(x);
    device.kernels.affineBackward({
      rows: x.size / gamma.size,
      dim: gamma.size,
      // Only dgamma reads x.
      x: dout.data,
      gamma: gamma.data,
      dy: dout.data,
      dx: wanted ? dout.data : null,
      dgamma: null,
      dbeta: dbeta?.data ?? null,
    });
    if (dbeta !== null) into.give(beta as Tensor, dbeta);
    if (wanted) into.give(x, dout);
  },

  flops: ({ x }) => 2 * x.size,
};
