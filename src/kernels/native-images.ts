/** The native kernels of convolutional networks: args objects in, positional calls out, lengths guarded. */
import type { BatchNormShape, Conv2dShape, NetworkKernels, PoolShape } from './face-networks.js';
import { f32, f32OrNull, guarded, type NativeBackend, need } from './native-addon.js';

export type ImageKernels = Pick<
  NetworkKernels,
  | 'conv2d'
  | 'conv2dBackwardInput'
  | 'conv2dBackwardWeight'
  | 'conv2dWorkspace'
  | 'maxPool'
  | 'maxPoolBackward'
  | 'avgPool'
  | 'avgPoolBackward'
  | 'batchNorm'
  | 'batchNormApply'
  | 'batchNormBackward'
>;

type Call = (...args: unknown[]) => void;

type ImageAddon = Readonly<
  Record<
    | 'conv2d'
    | 'conv2d_backward_input'
    | 'conv2d_backward_weight'
    | 'conv2d_workspace'
    | 'max_pool'
    | 'max_pool_backward'
    | 'avg_pool'
    | 'avg_pool_backward'
    | 'batch_norm'
    | 'batch_norm_apply'
    | 'batch_norm_backward',
    Call
  >
>;

const CONV_HINT = 'the kernel must fit the padded image, and groups must divide both numbers of channels';
const POOL_HINT = 'windows must fit the padded plane, padding at most half of them, kernel at most 255';

