/** The native kernels of the factored output layer: args objects in, positional calls out, lengths guarded. */
import type { AccumulateArgs, Kernels, PairArgs } from './face.js';
import { f32, guarded, type NativeBackend, need } from './native-addon.js';

export type FactoredKernels = Pick<
  Kernels,
  | 'pairDots'
  | 'pairGather'
  | 'pairScatter'
  | 'settleRows'
  | 'scaleRows'
  | 'accumulate'
  | 'accumulateSymmetric'
  | 'invert'
>;

type Call = (...args: unknown[]) => void;

interface FactoredAddon {
  pair_dots: Call;
  pair_gather: Call;
  pair_scatter: Call;
  settle_rows: Call;
  scale_rows: Call;
  accumulate: Call;
  accumulate_symmetric: Call;
  invert: Call;
}

const PAIR_HINT = 'every label must be below `labels`, every row below `rows`';

export function factoredKernels(backend: NativeBackend): FactoredKernels {
  const addon = () => backend.use() as unknown as FactoredAddon;
  const pivot = new Float64Array(1);
  let scratch = new Float64Array(128);
  return {
    pairDots(args) {
      const op = 'pairDots';
      const pairs = pairArguments(op, args);
      const x = f32(op, 'x', args.x, args.rows * args.dim);
      const out = f32(op, 'out', args.out, args.count);
      guarded(op, PAIR_HINT, () => addon().pair_dots(...pairs, x, out));
    },

    pairGather(args) {
      const op = 'pairGather';
      const pairs = pairArguments(op, args);
      const coefficients = f32(op, 'coefficients', args.coefficients, args.count);
      const out = f32(op, 'out', args.out, args.rows * args.dim);
      guarded(op, PAIR_HINT, () => addon().pair_gather(...pairs, coefficients, out));
    },

    pairScatter(args) {
      const op = 'pairScatter';
      const pairs = pairArguments(op, args);
      const coefficients = f32(op, 'coefficients', args.coefficients, args.count);
      const x = f32(op, 'x', args.x, args.rows * args.dim);
      guarded(op, PAIR_HINT, () => addon().pair_scatter(...pairs, args.alpha, coefficients, x));
    },

    settleRows({ count, labels, dim, rank, left, right, cross, label, stamps, table }) {
      const op = 'settleRows';
      if (label !== null) need(op, 'label', label, count);
      need(op, 'stamps', stamps, count);
      const changes = [
        f32(op, 'left', left, rank * dim),
        f32(op, 'right', right, rank * dim),
        f32(op, 'cross', cross, rank * 32),
      ];
      const rows = f32(op, 'table', table, labels * dim);
      guarded(op, 'labels must ascend and lie inside of the table', () =>
        addon().settle_rows(count, labels, dim, rank, ...changes, label, stamps, rows),
      );
    },

    scaleRows(rows, cols, x, factors, out, accumulate) {
      const op = 'scaleRows';
      const from = f32(op, 'x', x, rows * cols);
      const by = f32(op, 'factors', factors, rows);
      addon().scale_rows(rows, cols, from, by, f32(op, 'out', out, rows * cols), accumulate);
    },

    accumulate(n, args) {
      addon().accumulate(n, ...accumulateArguments('accumulate', n, args));
    },

    accumulateSymmetric(n, args) {
      addon().accumulate_symmetric(n, ...accumulateArguments('accumulateSymmetric', n * n, args));
    },

    invert(n, a) {
      need('invert', 'a', a, n * n);
      if (scratch.length < n) scratch = new Float64Array(n);
      guarded('invert', '', () => addon().invert(n, a, scratch, pivot));
      return pivot[0];
    },
  };
}

function pairArguments(op: string, { count, labels, rows, dim, label, row, table }: PairArgs): unknown[] {
  need(op, 'label', label, count);
  need(op, 'row', row, count);
  return [count, labels, rows, dim, label, row, f32(op, 'table', table, labels * dim)];
}

function accumulateArguments(op: string, n: number, { x, keep, alpha, master, copy }: AccumulateArgs) {
  need(op, 'master', master, n);
  return [f32(op, 'x', x, n), keep, alpha, master, f32(op, 'copy', copy, n)];
}
