import type { BalancedSplitArgs, CsrArgs } from '../face.js';

/**
 * The obvious twin, except that it adds in exactly the order of the native kernel, so that both give the same
 * halves: four lanes per product, rows of a segment one after the other.
 */
export function balancedSplit(args: BalancedSplitArgs): void {
  const { segments, bounds, order, starts, minGain, sums, similarity } = args;
  sums.fill(0, 0, 2 * args.features);
  for (let s = 0; s < segments; s++) {
    const [begin, end] = [bounds[s], bounds[s + 1]];
    const n = end - begin;
    similarity[s] = 0;
    if (n < 2) continue;
    const one: Segment = {
      n,
      order: order.subarray(begin, end),
      left: new Float64Array(n),
      right: new Float64Array(n),
      onLeft: new Uint8Array(n),
    };
    similarity[s] = split(args, one, starts[2 * s], starts[2 * s + 1], minGain, sums);
  }
}

interface Segment {
  readonly n: number;
  readonly order: Uint32Array;
  /** [n], products with the sum of the left half, then scores. */
  readonly left: Float64Array;
  readonly right: Float64Array;
  readonly onLeft: Uint8Array;
}

function split(
  csr: CsrArgs,
  segment: Segment,
  startLeft: number,
  startRight: number,
  minGain: number,
  sums: Float64Array,
): number {
  const { n, order, onLeft } = segment;
  addRow(csr, order[startLeft], 1, 0, sums);
  addRow(csr, order[startRight], 0, 1, sums);
  dotAll(csr, segment, sums);
  clearRow(csr, order[startLeft], sums);
  clearRow(csr, order[startRight], sums);
  assign(csr, segment, 1, 1, null);
  for (let i = 0; i < n; i++) addRow(csr, order[i], onLeft[i], 1 - onLeft[i], sums);
  let before = -Infinity;
  let similarity = 0;
  for (;;) {
    dotAll(csr, segment, sums);
    const norms = halfNorms(segment);
    similarity = (norms.left + norms.right) / n;
    if (!(similarity - before >= minGain)) break;
    before = similarity;
    const inverse = (norm: number) => (norm > 0 ? 1 / norm : 0);
    if (assign(csr, segment, inverse(norms.left), inverse(norms.right), sums) === 0) break;
  }
  for (let i = 0; i < n; i++) clearRow(csr, order[i], sums);
  const left = order.filter((_, i) => onLeft[i] === 1);
  const right = order.filter((_, i) => onLeft[i] === 0);
  order.set(left);
  order.set(right, left.length);
  return similarity;
}

/** sums[2 v] belongs to the left half, sums[2 v + 1] to the right one. */
function addRow(csr: CsrArgs, row: number, left: number, right: number, sums: Float64Array): void {
  const { indptr, indices, values } = csr;
  for (let e = indptr[row]; e < indptr[row + 1]; e++) {
    const x = values === null ? 1 : values[e];
    sums[2 * indices[e]] += x * left;
    sums[2 * indices[e] + 1] += x * right;
  }
}

function clearRow({ indptr, indices }: CsrArgs, row: number, sums: Float64Array): void {
  for (let e = indptr[row]; e < indptr[row + 1]; e++) sums.fill(0, 2 * indices[e], 2 * indices[e] + 2);
}

function dotAll(csr: CsrArgs, { n, order, left, right }: Segment, sums: Float64Array): void {
  const { indptr, indices, values } = csr;
  const l = new Float64Array(4);
  const r = new Float64Array(4);
  for (let i = 0; i < n; i++) {
    l.fill(0);
    r.fill(0);
    const begin = indptr[order[i]];
    const end = indptr[order[i] + 1];
    for (let e = begin; e < end; e++) {
      const x = values === null ? 1 : values[e];
      const lane = (e - begin) & 3;
      l[lane] += x * sums[2 * indices[e]];
      r[lane] += x * sums[2 * indices[e] + 1];
    }
    left[i] = l[0] + l[1] + (l[2] + l[3]);
    right[i] = r[0] + r[1] + (r[2] + r[3]);
  }
}

/** |sum of a half|, from the products of its rows with it. */
function halfNorms({ n, left, right, onLeft }: Segment): { left: number; right: number } {
  let l = 0;
  let r = 0;
  for (let i = 0; i < n; i++) {
    if (onLeft[i] === 1) l += left[i];
    else r += right[i];
  }
  return { left: Math.sqrt(Math.max(0, l)), right: Math.sqrt(Math.max(0, r)) };
}

/** Sends the largest ceil(n / 2) scores left, moves changed rows between the sums; returns how many changed. */
function assign(
  csr: CsrArgs,
  { n, order, left, right, onLeft }: Segment,
  scaleLeft: number,
  scaleRight: number,
  sums: Float64Array | null,
): number {
  for (let i = 0; i < n; i++) {
    const score = left[i] * scaleLeft - right[i] * scaleRight;
    left[i] = Number.isNaN(score) ? -Infinity : score;
  }
  const wanted = Math.ceil(n / 2);
  const threshold = left.slice().sort()[n - wanted];
  let ties = wanted;
  for (let i = 0; i < n; i++) if (left[i] > threshold) ties--;
  let changed = 0;
  for (let i = 0; i < n; i++) {
    const tied = left[i] === threshold && ties > 0;
    if (tied) ties--;
    const now = left[i] > threshold || tied ? 1 : 0;
    if (now === onLeft[i]) continue;
    onLeft[i] = now;
    changed++;
    if (sums !== null) addRow(csr, order[i], now === 1 ? 1 : -1, now === 1 ? -1 : 1, sums);
  }
  return changed;
}
