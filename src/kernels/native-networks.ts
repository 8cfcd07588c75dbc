/** The native kernels of networks: args objects in, positional calls out, lengths guarded. */
import type { NetworkKernels } from './face-networks.js';
import { f32, f32OrNull, guarded, type NativeBackend, need } from './native-addon.js';

type Call = (...args: unknown[]) => void;

interface NetworkAddon {
  softmax_cross_entropy: Call;
  affine: Call;
  affine_backward: Call;
  swap_axes: Call;
  row_mean: Call;
  row_mean_backward: Call;
}

export function networkKernels(backend: NativeBackend): NetworkKernels {
  const addon = () => backend.use() as unknown as NetworkAddon;
  return {
    softmaxCrossEntropy({ rows, classes, z, labels, smoothing, gradScale, dz, losses, totals }) {
      const op = 'softmaxCrossEntropy';
      const n = rows * classes;
      need(op, 'labels', labels, rows);
      need(op, 'totals', totals, 2);
      const [fz, fdz, fl] = [f32(op, 'z', z, n), f32OrNull(op, 'dz', dz, n), f32(op, 'losses', losses, rows)];
      guarded(op, 'every label must be below `classes`', () =>
        addon().softmax_cross_entropy(rows, classes, fz, labels, smoothing, gradScale, fdz, fl, totals),
      );
    },

    affine({ rows, dim, x, gamma, beta, y }) {
      const op = 'affine';
      const n = rows * dim;
      const scale = f32(op, 'gamma', gamma, dim);
      const shift = f32OrNull(op, 'beta', beta, dim);
      addon().affine(rows, dim, f32(op, 'x', x, n), scale, shift, f32(op, 'y', y, n));
    },

    affineBackward({ rows, dim, x, gamma, dy, dx, dgamma, dbeta }) {
      const op = 'affineBackward';
      const n = rows * dim;
      const into = [
        f32OrNull(op, 'dx', dx, n),
        f32OrNull(op, 'dgamma', dgamma, dim),
        f32OrNull(op, 'dbeta', dbeta, dim),
      ];
      const from = [f32(op, 'x', x, n), f32(op, 'gamma', gamma, dim), f32(op, 'dy', dy, n)];
      addon().affine_backward(rows, dim, ...from, ...into);
    },

    swapAxes({ outer, a, b, inner, x, y }) {
      const n = outer * a * b * inner;
      addon().swap_axes(outer, a, b, inner, f32('swapAxes', 'x', x, n), f32('swapAxes', 'y', y, n));
    },

    rowMean(rows, cols, x, y) {
      addon().row_mean(rows, cols, f32('rowMean', 'x', x, rows * cols), f32('rowMean', 'y', y, rows));
    },

    rowMeanBackward(rows, cols, dy, dx) {
      const op = 'rowMeanBackward';
      addon().row_mean_backward(rows, cols, f32(op, 'dy', dy, rows), f32(op, 'dx', dx, rows * cols));
    },
  };
}
