import type { Operation } from '../autograd/tape.js';
import type { Tensor } from '../tensor/tensor.js';
import { expectRank, expectShape } from './check.js';

export interface LayerNormOpArgs {
  /** [B, d] */
  readonly x: Tensor;
  /** [d] */
  readonly gamma: Tensor;
  /** [d] */
  readonly beta: Tensor;
  readonly eps: number;
}

interface Statistics {
  /** [B] */
  readonly mean: Tensor;
  /** [B], 1 / sqrt(var + eps) */
  readonly rstd: Tensor;
}

/** y = (x - mean) / sqrt(var + eps) * gamma + beta, per row (Ba et al. 2016, eq. 4). */
export const layerNorm: Operation<LayerNormOpArgs, Statistics> = {
  name: 'layerNorm',

  infer({ x, gamma, beta }) {
    expectRank('layerNorm', 'x', x, 2);
    expectShape('layerNorm', 'gamma', gamma, [x.shape[1]]);
    expectShape('layerNorm', 'beta', beta, [x.shape[1]]);
    return x.shape;
  },

  inputs: ({ x, gamma, beta }) => [x, gamma, beta],

  forward(device, { x, gamma, beta, eps }, out) {
    const [rows, dim] = x.shape;
    const mean = device.temporary('activations', [rows]);
    const rstd = device.temporary('activations', [rows]);
    device.kernels.layerNorm({
      rows,
      dim,
      eps,
      x: x.data,
      gamma: gamma.data,
      beta: beta.data,
      y: out.data,
      mean: mean.data,
      rstd: rstd.data,
    });
    return { mean, rstd };
  },

  needs: ({ x }) => [{ tensor: x, as: 'values', takes: ['bsr'] }],

  // xhat = (x - mean) rstd;  dgamma = sum dy xhat;  dbeta = sum dy;
  // dx = rstd (g - mean_j(g) - xhat mean_j(g xhat)),  g = dy gamma
  backward(device, { x, gamma, beta }, { mean, rstd }, _out, dout, into, kept) {
    const [rows, dim] = x.shape;
    const saved = kept.values(x);
    const from = saved.kind === 'bsr' ? saved.bsr.expand(device) : x;
    const dx = device.temporary('gradients', x.shape);
    const dgamma = device.temporary('gradients', [dim]);
    const dbeta = device.temporary('gradients', [dim]);
    device.kernels.layerNormBackward({
      rows,
      dim,
      x: from.data,
      gamma: gamma.data,
      mean: mean.data,
      rstd: rstd.data,
      dy: dout.data,
      dx: dx.data,
      dgamma: dgamma.data,
      dbeta: dbeta.data,
    });
    if (from !== x) device.release(from);
    for (const [tensor, gradient] of [
      [gamma, dgamma],
      [beta, dbeta],
      [x, dx],
    ]) {
      if (into.wants(tensor)) into.give(tensor, gradient);
      else device.release(gradient);
    }
    device.release(mean);
    device.release(rstd);
  },

  flops: ({ x }) => 8 * x.size,
};
