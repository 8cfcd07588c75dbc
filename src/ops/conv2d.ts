import type { Operation } from '../autograd/tape.js';
import { EspalierError } from '../errors.js';
import type { Activation } from '../kernels/face.js';
import type { Conv2dShape } from '../kernels/face-networks.js';
import { shapeText, type Tensor } from '../tensor/tensor.js';
import { expectRank, expectShape } from './check.js';

export interface Conv2dOpArgs {
  /** [B, C, H, W] */
  readonly x: Tensor;
  /** [O, C / groups, kernelHeight, kernelWidth] */
  readonly weight: Tensor;
  /** [O] */
  readonly bias: Tensor | null;
  readonly stride: number;
  readonly padding: number;
  readonly groups: number;
  readonly activation: Activation;
}

/** y = act(conv(x, weight) + bias): [B, C, H, W] -> [B, O, H', W'], H' = floor((H + 2 padding - kernel) / stride) + 1. */
export const conv2d: Operation<Conv2dOpArgs, void> = {
  name: 'conv2d',

  infer(args) {
    const { x, weight, bias, stride, padding, groups } = args;
    expectRank('conv2d', 'x', x, 4);
    expectRank('conv2d', 'weight', weight, 4);
    const [out, perGroup] = weight.shape;
    const whole = [stride, groups].every((n) => Number.isInteger(n) && n >= 1) && Number.isInteger(padding);
    if (!whole || padding < 0 || perGroup * groups !== x.shape[1] || out % groups !== 0) {
      throw new EspalierError({
        code: 'CONV_SHAPE',
        kind: 'usage',
        op: 'conv2d',
        problem: 'channels and groups do not fit, or stride or padding are no sizes',
        expected: `x [_, ${perGroup * groups}, _, _] for weight ${shapeText(weight.shape)} in ${groups} groups`,
        received: `x ${shapeText(x.shape)}, stride ${stride}, padding ${padding}`,
      });
    }
    if (bias !== null) expectShape('conv2d', 'bias', bias, [out]);
    const [down, across] = sides(shapeOf(args));
    if (down < 1 || across < 1) {
      throw new EspalierError({
        code: 'CONV_SHAPE',
        kind: 'usage',
        op: 'conv2d',
        problem: 'the kernel is larger than the padded image',
        expected: `at most ${x.shape[2] + 2 * padding} x ${x.shape[3] + 2 * padding}`,
        received: `${weight.shape[2]} x ${weight.shape[3]}`,
      });
    }
    return [x.shape[0], out, down, across];
  },

  inputs: ({ x, weight, bias }) => [x, weight, bias],

  forward({ kernels }, args, out) {
    const { x, weight, bias, activation } = args;
    kernels.conv2d({
      ...shapeOf(args),
      x: x.data,
      weight: weight.data,
      bias: bias?.data ?? null,
      activation,
      y: out.data,
    });
  },

  // ds = dy 1[y > 0];  dw[tap] = sum of ds x over the outputs that use it;  db = sum of ds;  dx = ds against w turned
  backward(device, args, _saved, out, dout, into) {
    const { x, weight, bias, activation } = args;
    const { kernels } = device;
    const shape = shapeOf(args);
    const dy = dout.data;
    if (activation === 'relu') kernels.reluBackward(out.size, out.data, dy, dy);
    if (into.wants(weight)) {
      const { target, accumulate } = into.place(weight);
      // A bias that is used elsewhere may accumulate where the weight does not: then it gets a place of its own.
      const dbias = into.wants(bias) ? device.temporary('gradients', bias.shape) : null;
      const workspace = device.temporary('workspace', [kernels.conv2dWorkspace(shape)]);
      kernels.conv2dBackwardWeight({
        ...shape,
        x: x.data,
        dy,
        dweight: target.data,
        dbias: accumulate ? null : (dbias?.data ?? null),
        accumulate,
        workspace: workspace.data,
      });
      device.release(workspace);
      if (dbias !== null) {
        if (accumulate) channelSums(device, shape, dy, dbias);
        into.give(bias as Tensor, dbias);
      }
    } else if (into.wants(bias)) {
      const dbias = device.temporary('gradients', bias.shape);
      channelSums(device, shape, dy, dbias);
      into.give(bias, dbias);
    }
    if (into.wants(x)) {
      const { target, accumulate } = into.place(x);
      kernels.conv2dBackwardInput({ ...shape, weight: weight.data, dy, dx: target.data, accumulate });
    }
  },

  flops(args) {
    const [down, across] = sides(shapeOf(args));
    return 2 * args.x.shape[0] * down * across * args.weight.size;
  },
};

function shapeOf({ x, weight, stride, padding, groups }: Conv2dOpArgs): Conv2dShape {
  const [batch, inChannels, height, width] = x.shape;
  const [outChannels, , kernelHeight, kernelWidth] = weight.shape;
  const image = { batch, inChannels, height, width };
  return { ...image, outChannels, kernelHeight, kernelWidth, stride, padding, groups };
}

/** Height and width of the output. */
function sides(shape: Conv2dShape): [number, number] {
  const side = (size: number, kernel: number) =>
    Math.floor((size + 2 * shape.padding - kernel) / shape.stride) + 1;
  return [side(shape.height, shape.kernelHeight), side(shape.width, shape.kernelWidth)];
}

/** sums[o] = sum of dy over batch and plane: row sums, then sums over the batch. */
function channelSums(
  device: Parameters<NonNullable<typeof conv2d.backward>>[0],
  shape: Conv2dShape,
  dy: Tensor['data'],
  sums: Tensor,
): void {
  const [down, across] = sides(shape);
  const rows = shape.batch * shape.outChannels;
  const means = device.temporary('workspace', [rows]);
  device.kernels.rowMean(rows, down * across, dy, means.data);
  device.kernels.columnSum(shape.batch, shape.outChannels, means.data, sums.data, false);
  device.kernels.scale(sums.size, down * across, sums.data, sums.data);
  device.release(means);
}
