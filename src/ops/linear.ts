import type { Operation } from '../autograd/tape.js';
import { EspalierError } from '../errors.js';
import type { Activation, Kernels } from '../kernels/face.js';
import { matrixShape } from '../tensor/bsr.js';
import { shapeText, type Tensor } from '../tensor/tensor.js';
import { expectRank, expectShape } from './check.js';
import { weightGradient } from './saved-gradients.js';

export interface LinearArgs {
  /** [..., in], the rows of all leading dimensions */
  readonly x: Tensor;
  /** [out, in] */
  readonly weight: Tensor;
  /** [out] */
  readonly bias: Tensor | null;
  readonly activation: Activation;
}

const rowsOf = (x: Tensor): number => matrixShape(x.shape).rows;

/** y = act(x W^T + b), over the last dimension of x. */
export const linear: Operation<LinearArgs, void> = {
  name: 'linear',

  infer({ x, weight, bias }) {
    expectRank('linear', 'weight', weight, 2);
    if (x.shape.length < 2) expectRank('linear', 'x', x, 2);
    if (x.shape.at(-1) !== weight.shape[1]) {
      throw new EspalierError({
        code: 'SHAPE_MISMATCH',
        kind: 'usage',
        op: 'linear',
        problem: 'inner sizes differ',
        expected: `x [..., ${weight.shape[1]}]`,
        received: shapeText(x.shape),
      });
    }
    if (bias !== null) expectShape('linear', 'bias', bias, [weight.shape[0]]);
    return [...x.shape.slice(0, -1), weight.shape[0]];
  },

  inputs: ({ x, weight, bias }) => [x, weight, bias],

  forward: ({ kernels }, args, out) => run(kernels, args, args.x, out),

  // Dearer than keeping, by a product: for outputs that are wide and read by little.
  again: (args) => ({
    ...{ input: args.x, group: [1, 1], product: true },
    run: (kernels, x, y) => run(kernels, args, x, y),
  }),

  needs({ x, weight, activation }, out) {
    const values = {
      tensor: x,
      as: 'values',
      reach: 'weights',
      takes: ['bsr', 'pooled', 'bf16', 'recompute'],
    } as const;
    const sign = { tensor: out, as: 'sign' } as const;
    return [...(weight.requiresGrad ? [values] : []), ...(activation === 'relu' ? [sign] : [])];
  },

  // ds = dy * 1[y > 0];  dW = ds^T x;  db = sum_rows ds;  dx = ds W
  backward(device, { x, weight, bias, activation }, _saved, out, dout, into, kept) {
    const { kernels } = device;
    const m = rowsOf(x);
    const [n, k] = weight.shape;
    if (activation === 'relu') kept.gate(out, dout);
    if (into.wants(weight)) {
      weightGradient(device, kept, x, dout, into.place(weight));
    }
    if (into.wants(bias)) {
      const { target, accumulate } = into.place(bias);
      kernels.columnSum(m, n, dout.data, target.data, accumulate);
    }
    if (into.wants(x)) {
      const { target, accumulate } = into.place(x);
      kernels.gemm({ m, n: k, k: n, a: dout.data, b: weight.data, c: target.data, accumulate });
    }
  },

  flops: ({ x, weight }) => 2 * rowsOf(x) * weight.size,
};

function run(kernels: Kernels, { weight, bias, activation }: LinearArgs, x: Tensor, y: Tensor): void {
  const [n, k] = weight.shape;
  const [a, b] = [x.data, weight.data];
  kernels.gemm({ transB: true, m: rowsOf(x), n, k, a, b, c: y.data, bias: bias?.data ?? null, activation });
}
