/**
 * Block-sparse tensors (BSR): the blocks of largest l2 norm of a dense one, as Barley & Froening (arXiv 2311.16883)
 * keep activations for backward.
 */
import { ensure } from '../errors.js';
import type { BsrArgs } from '../kernels/face.js';
import type { Device } from './device.js';
import { bytesPerElement, type MemoryTag } from './memory.js';
import { type Shape, shapeText, type Tensor } from './tensor.js';

export const blockSizes = [8, 16, 32] as const;
export type BlockSize = (typeof blockSizes)[number];

export interface BsrOptions {
  /** Side of a block; blocks at the edges are stored whole. */
  readonly block: BlockSize;
  /** Blocks to keep of the whole tensor, or of every block row; more than there are: all. */
  readonly kept: number;
  readonly scope?: 'tensor' | 'row';
  readonly tag?: MemoryTag;
}

/** A tensor as a matrix: its last dimension are the columns. */
export function matrixShape(shape: Shape): { readonly rows: number; readonly cols: number } {
  const cols = shape.at(-1) ?? 1;
  return { rows: shape.slice(0, -1).reduce((n, side) => n * side, 1), cols };
}

export class BsrTensor {
  readonly shape: Shape;
  readonly rows: number;
  readonly cols: number;
  readonly block: BlockSize;
  readonly entries: number;
  /** [entries, block, block] */
  readonly values: Tensor;
  /** [entries], uint32: block columns, ascending within a block row */
  readonly columns: Tensor;
  /** [block rows + 1], uint32 */
  readonly rowPointers: Tensor;

  private constructor(
    parts: Omit<BsrTensor, 'args' | 'bytes' | 'withValues' | 'expand' | 'release' | 'arrays'>,
  ) {
    this.shape = parts.shape;
    this.rows = parts.rows;
    this.cols = parts.cols;
    this.block = parts.block;
    this.entries = parts.entries;
    this.values = parts.values;
    this.columns = parts.columns;
    this.rowPointers = parts.rowPointers;
  }

  /**
   * The blocks of `x` [..., cols] with the largest l2 norm, ties to the smaller index, NaN above all; in linear time.
   * The result belongs to this step and is released by `release`.
   *
   * @throws EspalierError `BSR_OPTIONS`
   * @example const kept = BsrTensor.fromDense(device, x, { block: 16, kept: blockCount(x.shape, 16) / 2 });
   */
  static fromDense(device: Device, x: Tensor, options: BsrOptions): BsrTensor {
    const { block, scope = 'tensor', tag = 'activations' } = options;
    const { rows, cols } = matrixShape(x.shape);
    ensure(blockSizes.includes(block) && options.kept >= 0, () => ({
      code: 'BSR_OPTIONS',
      kind: 'usage',
      op: 'BsrTensor.fromDense',
      problem: 'no such block-sparse tensor',
      expected: `blocks of ${blockSizes.join(', ')}, at least 0 of them kept`,
      received: `blocks of ${block}, ${options.kept} kept`,
    }));
    const blockRows = Math.ceil(rows / block);
    const blockCols = Math.ceil(cols / block);
    const perRow = scope === 'row';
    const kept = Math.min(Math.floor(options.kept), perRow ? blockCols : blockRows * blockCols);
    const entries = perRow ? kept * blockRows : kept;
    const lasting = (shape: Shape, dtype?: 'uint32') => device.temporary(tag, shape, dtype, true);
    const values = lasting([entries, block, block]);
    const columns = lasting([entries], 'uint32');
    const rowPointers = lasting([blockRows + 1], 'uint32');
    const squares = device.temporary('workspace', [blockRows * blockCols]);
    const made = new BsrTensor({
      shape: x.shape,
      rows,
      cols,
      block,
      entries,
      values,
      columns,
      rowPointers,
    });
    device.kernels.bsrCompress({ ...made.args, x: x.data, kept, perRow, squares: squares.data });
    device.release(squares);
    return made;
  }

  /** What kernels take. */
  get args(): BsrArgs {
    const { rows, cols, block } = this;
    return {
      rows,
      cols,
      block,
      values: this.values.data,
      columns: this.columns.raw as Uint32Array,
      rowPointers: this.rowPointers.raw as Uint32Array,
    };
  }

  /** Bytes of the three buffers: entries * (block bytes + 4) + 4 * (block rows + 1). */
  get bytes(): number {
    const { values, columns, rowPointers } = this;
    return [values, columns, rowPointers].reduce((sum, t) => sum + t.size * bytesPerElement(t.dtype), 0);
  }

  /** The same pattern with other values. */
  withValues(values: Tensor): BsrTensor {
    return new BsrTensor({ ...this, values });
  }

  /** Rows [begin, end), dense, zeros where no block is held; by default all of them, in the old shape. */
  expand(device: Device, begin = 0, end = this.rows): Tensor {
    const whole = begin === 0 && end === this.rows;
    const out = device.temporary('workspace', whole ? this.shape : [end - begin, this.cols]);
    device.kernels.bsrExpand({ ...this.args, begin, end, out: out.data });
    return out;
  }

  release(device: Device): void {
    for (const part of [this.values, this.columns, this.rowPointers]) device.release(part);
  }

  /** The buffers under `name.*`, for writeSafetensors; `scipy.sparse.bsr_matrix((values, columns, row_pointers))`. */
  arrays(name: string) {
    const { values, columns, rowPointers } = this;
    return [
      { name: `${name}.values`, shape: values.shape, data: values.data },
      { name: `${name}.columns`, shape: columns.shape, data: columns.raw as Uint32Array },
      { name: `${name}.row_pointers`, shape: rowPointers.shape, data: rowPointers.raw as Uint32Array },
    ];
  }

  toString(): string {
    const all = blockCount(this.shape, this.block);
    const share = all === 0 ? 0 : (100 * this.entries) / all;
    return `BSR ${shapeText(this.shape)}: ${this.entries} of ${all} blocks of ${this.block} x ${this.block} (${share.toFixed(1)} %), ${this.bytes.toLocaleString('en')} bytes`;
  }
}

/** Blocks of a tensor, edge blocks counted whole. */
export function blockCount(shape: Shape, block: number): number {
  const { rows, cols } = matrixShape(shape);
  return Math.ceil(rows / block) * Math.ceil(cols / block);
}

/** What BsrTensor.bytes will be for `entries` blocks of a tensor of this shape. */
export function bsrBytes(shape: Shape, block: number, entries: number, elementBytes: number): number {
  return entries * (block * block * elementBytes + 4) + 4 * (Math.ceil(matrixShape(shape).rows / block) + 1);
}
