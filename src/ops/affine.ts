import type { Operation } from '../autograd/tape.js';
import type { Kernels } from '../kernels/face.js';
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

  forward: ({ kernels }, args, out) => run(kernels, args, args.x, out),

  again: (args) => ({
    ...{ input: args.x, group: [1, 1], inPlace: true },
    run: (kernels, x, y) => run(kernels, args, x, y),
  }),

  needs: ({ x, gamma }) =>
    gamma.requiresGrad
      ? [{ tensor: x, as: 'values', reach: 'weights', takes: ['bsr', 'pooled', 'bf16', 'recompute'] }]
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

function run(kernels: Kernels, { gamma, beta }: AffineOpArgs, x: Tensor, y: Tensor): void {
  const dim = gamma.size;
  const [a, b] = [gamma.data, beta?.data ?? null];
  kernels.affine({ rows: x.size / dim, dim, x: x.data, gamma: a, beta: b, y: y.data });
}
