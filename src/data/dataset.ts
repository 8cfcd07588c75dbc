/**
 * A multi-label dataset in memory: sparse features and sparse labels, both by rows.
 *
 * Canonical form, checked once in the constructor: within a row, feature indices and label ids are strictly
 * ascending, so there are no duplicates. Readers sort; a duplicate in a file is an error there, with its place,
 * because adding two values up would hide a broken export.
 *
 * Row pointers are Float64Array, exact to 2^53, so that entries beyond 2^31 need no second code path.
 */
import { EspalierError } from '../errors.js';

export interface CsrDatasetParts {
  readonly rows: number;
  readonly features: number;
  readonly labels: number;
  /** [rows + 1], starts at 0, never falls, ends at the number of stored feature values. */
  readonly indptr: Float64Array;
  /** [nnz], each < features */
  readonly indices: Uint32Array;
  /** [nnz], finite */
  readonly values: Float32Array;
  /** [rows + 1] */
  readonly labelIndptr: Float64Array;
  /** [positives], each < labels */
  readonly labelIds: Uint32Array;
  /** [labels] */
  readonly labelNames?: readonly string[];
  /** [features] */
  readonly featureNames?: readonly string[];
}

/** Ids stay below 2^32 - 1: the last one means "nothing" in lists of predictions. */
export const LARGEST_COUNT = 0xffffffff;

const OP = 'CsrDataset';

export class CsrDataset implements CsrDatasetParts {
  readonly rows: number;
  readonly features: number;
  readonly labels: number;
  readonly indptr: Float64Array;
  readonly indices: Uint32Array;
  readonly values: Float32Array;
  readonly labelIndptr: Float64Array;
  readonly labelIds: Uint32Array;
  readonly labelNames: readonly string[] | undefined;
  readonly featureNames: readonly string[] | undefined;

  /** Takes the arrays over without copying; throws `DATASET_*` when they break the canonical form. */
  constructor(parts: CsrDatasetParts) {
    this.rows = count('rows', parts.rows);
    this.features = count('features', parts.features);
    this.labels = count('labels', parts.labels);
    checkNames('labelNames', parts.labelNames, this.labels);
    checkNames('featureNames', parts.featureNames, this.features);
    if (parts.values.length !== parts.indices.length) {
      throw refuse('DATASET_SHAPE', 'values and indices differ in length', {
        expected: `${parts.indices.length} values`,
        received: String(parts.values.length),
      });
    }
    checkRows('feature', this.rows, parts.indptr, parts.indices, this.features);
    checkRows('label', this.rows, parts.labelIndptr, parts.labelIds, this.labels);
    checkFinite(parts);
    this.indptr = parts.indptr;
    this.indices = parts.indices;
    this.values = parts.values;
    this.labelIndptr = parts.labelIndptr;
    this.labelIds = parts.labelIds;
    this.labelNames = parts.labelNames;
    this.featureNames = parts.featureNames;
  }

  /** Stored feature values. */
  get nnz(): number {
    return this.indices.length;
  }

  /** Stored (row, label) pairs. */
  get positives(): number {
    return this.labelIds.length;
  }

  /** Bytes of the arrays (names not counted). */
  get bytes(): number {
    const { indptr, indices, values, labelIndptr, labelIds } = this;
    return [indptr, indices, values, labelIndptr, labelIds].reduce((sum, a) => sum + a.byteLength, 0);
  }

  /** The name of label `id`, or its number where the dataset has no names. */
  labelName(id: number): string {
    return this.labelNames?.[id] ?? String(id);
  }
}

function count(what: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 0 && value <= LARGEST_COUNT) return value;
  throw refuse('DATASET_SHAPE', `${what} is not a count`, {
    expected: `a whole number from 0 to ${LARGEST_COUNT}`,
    received: String(value),
  });
}

function checkNames(what: string, names: readonly string[] | undefined, wanted: number): void {
  if (names === undefined || names.length === wanted) return;
  throw refuse('DATASET_SHAPE', `${what} has the wrong length`, {
    expected: `${wanted} names`,
    received: String(names.length),
  });
}

function checkRows(what: string, rows: number, indptr: Float64Array, ids: Uint32Array, limit: number): void {
  if (indptr.length !== rows + 1 || indptr[0] !== 0 || indptr[rows] !== ids.length) {
    throw refuse('DATASET_INDPTR', `the ${what} row pointers do not frame the ${what} entries`, {
      expected: `${rows + 1} pointers from 0 to ${ids.length}`,
      received: `${indptr.length} pointers from ${indptr[0]} to ${indptr[indptr.length - 1]}`,
    });
  }
  let begin = 0;
  for (let row = 0; row < rows; row++) {
    const end = indptr[row + 1];
    // Written so that NaN and fractions fail too.
    if (!(end >= begin && end <= ids.length && Math.floor(end) === end)) {
      throw refuse('DATASET_INDPTR', `the ${what} row pointers fall or are not whole at row ${row}`, {
        expected: `a whole number from ${begin} to ${ids.length}`,
        received: String(end),
      });
    }
    let previous = -1;
    for (let e = begin; e < end; e++) {
      const id = ids[e];
      if (id <= previous) {
        throw refuse('DATASET_ORDER', `the ${what} ids of row ${row} are not strictly ascending`, {
          received: `${id} after ${previous}`,
          hint: 'use CsrBuilder, which sorts rows, or remove the duplicate',
        });
      }
      previous = id;
    }
    if (previous >= limit) {
      throw refuse('DATASET_RANGE', `a ${what} id of row ${row} is out of range`, {
        expected: `ids below ${limit}`,
        received: String(previous),
      });
    }
    begin = end;
  }
}

function checkFinite(parts: CsrDatasetParts): void {
  const { values, indptr } = parts;
  for (let e = 0; e < values.length; e++) {
    // x - x is 0 for finite numbers and NaN for all others.
    if (values[e] - values[e] !== 0) {
      const row = rowOfEntry(indptr, e);
      throw refuse('DATASET_VALUE', `feature ${parts.indices[e]} of row ${row} is not finite`, {
        received: String(values[e]),
        hint: 'clean the source: NaN and infinities would poison every weight',
      });
    }
  }
}

/** The row that owns entry `e`. */
function rowOfEntry(indptr: Float64Array, e: number): number {
  let low = 0;
  let high = indptr.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (indptr[middle] <= e) low = middle;
    else high = middle;
  }
  return low;
}

function refuse(
  code: string,
  problem: string,
  more: { expected?: string; received?: string; hint?: string },
): EspalierError {
  return new EspalierError({ code, kind: 'data', op: OP, problem, ...more });
}
