import type { Operation } from '../autograd/tape.js';
import { EspalierError } from '../errors.js';
import type { PoolShape } from '../kernels/face-networks.js';
import { type Shape, shapeText, type Tensor } from '../tensor/tensor.js';
import { expectRank } from './check.js';

export interface PoolOpArgs {
  /** [B, C, H, W] */
  readonly x: Tensor;
  /** Side of the square window, at most 255. */
  readonly kernel: number;
  readonly stride: number;
  /** At most half of the window. */
  readonly padding: number;
}

/** y = the largest of each window; padding never wins. Backward goes to the first of the largest. */
export const maxPool2d: Operation<PoolOpArgs, Tensor> = {
  name: 'maxPool2d',
  infer: (args) => pooled('maxPool2d', args),
  inputs: ({ x }) => [x],
  needs: () => [],
  forward(device, args, out) {
    const places = device.temporary('activations', out.shape, 'uint16');
    const into = { y: out.data, places: places.raw as Uint16Array };
    device.kernels.maxPool({ ...planesOf(args), x: args.x.data, ...into });
    return places;
  },
  backward(device, args, places, _out, dout, into) {
    const dx = device.temporary('gradients', args.x.shape);
    const from = { dy: dout.data, places: places.raw as Uint16Array };
    device.kernels.maxPoolBackward({ ...planesOf(args), ...from, dx: dx.data });
    device.release(places);
    into.give(args.x, dx);
  },
  flops: ({ x }) => x.size,
};

/** y = the mean of each window, padding counted as 0. */
export const avgPool2d: Operation<PoolOpArgs, void> = {
  name: 'avgPool2d',
  infer: (args) => pooled('avgPool2d', args),
  inputs: ({ x }) => [x],
  needs: () => [],
  forward({ kernels }, args, out) {
    kernels.avgPool({ ...planesOf(args), x: args.x.data, y: out.data });
  },
  // dx gets dy / kernel^2 from every window that holds it
  backward(device, args, _saved, _out, dout, into) {
    const dx = device.temporary('gradients', args.x.shape);
    device.kernels.avgPoolBackward({ ...planesOf(args), dy: dout.data, dx: dx.data });
    into.give(args.x, dx);
  },
  flops: ({ x }) => x.size,
};

function planesOf({ x, kernel, stride, padding }: PoolOpArgs): PoolShape {
  const [batch, channels, height, width] = x.shape;
  return { planes: batch * channels, height, width, kernel, stride, padding };
}

function pooled(op: string, { x, kernel, stride, padding }: PoolOpArgs): Shape {
  expectRank(op, 'x', x, 4);
  const [batch, channels, height, width] = x.shape;
  const side = (size: number) => Math.floor((size + 2 * padding - kernel) / stride) + 1;
  const whole = [kernel, stride].every((n) => Number.isInteger(n) && n >= 1) && Number.isInteger(padding);
  if (!whole || kernel > 255 || padding < 0 || 2 * padding > kernel || side(height) < 1 || side(width) < 1) {
    throw new EspalierError({
      code: 'POOL_SHAPE',
      kind: 'usage',
      op,
      problem: 'the windows do not fit the image',
      expected: 'a window of 1 to 255 inside the padded image, padding at most half of it',
      received: `windows of ${kernel}, stride ${stride}, padding ${padding} on ${shapeText(x.shape)}`,
    });
  }
  return [batch, channels, side(height), side(width)];
}
