/** What a label is about, as a sparse unit vector: the normalised sum of its training rows' normalised features. */
import { rowsByLabel } from '../data/by-label.js';
import type { CsrDataset } from '../data/dataset.js';
import { EspalierError } from '../errors.js';

export interface LabelFeatures {
  readonly labels: number;
  readonly features: number;
  /** [labels + 1]; labels that no row shows, or whose rows are all zero, have no entries. */
  readonly indptr: Int32Array;
  /** [nnz], different ones within a label, in no order */
  readonly indices: Uint32Array;
  /** [nnz], of unit norm per label */
  readonly values: Float32Array;
  /** Most bytes held while this was made, the result with them. */
  readonly peakBytes: number;
}

type Rows = Pick<
  CsrDataset,
  'rows' | 'features' | 'labels' | 'indptr' | 'indices' | 'values' | 'labelIndptr' | 'labelIds'
>;

const LARGEST_NNZ = 2 ** 31 - 1;

/**
 * Label features (Prabhu et al. 2018, section 3.1; Ullah et al. 2024): x_l = s_l / |s_l|, s_l = sum of x_r / |x_r|
 * over the rows r that carry label l.
 *
 * @throws EspalierError `LABEL_FEATURES_SIZE` beyond 2^31 entries in all
 * @example const { indptr } = labelFeatures(dataset); // indptr[l + 1] - indptr[l] features of label l
 */
export function labelFeatures(dataset: Rows): LabelFeatures {
  const { labels, features } = dataset;
  const { begin, rowOf } = rowsByLabel(dataset);
  const scale = inverseNorms(dataset);
  // Which label met a feature last, plus one.
  const seenBy = new Uint32Array(features);
  const indptr = countFeatures(dataset, begin, rowOf, seenBy);
  seenBy.fill(0);
  const indices = new Uint32Array(indptr[labels]);
  const values = new Float32Array(indptr[labels]);
  const sums = new Float64Array(features);
  let at = 0;
  for (let label = 0; label < labels; label++) {
    indptr[label] = at;
    let end = at;
    for (let r = begin[label]; r < begin[label + 1]; r++) {
      const row = rowOf[r];
      for (let e = dataset.indptr[row]; e < dataset.indptr[row + 1]; e++) {
        const feature = dataset.indices[e];
        if (seenBy[feature] !== label + 1) {
          seenBy[feature] = label + 1;
          indices[end++] = feature;
        }
        sums[feature] += dataset.values[e] * scale[row];
      }
    }
    let squares = 0;
    for (let e = at; e < end; e++) squares += sums[indices[e]] ** 2;
    const norm = Math.sqrt(squares);
    for (let e = at; e < end; e++) {
      values[e] = sums[indices[e]] / norm;
      sums[indices[e]] = 0;
    }
    // The features of a label that is all zero are overwritten by the next one's.
    if (norm > 0) at = end;
  }
  indptr[labels] = at;
  const made = [begin, rowOf, scale, indptr, indices, values, sums, seenBy];
  return {
    labels,
    features,
    indptr,
    indices: indices.subarray(0, at),
    values: values.subarray(0, at),
    peakBytes: made.reduce((bytes, { byteLength }) => bytes + byteLength, 0),
  };
}

/** 1 / |x_r|, 0 for rows without length. shape: [rows] */
function inverseNorms({ rows, indptr, values }: Rows): Float64Array {
  const scale = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let squares = 0;
    for (let e = indptr[row]; e < indptr[row + 1]; e++) squares += values[e] ** 2;
    scale[row] = squares > 0 ? 1 / Math.sqrt(squares) : 0;
  }
  return scale;
}

/** Where each label's features begin, by counting the different ones. shape: [labels + 1] */
function countFeatures(
  { labels, indptr, indices }: Rows,
  begin: Float64Array,
  rowOf: Uint32Array,
  seenBy: Uint32Array,
): Int32Array {
  const counts = new Int32Array(labels + 1);
  let total = 0;
  for (let label = 0; label < labels; label++) {
    for (let r = begin[label]; r < begin[label + 1]; r++) {
      for (let e = indptr[rowOf[r]]; e < indptr[rowOf[r] + 1]; e++) {
        if (seenBy[indices[e]] === label + 1) continue;
        seenBy[indices[e]] = label + 1;
        total++;
      }
    }
    if (total > LARGEST_NNZ) {
      throw new EspalierError({
        code: 'LABEL_FEATURES_SIZE',
        kind: 'data',
        op: 'labelFeatures',
        problem: 'the labels have too many features to cluster',
        expected: `at most ${LARGEST_NNZ} pairs of a label and a feature`,
        received: `more at label ${label} of ${labels}`,
        hint: 'train without clusters (auxiliary: null), or with fewer features per row',
      });
    }
    counts[label + 1] = total;
  }
  return counts;
}
