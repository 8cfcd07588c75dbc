/** A batch of sparse rows, the input of an embedding bag. */
import type { Floats } from '../kernels/face.js';

export interface SparseBatch {
  readonly rows: number;
  readonly nnz: number;
  /** Number of columns that indices may name. */
  readonly width: number;
  /** [rows + 1] */
  readonly indptr: Int32Array;
  /** [nnz] */
  readonly indices: Uint32Array;
  /** [nnz]; null: all ones. */
  readonly values: Floats | null;
}
