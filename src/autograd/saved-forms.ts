/** The forms in which backward's tensors are kept, and the rows that readers get from them. */
import type { Kernels } from '../kernels/face.js';
import { BsrTensor, blockCount, bsrBytes, matrixShape } from '../tensor/bsr.js';
import type { Device } from '../tensor/device.js';
import { bytesPerElement } from '../tensor/memory.js';
import type { Shape, Tensor } from '../tensor/tensor.js';

export type FormKind = 'dense' | 'bsr' | 'pooled' | 'bf16' | 'recompute';

/** How the values of a tensor are kept. */
export type Form =
  | { readonly kind: 'dense' }
  /** `kept` blocks of largest norm, of the tensor or of every block row. */
  | {
      readonly kind: 'bsr';
      readonly block: 8 | 16 | 32;
      readonly kept: number;
      readonly scope: 'tensor' | 'row';
    }
  /** Means of `size` rows each (arXiv 2409.11902). */
  | { readonly kind: 'pooled'; readonly size: number }
  /** In half the bytes, off by 2^-9 of itself at most. */
  | { readonly kind: 'bf16' }
  /** Not at all: computed again from what its own operation keeps. */
  | { readonly kind: 'recompute' };

/** What backward finds of a tensor's values. */
export type Saved =
  | { readonly kind: 'dense'; readonly tensor: Tensor }
  | { readonly kind: 'bsr'; readonly bsr: BsrTensor }
  | { readonly kind: 'pooled'; readonly size: number; readonly means: Tensor }
  | SavedRows;

/** Dense rows on demand. */
export interface SavedRows {
  readonly kind: 'rows';
  readonly group: number;
  /** They come from numbers in bfloat16: products may round their operands to it as well. */
  readonly rounded: boolean;
  /** Writes rows [begin, end), both whole multiples of `group` (or the end of all). */
  fill(begin: number, end: number, out: Tensor): void;
}

/** A tensor's values as they are held between forward and backward. */
export interface Stored {
  /** The sum of the buffers. */
  readonly bytes: number;
  readonly saved: Saved;
  release(device: Device): void;
}

/** The tensor itself. */
export function storeDense(tensor: Tensor): Stored {
  return {
    bytes: bytesOf(tensor),
    saved: { kind: 'dense', tensor },
    release: (device) => device.release(tensor),
  };
}

/** A copy of x in a form of its own; null for what is computed again. */
export function store(device: Device, x: Tensor, form: Form): Stored | null {
  switch (form.kind) {
    case 'dense':
      return storeDense(x);
    case 'bsr': {
      const bsr = BsrTensor.fromDense(device, x, form);
      return { bytes: bsr.bytes, saved: { kind: 'bsr', bsr }, release: (device) => bsr.release(device) };
    }
    case 'pooled': {
      const { size } = form;
      const { rows, cols } = matrixShape(x.shape);
      const means = device.temporary('activations', [Math.ceil(rows / size), cols], undefined, true);
      device.kernels.poolRows(rows, cols, size, x.data, 'mean', means.data);
      return { ...storeDense(means), saved: { kind: 'pooled', size, means } };
    }
    case 'bf16': {
      const bits = device.temporary('activations', x.shape, 'uint16', true);
      device.kernels.bf16Round(x.size, x.data, bits.raw as Uint16Array);
      return { ...storeDense(bits), saved: widened(device, bits) };
    }
    case 'recompute':
      return null;
  }
}

/** Rows that are rounded, as they are asked for. */
function widened(device: Device, bits: Tensor): SavedRows {
  const { cols } = matrixShape(bits.shape);
  const all = bits.raw as Uint16Array;
  const fill = (begin: number, end: number, out: Tensor) =>
    device.kernels.bf16Widen((end - begin) * cols, all.subarray(begin * cols, end * cols), out.data);
  return { kind: 'rows', group: 1, rounded: true, fill };
}

