/**
 * Recurrent layers over whole sequences [T, B, I] -> [T, B, H]: the products with the input are one gemm over all
 * steps, each step adds its product with the state before it and runs a fused cell.
 */
import type { GradientSink, Operation } from '../autograd/tape.js';
import type { Floats, Kernels } from '../kernels/face.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { expectRank, expectShape } from './check.js';

export interface RecurrentArgs {
  /** [T, B, I] */
  readonly x: Tensor;
  /** [gates * H, I] */
  readonly inputWeight: Tensor;
  /** [gates * H, H] */
  readonly stateWeight: Tensor;
  /** [gates * H] */
  readonly bias: Tensor;
  /**
   * [B, H]: where the first step begins, and where the last one ends; null: zeros. No gradient flows into it: truncated
   * backpropagation through time (Williams & Peng 1990).
   */
  readonly h: Tensor | null;
}

export interface LstmArgs extends RecurrentArgs {
  /** [B, H], as h. */
  readonly c: Tensor | null;
}

export interface GruArgs extends RecurrentArgs {
  /** [3 * H], of the products with the state. */
  readonly stateBias: Tensor;
}

/** What backward reads beside the output. */
interface Saved {
  /** [T, B, gates * H]; null where the output says it all. */
  readonly gates: Tensor | null;
  /** [T, B, H] states of the cells, or [T, B, 3 * H] products with the state. */
  readonly inner: Tensor | null;
  /** [B, H] */
  readonly h0: Tensor;
  /** [B, H] */
  readonly c0: Tensor | null;
}

/** h_t = tanh(W x_t + U h_(t-1) + b) (Elman 1990). */
export const rnn: Operation<RecurrentArgs, Saved> = {
  name: 'rnn',
  infer: (args) => inferred('rnn', args, 1),
  inputs: ({ x, inputWeight, stateWeight, bias }) => [x, inputWeight, stateWeight, bias],

  forward(device, args, out) {
    const { kernels } = device;
    const { steps, rows, hidden } = sizes(args, 1);
    const h0 = start(device, args.h, rows, hidden);
    inputProduct(kernels, args, out.data, hidden);
    for (let t = 0; t < steps; t++) {
      const y = at(out, t, rows * hidden);
      const before = t === 0 ? h0.data : at(out, t - 1, rows * hidden);
      stateProduct(kernels, args, before, y, rows, hidden, hidden, true);
      kernels.tanh(rows * hidden, y, y);
    }
    carry(kernels, args.h, at(out, steps - 1, rows * hidden), rows * hidden);
    return { gates: null, inner: null, h0, c0: null };
  },

  // ds_t = (dy_t + U^T ds_(t+1)) (1 - y_t^2)
  backward(device, args, { h0 }, out, dout, into) {
    const { kernels } = device;
    const { steps, rows, hidden } = sizes(args, 1);
    const n = rows * hidden;
    const next = device.temporary('gradients', [rows, hidden]);
    for (let t = steps - 1; t >= 0; t--) {
      const d = at(dout, t, n);
      if (t < steps - 1) kernels.add(n, d, next.data, 1, d);
      kernels.tanhBackward(n, at(out, t, n), d, d);
      if (t > 0)
        kernels.gemm({ m: rows, n: hidden, k: hidden, a: d, b: args.stateWeight.data, c: next.data });
    }
    device.release(next);
    inputGradients(kernels, args, dout.data, hidden, into);
    stateGradients(kernels, args, dout.data, out.data, h0.data, hidden, into);
    device.release(h0);
  },
  flops: (args) => productFlops(args),
};

