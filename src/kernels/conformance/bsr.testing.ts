import { expect } from 'vitest';
import { nearestBf16 } from '../bf16.js';
import type { BsrArgs, Kernels } from '../face.js';
import { absolute, type Case, Data, type Lab, lazy, type Outputs } from './case.testing.js';

interface Pattern {
  readonly rows: number;
  readonly cols: number;
  readonly block: number;
  /** Share of blocks held, by chance. */
  readonly keep: number;
}

type Held = BsrArgs & { readonly values: Float32Array };

/** Any pattern that the format allows; edge blocks are padded with zeros. */
function held({ rows, cols, block, keep }: Pattern): Held {
  const data = new Data(`bsr ${rows} ${cols} ${block} ${keep}`);
  const columns: number[] = [];
  const rowPointers = [0];
  const values: number[] = [];
  for (let r = 0; r * block < rows; r++) {
    for (let c = 0; c * block < cols; c++) {
      if (data.stream.uniform() >= keep) continue;
      columns.push(c);
      const own = data.floats(block * block);
      for (let i = 0; i < own.length; i++) {
        const inside = r * block + Math.floor(i / block) < rows && c * block + (i % block) < cols;
        values.push(inside ? own[i] : 0);
      }
    }
    rowPointers.push(columns.length);
  }
  return {
    rows,
    cols,
    block,
    values: Float32Array.from(values),
    columns: Uint32Array.from(columns),
    rowPointers: Uint32Array.from(rowPointers),
  };
}

const inLab = (lab: Lab, x: Held): BsrArgs => ({
  ...x,
  values: lab.input(x.values),
  columns: lab.u32(x.columns),
  rowPointers: lab.u32(x.rowPointers),
});

const magnitudes = (x: Held): BsrArgs => ({ ...x, values: absolute(x.values) });

const BLOCKS = [8, 16, 32] as const;

const PATTERNS: readonly Pattern[] = BLOCKS.flatMap((block) => [
  { rows: 1, cols: 1, block, keep: 1 },
  { rows: 70, cols: 45, block, keep: 0.5 },
  { rows: 96, cols: 64, block, keep: 1 },
  { rows: 33, cols: 130, block, keep: 0 },
  { rows: 1, cols: 100, block, keep: 0.7 },
  { rows: 1100, cols: 40, block, keep: 0.3 },
  { rows: 40, cols: 1100, block, keep: 0.3 },
]);
const LANES = [1, 7, 33, 100, 260];

const products = (dense: (p: Pattern) => number) =>
  PATTERNS.flatMap((pattern) =>
    LANES.map((lanes) => {
      const name = `${pattern.rows} x ${pattern.cols} in blocks of ${pattern.block}, keep ${pattern.keep}, ${lanes} lanes`;
      const given = lazy(() => {
        const data = new Data(name);
        const { rows, cols } = pattern;
        return {
          x: held(pattern),
          dense: data.floats(dense(pattern) * lanes),
          start: data.floats(Math.max(rows, cols) * lanes),
        };
      });
      return { pattern, lanes, name, given };
    }),
  );

/** c fresh and added to; |error| <= gamma (|x| |b| + |c|). */
function productCases(
  inner: (p: Pattern) => number,
  outer: (p: Pattern) => number,
  run: (kernels: Kernels, x: BsrArgs, lanes: number, dense: Lane, c: Lane, accumulate: boolean) => void,
): readonly Case[] {
  return products(inner).map(({ pattern, lanes, name, given }) => {
    const length = outer(pattern) * lanes;
    return {
      name,
      run: (kernels, lab): Outputs => {
        const x = inLab(lab, given().x);
        const dense = lab.input(given().dense);
        const fresh = lab.output(length);
        const added = lab.inout(given().start.subarray(0, length));
        run(kernels, x, lanes, dense, fresh, false);
        run(kernels, x, lanes, dense, added, true);
        return { fresh, added };
      },
      bounds: (rounding, oracle) => {
        const { x, dense, start } = given();
        const fresh = new Float64Array(length);
        const added = absolute(start.subarray(0, length));
        run(oracle, magnitudes(x), lanes, absolute(dense), fresh, false);
        run(oracle, magnitudes(x), lanes, absolute(dense), added, true);
        const gamma = rounding.sum(inner(pattern) + 4);
        return { fresh: fresh.map((e) => gamma * e), added: added.map((e) => gamma * e) };
      },
    };
  });
}
type Lane = BsrArgs['values'];

const rowsOf = (p: Pattern) => p.rows;
const colsOf = (p: Pattern) => p.cols;

export const BSR_DENSE_CASES: readonly Case[] = [
  ...productCases(colsOf, rowsOf, (kernels, x, n, b, c, accumulate) =>
    kernels.bsrDense({ x, n, b, c, accumulate }),
  ),
  ...productCases(rowsOf, colsOf, (kernels, x, n, b, c, accumulate) =>
    kernels.bsrDense({ x, transX: true, n, b, c, accumulate }),
  ),
];

