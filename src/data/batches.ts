/**
 * Which rows form a batch, and their copy into buffers made once.
 *
 * The order of an epoch depends on (seed, epoch) alone, so a position {epoch, step} is all that resuming needs.
 */
import { EspalierError } from '../errors.js';
import { RandomStream } from '../kernels/random.js';
import type { CsrDataset } from './dataset.js';
import { largestBatchNnz, largestBatchPositives } from './statistics.js';

export interface BatchPosition {
  readonly epoch: number;
  /** 0 <= step < stepsPerEpoch */
  readonly step: number;
}

/** Which rows each batch has. */
export interface BatchOrder {
  readonly stepsPerEpoch: number;
  /** Rows of one batch, in order; may hold until others are asked for only. */
  rowIds(position: BatchPosition): Uint32Array;
}

export interface BatchPlanOptions {
  readonly rows: number;
  readonly batch: number;
  readonly seed: number;
  /** false: rows in their order, as for evaluation; default true. */
  readonly shuffle?: boolean;
  /** true: a last batch that is not full is left out of its epoch; default false. */
  readonly dropLast?: boolean;
  /** Name of the random stream; another for every plan of one seed. */
  readonly stream?: string;
}

export class BatchPlan implements BatchOrder {
  readonly batch: number;
  readonly stepsPerEpoch: number;
  readonly #rows: number;
  readonly #seed: number;
  readonly #shuffle: boolean;
  readonly #stream: string;
  readonly #order: Uint32Array;
  #epoch = -1;

  constructor({ rows, batch, seed, shuffle = true, dropLast = false, stream = 'batches' }: BatchPlanOptions) {
    if (!Number.isSafeInteger(batch) || batch < 1) {
      throw refuse('BATCH_SIZE', 'the batch size is not a positive whole number', '1 or more', batch);
    }
    this.stepsPerEpoch = dropLast ? Math.floor(rows / batch) : Math.ceil(rows / batch);
    if (!(this.stepsPerEpoch >= 1)) {
      throw refuse('BATCH_NO_ROWS', 'no batch can be formed', `at least ${dropLast ? batch : 1} rows`, rows);
    }
    this.batch = batch;
    this.#rows = rows;
    this.#seed = seed;
    this.#shuffle = shuffle;
    this.#stream = stream;
    this.#order = new Uint32Array(rows);
    for (let row = 0; row < rows; row++) this.#order[row] = row;
  }

  /** Rows of one batch, in order; a view that holds until rows of another epoch are asked for. */
  rowIds({ epoch, step }: BatchPosition): Uint32Array {
    if (!Number.isSafeInteger(epoch) || epoch < 0) {
      throw refuse('BATCH_POSITION', 'no such epoch', 'a whole number from 0', epoch);
    }
    if (!Number.isSafeInteger(step) || step < 0 || step >= this.stepsPerEpoch) {
      throw refuse('BATCH_POSITION', 'no such step', `0 to ${this.stepsPerEpoch - 1}`, step);
    }
    if (this.#shuffle && epoch !== this.#epoch) {
      const order = this.#order;
      for (let row = 0; row < order.length; row++) order[row] = row;
      RandomStream.named(this.#seed, `${this.#stream}/epoch-${epoch}`).shuffle(order);
      this.#epoch = epoch;
    }
    return this.#order.subarray(step * this.batch, Math.min(this.#rows, (step + 1) * this.batch));
  }

  /** The position after this one. */
  next({ epoch, step }: BatchPosition): BatchPosition {
    return step + 1 < this.stepsPerEpoch ? { epoch, step: step + 1 } : { epoch: epoch + 1, step: 0 };
  }
}

/** The most that a batch can hold: what to allocate before training. */
export interface BatchShape {
  readonly rows: number;
  readonly nnz: number;
  readonly positives: number;
  /** Columns that feature indices may name. */
  readonly width: number;
  readonly labels: number;
}

/** The shape that holds any batch of `batch` different rows of `dataset`. */
export function batchShape(dataset: CsrDataset, batch: number): BatchShape {
  return {
    rows: batch,
    nnz: largestBatchNnz(dataset, batch),
    positives: largestBatchPositives(dataset, batch),
    width: dataset.features,
    labels: dataset.labels,
  };
}

/** Buffers of a batch; bring views on an arena, or let `Batch` make them. `values` may be float64. */
export interface BatchBuffers {
  /** [rows + 1] */
  readonly indptr: Int32Array;
  /** [nnz] */
  readonly indices: Uint32Array;
  /** [nnz] */
  readonly values: Float32Array | Float64Array;
  /** [positives] */
  readonly label: Uint32Array;
  /** [positives] */
  readonly row: Uint32Array;
  /** scratch [2 * positives] */
  readonly scratch: Uint32Array;
}

/** Bytes of the buffers of a batch with float32 values. */
export function batchBytes({ rows, nnz, positives }: BatchShape): number {
  return 4 * (rows + 1) + 8 * nnz + 16 * positives;
}

/** Buffers of a batch, reused by every step; `fillBatch` writes them. */
export class Batch {
  readonly shape: BatchShape;
  readonly features: {
    rows: number;
    nnz: number;
    readonly width: number;
    /** [rows + 1] */
    readonly indptr: Int32Array;
    /** The first `nnz` are filled. */
    readonly indices: Uint32Array;
    readonly values: Float32Array | Float64Array;
  };
  /** Sorted by label, then row: what the fused output step reads. The first `count` are filled. */
  readonly positives: { count: number; readonly label: Uint32Array; readonly row: Uint32Array };
  readonly scratch: Uint32Array;
  /** Counters of the radix sort. */
  readonly digits = new Uint32Array(RADIX);