export function imageKernels(backend: NativeBackend): ImageKernels {
  const addon = () => backend.use() as unknown as ImageAddon;
  const lengthOut = new Float64Array(1);
  return {
    conv2d(args) {
      const op = 'conv2d';
      const { list, x, y, weights } = convolution(args);
      const from = [f32(op, 'x', args.x, x), f32(op, 'weight', args.weight, weights)];
      const bias = f32OrNull(op, 'bias', args.bias, args.outChannels);
      const out = f32(op, 'y', args.y, y);
      const code = args.activation === 'relu' ? 1 : 0;
      guarded(op, CONV_HINT, () => addon().conv2d(...list, ...from, bias, code, out));
    },

    conv2dBackwardInput(args) {
      const op = 'conv2dBackwardInput';
      const { list, x, y, weights } = convolution(args);
      const from = [f32(op, 'weight', args.weight, weights), f32(op, 'dy', args.dy, y)];
      const dx = f32(op, 'dx', args.dx, x);
      guarded(op, CONV_HINT, () => addon().conv2d_backward_input(...list, ...from, dx, args.accumulate));
    },

    conv2dBackwardWeight(args) {
      const op = 'conv2dBackwardWeight';
      const { list, x, y, weights } = convolution(args);
      const from = [f32(op, 'x', args.x, x), f32(op, 'dy', args.dy, y)];
      const dweight = f32(op, 'dweight', args.dweight, weights);
      const dbias = f32OrNull(op, 'dbias', args.dbias, args.outChannels);
      const workspace = f32(op, 'workspace', args.workspace, 0);
      const room = [workspace, workspace.length];
      guarded(op, `${CONV_HINT}; the workspace is conv2dWorkspace long`, () =>
        addon().conv2d_backward_weight(...list, ...from, dweight, dbias, args.accumulate, ...room),
      );
    },

    conv2dWorkspace(shape) {
      guarded('conv2dWorkspace', CONV_HINT, () =>
        addon().conv2d_workspace(...convolution(shape).list, lengthOut),
      );
      return lengthOut[0];
    },

    maxPool(args) {
      const { list, x, y } = pool(args);
      need('maxPool', 'places', args.places, y);
      const data = [f32('maxPool', 'x', args.x, x), f32('maxPool', 'y', args.y, y), args.places];
      guarded('maxPool', POOL_HINT, () => addon().max_pool(...list, ...data));
    },

    maxPoolBackward(args) {
      const op = 'maxPoolBackward';
      const { list, x, y } = pool(args);
      need(op, 'places', args.places, y);
      const data = [f32(op, 'dy', args.dy, y), args.places, f32(op, 'dx', args.dx, x)];
      guarded(op, 'every place must lie in its window', () => addon().max_pool_backward(...list, ...data));
    },

    avgPool(args) {
      const { list, x, y } = pool(args);
      const data = [f32('avgPool', 'x', args.x, x), f32('avgPool', 'y', args.y, y)];
      guarded('avgPool', POOL_HINT, () => addon().avg_pool(...list, ...data));
    },

    avgPoolBackward(args) {
      const op = 'avgPoolBackward';
      const { list, x, y } = pool(args);
      const data = [f32(op, 'dy', args.dy, y), f32(op, 'dx', args.dx, x)];
      guarded(op, POOL_HINT, () => addon().avg_pool_backward(...list, ...data));
    },

    batchNorm(args) {
      const op = 'batchNorm';
      const { list, n, channels } = moments(args);
      const per = (name: 'gamma' | 'beta' | 'runningMean' | 'runningVar' | 'mean' | 'rstd') =>
        f32(op, name, args[name], channels);
      const [x, y] = [f32(op, 'x', args.x, n), f32(op, 'y', args.y, n)];
      const running = [per('runningMean'), per('runningVar')];
      addon().batch_norm(
        ...list,
        ...[args.eps, args.momentum, args.relu, x, per('gamma'), per('beta'), ...running],
        ...[y, per('mean'), per('rstd')],
      );
    },

    batchNormApply(args) {
      const op = 'batchNormApply';
      const { list, n, channels } = moments(args);
      const per = (name: 'gamma' | 'beta' | 'mean' | 'variance') => f32(op, name, args[name], channels);
      const [x, y] = [f32(op, 'x', args.x, n), f32(op, 'y', args.y, n)];
      const given = [per('gamma'), per('beta'), per('mean'), per('variance')];
      addon().batch_norm_apply(...list, args.eps, args.relu, x, ...given, y);
    },

    batchNormBackward(args) {
      const op = 'batchNormBackward';
      const { list, n, channels } = moments(args);
      const per = (name: 'gamma' | 'mean' | 'rstd' | 'dgamma' | 'dbeta') =>
        f32(op, name, args[name], channels);
      const [x, y] = [f32(op, 'x', args.x, n), f32OrNull(op, 'y', args.y, n)];
      const gradients = [f32(op, 'dy', args.dy, n), f32OrNull(op, 'dx', args.dx, n)];
      const given = [per('gamma'), per('mean'), per('rstd')];
      addon().batch_norm_backward(...list, x, y, ...given, ...gradients, per('dgamma'), per('dbeta'));
    },
  };
}

/** The arguments of a shape in the order of the C surface, and how many numbers its arrays hold. */
function convolution(shape: Conv2dShape) {
  const { batch, inChannels, height, width, outChannels, kernelHeight, kernelWidth } = shape;
  const { stride, padding, groups } = shape;
  const side = (size: number, kernel: number) =>
    Math.max(0, Math.floor((size + 2 * padding - kernel) / stride) + 1);
  return {
    list: [
      ...[batch, inChannels, height, width, outChannels, kernelHeight, kernelWidth],
      ...[stride, padding, groups],
    ],
    x: batch * inChannels * height * width,
    y: batch * outChannels * side(height, kernelHeight) * side(width, kernelWidth),
    weights: (outChannels * inChannels * kernelHeight * kernelWidth) / groups,
  };
}

function pool({ planes, height, width, kernel, stride, padding }: PoolShape) {
  const side = (size: number) => Math.max(0, Math.floor((size + 2 * padding - kernel) / stride) + 1);
  return {
    list: [planes, height, width, kernel, stride, padding],
    x: planes * height * width,
    y: planes * side(height) * side(width),
  };
}

function moments({ batch, channels, plane }: BatchNormShape) {
  return { list: [batch, channels, plane], n: batch * channels * plane, channels };
}
