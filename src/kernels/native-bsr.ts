/** The native kernels of block-sparse activations: args objects in, positional calls out, lengths guarded. */
import type { BsrArgs, Kernels } from './face.js';
import { f32, guarded, type NativeBackend, need } from './native-addon.js';

export type BsrKernels = Pick<
  Kernels,
  | 'bsrCompress'
  | 'bsrExpand'
  | 'bsrDense'
  | 'denseBsr'
  | 'bsrColumnDots'
  | 'poolRows'
  | 'signMask'
  | 'maskBackward'
  | 'bf16Round'
  | 'bf16Widen'
>;

type Call = (...args: unknown[]) => void;

interface BsrAddon {
  bsr_compress: Call;
  bsr_expand: Call;
  bsr_dense: Call;
  dense_bsr: Call;
  bsr_column_dots: Call;
  pool_rows: Call;
  sign_mask: Call;
  mask_backward: Call;
  bf16_round: Call;
  bf16_widen: Call;
}

const HINT =
  'row pointers must ascend from 0, and block columns must ascend within a row and lie inside the matrix';

export function bsrKernels(backend: NativeBackend): BsrKernels {
  const addon = () => backend.use() as unknown as BsrAddon;
  return {
    bsrCompress({ rows, cols, block, x, kept, perRow, squares, values, columns, rowPointers }) {
      const op = 'bsrCompress';
      const blockRows = Math.ceil(rows / block);
      const all = blockRows * Math.ceil(cols / block);
      const entries = perRow ? kept * blockRows : kept;
      need(op, 'columns', columns, entries);
      need(op, 'rowPointers', rowPointers, blockRows + 1);
      const from = f32(op, 'x', x, rows * cols);
      const sums = f32(op, 'squares', squares, all);
      const to = f32(op, 'values', values, entries * block * block);
      guarded(op, '', () =>
        addon().bsr_compress(rows, cols, block, kept, perRow, from, sums, to, columns, rowPointers),
      );
    },

    bsrExpand(args) {
      const { begin, end, cols } = args;
      const x = matrix('bsrExpand', args);
      const out = f32('bsrExpand', 'out', args.out, (end - begin) * cols);
      guarded('bsrExpand', HINT, () => addon().bsr_expand(...x, begin, end, out));
    },

    bsrDense({ x, transX = false, n, b, c, accumulate = false }) {
      const op = 'bsrDense';
      const all = matrix(op, x);
      const fb = f32(op, 'b', b, n * (transX ? x.rows : x.cols));
      const fc = f32(op, 'c', c, n * (transX ? x.cols : x.rows));
      guarded(op, HINT, () => addon().bsr_dense(transX, ...all, n, fb, fc, accumulate));
    },

    denseBsr({ transA = false, m, a, x, c, accumulate = false }) {
      const op = 'denseBsr';
      const all = matrix(op, x);
      const fa = f32(op, 'a', a, m * x.rows);
      const fc = f32(op, 'c', c, m * x.cols);
      guarded(op, HINT, () => addon().dense_bsr(transA, ...all, m, fa, fc, accumulate));
    },

    bsrColumnDots(x, dy, out, accumulate) {
      const op = 'bsrColumnDots';
      const all = matrix(op, x);
      const from = f32(op, 'dy', dy, x.rows * x.cols);
      const to = f32(op, 'out', out, x.cols);
      guarded(op, HINT, () => addon().bsr_column_dots(...all, from, to, accumulate));
    },

    poolRows(rows, cols, size, x, how, out) {
      const op = 'poolRows';
      const from = f32(op, 'x', x, rows * cols);
      const to = f32(op, 'out', out, Math.ceil(rows / size) * cols);
      guarded(op, '', () => addon().pool_rows(rows, cols, size, how === 'mean', from, to));
    },

    signMask(n, y, mask) {
      need('signMask', 'mask', mask, Math.ceil(n / 32));
      addon().sign_mask(n, f32('signMask', 'y', y, n), mask);
    },

    maskBackward(n, mask, dy, dx) {
      const op = 'maskBackward';
      need(op, 'mask', mask, Math.ceil(n / 32));
      addon().mask_backward(n, mask, f32(op, 'dy', dy, n), f32(op, 'dx', dx, n));
    },

    bf16Round(n, x, y) {
      need('bf16Round', 'y', y, n);
      addon().bf16_round(n, f32('bf16Round', 'x', x, n), y);
    },

    bf16Widen(n, x, y) {
      need('bf16Widen', 'x', x, n);
      addon().bf16_widen(n, x, f32('bf16Widen', 'y', y, n));
    },
  };
}

/** The arguments that every kernel takes for a block-sparse matrix. */
function matrix(op: string, { rows, cols, block, values, columns, rowPointers }: BsrArgs): unknown[] {
  const blockRows = Math.ceil(rows / block);
  need(op, 'rowPointers', rowPointers, blockRows + 1);
  const entries = rowPointers[blockRows];
  need(op, 'columns', columns, entries);
  return [
    rows,
    cols,
    block,
    entries,
    f32(op, 'values', values, entries * block * block),
    columns,
    rowPointers,
  ];
}
