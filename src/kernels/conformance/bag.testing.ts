import { absolute, absoluteOrNull, type Case, Data, lazy, type Outputs } from './case.testing.js';

interface Bag {
  readonly rows: number;
  readonly vocab: number;
  readonly dim: number;
  /** Entries per row, at most; rows are empty with probability 1/4. */
  readonly longest: number;
  readonly values: boolean;
  readonly bias?: boolean;
}

interface Sparse {
  readonly indptr: Int32Array;
  readonly indices: Uint32Array;
  readonly values: Float32Array | null;
  readonly longest: number;
}

/** Rows with empty ones among them; columns may repeat within a row. */
function sparse(data: Data, { rows, vocab, longest, values }: Bag): Sparse {
  const indptr = new Int32Array(rows + 1);
  const indices: number[] = [];
  let most = 0;
  for (let i = 0; i < rows; i++) {
    const count = vocab === 0 || data.stream.below(4) === 0 ? 0 : data.stream.below(longest + 1);
    most = Math.max(most, count);
    // Small columns are frequent, as words are.
    for (let e = 0; e < count; e++) indices.push(data.stream.below(1 + data.stream.below(vocab)));
    indptr[i + 1] = indices.length;
  }
  return {
    indptr,
    indices: Uint32Array.from(indices),
    values: values ? data.floats(indices.length) : null,
    longest: most,
  };
}

function title({ rows, vocab, dim, longest, values, bias }: Bag): string {
  const extras = [values ? 'values' : 'ones', ...(bias ? ['bias'] : [])];
  return `${rows} rows of up to ${longest} of ${vocab}, dim ${dim}, ${extras.join(', ')}`;
}

const SHAPES: readonly Bag[] = [
  ...[1, 7, 8, 15, 16, 17, 31, 33, 64, 65].map((dim) => ({
    rows: 9,
    vocab: 50,
    dim,
    longest: 12,
    values: true,
  })),
  { rows: 0, vocab: 5, dim: 4, longest: 3, values: true },
  { rows: 6, vocab: 5, dim: 4, longest: 0, values: true, bias: true },
  { rows: 6, vocab: 5, dim: 4, longest: 0, values: false },
  { rows: 1, vocab: 1, dim: 1, longest: 9, values: true },
  { rows: 1, vocab: 300, dim: 40, longest: 200, values: false, bias: true },
  { rows: 5, vocab: 2, dim: 20, longest: 30, values: true, bias: true },
  { rows: 64, vocab: 5000, dim: 33, longest: 60, values: true, bias: true },
  { rows: 200, vocab: 1000, dim: 128, longest: 20, values: false },
];
/** Columns of all four bytes, for the sort; no table of that size. */
const WIDE: readonly Bag[] = [
  { rows: 64, vocab: 70_000, dim: 1, longest: 60, values: true },
  { rows: 300, vocab: 4_000_000_000, dim: 1, longest: 9, values: false },
];

function bagForwardCase(bag: Bag): Case {
  const data = lazy(() => {
    const source = new Data(`bag/${title(bag)}`);
    return {
      ...sparse(source, bag),
      table: source.floats(bag.vocab * bag.dim),
      bias: bag.bias ? source.floats(bag.dim) : null,
    };
  });
  const { rows, vocab, dim } = bag;
  return {
    name: title(bag),
    run: (kernels, lab) => {
      const { indptr, indices, values, table, bias } = data();
      const out = lab.output(rows * dim);
      kernels.bagForward({
        rows,
        vocab,
        dim,
        indptr: lab.i32(indptr),
        indices: lab.u32(indices),
        values: lab.inputOrNull(values),
        table: lab.input(table),
        bias: lab.inputOrNull(bias),
        out,
      });
      return { out };
    },
    // gamma_n (|X| |table| + |bias|), n the longest row
    bounds: (rounding, oracle) => {
      const { indptr, indices, values, table, bias, longest } = data();
      const out = new Float64Array(rows * dim);
      oracle.bagForward({
        rows,
        vocab,
        dim,
        indptr,
        indices,
        values: absoluteOrNull(values),
        table: absolute(table),
        bias: absoluteOrNull(bias),
        out,
      });
      return { out: out.map((x) => rounding.sum(longest + 1) * x) };
    },
  };
}

function csrTransposeCase(bag: Bag): Case {
  const data = lazy(() => sparse(new Data(`transpose/${title(bag)}`), bag));
  return {
    name: title(bag),
    run: (kernels, lab): Outputs => {
      const { indptr, indices, values } = data();
      const nnz = indices.length;
      const columns = lab.u32Output(nnz);
      const colptr = lab.i32Output(nnz + 1);
      const rowOf = lab.u32Output(nnz);
      const entryValues = lab.output(nnz);
      const count = kernels.csrTranspose({
        rows: bag.rows,
        vocab: bag.vocab,
        indptr: lab.i32(indptr),
        indices: lab.u32(indices),
        values: lab.inputOrNull(values),
        columns,
        colptr,
        rowOf,
        valueOf: entryValues,
        scratch: lab.u32Output(2 * nnz),
      });
      return {
        count,
        columns: columns.subarray(0, count),
        colptr: colptr.subarray(0, count + 1),
        rowOf,
        entryValues,
      };
    },
  };
}

function bagBackwardCase(bag: Bag): Case {
  const data = lazy(() => {
    const source = new Data(`bag backward/${title(bag)}`);
    const colptr = [0];
    const entries: number[] = [];
    // Columns of 1 to 2 * longest entries, rows ascending: `vocab` is the number of occurring columns here.
    for (let t = 0; t < bag.vocab && bag.rows > 0; t++) {
      const rows = Array.from({ length: 1 + source.stream.below(2 * bag.longest + 1) }, () =>
        source.stream.below(bag.rows),
      );
      entries.push(...rows.sort((a, b) => a - b));
      colptr.push(entries.length);
    }
    return {
      count: colptr.length - 1,
      colptr: Int32Array.from(colptr),
      rowOf: Uint32Array.from(entries),
      entryValues: bag.values ? source.floats(entries.length) : new Float32Array(entries.length).fill(1),
      dy: source.floats(bag.rows * bag.dim),
    };
  });
  const { dim } = bag;
  return {
    name: title(bag),
    run: (kernels, lab) => {
      const { count, colptr, rowOf, entryValues, dy } = data();
      const grad = lab.output(count * dim);
      kernels.bagBackward({
        count,
        dim,
        colptr: lab.i32(colptr),
        rowOf: lab.u32(rowOf),
        valueOf: lab.input(entryValues),
        dy: lab.input(dy),
        grad,
      });
      return { grad };
    },
    bounds: (rounding, oracle) => {
      const { count, colptr, rowOf, entryValues, dy } = data();
      const grad = new Float64Array(count * dim);
      oracle.bagBackward({
        count,
        dim,
        colptr,
        rowOf,
        valueOf: absolute(entryValues),
        dy: absolute(dy),
        grad,
      });
      return { grad: grad.map((x) => rounding.sum(2 * bag.longest + 1) * x) };
    },
  };
}

export const BAG_FORWARD_CASES = SHAPES.map(bagForwardCase);
export const CSR_TRANSPOSE_CASES = [...SHAPES, ...WIDE].map(csrTransposeCase);
export const BAG_BACKWARD_CASES = SHAPES.filter(({ vocab }) => vocab < 2000).map(bagBackwardCase);
