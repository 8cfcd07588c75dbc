/** Datasets made from rows of others. */
import { EspalierError } from '../errors.js';
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
