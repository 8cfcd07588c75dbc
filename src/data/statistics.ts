/** What a dataset looks like, in numbers: for plans, for memory bounds and for reading metrics by rarity. */
import { EspalierError } from '../errors.js';
import type { CsrDataset } from './dataset.js';

/** Rows that carry each label. shape: [labels] */
export function labelFrequencies(dataset: Pick<CsrDataset, 'labels' | 'labelIds'>): Uint32Array {
  const frequency = new Uint32Array(dataset.labels);
  const { labelIds } = dataset;
  for (let e = 0; e < labelIds.length; e++) frequency[labelIds[e]]++;
  return frequency;
}

/** Share of the rows that carry each label; 0 where there are no rows. shape: [labels] */
export function labelShares(dataset: Pick<CsrDataset, 'rows' | 'labels' | 'labelIds'>): Float64Array {
  return Float64Array.from(labelFrequencies(dataset), (f) => f / Math.max(1, dataset.rows));
}

/** How many rows have 0, 1, 2, ... entries. shape: [largest row + 1] */
export function rowSizeHistogram(indptr: Float64Array): Uint32Array {
  const histogram = new Uint32Array(largestRow(indptr) + 1);
  for (let row = 0; row + 1 < indptr.length; row++) histogram[indptr[row + 1] - indptr[row]]++;
  return histogram;
}

/** Entries of the largest row; 0 for no rows. */
export function largestRow(indptr: Float64Array): number {
  let largest = 0;
  for (let row = 0; row + 1 < indptr.length; row++) {
    largest = Math.max(largest, indptr[row + 1] - indptr[row]);
  }
  return largest;
}

/** Entries of the `batch` largest rows together: no batch of that many different rows holds more. */
export function largestBatch(indptr: Float64Array, batch: number): number {
  if (!Number.isSafeInteger(batch) || batch < 1) {
    throw new EspalierError({
      code: 'BATCH_SIZE',
      kind: 'usage',
      op: 'largestBatch',
      problem: 'the batch size is not a positive whole number',
      received: String(batch),
    });
  }
  const histogram = rowSizeHistogram(indptr);
  let left = batch;
  let sum = 0;
  for (let size = histogram.length - 1; size > 0 && left > 0; size--) {
    const taken = Math.min(left, histogram[size]);
    sum += taken * size;
    left -= taken;
  }
  return sum;
}

/** Upper bound of stored feature values in a batch of `batch` different rows. */
export function largestBatchNnz(dataset: CsrDataset, batch: number): number {
  return largestBatch(dataset.indptr, batch);
}

/** Upper bound of (row, label) pairs in a batch of `batch` different rows. */
export function largestBatchPositives(dataset: CsrDataset, batch: number): number {
  return largestBatch(dataset.labelIndptr, batch);
}

export const BUCKETS = ['head', 'torso', 'tail'] as const;
export type Bucket = (typeof BUCKETS)[number];

/** Labels by how often they occur; the borders are frequencies, so equally frequent labels stay together. */
export interface LabelBuckets {
  /** Index into `BUCKETS` of each label. shape: [labels] */
  readonly of: Uint8Array;
  /** Labels with at most this many rows are tail (those never seen, too). */
  readonly tailAtMost: number;
  /** Labels above the tail with at most this many rows are torso; the rest are head. */
  readonly torsoAtMost: number;
  /** Labels in head, torso, tail. */
  readonly labels: readonly [number, number, number];
  /** (row, label) pairs in head, torso, tail. */
  readonly positives: readonly [number, number, number];
}

/**
 * Splits labels into head, torso and tail. Without borders, buckets aim at a third of the (row, label)
 * pairs each: the tail is the rarest labels that make up at most a third, tail and torso at most two thirds.
 *
 * @param frequencies [labels], from `labelFrequencies`
 */
export function labelBuckets(
  frequencies: Uint32Array,
  borders: { tailAtMost: number; torsoAtMost: number } = equalBorders(frequencies),
): LabelBuckets {
  const { tailAtMost, torsoAtMost } = borders;
  if (!(tailAtMost >= 0 && torsoAtMost >= tailAtMost)) {
    throw new EspalierError({
      code: 'BUCKET_BORDERS',
      kind: 'usage',
      op: 'labelBuckets',
      problem: 'the borders of head, torso and tail are out of order',
      expected: '0 <= tailAtMost <= torsoAtMost',
      received: `${tailAtMost}, ${torsoAtMost}`,
    });
  }
  const of = new Uint8Array(frequencies.length);
  const labels: [number, number, number] = [0, 0, 0];
  const positives: [number, number, number] = [0, 0, 0];
  for (let label = 0; label < frequencies.length; label++) {
    const bucket = frequencies[label] > torsoAtMost ? 0 : frequencies[label] > tailAtMost ? 1 : 2;
    of[label] = bucket;
    labels[bucket]++;
    positives[bucket] += frequencies[label];
  }
  return { of, tailAtMost, torsoAtMost, labels, positives };
}

function equalBorders(frequencies: Uint32Array): { tailAtMost: number; torsoAtMost: number } {
  const ascending = Uint32Array.from(frequencies).sort();
  const total = ascending.reduce((sum, f) => sum + f, 0);
  let seen = 0;
  let tailAtMost = 0;
  let torsoAtMost = 0;
  for (let i = 0; i < ascending.length; i++) {
    seen += ascending[i];
    if (ascending[i] === ascending[i + 1]) continue;
    if (3 * seen <= total) tailAtMost = ascending[i];
    if (3 * seen <= 2 * total) torsoAtMost = ascending[i];
  }
  return { tailAtMost, torsoAtMost };
}
