import { expect } from 'vitest';
import type { Floats, Kernels } from '../face.js';
import { type Case, Data, Lab, lazy, RAGGED, type Rounding } from './case.testing.js';

interface PairShape {
  readonly count: number;
  readonly labels: number;
  readonly rows: number;
  readonly dim: number;
}

const PAIR_SHAPES: readonly PairShape[] = [
  ...RAGGED.map((dim) => ({ count: 21, labels: 9, rows: 5, dim })),
  { count: 0, labels: 9, rows: 5, dim: 17 },
  { count: 0, labels: 0, rows: 0, dim: 4 },
  { count: 1, labels: 1, rows: 1, dim: 1 },
  { count: 40, labels: 1, rows: 7, dim: 33 },
  // Long enough to be cut between threads.
  { count: 700, labels: 300, rows: 64, dim: 130 },
  { count: 900, labels: 40, rows: 3, dim: 512 },
];

const titleOf = ({ count, labels, rows, dim }: PairShape) =>
  `${count} pairs of ${labels} labels and ${rows} rows, ${dim} wide`;

function pairs(shape: PairShape) {
  const { count, labels, rows, dim } = shape;
  const data = new Data(`pairs ${titleOf(shape)}`);
  const below = (n: number) => Uint32Array.from({ length: count }, () => data.stream.below(n));
  return {
    label: below(labels),
    row: below(rows),
    table: data.floats(labels * dim),
    x: data.floats(rows * dim),
    coefficients: data.floats(count, 3),
  };
}

type Pairs = ReturnType<typeof pairs>;

/** What a case needs of the lab; plain arrays serve for bounds. */
type Buffers = Pick<Lab, 'input' | 'inout' | 'output' | 'u32'>;
const plain: Buffers = {
  input: (values) => Float64Array.from(values),
  inout: (values) => Float64Array.from(values),
  output: (length) => new Float64Array(length),
  u32: (values) => Uint32Array.from(values),
};

/** One case per shape; the error is bounded by `relative` times the same sum of absolute values. */
function pairCases(
  run: (kernels: Kernels, lab: Buffers, shape: PairShape, data: Pairs) => Floats,
  relative: (shape: PairShape, rounding: Rounding) => number,
): Case[] {
  return PAIR_SHAPES.map((shape) => {
    const data = lazy(() => pairs(shape));
    return {
      name: titleOf(shape),
      run: (kernels, lab) => ({ out: run(kernels, lab, shape, data()) }),
      bounds: (rounding, oracle) => {
        const sizes = { ...data() };
        for (const name of ['table', 'x', 'coefficients'] as const) sizes[name] = sizes[name].map(Math.abs);
        const error = relative(shape, rounding);
        return { out: run(oracle, plain, shape, sizes).map((size) => error * size) as Floats };
      },
    };
  });
}

export const PAIR_DOTS_CASES = pairCases(
  (kernels, lab, shape, data) => {
    const out = lab.output(shape.count);
    const [table, x] = [lab.input(data.table), lab.input(data.x)];
    kernels.pairDots({ ...shape, label: lab.u32(data.label), row: lab.u32(data.row), table, x, out });
    return out;
  },
  ({ dim }, rounding) => rounding.sum(dim + 2),
);

export const PAIR_GATHER_CASES = pairCases(
  (kernels, lab, shape, data) => {
    const out = lab.output(shape.rows * shape.dim);
    const [table, coefficients] = [lab.input(data.table), lab.input(data.coefficients)];
    kernels.pairGather({
      ...shape,
      label: lab.u32(data.label),
      row: lab.u32(data.row),
      table,
      coefficients,
      out,
    });
    return out;
  },
  ({ count }, rounding) => rounding.sum(count + 2),
);

export const PAIR_SCATTER_CASES = pairCases(
  (kernels, lab, shape, data) => {
    const table = lab.inout(data.table);
    const [x, coefficients] = [lab.input(data.x), lab.input(data.coefficients)];
    const alpha = 0.375;
    kernels.pairScatter({
      ...shape,
      label: lab.u32(data.label),
      row: lab.u32(data.row),
      table,
      alpha,
      coefficients,
      x,
    });
    return table;
  },
  // The table is rounded after every pair on every backend.
  ({ count }, { unit }) => (2 * count + 4) * unit,
);

