/** Datasets made from rows of others. */
import { EspalierError } from '../errors.js';
import { RandomStream } from '../kernels/random.js';
import { CsrDataset } from './dataset.js';

/** The rows `rowIds` of a dataset, in that order, copied; names are shared. */
export function selectRows(dataset: CsrDataset, rowIds: ArrayLike<number>): CsrDataset {
  const rows = rowIds.length;
  const indptr = new Float64Array(rows + 1);
  const labelIndptr = new Float64Array(rows + 1);
  for (let i = 0; i < rows; i++) {
    const row = rowIds[i];
    if (!(Number.isInteger(row) && row >= 0 && row < dataset.rows)) {
      throw new EspalierError({
        code: 'ROW_RANGE',
        kind: 'usage',
        op: 'selectRows',
        problem: 'no such row',
        expected: `whole numbers below ${dataset.rows}`,
        received: String(row),
      });
    }
    indptr[i + 1] = indptr[i] + dataset.indptr[row + 1] - dataset.indptr[row];
    labelIndptr[i + 1] = labelIndptr[i] + dataset.labelIndptr[row + 1] - dataset.labelIndptr[row];
  }
  const indices = new Uint32Array(indptr[rows]);
  const values = new Float32Array(indptr[rows]);
  const labelIds = new Uint32Array(labelIndptr[rows]);
  for (let i = 0; i < rows; i++) {
    const row = rowIds[i];
    indices.set(dataset.indices.subarray(dataset.indptr[row], dataset.indptr[row + 1]), indptr[i]);
    values.set(dataset.values.subarray(dataset.indptr[row], dataset.indptr[row + 1]), indptr[i]);
    const ids = dataset.labelIds.subarray(dataset.labelIndptr[row], dataset.labelIndptr[row + 1]);
    labelIds.set(ids, labelIndptr[i]);
  }
  return remade(dataset, { rows, indptr, indices, values, labelIndptr, labelIds });
}

/** At most `most` of `count` places, ascending and evenly spread. */
export function spread(count: number, most: number): Uint32Array {
  const n = Math.min(count, most);
  return Uint32Array.from({ length: n }, (_, i) => Math.floor((i * count) / n));
}

/** The rows of `a`, then the rows of `b`; both must have the same features and labels. */
export function concatRows(a: CsrDataset, b: CsrDataset): CsrDataset {
  if (a.features !== b.features || a.labels !== b.labels) {
    throw new EspalierError({
      code: 'ROWS_MISMATCH',
      kind: 'usage',
      op: 'concatRows',
      problem: 'the datasets differ in features or labels',
      expected: `${a.features} features, ${a.labels} labels`,
      received: `${b.features} features, ${b.labels} labels`,
    });
  }
  const indices = new Uint32Array(a.nnz + b.nnz);
  indices.set(a.indices);
  indices.set(b.indices, a.nnz);
  const values = new Float32Array(a.nnz + b.nnz);
  values.set(a.values);
  values.set(b.values, a.nnz);
  const labelIds = new Uint32Array(a.positives + b.positives);
  labelIds.set(a.labelIds);
  labelIds.set(b.labelIds, a.positives);
  return remade(a, {
    rows: a.rows + b.rows,
    indptr: joinPointers(a.indptr, b.indptr),
    indices,
    values,
    labelIndptr: joinPointers(a.labelIndptr, b.labelIndptr),
    labelIds,
  });
}

function joinPointers(a: Float64Array, b: Float64Array): Float64Array {
  const joined = new Float64Array(a.length + b.length - 1);
  joined.set(a);
  const offset = a[a.length - 1];
  for (let i = 1; i < b.length; i++) joined[a.length - 1 + i] = offset + b[i];
  return joined;
}

type Arrays = Pick<CsrDataset, 'rows' | 'indptr' | 'indices' | 'values' | 'labelIndptr' | 'labelIds'>;

function remade(like: CsrDataset, arrays: Arrays): CsrDataset {
  const { features, labels, labelNames, featureNames } = like;
  return new CsrDataset({ ...arrays, features, labels, labelNames, featureNames });
}

/**
 * Sets a share of the rows aside, by chance but always the same ones for a seed: a validation split for data
 * that comes without one. Both parts keep the order of the rows.
 */
export function holdOut(
  dataset: CsrDataset,
  { share, seed }: { readonly share: number; readonly seed: number },
): { readonly kept: CsrDataset; readonly heldOut: CsrDataset } {
  const size = Math.round(dataset.rows * share);
  if (!(share > 0 && share < 1 && size >= 1 && size < dataset.rows)) {
    throw new EspalierError({
      code: 'HOLD_OUT_SHARE',
      kind: 'usage',
      op: 'holdOut',
      problem: 'one of the two parts would be empty',
      expected: 'a share between 0 and 1 that leaves rows on both sides',
      received: `${share} of ${dataset.rows} rows`,
    });
  }
  const order = Uint32Array.from({ length: dataset.rows }, (_, row) => row);
  RandomStream.named(seed, 'data/hold-out').shuffle(order);
  return {
    kept: selectRows(dataset, order.subarray(size).sort()),
    heldOut: selectRows(dataset, order.subarray(0, size).sort()),
  };
}
