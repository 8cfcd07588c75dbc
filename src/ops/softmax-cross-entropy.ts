import type { Operation } from '../autograd/tape.js';
import { EspalierError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import { expectRank } from './check.js';

export interface SoftmaxCrossEntropyArgs {
  /** [B, n] */
  readonly z: Tensor;
  /** The first B are read, each < n. */
  readonly labels: Uint32Array;
  /** Share of the target that is spread over all classes, in [0, 1). */
  readonly smoothing: number;
  /** out [2]: the summed loss, and how many rows have their label as the first of their largest logits. */
  readonly totals?: Float64Array;
}

/**
 * Mean over examples of the cross-entropy of softmax(z) against (1 - s) 1[label] + s / n, as one [1] tensor: integer
 * classes with label smoothing (Szegedy et al. 2016, section 7).
 */
export const softmaxCrossEntropy: Operation<SoftmaxCrossEntropyArgs, Tensor | null> = {
  name: 'softmaxCrossEntropy',

  infer({ z, labels, smoothing }) {
    expectRank('softmaxCrossEntropy', 'z', z, 2);
    if (labels.length < z.shape[0] || !(smoothing >= 0 && smoothing < 1)) {
      throw new EspalierError({
        code: 'LOSS_ARGUMENTS',
        kind: 'usage',
        op: 'softmaxCrossEntropy',
        problem: 'labels are missing, or the smoothing is out of range',
        expected: `${z.shape[0]} labels, smoothing in [0, 1)`,
        received: `${labels.length} labels, smoothing ${smoothing}`,
      });
    }
    return [1];
  },

  inputs: ({ z }) => [z],

  // The gradient is made along with the loss, while the exponentials are at hand: dz = (p - target) / B.
  forward(device, { z, labels, smoothing, totals = new Float64Array(2) }, out) {
    const [rows, classes] = z.shape;
    const losses = device.temporary('workspace', [rows]);
    const dz = z.requiresGrad ? device.temporary('gradients', z.shape) : null;
    const gradScale = 1 / Math.max(1, rows);
    device.kernels.softmaxCrossEntropy({
      rows,
      classes,
      z: z.data,
      labels,
      smoothing,
      gradScale,
      dz: dz?.data ?? null,
      losses: losses.data,
      totals,
    });
    device.release(losses);
    if (!device.dry) out.data[0] = totals[0] * gradScale;
    return dz;
  },

  needs: () => [],

  backward(device, { z }, dz, _out, dout, into) {
    if (dz === null) return;
    const factor = device.dry ? 1 : dout.data[0];
    if (factor !== 1) device.kernels.scale(z.size, factor, dz.data, dz.data);
    into.give(z, dz);
  },

  flops: ({ z }) => 10 * z.size,
};
