/** The kernels of the factored output layer: rows of a table by name, low-rank moves, sums in double, an inverse. */
import { ensure } from '../../errors.js';
import type {
  AccumulateArgs,
  Floats,
  PairArgs,
  PairDotsArgs,
  PairGatherArgs,
  PairScatterArgs,
  SettleRowsArgs,
} from '../face.js';

function checkPairs(op: string, { count, labels, rows, label, row }: PairArgs): void {
  for (let i = 0; i < count; i++) {
    ensure(label[i] < labels && row[i] < rows, () => ({
      code: 'KERNEL_INDEX_RANGE',
      kind: 'data',
      op,
      problem: 'an index points outside of its array',
      expected: `labels below ${labels}, rows below ${rows}`,
      received: `label ${label[i]}, row ${row[i]}`,
    }));
  }
}

/** out_i = sum_j table[label_i, j] x[row_i, j] */
export function pairDots(args: PairDotsArgs): void {
  checkPairs('pairDots', args);
  const { count, dim, label, row, table, x, out } = args;
  for (let i = 0; i < count; i++) {
    let sum = 0;
    for (let j = 0; j < dim; j++) sum += table[label[i] * dim + j] * x[row[i] * dim + j];
    out[i] = sum;
  }
}

/** out_r = sum over i with row_i = r of c_i table[label_i] */
export function pairGather(args: PairGatherArgs): void {
  checkPairs('pairGather', args);
  const { count, rows, dim, label, row, table, coefficients, out } = args;
  const sums = new Float64Array(rows * dim);
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < dim; j++) sums[row[i] * dim + j] += coefficients[i] * table[label[i] * dim + j];
  }
  out.set(sums);
}

/** table[label_i] += alpha c_i x[row_i], rounded after every pair */
export function pairScatter(args: PairScatterArgs): void {
  checkPairs('pairScatter', args);
  const { count, dim, label, row, table, alpha, coefficients, x } = args;
  for (let i = 0; i < count; i++) {
    const factor = alpha * coefficients[i];
    for (let j = 0; j < dim; j++) table[label[i] * dim + j] += factor * x[row[i] * dim + j];
  }
}

/** x <- x + sum_r c_r right_r, c_r = x . left_r + sum_(f < r) c_f cross_fr, r from the stamp of the row on */
export function settleRows(args: SettleRowsArgs): void {
  const { count, labels, dim, rank, left, right, cross, label, stamps, table } = args;
  const parts = new Float64Array(rank);
  const change = new Float64Array(dim);
  for (let i = 0; i < count; i++) {
    const at = label === null ? i : label[i];
    ensure(at < labels && (label === null || i === 0 || label[i - 1] <= at), () => ({
      code: 'KERNEL_INDEX_RANGE',
      kind: 'data',
      op: 'settleRows',
      problem: 'an index points outside of its array, or labels do not ascend',
      expected: `ascending labels below ${labels}`,
      received: `${at}`,
    }));
    const first = stamps[i];
    if (first >= rank || (label !== null && i > 0 && label[i - 1] === at)) continue;
    change.fill(0);
    for (let r = first; r < rank; r++) {
      let part = 0;
      for (let j = 0; j < dim; j++) part += table[at * dim + j] * left[r * dim + j];
      for (let f = first; f < r; f++) part += parts[f] * cross[f * 32 + r];
      parts[r] = part;
      for (let j = 0; j < dim; j++) change[j] += part * right[r * dim + j];
    }
    for (let j = 0; j < dim; j++) table[at * dim + j] += change[j];
  }
}

/** out_ij = factor_i x_ij (+ out_ij) */
export function scaleRows(
  rows: number,
  cols: number,
  x: Floats,
  factors: Floats,
  out: Floats,
  accumulate: boolean,
): void {
  for (let i = 0; i < rows; i++) {
    for (let at = i * cols; at < (i + 1) * cols; at++) {
      out[at] = factors[i] * x[at] + (accumulate ? out[at] : 0);
    }
  }
}

/** master_i <- keep master_i + alpha x_i */
export function accumulate(n: number, { x, keep, alpha, master, copy }: AccumulateArgs): void {
  for (let i = 0; i < n; i++) {
    master[i] = keep * master[i] + alpha * x[i];
    copy[i] = master[i];
  }
}

/** master_ij <- keep master_ij + alpha (x_ij + x_ji) */
export function accumulateSymmetric(n: number, { x, keep, alpha, master, copy }: AccumulateArgs): void {
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const at = i * n + j;
      master[at] = keep * master[at] + alpha * (x[at] + x[j * n + i]);
      copy[at] = master[at];
    }
  }
}

/** Gauss-Jordan elimination in place, rows exchanged for the largest pivot, columns exchanged back at the end. */
export function invert(n: number, a: Float64Array): number {
  const exchanged = new Uint32Array(n);
  let smallest = Infinity;
  let largest = 0;
  for (let k = 0; k < n; k++) {
    let best = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(a[i * n + k]) > Math.abs(a[best * n + k])) best = i;
    const pivot = a[best * n + k];
    if (Number.isNaN(pivot)) return pivot;
    if (pivot === 0) return 0;
    smallest = Math.min(smallest, Math.abs(pivot));
    largest = Math.max(largest, Math.abs(pivot));
    exchanged[k] = best;
    if (best !== k) {
      for (let j = 0; j < n; j++) [a[k * n + j], a[best * n + j]] = [a[best * n + j], a[k * n + j]];
    }
    a[k * n + k] = 1;
    for (let j = 0; j < n; j++) a[k * n + j] /= pivot;
    for (let i = 0; i < n; i++) {
      if (i === k) continue;
      const factor = a[i * n + k];
      a[i * n + k] = 0;
      for (let j = 0; j < n; j++) a[i * n + j] -= factor * a[k * n + j];
    }
  }
  for (let k = n - 1; k >= 0; k--) {
    const best = exchanged[k];
    if (best === k) continue;
    for (let i = 0; i < n; i++) [a[i * n + k], a[i * n + best]] = [a[i * n + best], a[i * n + k]];
  }
  return n === 0 ? 1 : smallest / largest;
}