/** How an operation computes its output again: groups of rows of it from groups of rows of its input. */
export interface Again {
  readonly input: Tensor;
  /** Rows of a group of the input, and of the output: 1 and 1 where rows stand for themselves. */
  readonly group: readonly [input: number, output: number];
  /** One f for every element, f(0) = 0: a block-sparse input gives an output of the same blocks. Default: no. */
  readonly keepsZeros?: boolean;
  /** Whether that takes a matrix product: dearer than keeping the output, for most. Default: no. */
  readonly product?: boolean;
  /** Whether y may be x. Default: no. */
  readonly inPlace?: boolean;
  /** y from x, whole groups of rows. */
  run(kernels: Kernels, x: Tensor, y: Tensor): void;
}

/** The output of an operation as it comes from what is kept of its input, x. */
export function computedAgain(device: Device, again: Again, x: Saved): Saved {
  const { kernels } = device;
  if (x.kind === 'bsr' && again.keepsZeros) {
    const values = device.temporary('workspace', x.bsr.values.shape);
    again.run(kernels, x.bsr.values, values);
    return { kind: 'bsr', bsr: x.bsr.withValues(values) };
  }
  const [groupIn, groupOut] = again.group;
  const input = matrixShape(again.input.shape);
  const fill = (begin: number, end: number, y: Tensor) => {
    const own = device.rows(y, 0, end - begin);
    if (x.kind === 'rows' && x.group === 1 && again.inPlace) {
      x.fill(begin, end, y);
      again.run(kernels, own, own);
      return;
    }
    const rows = [(begin / groupOut) * groupIn, (end / groupOut) * groupIn] as const;
    const { part, held } = rowsOf(device, x, input, rows);
    again.run(kernels, part, own);
    if (held !== null) device.release(held);
  };
  return { kind: 'rows', group: groupOut, rounded: x.kind === 'rows' && x.rounded, fill };
}

/** Rows [begin, end) of a matrix as it was kept: where they lie, or in a temporary that the caller gives back. */
function rowsOf(
  device: Device,
  saved: Saved,
  { rows, cols }: { readonly rows: number; readonly cols: number },
  [begin, end]: readonly [number, number],
): { readonly part: Tensor; readonly held: Tensor | null } {
  switch (saved.kind) {
    case 'dense':
      return { part: device.rows(device.alias(saved.tensor, [rows, cols]), begin, end), held: null };
    case 'bsr': {
      const held = saved.bsr.expand(device, begin, end);
      return { part: device.rows(held, 0, end - begin), held };
    }
    case 'pooled': {
      const { size, means } = saved;
      const held = device.temporary('workspace', [end - begin, cols]);
      for (let row = begin; row < end && !device.dry; row++) {
        const group = Math.floor(row / size);
        held.data.set(means.data.subarray(group * cols, (group + 1) * cols), (row - begin) * cols);
      }
      return { part: held, held };
    }
    case 'rows': {
      const { group } = saved;
      const [from, to] = [Math.floor(begin / group) * group, Math.min(rows, Math.ceil(end / group) * group)];
      const held = device.temporary('workspace', [to - from, cols]);
      saved.fill(from, to, held);
      return { part: device.rows(held, begin - from, end - from), held };
    }
  }
}

/** Whether a block-sparse copy of so many bytes would be no smaller than the dense tensor. */
export function noSmaller(form: Form, shape: Shape, elementBytes: number, denseBytes: number): boolean {
  if (form.kind !== 'bsr') return false;
  const segments = form.scope === 'row' ? Math.ceil(matrixShape(shape).rows / form.block) : 1;
  const entries = Math.min(blockCount(shape, form.block), Math.floor(form.kept) * segments);
  return bsrBytes(shape, form.block, entries, elementBytes) >= denseBytes;
}

export function bytesOf(tensor: Tensor): number {
  return tensor.size * bytesPerElement(tensor.dtype);
}
