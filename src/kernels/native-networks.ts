/** The native kernels of networks: args objects in, positional calls out, lengths guarded. */
import type { Moments, UpdateRule } from './face.js';
import type { NetworkKernels } from './face-networks.js';
import { f32, f32OrNull, guarded, type NativeBackend, need } from './native-addon.js';
import { imageKernels } from './native-images.js';
import { packRule } from './native-output.js';
import { sparseKernels } from './native-sparse.js';

type Call = (...args: unknown[]) => void;

type NetworkAddon = Readonly<
  Record<
    | 'softmax_cross_entropy'
    | 'affine'
    | 'affine_backward'
    | 'swap_axes'
    | 'row_mean'
    | 'row_mean_backward'
    | 'load_images'
    | 'tanh_forward'
    | 'tanh_backward'
    | 'lstm_cell'
    | 'lstm_cell_backward'
    | 'gru_cell'
    | 'gru_cell_backward'
    | 'mask_apply'
    | 'gate_apply'
    | 'gate_update',
    Call
  >
>;

export function networkKernels(backend: NativeBackend): NetworkKernels {
  const addon = () => backend.use() as unknown as NetworkAddon;
  return {
    ...imageKernels(backend),
    ...sparseKernels(backend),

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

    loadImages(args) {
      const op = 'loadImages';
      const { batch, rows, channels, height, width, pixels, ids, moves } = args;
      const image = channels * height * width;
      need(op, 'pixels', pixels, rows * image);
      need(op, 'ids', ids, batch);
      if (moves !== null) need(op, 'moves', moves, 3 * batch);
      const [scale, shift] = [f32(op, 'scale', args.scale, channels), f32(op, 'shift', args.shift, channels)];
      const out = f32(op, 'out', args.out, batch * image);
      const shape = [batch, rows, channels, height, width];
      guarded(op, 'every id must name an image', () =>
        addon().load_images(...shape, pixels, ids, moves, scale, shift, out),
      );
    },

    tanh(n, x, y) {
      addon().tanh_forward(n, f32('tanh', 'x', x, n), f32('tanh', 'y', y, n));
    },

    tanhBackward(n, y, dy, dx) {
      const op = 'tanhBackward';
      addon().tanh_backward(n, f32(op, 'y', y, n), f32(op, 'dy', dy, n), f32(op, 'dx', dx, n));
    },

    lstmCell({ batch, hidden, ...args }) {
      const n = batch * hidden;
      const take = (name: keyof typeof args, length: number) => f32('lstmCell', name, args[name], length);
      const state = [take('cBefore', n), take('c', n), take('h', n)];
      addon().lstm_cell(batch, hidden, take('gates', 4 * n), ...state);
    },

    lstmCellBackward({ batch, hidden, dhNext, ...args }) {
      const op = 'lstmCellBackward';
      const n = batch * hidden;
      const take = (name: keyof typeof args, length: number) => f32(op, name, args[name], length);
      const before = [take('gates', 4 * n), take('cBefore', n), take('c', n), take('dh', n)];
      const after = [f32OrNull(op, 'dhNext', dhNext, n), take('dc', n), take('dgates', 4 * n)];
      addon().lstm_cell_backward(batch, hidden, ...before, ...after);
    },

    gruCell({ batch, hidden, ...args }) {
      const n = batch * hidden;
      const take = (name: keyof typeof args, length: number) => f32('gruCell', name, args[name], length);
      const sums = [take('gates', 3 * n), take('fromH', 3 * n)];
      addon().gru_cell(batch, hidden, ...sums, take('hBefore', n), take('h', n));
    },

    gruCellBackward({ batch, hidden, dhNext, ...args }) {
      const op = 'gruCellBackward';
      const n = batch * hidden;
      const take = (name: keyof typeof args, length: number) => f32(op, name, args[name], length);
      const before = [take('gates', 3 * n), take('fromH', 3 * n), take('hBefore', n), take('dh', n)];
      const next = f32OrNull(op, 'dhNext', dhNext, n);
      const after = [take('dgates', 3 * n), take('dfromH', 3 * n), take('dhBefore', n)];
      addon().gru_cell_backward(batch, hidden, ...before, next, ...after);
    },

    maskApply(n, bits, x, y) {
      need('maskApply', 'bits', bits, Math.ceil(n / 32));
      addon().mask_apply(n, bits, f32('maskApply', 'x', x, n), f32('maskApply', 'y', y, n));
    },

    gateApply({ n, key, w, g, bits, effective }) {
      const op = 'gateApply';
      need(op, 'bits', bits, Math.ceil(n / 32));
      const draws = key === null ? [false, 0, 0, 0] : [true, key.key0, key.key1, key.counter];
      const from = [f32(op, 'w', w, n), f32(op, 'g', g, n)];
      addon().gate_apply(n, ...draws, ...from, bits, f32(op, 'effective', effective, n));
    },

    gateUpdate(args) {
      const op = 'gateUpdate';
      const { n, rule, moments, gateRule, gateMoments, bits, gradScale, bimodal, spread } = args;
      need(op, 'bits', bits, Math.ceil(n / 32));
      const state = (which: UpdateRule, { m, v }: Moments) => [
        which.kind === 'adagrad' ? null : f32OrNull(op, 'm', m, n),
        which.kind === 'sgd' ? null : f32OrNull(op, 'v', v, n),
      ];
      const weights = [packRule(rule), f32(op, 'w', args.w, n), ...state(rule, moments)];
      const how = gateRule ?? rule;
      const moved = gateRule === null ? [null, null] : state(how, gateMoments);
      const gates = [packRule(how), f32(op, 'g', args.g, n), ...moved];
      const grad = f32(op, 'grad', args.grad, n);
      const penalties = [gradScale, bimodal, spread, gateRule === null];
      guarded(op, '', () => addon().gate_update(n, ...weights, ...gates, bits, grad, ...penalties));
    },
  };
}