export const DENSE_BSR_CASES: readonly Case[] = [
  ...productCases(rowsOf, colsOf, (kernels, x, m, a, c, accumulate) =>
    kernels.denseBsr({ x, m, a, c, accumulate }),
  ),
  ...productCases(rowsOf, colsOf, (kernels, x, m, a, c, accumulate) =>
    kernels.denseBsr({ transA: true, x, m, a, c, accumulate }),
  ),
];

export const BSR_COLUMN_DOTS_CASES: readonly Case[] = PATTERNS.map((pattern) => {
  const { rows, cols, block, keep } = pattern;
  const given = lazy(() => {
    const data = new Data(`column dots ${rows} ${cols} ${block} ${keep}`);
    return { x: held(pattern), dy: data.floats(rows * cols), start: data.floats(cols) };
  });
  const run = (kernels: Kernels, x: BsrArgs, dy: Lane, fresh: Lane, added: Lane) => {
    kernels.bsrColumnDots(x, dy, fresh, false);
    kernels.bsrColumnDots(x, dy, added, true);
  };
  return {
    name: `${rows} x ${cols} in blocks of ${block}, keep ${keep}`,
    run: (kernels, lab): Outputs => {
      const fresh = lab.output(cols);
      const added = lab.inout(given().start);
      run(kernels, inLab(lab, given().x), lab.input(given().dy), fresh, added);
      return { fresh, added };
    },
    bounds: (rounding, oracle) => {
      const fresh = new Float64Array(cols);
      const added = absolute(given().start);
      run(oracle, magnitudes(given().x), absolute(given().dy), fresh, added);
      const gamma = rounding.sum(rows + 4);
      return { fresh: fresh.map((e) => gamma * e), added: added.map((e) => gamma * e) };
    },
  };
});

export const BSR_EXPAND_CASES: readonly Case[] = PATTERNS.map((pattern) => ({
  name: `${pattern.rows} x ${pattern.cols} in blocks of ${pattern.block}, keep ${pattern.keep}`,
  run: (kernels, lab): Outputs => {
    const x = inLab(lab, held(pattern));
    const { rows, cols } = pattern;
    const [begin, end] = [Math.floor(rows / 3), Math.ceil((2 * rows) / 3)];
    const all = lab.output(rows * cols);
    const some = lab.output((end - begin) * cols);
    kernels.bsrExpand({ ...x, begin: 0, end: rows, out: all });
    kernels.bsrExpand({ ...x, begin, end, out: some });
    kernels.bsrExpand({ ...x, begin: end, end, out: lab.output(0) });
    return { all, some };
  },
}));

/** Blocks in the order in which they are kept: NaN, then the larger, of equals the earlier. */
function ranking(squares: ArrayLike<number>, from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i).sort((a, b) => {
    const [x, y] = [squares[a], squares[b]];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(y)) - Number(Number.isNaN(x)) || a - b;
    return x === y ? a - b : y - x;
  });
}

interface Compression {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly block: number;
  readonly x: () => Float32Array;
  /** Whether sums of squares are exact in float32. */
  readonly exact: boolean;
}

function compressCase(
  { name, rows, cols, block, x, exact }: Compression,
  keep: number,
  perRow: boolean,
): Case {
  const blockRows = Math.ceil(rows / block);
  const blockCols = Math.ceil(cols / block);
  const segments = perRow ? blockRows : 1;
  const segment = (blockRows * blockCols) / Math.max(1, segments);
  const kept = Math.round(keep * segment);
  const entries = kept * segments;
  return {
    name: `${name}, keep ${keep}${perRow ? ' of every block row' : ''}`,
    run: (kernels, lab): Outputs => {
      const out = {
        squares: lab.output(blockRows * blockCols),
        values: lab.output(entries * block * block),
        columns: lab.u32Output(entries),
        rowPointers: lab.u32Output(blockRows + 1),
      };
      kernels.bsrCompress({ rows, cols, block, x: lab.input(x()), kept, perRow, ...out });
      return out;
    },
    bounds: (rounding): Record<string, number | Float64Array> => {
      if (exact) return {};
      const squares = new Float64Array(blockRows * blockCols);
      x().forEach((value, i) => {
        const at = Math.floor(i / cols / block) * blockCols + Math.floor((i % cols) / block);
        squares[at] += rounding.sum(block * block) * value ** 2;
      });
      return { squares };
    },
    law: ({ squares, columns, rowPointers }) => {
      const chosen = new Set<number>();
      const pointers = rowPointers as Uint32Array;
      for (let r = 0; r < blockRows; r++) {
        const row = (columns as Uint32Array).subarray(pointers[r], pointers[r + 1]);
        for (const c of row) chosen.add(r * blockCols + c);
      }
      const wanted: number[] = [];
      for (let s = 0; s < segments; s++) {
        wanted.push(...ranking(squares as Float32Array, s * segment, segment).slice(0, kept));
      }
      expect([...chosen].sort((a, b) => a - b)).toEqual(wanted.sort((a, b) => a - b));
    },
  };
}

