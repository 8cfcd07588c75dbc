import type { BagBackwardArgs, BagForwardArgs, CsrTransposeArgs } from '../face.js';

/** out_i = bias + sum over entries e of row i: x_e table[column_e, :]. */
export function bagForward(args: BagForwardArgs): void {
  const { rows, dim, indptr, indices, values, table, bias, out } = args;
  const sums = new Float64Array(dim);
  for (let i = 0; i < rows; i++) {
    sums.fill(0);
    for (let e = indptr[i]; e < indptr[i + 1]; e++) {
      const x = values === null ? 1 : values[e];
      const at = indices[e] * dim;
      for (let j = 0; j < dim; j++) sums[j] += x * table[at + j];
    }
    const at = i * dim;
    for (let j = 0; j < dim; j++) out[at + j] = bias === null ? sums[j] : sums[j] + bias[j];
  }
}

const DIGIT_BITS = 8;
const DIGITS = 1 << DIGIT_BITS;

/**
 * The entries sorted by column. A radix sort is stable, so rows (and a column repeated within a row) keep their
 * order, and needs no memory of the size of the vocabulary.
 */
export function csrTranspose(args: CsrTransposeArgs): number {
  const { rows, vocab, indptr, indices, values, columns, colptr, rowOf, scratch } = args;
  const nnz = indptr[rows];
  let order = scratch.subarray(0, nnz);
  let sorted = scratch.subarray(nnz, 2 * nnz);
  for (let e = 0; e < nnz; e++) order[e] = e;
  const starts = new Uint32Array(DIGITS + 1);
  for (let divisor = 1; divisor < vocab; divisor *= DIGITS) {
    starts.fill(0);
    for (let e = 0; e < nnz; e++) starts[(Math.floor(indices[e] / divisor) % DIGITS) + 1]++;
    for (let digit = 0; digit < DIGITS; digit++) starts[digit + 1] += starts[digit];
    for (let t = 0; t < nnz; t++) {
      const e = order[t];
      sorted[starts[Math.floor(indices[e] / divisor) % DIGITS]++] = e;
    }
    [order, sorted] = [sorted, order];
  }

  // The spare half of scratch now holds the row of every entry.
  for (let i = 0; i < rows; i++) sorted.fill(i, indptr[i], indptr[i + 1]);
  let count = 0;
  colptr[0] = 0;
  for (let t = 0; t < nnz; t++) {
    const e = order[t];
    rowOf[t] = sorted[e];
    args.valueOf[t] = values === null ? 1 : values[e];
    if (count === 0 || columns[count - 1] !== indices[e]) columns[count++] = indices[e];
    colptr[count] = t + 1;
  }
  return count;
}

/** grad_t = sum over entries e of column t: x_e dy[row_e, :]. */
export function bagBackward(args: BagBackwardArgs): void {
  const { count, dim, colptr, rowOf, valueOf: x, dy, grad } = args;
  const sums = new Float64Array(dim);
  for (let t = 0; t < count; t++) {
    sums.fill(0);
    for (let e = colptr[t]; e < colptr[t + 1]; e++) {
      const xe = x[e];
      const at = rowOf[e] * dim;
      for (let j = 0; j < dim; j++) sums[j] += xe * dy[at + j];
    }
    grad.set(sums, t * dim);
  }
}
