/** Linear layers whose weights are mostly 0, for inference: the zeros are neither stored nor multiplied. */
import type { Floats } from '../kernels/face.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { type ForwardContext, Module } from './module.js';

/** The numbers of a matrix that are not 0, row by row. */
export interface SparseRows {
  readonly rows: number;
  readonly cols: number;
  /** [rows + 1] */
  readonly indptr: Int32Array;
  /** [nnz], ascending within a row */
  readonly indices: Uint32Array;
  /** [nnz] */
  readonly values: Floats;
}

/** Collects what is not 0 of a matrix [rows, cols]. */
export function sparseRows(rows: number, cols: number, dense: Floats): SparseRows {
  const indptr = new Int32Array(rows + 1);
  let count = 0;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) if (dense[i * cols + j] !== 0) count++;
    indptr[i + 1] = count;
  }
  const indices = new Uint32Array(count);
  const values = dense.slice(0, count) as Floats;
  let at = 0;
  for (let i = 0; i < rows * cols; i++) {
    if (dense[i] === 0) continue;
    indices[at] = i % cols;
    values[at++] = dense[i];
  }
  return { rows, cols, indptr, indices, values };
}

/** Writes the numbers of `from` to `into` [rows, cols], which holds zeros. */
export function scatterRows({ rows, cols, indptr, indices, values }: SparseRows, into: Floats): void {
  for (let r = 0; r < rows; r++) {
    for (let e = indptr[r]; e < indptr[r + 1]; e++) into[r * cols + indices[e]] = values[e];
  }
}

/** Bytes that the sparse form takes on disk, column indices of 16 bits where they fit. */
export function sparseBytes({ rows, cols, indices, values }: SparseRows): number {
  return 4 * (rows + 1) + (cols <= 0x10000 ? 2 : 4) * indices.length + values.byteLength;
}

/** Below so many examples rows of W are gathered from x; from there on they are sums of rows of x^T. */
const FEW = 8;

/** y = act(x W^T + b) for x [B, in], in proportion to the weights that are not 0; no gradient. */
export class SparseLinear extends Module {
  readonly weight: SparseRows;
  readonly biasValues: Floats | null;
  readonly activation: 'none' | 'relu';
  readonly #ones: Floats;

  constructor(device: Device, weight: SparseRows, bias: Floats | null, activation: 'none' | 'relu' = 'none') {
    super();
    this.weight = weight;
    this.biasValues = bias;
    this.activation = activation;
    this.#ones = device.persistent('weights', [weight.rows]).data.fill(1) as Floats;
  }

  /** Rows of W meet columns of x: W [out, in] times x^T [in, B], turned back. */
  forward(x: Tensor, { tape: { device } }: ForwardContext): Tensor {
    const { kernels } = device;
    const [batch, inputs] = x.shape;
    const { rows, indptr, indices, values } = this.weight;
    if (batch < FEW) {
      const y = device.temporary('activations', [batch, rows]);
      const product = { batch, inputs, rows, indptr, indices, values, bias: this.biasValues };
      kernels.sparseDots({ ...product, relu: this.activation === 'relu', x: x.data, y: y.data });
      return y;
    }
    const turned = device.temporary('workspace', [inputs, batch]);
    const product = device.temporary('workspace', [rows, batch]);
    const y = device.temporary('activations', [batch, rows]);
    kernels.swapAxes({ outer: 1, a: batch, b: inputs, inner: 1, x: x.data, y: turned.data });
    const csr = { rows, indptr, indices, values, vocab: inputs, dim: batch };
    kernels.bagForward({ ...csr, table: turned.data, bias: null, out: product.data });
    device.release(turned);
    const out = this.biasValues === null ? y : device.temporary('workspace', [batch, rows]);
    kernels.swapAxes({ outer: 1, a: rows, b: batch, inner: 1, x: product.data, y: out.data });
    device.release(product);
    if (this.biasValues !== null) {
      const columns = { gamma: this.#ones, beta: this.biasValues };
      kernels.affine({ rows: batch, dim: rows, x: out.data, ...columns, y: y.data });
      device.release(out);
    }
    if (this.activation === 'relu') kernels.relu(y.size, y.data, y.data);
    return y;
  }
}
