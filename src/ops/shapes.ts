import type { Operation } from '../autograd/tape.js';
import { EspalierError } from '../errors.js';
import { shapeText, sizeOf, type Tensor } from '../tensor/tensor.js';

export interface SwapAxesOpArgs {
  readonly x: Tensor;
  /** The first of the two neighbouring dimensions that change places; negative: from the end. */
  readonly axis: number;
}

/** y[..., j, i, ...] = x[..., i, j, ...]: dimensions `axis` and `axis + 1` change places. */
export const swapAxes: Operation<SwapAxesOpArgs, void> = {
  name: 'swapAxes',
  infer({ x, axis }) {
    const { at, a, b } = sides(x, axis);
    return [...x.shape.slice(0, at), b, a, ...x.shape.slice(at + 2)];
  },
  inputs: ({ x }) => [x],
  forward({ kernels }, { x, axis }, out) {
    const { outer, a, b, inner } = sides(x, axis);
    kernels.swapAxes({ outer, a, b, inner, x: x.data, y: out.data });
  },
  needs: () => [],
  // Of matrices, each by itself: the rows of one belong together.
  again({ x, axis }) {
    const { a, b, inner } = sides(x, axis);
    if (inner !== 1) return null;
    return {
      ...{ input: x, group: [a, b] },
      run: (kernels, from, to) =>
        kernels.swapAxes({ outer: from.size / (a * b), a, b, inner, x: from.data, y: to.data }),
    };
  },
  // dx[..., i, j, ...] = dy[..., j, i, ...]
  backward(device, { x, axis }, _saved, _out, dout, into) {
    const { outer, a, b, inner } = sides(x, axis);
    const dx = device.temporary('gradients', x.shape);
    device.kernels.swapAxes({ outer, a: b, b: a, inner, x: dout.data, y: dx.data });
    into.give(x, dx);
  },
  flops: () => 0,
};

function sides({ shape }: Tensor, axis: number) {
  const at = axis < 0 ? shape.length + axis : axis;
  if (!Number.isInteger(at) || at < 0 || at > shape.length - 2) {
    throw new EspalierError({
      code: 'AXIS_RANGE',
      kind: 'usage',
      op: 'swapAxes',
      problem: 'there is no such pair of dimensions',
      expected: 'an axis with another after it',
      received: `axis ${axis} of ${shapeText(shape)}`,
    });
  }
  return {
    at,
    outer: sizeOf(shape.slice(0, at)),
    a: shape[at],
    b: shape[at + 1],
    inner: sizeOf(shape.slice(at + 2)),
  };
}

/** y = mean of x over its last dimension. */
export const meanLast: Operation<{ readonly x: Tensor }, void> = {
  name: 'meanLast',
  infer({ x }) {
    sides(x, -2);
    return x.shape.slice(0, -1);
  },
  inputs: ({ x }) => [x],
  forward({ kernels }, { x }, out) {
    kernels.rowMean(out.size, x.shape[x.shape.length - 1], x.data, out.data);
  },
  needs: () => [],
  // dx_ij = dy_i / n
  backward(device, { x }, _saved, out, dout, into) {
    const dx = device.temporary('gradients', x.shape);
    device.kernels.rowMeanBackward(out.size, x.shape[x.shape.length - 1], dout.data, dx.data);
    into.give(x, dx);
  },
  flops: ({ x }) => x.size,
};