/** i, f, g, o = W x_t + U h_(t-1) + b; c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g); h_t = sigmoid(o) tanh(c_t). */
export const lstm: Operation<LstmArgs, Saved> = {
  name: 'lstm',
  infer: (args) => inferred('lstm', args, 4),
  inputs: ({ x, inputWeight, stateWeight, bias }) => [x, inputWeight, stateWeight, bias],

  forward(device, args, out) {
    const { kernels } = device;
    const { steps, rows, hidden } = sizes(args, 4);
    const n = rows * hidden;
    const h0 = start(device, args.h, rows, hidden);
    const c0 = start(device, args.c, rows, hidden);
    const gates = device.temporary('activations', [steps, rows, 4 * hidden]);
    const inner = device.temporary('activations', [steps, rows, hidden]);
    inputProduct(kernels, args, gates.data, 4 * hidden);
    for (let t = 0; t < steps; t++) {
      const sums = at(gates, t, 4 * n);
      stateProduct(
        kernels,
        args,
        t === 0 ? h0.data : at(out, t - 1, n),
        sums,
        rows,
        hidden,
        4 * hidden,
        true,
      );
      const cBefore = t === 0 ? c0.data : at(inner, t - 1, n);
      kernels.lstmCell({ batch: rows, hidden, gates: sums, cBefore, c: at(inner, t, n), h: at(out, t, n) });
    }
    carry(kernels, args.h, at(out, steps - 1, n), n);
    carry(kernels, args.c, at(inner, steps - 1, n), n);
    return { gates, inner, h0, c0 };
  },

  // the cell's backward per step, from dy_t + U^T dsums_(t+1); then all steps at once
  backward(device, args, saved, out, dout, into) {
    const { kernels } = device;
    const { steps, rows, hidden } = sizes(args, 4);
    const [gates, inner, c0] = [saved.gates, saved.inner, saved.c0] as Tensor[];
    const n = rows * hidden;
    const next = device.temporary('gradients', [rows, hidden]);
    const dc = device.temporary('gradients', [rows, hidden]);
    if (!device.dry) dc.data.fill(0);
    for (let t = steps - 1; t >= 0; t--) {
      const dgates = at(gates, t, 4 * n);
      kernels.lstmCellBackward({
        ...{ batch: rows, hidden, gates: dgates, dgates, dc: dc.data },
        cBefore: t === 0 ? c0.data : at(inner, t - 1, n),
        c: at(inner, t, n),
        dh: at(dout, t, n),
        dhNext: t === steps - 1 ? null : next.data,
      });
      const product = { m: rows, n: hidden, k: 4 * hidden, b: args.stateWeight.data, c: next.data };
      if (t > 0) kernels.gemm({ ...product, a: dgates });
    }
    for (const used of [next, dc, inner, c0]) device.release(used);
    inputGradients(kernels, args, gates.data, 4 * hidden, into);
    stateGradients(kernels, args, gates.data, out.data, saved.h0.data, 4 * hidden, into);
    device.release(gates);
    device.release(saved.h0);
  },
  flops: (args) => productFlops(args),
};

/** r, z, n = W x_t + b; n adds r times (U h_(t-1) + b'), r and z add theirs; h_t = (1 - z) n + z h_(t-1). */
export const gru: Operation<GruArgs, Saved> = {
  name: 'gru',
  infer(args) {
    expectShape('gru', 'stateBias', args.stateBias, args.bias.shape);
    return inferred('gru', args, 3);
  },
  inputs: ({ x, inputWeight, stateWeight, bias, stateBias }) => [
    x,
    inputWeight,
    stateWeight,
    bias,
    stateBias,
  ],

  forward(device, args, out) {
    const { kernels } = device;
    const { steps, rows, hidden } = sizes(args, 3);
    const n = rows * hidden;
    const h0 = start(device, args.h, rows, hidden);
    const gates = device.temporary('activations', [steps, rows, 3 * hidden]);
    const inner = device.temporary('activations', [steps, rows, 3 * hidden]);
    inputProduct(kernels, args, gates.data, 3 * hidden);
    for (let t = 0; t < steps; t++) {
      const hBefore = t === 0 ? h0.data : at(out, t - 1, n);
      const fromH = at(inner, t, 3 * n);
      stateProduct(kernels, args, hBefore, fromH, rows, hidden, 3 * hidden, false, args.stateBias.data);
      kernels.gruCell({ batch: rows, hidden, gates: at(gates, t, 3 * n), fromH, hBefore, h: at(out, t, n) });
    }
    carry(kernels, args.h, at(out, steps - 1, n), n);
    return { gates, inner, h0, c0: null };
  },

  backward(device, args, saved, out, dout, into) {
    const { kernels } = device;
    const { steps, rows, hidden } = sizes(args, 3);
    const [gates, inner] = [saved.gates, saved.inner] as Tensor[];
    const n = rows * hidden;
    // Two places that take turns: what comes from the step after, and what goes to the one before.
    let [next, before] = [0, 0].map(() => device.temporary('gradients', [rows, hidden]));
    for (let t = steps - 1; t >= 0; t--) {
      const [dgates, dfromH] = [at(gates, t, 3 * n), at(inner, t, 3 * n)];
      kernels.gruCellBackward({
        ...{ batch: rows, hidden, gates: dgates, dgates, fromH: dfromH, dfromH, dhBefore: before.data },
        hBefore: t === 0 ? saved.h0.data : at(out, t - 1, n),
        dh: at(dout, t, n),
        dhNext: t === steps - 1 ? null : next.data,
      });
      const product = { m: rows, n: hidden, k: 3 * hidden, b: args.stateWeight.data, c: before.data };
      if (t > 0) kernels.gemm({ ...product, a: dfromH, accumulate: true });
      [next, before] = [before, next];
    }
    device.release(next);
    device.release(before);
    inputGradients(kernels, args, gates.data, 3 * hidden, into);
    stateGradients(kernels, args, inner.data, out.data, saved.h0.data, 3 * hidden, into);
    if (into.wants(args.stateBias)) {
      const { target, accumulate } = into.place(args.stateBias);
      kernels.columnSum(steps * rows, 3 * hidden, inner.data, target.data, accumulate);
    }
    for (const used of [gates, inner, saved.h0]) device.release(used);
  },
  flops: (args) => productFlops(args),
};

