/** Block-sparse matrices, one block after the other. */
import { nearestBf16, widenBf16 } from '../bf16.js';
import type { BsrArgs, BsrCompressArgs, BsrDenseArgs, BsrExpandArgs, DenseBsrArgs, Floats } from '../face.js';

/** Every element of the blocks held that lies inside the matrix, by block row: (row, column, value). */
function forEach(x: BsrArgs, visit: (i: number, j: number, value: number) => void): void {
  const { rows, cols, block, values, columns, rowPointers } = x;
  for (let r = 0; r * block < rows; r++) {
    for (let e = rowPointers[r]; e < rowPointers[r + 1]; e++) {
      for (let p = 0; p < block && r * block + p < rows; p++) {
        for (let q = 0; q < block && columns[e] * block + q < cols; q++) {
          visit(r * block + p, columns[e] * block + q, values[(e * block + p) * block + q]);
        }
      }
    }
  }
}

export function bsrCompress(args: BsrCompressArgs): void {
  const { rows, cols, block, x, kept, perRow, squares, values, columns, rowPointers } = args;
  const blockRows = Math.ceil(rows / block);
  const blockCols = Math.ceil(cols / block);
  const sums = new Float64Array(blockRows * blockCols);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) {
      sums[Math.floor(i / block) * blockCols + Math.floor(j / block)] += x[i * cols + j] ** 2;
    }
  }
  squares.set(sums);
  const segment = perRow ? blockCols : blockRows * blockCols;
  let e = 0;
  rowPointers[0] = 0;
  for (let r = 0; r < blockRows; r++) {
    if (perRow || r === 0) sums.fill(0);
    const from = perRow ? r * blockCols : 0;
    if (perRow || r === 0) for (const i of largest(squares, from, segment, kept)) sums[i] = 1;
    for (let c = 0; c < blockCols; c++) {
      if (sums[r * blockCols + c] === 0) continue;
      for (let p = 0; p < block; p++) {
        for (let q = 0; q < block; q++) {
          const i = r * block + p;
          const j = c * block + q;
          values[(e * block + p) * block + q] = i < rows && j < cols ? x[i * cols + j] : 0;
        }
      }
      columns[e++] = c;
    }
    rowPointers[r + 1] = e;
  }
}

/** Indices of the `k` largest of keys[from, from + count): NaN first, of equals the smaller index. */
function largest(keys: Floats, from: number, count: number, k: number): Uint32Array {
  const rank = (i: number) => (Number.isNaN(keys[i]) ? Infinity : keys[i]);
  const after = (i: number) => Number(Number.isNaN(keys[i]));
  const order = Uint32Array.from({ length: count }, (_, i) => from + i);
  return order
    .sort((a, b) => after(b) - after(a) || (rank(a) === rank(b) ? a - b : rank(b) - rank(a)))
    .subarray(0, k);
}

export function bsrExpand(args: BsrExpandArgs): void {
  const { cols, begin, end, out } = args;
  out.fill(0, 0, (end - begin) * cols);
  forEach(args, (i, j, value) => {
    if (i >= begin && i < end) out[(i - begin) * cols + j] = value;
  });
}

/** c_(i, l) = sum_j x_ij b_jl, in double */
export function bsrDense({ x, transX = false, n, b, c, accumulate = false }: BsrDenseArgs): void {
  const sums = new Float64Array((transX ? x.cols : x.rows) * n);
  if (accumulate) sums.set(c.subarray(0, sums.length));
  forEach(x, (i, j, value) => {
    const [to, from] = transX ? [j * n, i * n] : [i * n, j * n];
    for (let l = 0; l < n; l++) sums[to + l] += value * b[from + l];
  });
  c.set(sums);
}

/** c_(l, j) = sum_i a_li x_ij, in double */
export function denseBsr({ transA = false, m, a, x, c, accumulate = false }: DenseBsrArgs): void {
  const { rows, cols } = x;
  const sums = new Float64Array(m * cols);
  if (accumulate) sums.set(c.subarray(0, sums.length));
  forEach(x, (i, j, value) => {
    for (let l = 0; l < m; l++) sums[l * cols + j] += (transA ? a[i * m + l] : a[l * rows + i]) * value;
  });
  c.set(sums);
}

/** out_j = sum_i x_ij dy_ij, in double */
export function bsrColumnDots(x: BsrArgs, dy: Floats, out: Floats, accumulate: boolean): void {
  const sums = new Float64Array(x.cols);
  if (accumulate) sums.set(out.subarray(0, x.cols));
  forEach(x, (i, j, value) => {
    sums[j] += value * dy[i * x.cols + j];
  });
  out.set(sums);
}

export function poolRows(
  rows: number,
  cols: number,
  size: number,
  x: Floats,
  how: 'sum' | 'mean',
  out: Floats,
): void {
  for (let g = 0; g * size < rows; g++) {
    const end = Math.min(rows, (g + 1) * size);
    for (let j = 0; j < cols; j++) {
      let sum = 0;
      for (let i = g * size; i < end; i++) sum += x[i * cols + j];
      out[g * cols + j] = how === 'mean' ? sum / (end - g * size) : sum;
    }
  }
}

export function signMask(n: number, y: Floats, mask: Uint32Array): void {
  mask.fill(0, 0, Math.ceil(n / 32));
  for (let i = 0; i < n; i++) if (y[i] > 0) mask[i >> 5] |= 1 << (i & 31);
}

export function maskBackward(n: number, mask: Uint32Array, dy: Floats, dx: Floats): void {
  for (let i = 0; i < n; i++) dx[i] = (mask[i >> 5] >>> (i & 31)) & 1 ? dy[i] : 0;
}

export function bf16Round(n: number, x: Floats, y: Uint16Array): void {
  for (let i = 0; i < n; i++) y[i] = nearestBf16(x[i]);
}

export function bf16Widen(n: number, x: Uint16Array, y: Floats): void {
  widenBf16(x.subarray(0, n), y);
}