const SETTLE_SHAPES = [
  { rows: 0, dim: 5, rank: 2 },
  { rows: 3, dim: 5, rank: 0 },
  { rows: 1, dim: 1, rank: 1 },
  ...[1, 2, 3, 4, 5, 7, 8].map((rows) => ({ rows, dim: 33, rank: 3 })),
  ...RAGGED.map((dim) => ({ rows: 9, dim, rank: 5 })),
  { rows: 9, dim: 40, rank: 32 },
  { rows: 2000, dim: 70, rank: 4 },
];

/** Some rows have taken part of the changes before, most none; changes 1 and 2 are one. */
export const SETTLE_ROWS_CASES: readonly Case[] = SETTLE_SHAPES.flatMap(({ rows, dim, rank }) =>
  [false, true].map((listed): Case => {
    const name = `${listed ? 'some' : 'all'} of ${rows} rows of ${dim}, ${rank} changes`;
    const made = lazy(() => {
      const data = new Data(`settle ${name}`);
      const [left, right] = [data.floats(rank * dim, 0.2), data.floats(rank * dim, 0.2)];
      const cross = new Float32Array(32 * 32);
      for (let f = 0; f < rank; f++) {
        for (let r = f + 1; r < rank; r++) {
          for (let j = 0; j < dim && !(f === 1 && r === 2); j++) {
            cross[f * 32 + r] += right[f * dim + j] * left[r * dim + j];
          }
        }
      }
      const stamps = Uint32Array.from({ length: rows }, (_, i) => (i % 5 === 3 ? i % (rank + 1) : 0));
      const label = Uint32Array.from({ length: rows }, () => data.stream.below(rows)).sort();
      return { left, right, cross, stamps, label, table: data.floats(rows * dim) };
    });
    const run = (kernels: Kernels, lab: Lab, absolutes: boolean) => {
      const of = (x: Float32Array) => (absolutes ? x.map(Math.abs) : x);
      const { label, ...data } = made();
      const table = lab.inout(of(data.table));
      const stamps = Uint16Array.from(data.stamps);
      const [left, right, cross] = [data.left, data.right, data.cross].map((x) => lab.input(of(x)));
      kernels.settleRows({
        ...{ count: rows, labels: rows, dim, rank, left, right, cross },
        ...{ label: listed ? lab.u32(label) : null, stamps, table },
      });
      return { table };
    };
    return {
      name,
      run: (kernels, lab) => run(kernels, lab, false),
      bounds: (rounding, oracle) => {
        const sizes = run(oracle, new Lab('float64'), true).table as Float64Array;
        return { table: sizes.map((size) => rounding.sum(2 * (dim + rank) + 4) * size) };
      },
    };
  }),
);

const SCALE_SHAPES = [[0, 5], [5, 0], ...RAGGED.map((cols) => [7, cols]), [300, 200]] as const;

export const SCALE_ROWS_CASES: readonly Case[] = SCALE_SHAPES.flatMap(([rows, cols]) =>
  [false, true].map((add): Case => {
    const name = `${rows} x ${cols}${add ? ', added to what is there' : ''}`;
    const made = lazy(() => {
      const data = new Data(`scale rows ${name}`);
      return { x: data.floats(rows * cols), factors: data.floats(rows, 4), out: data.floats(rows * cols) };
    });
    return {
      name,
      run: (kernels, lab) => {
        const { x, factors, out } = made();
        const into = add ? lab.inout(out) : lab.output(rows * cols);
        kernels.scaleRows(rows, cols, lab.input(x), lab.input(factors), into, add);
        const inPlace = lab.inout(x);
        kernels.scaleRows(rows, cols, inPlace, lab.input(factors), inPlace, false);
        return { out: into, inPlace };
      },
      bounds: (rounding) => {
        const { x, factors, out } = made();
        const size = (i: number) => Math.abs(x[i] * factors[Math.floor(i / cols)]);
        const inPlace = Float64Array.from(x, (_, i) => 2 * rounding.unit * size(i));
        return {
          inPlace,
          out: inPlace.map((e, i) => e + (add ? 2 * rounding.unit * (size(i) + Math.abs(out[i])) : 0)),
        };
      },
    };
  }),
);

