/** Builds a dataset row by row; rows may come unsorted. */
import { EspalierError } from '../errors.js';
import { type ChunkedArray, chunkedFloat32, chunkedFloat64, chunkedUint32 } from './chunked.js';
import { CsrDataset } from './dataset.js';

export interface BuilderShape {
  readonly features: number;
  readonly labels: number;
}

export interface DatasetNames {
  readonly labelNames?: readonly string[];
  readonly featureNames?: readonly string[];
}

export class CsrBuilder {
  readonly #shape: BuilderShape;
  readonly #indptr: ChunkedArray<Float64Array> = chunkedFloat64();
  readonly #indices: ChunkedArray<Uint32Array> = chunkedUint32();
  readonly #values: ChunkedArray<Float32Array> = chunkedFloat32();
  readonly #labelIndptr: ChunkedArray<Float64Array> = chunkedFloat64();
  readonly #labelIds: ChunkedArray<Uint32Array> = chunkedUint32();
  #rows = 0;

  constructor(shape: BuilderShape) {
    this.#shape = shape;
    this.#indptr.push(0);
    this.#labelIndptr.push(0);
  }

  get rows(): number {
    return this.#rows;
  }

  /**
   * Appends one row; copies its arguments and sorts the copies. Values are rounded to float32.
   *
   * Throws `ROW_DUPLICATE`, `ROW_LENGTH` (and `ROW_ID` for what is not a whole number in range).
   */
  row(features: ArrayLike<number>, values: ArrayLike<number>, labels: ArrayLike<number>): void {
    const n = features.length;
    if (values.length !== n) {
      throw this.#refuse('ROW_LENGTH', 'features and values differ in length', `${n} values`, values.length);
    }
    this.#checkIds('feature', features, this.#shape.features);
    this.#checkIds('label', labels, this.#shape.labels);
    this.#indices.reserve(n);
    this.#values.reserve(n);
    this.#labelIds.reserve(labels.length);
    const i = this.#indices;
    const v = this.#values;
    const l = this.#labelIds;
    i.tail.set(features, i.used);
    v.tail.set(values, v.used);
    l.tail.set(labels, l.used);
    const duplicate = sortEntries(i.tail, v.tail, i.used, v.used, n);
    if (duplicate >= 0) throw this.#duplicate('feature', duplicate);
    const twice = sortIds(l.tail, l.used, labels.length);
    if (twice >= 0) throw this.#duplicate('label', twice);
    i.used += n;
    v.used += n;
    l.used += labels.length;
    this.#indptr.push(i.length);
    this.#labelIndptr.push(l.length);
    this.#rows++;
  }

  /** The dataset of all rows; the builder must not be used afterwards. */
  finish(names: DatasetNames = {}): CsrDataset {
    return new CsrDataset({
      rows: this.#rows,
      ...this.#shape,
      indptr: this.#indptr.join(),
      indices: this.#indices.join(),
      values: this.#values.join(),
      labelIndptr: this.#labelIndptr.join(),
      labelIds: this.#labelIds.join(),
      ...names,
    });
  }

  #checkIds(what: string, ids: ArrayLike<number>, limit: number): void {
    for (let e = 0; e < ids.length; e++) {
      if (Number.isInteger(ids[e]) && ids[e] >= 0 && ids[e] < limit) continue;
      const expected = `a whole number below ${limit}`;
      throw this.#refuse('ROW_ID', `a ${what} id is out of range`, expected, ids[e]);
    }
  }

  #duplicate(what: string, id: number): EspalierError {
    return this.#refuse('ROW_DUPLICATE', `a ${what} occurs twice in one row`, `each ${what} once`, id);
  }

  #refuse(code: string, problem: string, expected: string, received: number): EspalierError {
    return new EspalierError({
      code,
      kind: 'data',
      op: 'CsrBuilder.row',
      problem: `${problem} (row ${this.#rows})`,
      expected,
      received: String(received),
    });
  }
}

/** Sorts `n` ids in place; returns an id that occurs twice, or -1. */
export function sortIds(ids: Uint32Array, begin: number, n: number): number {
  const end = begin + n;
  for (let e = begin + 1; e < end; e++) {
    if (ids[e] > ids[e - 1]) continue;
    ids.subarray(begin, end).sort();
    return firstDuplicate(ids, begin, end);
  }
  return -1;
}

/** Sorts `n` (id, value) pairs by id in place; returns an id that occurs twice, or -1. */
export function sortEntries(
  ids: Uint32Array,
  values: Float32Array,
  begin: number,
  valueBegin: number,
  n: number,
): number {
  const end = begin + n;
  for (let e = begin + 1; e < end; e++) {
    if (ids[e] > ids[e - 1]) continue;
    const order = Array.from({ length: n }, (_, j) => j).sort((a, b) => ids[begin + a] - ids[begin + b]);
    const oldIds = ids.slice(begin, end);
    const oldValues = values.slice(valueBegin, valueBegin + n);
    for (let j = 0; j < n; j++) {
      ids[begin + j] = oldIds[order[j]];
      values[valueBegin + j] = oldValues[order[j]];
    }
    return firstDuplicate(ids, begin, end);
  }
  return -1;
}

function firstDuplicate(ids: Uint32Array, begin: number, end: number): number {
  for (let e = begin + 1; e < end; e++) if (ids[e] === ids[e - 1]) return ids[e];
  return -1;
}