function sizes({ x, stateWeight }: RecurrentArgs, gates: number) {
  const [steps, rows, inputs] = x.shape;
  return { steps, rows, inputs, hidden: stateWeight.shape[0] / gates };
}

function inferred(op: string, args: RecurrentArgs & { readonly c?: Tensor | null }, gates: number) {
  const { x, inputWeight, stateWeight, bias, h, c = null } = args;
  expectRank(op, 'x', x, 3);
  expectRank(op, 'stateWeight', stateWeight, 2);
  const hidden = stateWeight.shape[1];
  expectShape(op, 'stateWeight', stateWeight, [gates * hidden, hidden]);
  expectShape(op, 'inputWeight', inputWeight, [gates * hidden, x.shape[2]]);
  expectShape(op, 'bias', bias, [gates * hidden]);
  if (h !== null) expectShape(op, 'h', h, [x.shape[1], hidden]);
  if (c !== null) expectShape(op, 'c', c, [x.shape[1], hidden]);
  return [x.shape[0], x.shape[1], hidden];
}

/** The numbers of one step. */
const at = (sequence: Tensor, t: number, n: number): Floats => sequence.data.subarray(t * n, (t + 1) * n);

/** A copy of the state that the sequence begins with. */
function start(device: Device, state: Tensor | null, rows: number, hidden: number): Tensor {
  const copy = device.temporary('activations', [rows, hidden]);
  if (state !== null) device.kernels.scale(copy.size, 1, state.data, copy.data);
  else if (!device.dry) copy.data.fill(0);
  return copy;
}

function carry(kernels: Kernels, state: Tensor | null, last: Floats, n: number): void {
  if (state !== null) kernels.scale(n, 1, last, state.data);
}

/** sums[t, b, :] = W x[t, b] + bias, all steps at once. */
function inputProduct(
  kernels: Kernels,
  { x, inputWeight, bias }: RecurrentArgs,
  sums: Floats,
  width: number,
) {
  const [steps, rows, inputs] = x.shape;
  kernels.gemm({
    ...{ transB: true, m: steps * rows, n: width, k: inputs },
    ...{ a: x.data, b: inputWeight.data, c: sums, bias: bias.data },
  });
}

/** sums = (sums +) U h (+ bias) of one step. */
function stateProduct(
  kernels: Kernels,
  { stateWeight }: RecurrentArgs,
  h: Floats,
  sums: Floats,
  rows: number,
  hidden: number,
  width: number,
  accumulate: boolean,
  bias: Floats | null = null,
): void {
  const shape = { transB: true, m: rows, n: width, k: hidden };
  kernels.gemm({ ...shape, a: h, b: stateWeight.data, c: sums, accumulate, bias });
}

/** dW = sum_t dsums_t^T x_t;  db = sum dsums;  dx = dsums W */
function inputGradients(
  kernels: Kernels,
  { x, inputWeight, bias }: RecurrentArgs,
  dsums: Floats,
  width: number,
  into: GradientSink,
): void {
  const [steps, rows, inputs] = x.shape;
  if (into.wants(inputWeight)) {
    const { target, accumulate } = into.place(inputWeight);
    const shape = { transA: true, m: width, n: inputs, k: steps * rows };
    kernels.gemm({ ...shape, a: dsums, b: x.data, c: target.data, accumulate });
  }
  if (into.wants(bias)) {
    const { target, accumulate } = into.place(bias);
    kernels.columnSum(steps * rows, width, dsums, target.data, accumulate);
  }
  if (into.wants(x)) {
    const { target, accumulate } = into.place(x);
    const shape = { m: steps * rows, n: inputs, k: width };
    kernels.gemm({ ...shape, a: dsums, b: inputWeight.data, c: target.data, accumulate });
  }
}

/** dU = dsums_0^T h_0 + sum_(t > 0) dsums_t^T y_(t-1) */
function stateGradients(
  kernels: Kernels,
  { x, stateWeight }: RecurrentArgs,
  dsums: Floats,
  y: Floats,
  h0: Floats,
  width: number,
  into: GradientSink,
): void {
  if (!into.wants(stateWeight)) return;
  const [steps, rows] = x.shape;
  const hidden = stateWeight.shape[1];
  const { target, accumulate } = into.place(stateWeight);
  const shape = { transA: true, m: width, n: hidden, c: target.data };
  kernels.gemm({ ...shape, k: rows, a: dsums, b: h0, accumulate });
  const later = dsums.subarray(rows * width);
  kernels.gemm({ ...shape, k: (steps - 1) * rows, a: later, b: y, accumulate: true });
}

function productFlops({ x, inputWeight, stateWeight }: RecurrentArgs): number {
  return 2 * x.shape[0] * x.shape[1] * (inputWeight.size + stateWeight.size);
}
