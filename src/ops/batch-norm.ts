import type { Operation } from '../autograd/tape.js';
import { EspalierError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import { sizeOf } from '../tensor/tensor.js';
import { expectShape } from './check.js';

export interface BatchNormOpArgs {
  /** [B, C, ...] */
  readonly x: Tensor;
  /** [C] */
  readonly gamma: Tensor;
  /** [C] */
  readonly beta: Tensor;
  /** [C], moves towards the batch's in training, stands for it otherwise. */
  readonly runningMean: Tensor;
  /** [C] */
  readonly runningVar: Tensor;
  readonly eps: number;
  /** Share of the batch in the running statistics. */
  readonly momentum: number;
  readonly training: boolean;
  readonly activation: 'none' | 'relu';
}

/** Of the batch. */
interface Statistics {
  readonly mean: Tensor;
  readonly rstd: Tensor;
}

/** y = act((x - mean) / sqrt(var + eps) * gamma + beta) per channel (Ioffe & Szegedy 2015, algorithm 1). */
export const batchNorm: Operation<BatchNormOpArgs, Statistics | null> = {
  name: 'batchNorm',

  infer({ x, gamma, beta, runningMean, runningVar }) {
    const channels = [x.shape[1]];
    for (const [name, tensor] of Object.entries({ gamma, beta, runningMean, runningVar })) {
      expectShape('batchNorm', name, tensor, channels);
    }
    return x.shape;
  },

  inputs: ({ x, gamma, beta }) => [x, gamma, beta],

  forward(device, args, out) {
    const { x, gamma, beta, runningMean, runningVar, eps, momentum, training } = args;
    const shape = sizesOf(x);
    const relu = args.activation === 'relu';
    const common = { ...shape, eps, relu, x: x.data, gamma: gamma.data, beta: beta.data, y: out.data };
    if (!training) {
      device.kernels.batchNormApply({ ...common, mean: runningMean.data, variance: runningVar.data });
      return null;
    }
    const [mean, rstd] = [0, 0].map(() => device.temporary('activations', [shape.channels]));
    device.kernels.batchNorm({
      ...common,
      momentum,
      runningMean: runningMean.data,
      runningVar: runningVar.data,
      mean: mean.data,
      rstd: rstd.data,
    });
    return { mean, rstd };
  },

  needs({ x, activation }, out) {
    const matrix = [x.shape[0] * x.shape[1], sizeOf(x.shape.slice(2))];
    const values = { tensor: x, as: 'values', takes: ['bsr'], matrix } as const;
    return activation === 'relu' ? [values, { tensor: out, as: 'sign' }] : [values];
  },

  // ds = dy 1[y > 0], xhat = (x - mean) rstd;  dgamma = sum ds xhat;  dbeta = sum ds;
  // dx = gamma rstd (ds - mean(ds) - xhat mean(ds xhat))
  backward(device, { x, gamma, beta, activation }, statistics, out, dout, into, kept) {
    if (statistics === null) {
      throw new EspalierError({
        code: 'BATCH_NORM_EVALUATION',
        kind: 'usage',
        op: 'batchNorm',
        problem: 'there is no backward through the running statistics of evaluation',
        hint: 'run the forward pass with training: true',
      });
    }
    const { mean, rstd } = statistics;
    const shape = sizesOf(x);
    if (activation === 'relu') kept.gate(out, dout);
    const saved = kept.values(x);
    const from = saved.kind === 'bsr' ? saved.bsr.expand(device) : x;
    const [dgamma, dbeta] = [0, 0].map(() => device.temporary('gradients', gamma.shape));
    const wanted = into.wants(x);
    device.kernels.batchNormBackward({
      ...shape,
      x: from.data,
      y: null,
      gamma: gamma.data,
      mean: mean.data,
      rstd: rstd.data,
      dy: dout.data,
      dx: wanted ? dout.data : null,
      dgamma: dgamma.data,
      dbeta: dbeta.data,
    });
    if (from !== x) device.release(from);
    for (const [tensor, gradient] of [
      [gamma, dgamma],
      [beta, dbeta],
    ]) {
      if (into.wants(tensor)) into.give(tensor, gradient);
      else device.release(gradient);
    }
    device.release(mean);
    device.release(rstd);
    if (wanted) into.give(x, dout);
  },

  flops: ({ x }) => 8 * x.size,
};

function sizesOf({ shape }: Tensor) {
  return { batch: shape[0], channels: shape[1], plane: sizeOf(shape.slice(2)) };
}
