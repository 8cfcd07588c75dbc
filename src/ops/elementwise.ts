import type { Operation } from '../autograd/tape.js';
import type { RandomKey } from '../kernels/face.js';
import type { Tensor } from '../tensor/tensor.js';
import { expectShape } from './check.js';
import { savedRows } from './saved-gradients.js';

interface Unary {
  readonly x: Tensor;
}
interface Binary {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** y = max(x, 0), with relu'(0) = 0. */
export const relu: Operation<Unary, void> = {
  name: 'relu',
  infer: ({ x }) => x.shape,
  inputs: ({ x }) => [x],
  forward: ({ kernels }, { x }, out) => kernels.relu(x.size, x.data, out.data),
  needs: (_args, out) => [{ tensor: out, as: 'sign' }],
  // dx = dy 1[y > 0]
  backward(_device, { x }, _saved, out, dout, into, kept) {
    kept.gate(out, dout);
    into.give(x, dout);
  },
  flops: ({ x }) => x.size,
};

/** y = x Phi(x), Phi the standard normal distribution function (Hendrycks & Gimpel 2016), exact by erf. */
export const gelu: Operation<Unary, void> = {
  name: 'gelu',
  infer: ({ x }) => x.shape,
  inputs: ({ x }) => [x],
  forward: ({ kernels }, { x }, out) => kernels.gelu(x.size, x.data, out.data),
  needs: ({ x }) => [{ tensor: x, as: 'values', takes: ['bsr', 'bf16'] }],
  again: ({ x }) => ({
    ...{ input: x, group: [1, 1], keepsZeros: true, inPlace: true },
    run: (kernels, from, to) => kernels.gelu(from.size, from.data, to.data),
  }),
  // dx = dy (Phi(x) + x phi(x)); where a block of x is not held, x = 0 and the slope is 1/2
  backward(device, { x }, _saved, _out, dout, into, kept) {
    for (const part of savedRows(device, 'gelu', kept.values(x), x, dout)) {
      device.kernels.geluBackward(part.x.size, part.x.data, part.dy.data, part.dy.data);
    }
    into.give(x, dout);
  },
  flops: ({ x }) => 8 * x.size,
};

/** y_i = 0 with probability p, else x_i / (1 - p). The mask is a function of the key: nothing is stored. */
export const dropout: Operation<Unary & { readonly p: number; readonly key: RandomKey }, void> = {
  name: 'dropout',
  infer: ({ x }) => x.shape,
  inputs: ({ x }) => [x],
  forward({ kernels }, { x, p, key }, out) {
    kernels.dropout({ ...key, n: x.size, p, x: x.data, y: out.data });
  },
  needs: () => [],
  // dx_i = dy_i * mask_i / (1 - p): the same call
  backward({ kernels }, { x, p, key }, _saved, _out, dout, into) {
    kernels.dropout({ ...key, n: x.size, p, x: dout.data, y: dout.data });
    into.give(x, dout);
  },
  flops: ({ x }) => x.size,
};

/** y = a + b. */
export const add: Operation<Binary, void> = {
  name: 'add',
  infer({ a, b }) {
    expectShape('add', 'b', b, a.shape);
    return a.shape;
  },
  inputs: ({ a, b }) => [a, b],
  forward: ({ kernels }, { a, b }, out) => kernels.add(a.size, a.data, b.data, 1, out.data),
  needs: () => [],
  // da = db = dy; b first, because giving dout to a ends our right to read it
  backward({ kernels }, { a, b }, _saved, _out, dout, into) {
    if (into.wants(b)) {
      const { target, accumulate } = into.place(b);
      if (accumulate) kernels.add(b.size, target.data, dout.data, 1, target.data);
      else kernels.scale(b.size, 1, dout.data, target.data);
    }
    if (into.wants(a)) into.give(a, dout);
  },
  flops: ({ a }) => a.size,
};

/** y = a * b, element by element. */
export const multiply: Operation<Binary, void> = {
  name: 'multiply',
  infer({ a, b }) {
    expectShape('multiply', 'b', b, a.shape);
    return a.shape;
  },
  inputs: ({ a, b }) => [a, b],
  forward: ({ kernels }, { a, b }, out) => kernels.multiply(a.size, a.data, b.data, out.data),
  needs: ({ a, b }) =>
    [b.requiresGrad ? a : null, a.requiresGrad ? b : null]
      .filter((tensor) => tensor !== null)
      .map((tensor) => ({ tensor, as: 'values' })),
  // da = dy b;  db = dy a
  backward(device, { a, b }, _saved, _out, dout, into) {
    for (const [x, other] of [
      [a, b],
      [b, a],
    ]) {
      if (!into.wants(x)) continue;
      const product = device.temporary('gradients', x.shape);
      device.kernels.multiply(x.size, dout.data, other.data, product.data);
      into.give(x, product);
    }
  },
  flops: ({ a }) => a.size,
};

/** y = alpha x. */
export const scale: Operation<Unary & { readonly alpha: number }, void> = {
  name: 'scale',
  infer: ({ x }) => x.shape,
  inputs: ({ x }) => [x],
  forward: ({ kernels }, { x, alpha }, out) => kernels.scale(x.size, alpha, x.data, out.data),
  needs: () => [],
  // dx = alpha dy
  backward({ kernels }, { x, alpha }, _saved, _out, dout, into) {
    kernels.scale(x.size, alpha, dout.data, dout.data);
    into.give(x, dout);
  },
  flops: ({ x }) => x.size,
};