  constructor(shape: BatchShape, buffers: BatchBuffers = makeBuffers(shape)) {
    const { rows, nnz, positives, width } = shape;
    checkLength('indptr', buffers.indptr, rows + 1);
    checkLength('indices', buffers.indices, nnz);
    checkLength('values', buffers.values, nnz);
    checkLength('label', buffers.label, positives);
    checkLength('row', buffers.row, positives);
    checkLength('scratch', buffers.scratch, 2 * positives);
    const { indptr, indices, values, label, row, scratch } = buffers;
    this.shape = shape;
    this.features = { rows: 0, nnz: 0, width, indptr, indices, values };
    this.positives = { count: 0, label, row };
    this.scratch = scratch;
  }
}

function makeBuffers({ rows, nnz, positives }: BatchShape): BatchBuffers {
  return {
    indptr: new Int32Array(rows + 1),
    indices: new Uint32Array(nnz),
    values: new Float32Array(nnz),
    label: new Uint32Array(positives),
    row: new Uint32Array(positives),
    scratch: new Uint32Array(2 * positives),
  };
}

/** Copies the rows `rowIds` of `dataset` into `batch`; allocates nothing. Throws `BATCH_*` when they do not fit. */
export function fillBatch(dataset: CsrDataset, rowIds: Uint32Array, batch: Batch): void {
  const { features, positives, shape } = batch;
  if (dataset.features > shape.width || dataset.labels > shape.labels) {
    const [expected, received] = [
      `${shape.width} x ${shape.labels}`,
      `${dataset.features} x ${dataset.labels}`,
    ];
    throw refuse('BATCH_SHAPE', 'the dataset has more features or labels than the batch', expected, received);
  }
  if (rowIds.length > shape.rows) {
    throw refuse('BATCH_SHAPE', 'more rows than the batch holds', `at most ${shape.rows}`, rowIds.length);
  }
  const { indptr, indices, values, labelIndptr, labelIds } = dataset;
  let at = 0;
  let pairs = 0;
  features.indptr[0] = 0;
  for (let b = 0; b < rowIds.length; b++) {
    const row = rowIds[b];
    if (row >= dataset.rows) {
      throw refuse('BATCH_ROW', 'no such row', `below ${dataset.rows}`, row);
    }
    const end = indptr[row + 1];
    const labelEnd = labelIndptr[row + 1];
    if (at + (end - indptr[row]) > shape.nnz || pairs + (labelEnd - labelIndptr[row]) > shape.positives) {
      throw refuse(
        'BATCH_SHAPE',
        'the rows hold more entries than the batch, which is made for different rows of one dataset',
        `at most ${shape.nnz} feature values and ${shape.positives} positives`,
        `more at row ${row}`,
      );
    }
    for (let e = indptr[row]; e < end; e++) {
      features.indices[at] = indices[e];
      features.values[at++] = values[e];
    }
    features.indptr[b + 1] = at;
    for (let e = labelIndptr[row]; e < labelEnd; e++) {
      positives.label[pairs] = labelIds[e];
      positives.row[pairs++] = b;
    }
  }
  features.rows = rowIds.length;
  features.nnz = at;
  positives.count = pairs;
  sortPositives(batch);
}

const RADIX_BITS = 11;
const RADIX = 1 << RADIX_BITS;

/** Stable radix sort by label. The pairs come in row order, so equal labels keep their rows ascending. */
function sortPositives({ positives, scratch, digits, shape }: Batch): void {
  const n = positives.count;
  const { label, row } = positives;
  for (let shift = 0; shift < 32 && 2 ** shift < shape.labels; shift += RADIX_BITS) {
    digits.fill(0);
    for (let e = 0; e < n; e++) digits[(label[e] >>> shift) & (RADIX - 1)]++;
    let begin = 0;
    for (let d = 0; d < RADIX; d++) {
      const size = digits[d];
      digits[d] = begin;
      begin += size;
    }
    for (let e = 0; e < n; e++) {
      const to = digits[(label[e] >>> shift) & (RADIX - 1)]++;
      scratch[to] = label[e];
      scratch[n + to] = row[e];
    }
    for (let e = 0; e < n; e++) {
      label[e] = scratch[e];
      row[e] = scratch[n + e];
    }
  }
}

function checkLength(name: string, buffer: { length: number }, least: number): void {
  if (buffer.length < least) {
    throw refuse('BATCH_BUFFER', `the buffer ${name} is too short`, `at least ${least}`, buffer.length);
  }
}

function refuse(code: string, problem: string, expected: string, received: number | string): EspalierError {
  return new EspalierError({
    code,
    kind: 'usage',
    op: 'batches',
    problem,
    expected,
    received: String(received),
  });
}