interface Sums {
  readonly keep: number;
  readonly alpha: number;
}
const SUMS: readonly Sums[] = [
  { keep: 1, alpha: 1 },
  { keep: 1, alpha: -0.3 },
  { keep: 0.99, alpha: 0.7 },
];

/** What float32 would lose of doubles, as one number: arrays are compared after rounding, numbers are not. */
function beyondFloats(x: Float64Array): number {
  return x.reduce((sum, value, i) => sum + (value - Math.fround(value)) * (1 + (i % 7)), 0);
}

/** Equality: both sides add in double, in the same order, without fused multiply-adds. */
function accumulateCases(
  kernel: 'accumulate' | 'accumulateSymmetric',
  sizes: readonly number[],
  law: (n: number) => Case['law'],
): Case[] {
  return sizes.flatMap((n) =>
    SUMS.map(({ keep, alpha }): Case => {
      const made = lazy(() => {
        const length = kernel === 'accumulate' ? n : n * n;
        const data = new Data(`${kernel} ${n}`);
        const master = Float64Array.from({ length }, () => data.stream.uniform() - 0.5);
        if (kernel === 'accumulateSymmetric') {
          for (let i = 0; i < length; i++) master[i] = master[Math.min(i, (i % n) * n + Math.floor(i / n))];
        }
        return { x: data.floats(length), master };
      });
      return {
        name: `n = ${n}, keeps ${keep}, adds ${alpha} x`,
        run: (kernels, lab) => {
          const x = lab.input(made().x);
          const master = lab.doubles(made().master);
          const copy = lab.output(master.length);
          kernels[kernel](n, { x, keep, alpha, master, copy });
          return { master, copy, fine: beyondFloats(master) };
        },
        bounds: () => ({ master: 0 }),
        law: law(n),
      };
    }),
  );
}

export const ACCUMULATE_CASES = accumulateCases('accumulate', [0, ...RAGGED, 40_000], () => undefined);
export const ACCUMULATE_SYMMETRIC_CASES = accumulateCases(
  'accumulateSymmetric',
  [0, 1, 2, 15, 16, 17, 33, 150],
  (n) =>
    ({ master, copy }) => {
      for (const square of [master as Float64Array, copy as Float64Array]) {
        const turned = square.map((_, i) => square[(i % n) * n + Math.floor(i / n)]);
        expect(square, 'symmetric to the bit').toEqual(turned);
      }
    },
);

/** A well-conditioned matrix that needs its rows exchanged: every diagonal element is 0. */
function matrix(n: number): Float64Array {
  const data = new Data(`invert ${n}`);
  return Float64Array.from({ length: n * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    if (n > 1 && i === j) return 0;
    return (data.stream.uniform() - 0.5) / n + ((i + 1) % n === j ? 2 : 0);
  });
}

export const INVERT_CASES: readonly Case[] = [
  ...[0, 1, 2, 3, 16, 17, 64, 150, 260].map((n): Case => {
    const made = lazy(() => matrix(n));
    return {
      name: `n = ${n}`,
      run: (kernels, lab) => {
        const a = lab.doubles(made());
        return { pivot: kernels.invert(n, a), a, fine: beyondFloats(a) };
      },
      bounds: () => ({ a: 0, pivot: 0 }),
      law: ({ a, pivot }) => {
        expect(pivot).toBeGreaterThan(0.1);
        for (let i = 0; i < n; i++) {
          for (let j = 0; j < n; j += 7) {
            let sum = 0;
            for (let k = 0; k < n; k++) sum += made()[i * n + k] * (a as Float64Array)[k * n + j];
            expect(Math.abs(sum - (i === j ? 1 : 0))).toBeLessThan(1e-12);
          }
        }
      },
    };
  }),
  {
    name: 'answers 0 for a singular matrix, NaN for one that holds a NaN',
    run: (kernels, lab) => ({
      singular: kernels.invert(3, lab.doubles([1, 2, 3, 2, 4, 6, 1, 0, 1])),
      zero: kernels.invert(1, lab.doubles([0])),
      nan: kernels.invert(2, lab.doubles([Number.NaN, 1, 1, 1])),
    }),
    law: ({ singular, zero, nan }) => {
      expect(singular).toBe(0);
      expect(zero).toBe(0);
      expect(nan).toBeNaN();
    },
  },
];