const special = (rows: number, cols: number) => {
  const x = new Data('bsr special').whole(rows * cols, 3);
  x[3] = Number.NaN;
  x[rows * cols - 1] = -Number.NaN;
  x[Math.floor((rows * cols) / 2)] = Infinity;
  x[Math.floor((rows * cols) / 3)] = 3e38;
  return x;
};

const COMPRESSIONS: readonly Compression[] = BLOCKS.flatMap((block) => {
  const of = (rows: number, cols: number) => ({ rows, cols, block });
  const random = (rows: number, cols: number): Compression => ({
    name: `${rows} x ${cols}, blocks of ${block}`,
    ...of(rows, cols),
    x: lazy(() => new Data(`compress ${rows} ${cols}`).floats(rows * cols)),
    exact: false,
  });
  return [
    random(1, 1),
    random(1, 100),
    random(100, 1),
    random(70, 45),
    random(400, 260),
    {
      name: `many ties, blocks of ${block}`,
      ...of(130, 270),
      x: lazy(() => new Data('bsr ties').whole(130 * 270, 1).map((v, i) => (i % 270 < 200 ? v && 1 : v))),
      exact: true,
    },
    { name: `all zeros, blocks of ${block}`, ...of(65, 65), x: () => new Float32Array(65 * 65), exact: true },
    {
      name: `NaN, infinity and overflow, blocks of ${block}`,
      ...of(100, 90),
      x: lazy(() => special(100, 90)),
      exact: true,
    },
  ];
});

export const BSR_COMPRESS_CASES: readonly Case[] = COMPRESSIONS.flatMap((one) =>
  [0, 0.3, 0.5, 1].flatMap((keep) => [false, true].map((perRow) => compressCase(one, keep, perRow))),
);

const POOLED = [
  [1, 1, 1],
  [1, 5, 4],
  [7, 33, 3],
  [64, 65, 2],
  [1000, 31, 7],
] as const;

export const POOL_ROWS_CASES: readonly Case[] = POOLED.map(([rows, cols, size]) => {
  const data = lazy(() => new Data(`pool ${rows} ${cols} ${size}`).floats(rows * cols));
  return {
    name: `${size} of ${rows} x ${cols}`,
    run: (kernels, lab): Outputs => {
      const length = Math.ceil(rows / size) * cols;
      const sum = lab.output(length);
      const mean = lab.output(length);
      kernels.poolRows(rows, cols, size, lab.input(data()), 'sum', sum);
      kernels.poolRows(rows, cols, size, lab.input(data()), 'mean', mean);
      return { sum, mean };
    },
    bounds: (rounding) => ({ sum: rounding.sum(size + 1) * size, mean: rounding.sum(size + 3) }),
  };
});

const MASKED = [0, 1, 31, 32, 33, 100, 100_003] as const;
const masked = (n: number) => {
  const y = new Data(`mask ${n}`).whole(n, 2);
  if (n > 40) y.set([Number.NaN, Infinity, -Infinity, -0, 1e-45], 30);
  return y;
};

export const SIGN_MASK_CASES: readonly Case[] = MASKED.map((n) => ({
  name: `${n} elements`,
  run: (kernels, lab): Outputs => {
    const mask = lab.u32Output(Math.ceil(n / 32));
    kernels.signMask(n, lab.input(masked(n)), mask);
    return { mask };
  },
}));

export const MASK_BACKWARD_CASES: readonly Case[] = MASKED.map((n) => ({
  name: `${n} elements; in place as beside`,
  run: (kernels, lab): Outputs => {
    const data = new Data(`mask backward ${n}`);
    const mask = lab.u32(Uint32Array.from({ length: Math.ceil(n / 32) }, () => data.stream.below(2 ** 32)));
    const dy = data.floats(n);
    const dx = lab.output(n);
    const inPlace = lab.inout(dy);
    kernels.maskBackward(n, mask, lab.input(dy), dx);
    kernels.maskBackward(n, mask, inPlace, inPlace);
    return { dx, inPlace };
  },
}));

export const BF16_ROUND_CASES: readonly Case[] = MASKED.map((n) => ({
  name: `${n} elements`,
  run: (kernels, lab): Outputs => {
    const y = lab.u16Output(n);
    const x = new Data(`bf16 ${n}`).floats(n);
    // Halves between neighbours, both ways; the largest numbers; what is no number.
    if (n > 40)
      x.set([1 + 2 ** -8, 1 + 3 * 2 ** -8, 3.4e38, -3.4e38, Infinity, -Infinity, Number.NaN, 1e-40, -0], 30);
    kernels.bf16Round(n, lab.input(x), y);
    return { y: Uint32Array.from(y) };
  },
}));

export const BF16_WIDEN_CASES: readonly Case[] = MASKED.map((n) => ({
  name: `${n} elements`,
  run: (kernels, lab): Outputs => {
    const y = lab.output(n);
    kernels.bf16Widen(n, lab.u16(Array.from(new Data(`widen ${n}`).floats(n), nearestBf16)), y);
    return { y };
  },
}));
