/** The native kernels outside of the output layers: args objects in, positional calls out, lengths guarded. */
import type { CsrArgs, Floats, Kernels, Moments, UpdateRule } from './face.js';
import { f32, f32OrNull, guarded, type NativeBackend, need } from './native-addon.js';
import { packRule } from './native-output.js';

export type BasicKernels = Pick<
  Kernels,
  | 'gemm'
  | 'bagForward'
  | 'csrTranspose'
  | 'bagBackward'
  | 'balancedSplit'
  | 'layerNorm'
  | 'layerNormBackward'
  | 'relu'
  | 'reluBackward'
  | 'gelu'
  | 'geluBackward'
  | 'add'
  | 'multiply'
  | 'scale'
  | 'columnSum'
  | 'sum'
  | 'sumSquares'
  | 'uniform'
  | 'dropout'
  | 'update'
  | 'updateRows'
>;

const CSR_HINT = 'indptr must ascend from 0 and every index must be below `vocab`';
const MEMORY_HINT = '';

export function basicKernels(backend: NativeBackend, bf16Pairs: boolean): BasicKernels {
  const doubleOut = new Float64Array(1);
  const countOut = new Int32Array(1);
  return {
    gemm({ transA = false, transB = false, m, n, k, a, b, c, accumulate = false, bias = null, ...args }) {
      const fa = f32('gemm', 'a', a, m * k);
      const fb = f32('gemm', 'b', b, k * n);
      const fc = f32('gemm', 'c', c, m * n);
      const fBias = f32OrNull('gemm', 'bias', bias, n);
      const code = args.activation === 'relu' ? 1 : 0;
      const pairs = bf16Pairs && args.products === 'bf16';
      guarded('gemm', MEMORY_HINT, () =>
        backend.use().gemm(transA, transB, m, n, k, fa, fb, fc, accumulate, fBias, code, pairs),
      );
    },

    bagForward(args) {
      const { rows, vocab, dim, indptr, indices } = args;
      const values = csrValues('bagForward', args);
      const table = f32('bagForward', 'table', args.table, vocab * dim);
      const bias = f32OrNull('bagForward', 'bias', args.bias, dim);
      const out = f32('bagForward', 'out', args.out, rows * dim);
      const n = indices.length;
      guarded('bagForward', CSR_HINT, () =>
        backend.use().bag_forward(rows, vocab, dim, n, indptr, indices, values, table, bias, out),
      );
    },

    csrTranspose(args) {
      const { rows, vocab, indptr, indices, columns, colptr, rowOf, scratch } = args;
      const op = 'csrTranspose';
      const values = csrValues(op, args);
      const nnz = indptr[rows];
      need(op, 'columns', columns, nnz);
      need(op, 'colptr', colptr, nnz + 1);
      need(op, 'rowOf', rowOf, nnz);
      need(op, 'scratch', scratch, 2 * nnz);
      const valuesOut = f32(op, 'valueOf', args.valueOf, nnz);
      const n = indices.length;
      const out = [columns, colptr, rowOf, valuesOut, scratch, countOut] as const;
      guarded(op, CSR_HINT, () =>
        backend.use().csr_transpose(rows, vocab, n, indptr, indices, values, ...out),
      );
      return countOut[0];
    },

    bagBackward(args) {
      const { count, dim, colptr, rowOf } = args;
      const op = 'bagBackward';
      need(op, 'colptr', colptr, count + 1);
      const entries = colptr[count];
      need(op, 'rowOf', rowOf, entries);
      const values = f32(op, 'valueOf', args.valueOf, entries);
      const dy = f32(op, 'dy', args.dy, 0);
      const grad = f32(op, 'grad', args.grad, count * dim);
      const rows = dim === 0 ? 2 ** 32 : Math.floor(dy.length / dim);
      guarded(op, 'colptr must ascend and every row must lie inside dy', () =>
        backend.use().bag_backward(count, rows, dim, entries, colptr, rowOf, values, dy, grad),
      );
    },

    balancedSplit(args) {
      const { rows, features, segments, indptr, indices, bounds, starts, order, minGain } = args;
      const { sums, scores, sides, similarity } = args;
      const op = 'balancedSplit';
      const values = csrValues(op, args);
      need(op, 'bounds', bounds, segments + 1);
      need(op, 'starts', starts, 2 * segments);
      need(op, 'order', order, bounds[segments]);
      need(op, 'sums', sums, 2 * features);
      need(op, 'scores', scores, 3 * order.length);
      need(op, 'sides', sides, order.length);
      need(op, 'similarity', similarity, segments);
      const [n, listed, length] = [indices.length, order.length, sums.length];
      const list = [segments, listed, bounds, starts, minGain, order] as const;
      guarded(
        op,
        'minGain must be positive; indices, order, bounds and starts must lie inside their arrays',
        () =>
          backend
            .use()
            .balanced_split(
              rows,
              features,
              n,
              indptr,
              indices,
              values,
              ...list,
              sums,
              length,
              scores,
              sides,
              similarity,
            ),
      );
    },

    layerNorm(args) {
      const { rows, dim, eps } = args;
      const take = (name: 'x' | 'gamma' | 'beta' | 'y' | 'mean' | 'rstd', length: number) =>
        f32('layerNorm', name, args[name], length);
      const x = take('x', rows * dim);
      const gamma = take('gamma', dim);
      const beta = take('beta', dim);
      const y = take('y', rows * dim);
      backend.use().layer_norm(rows, dim, eps, x, gamma, beta, y, take('mean', rows), take('rstd', rows));
    },

    layerNormBackward(args) {
      const { rows, dim } = args;
      const take = (
        name: 'x' | 'gamma' | 'mean' | 'rstd' | 'dy' | 'dx' | 'dgamma' | 'dbeta',
        length: number,
      ) => f32('layerNormBackward', name, args[name], length);
      const x = take('x', rows * dim);
      const gamma = take('gamma', dim);
      const mean = take('mean', rows);
      const rstd = take('rstd', rows);
      const dy = take('dy', rows * dim);
      const dx = take('dx', rows * dim);
      const dgamma = take('dgamma', dim);
      const dbeta = take('dbeta', dim);
      backend.use().layer_norm_backward(rows, dim, x, gamma, mean, rstd, dy, dx, dgamma, dbeta);
    },

    relu(n, x, y) {
      backend.use().relu(n, f32('relu', 'x', x, n), f32('relu', 'y', y, n));
    },

    reluBackward(n, y, dy, dx) {
      const op = 'reluBackward';
      backend.use().relu_backward(n, f32(op, 'y', y, n), f32(op, 'dy', dy, n), f32(op, 'dx', dx, n));
    },

    gelu(n, x, y) {
      backend.use().gelu(n, f32('gelu', 'x', x, n), f32('gelu', 'y', y, n));
    },

    geluBackward(n, x, dy, dx) {
      const op = 'geluBackward';
      backend.use().gelu_backward(n, f32(op, 'x', x, n), f32(op, 'dy', dy, n), f32(op, 'dx', dx, n));
    },

    add(n, a, b, alpha, out) {
      backend.use().add(n, f32('add', 'a', a, n), f32('add', 'b', b, n), alpha, f32('add', 'out', out, n));
    },

    multiply(n, a, b, out) {
      const op = 'multiply';
      backend.use().multiply(n, f32(op, 'a', a, n), f32(op, 'b', b, n), f32(op, 'out', out, n));
    },

    scale(n, alpha, x, out) {
      backend.use().scale(n, alpha, f32('scale', 'x', x, n), f32('scale', 'out', out, n));
    },

    columnSum(rows, cols, x, out, accumulate) {
      const from = f32('columnSum', 'x', x, rows * cols);
      backend.use().column_sum(rows, cols, from, f32('columnSum', 'out', out, cols), accumulate);
    },

    sum(n, x) {
      backend.use().sum(n, f32('sum', 'x', x, n), doubleOut);
      return doubleOut[0];
    },

    sumSquares(n, x) {
      backend.use().sum_squares(n, f32('sumSquares', 'x', x, n), doubleOut);
      return doubleOut[0];
    },

    uniform({ n, low, high, key0, key1, counter, out }) {
      backend.use().uniform(n, key0, key1, counter, low, high, f32('uniform', 'out', out, n));
    },

    dropout({ n, p, key0, key1, counter, x, y }) {
      const from = f32('dropout', 'x', x, n);
      const to = f32('dropout', 'y', y, n);
      guarded('dropout', '', () => backend.use().dropout(n, key0, key1, counter, p, from, to));
    },

    update(args) {
      const { rule, n, gradScale } = args;
      const w = f32('update', 'w', args.w, n);
      const g = f32('update', 'g', args.g, n);
      const { m, v } = moments('update', rule, args, n);
      guarded('update', '', () => backend.use().update(n, packRule(rule), w, g, m, v, gradScale));
    },

    updateRows(args) {
      const { rule, count, dim, rows, gradScale } = args;
      const op = 'updateRows';
      need(op, 'rows', rows, count);
      const w = f32(op, 'w', args.w, 0);
      const g = f32(op, 'g', args.g, count * dim);
      const { m, v } = moments(op, rule, args, w.length);
      const total = dim === 0 ? 2 ** 32 : Math.floor(w.length / dim);
      guarded(op, 'every row must lie inside w', () =>
        backend.use().update_rows(count, dim, total, rows, packRule(rule), w, g, m, v, gradScale),
      );
    },
  };
}

function csrValues(op: string, { rows, indptr, indices, values }: CsrArgs): Float32Array | null {
  need(op, 'indptr', indptr, rows + 1);
  need(op, 'indices', indices, indptr[rows]);
  return f32OrNull(op, 'values', values, indices.length);
}

/** The moments that the rule uses, the others null. */
function moments(op: string, rule: UpdateRule, { m, v }: Moments, length: number) {
  const take = (name: string, array: Floats | null) => f32OrNull(op, name, array, length);
  return {
    m: rule.kind === 'adagrad' ? null : take('m', m),
    v: rule.kind === 'sgd' ? null : take('v', v),
  };
}
