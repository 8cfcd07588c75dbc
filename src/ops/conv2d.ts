import { unreadable } from '../autograd/saved.js';
import type { Saved } from '../autograd/saved-forms.js';
import type { Operation } from '../autograd/tape.js';
import { EspalierError } from '../errors.js';
import type { Activation } from '../kernels/face.js';
import type { Conv2dShape } from '../kernels/face-networks.js';
import type { Device } from '../tensor/device.js';
import { shapeText, type Tensor } from '../tensor/tensor.js';
import { expectRank, expectShape } from './check.js';
import { type Place, savedGradient } from './saved-gradients.js';

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

  needs({ x, weight, activation }, out) {
    const [batch, channels, height, width] = x.shape;
    const matrix = [batch * channels, height * width];
    const values = { tensor: x, as: 'values', reach: 'weights', takes: ['bsr'], matrix } as const;
    const sign = { tensor: out, as: 'sign' } as const;
    return [...(weight.requiresGrad ? [values] : []), ...(activation === 'relu' ? [sign] : [])];
  },

  // ds = dy 1[y > 0];  dw[tap] = sum of ds x over the outputs that use it;  db = sum of ds;  dx = ds against w turned
  backward(device, args, _saved, out, dout, into, kept) {
    const { x, weight, bias, activation } = args;
    const { kernels } = device;
    const shape = shapeOf(args);
    const dy = dout.data;
    if (activation === 'relu') kept.gate(out, dout);
    if (into.wants(weight)) {
      const { target, accumulate } = into.place(weight);
      // A bias that is used elsewhere may accumulate where the weight does not: then it gets a place of its own.
      const dbias = into.wants(bias) ? device.temporary('gradients', bias.shape) : null;
      const whole = kept.values(x).kind === 'dense';
      const sums = whole && !accumulate ? dbias : null;
      savedGradient(device, kept, x, { target, accumulate }, (saved, to) =>
        weightGradient(device, shape, saved, x, dout, to, sums),
      );
      if (dbias !== null) {
        if (sums === null) channelSums(device, shape, dy, dbias);
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

/** Images at a time where x is kept block-sparse. */
const images = 8;

/** dw from x as it was kept, and the bias's sums with it where they are wanted. */
function weightGradient(
  device: Device,
  shape: Conv2dShape,
  saved: Saved,
  x: Tensor,
  dy: Tensor,
  { target, accumulate }: Place,
  dbias: Tensor | null,
): void {
  const { kernels } = device;
  const part = (batch: number, xs: Tensor, dys: Tensor, add: boolean) => {
    const workspace = device.temporary('workspace', [kernels.conv2dWorkspace({ ...shape, batch })]);
    kernels.conv2dBackwardWeight({
      ...{ ...shape, batch },
      x: xs.data,
      dy: dys.data,
      dweight: target.data,
      dbias: dbias?.data ?? null,
      accumulate: add,
      workspace: workspace.data,
    });
    device.release(workspace);
  };
  if (saved.kind === 'dense') {
    part(shape.batch, saved.tensor, dy, accumulate);
    return;
  }
  if (saved.kind !== 'bsr') throw unreadable('conv2d', x, saved.kind);
  const rows = device.alias(dy, [shape.batch, dy.size / Math.max(1, shape.batch)]);
  for (let begin = 0; begin < shape.batch; begin += images) {
    const end = Math.min(shape.batch, begin + images);
    const xs = saved.bsr.expand(device, begin * shape.inChannels, end * shape.inChannels);
    part(end - begin, xs, device.rows(rows, begin, end), accumulate || begin > 0);
    device.release(xs);
  }
}

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
function channelSums(device: Device, shape: Conv2dShape, dy: Tensor['data'], sums: Tensor): void {
  const [down, across] = sides(shape);
  const rows = shape.batch * shape.outChannels;
  const means = device.temporary('workspace', [rows]);
  device.kernels.rowMean(rows, down * across, dy, means.data);
  device.kernels.columnSum(shape.batch, shape.outChannels, means.data, sums.data, false);
  device.kernels.scale(sums.size, down * across, sums.data, sums.data);
  device.release(means);
}
