/** Tensors: a shape over a flat, row-major typed array. */
import { EspalierError } from '../errors.js';
import type { Floats } from '../kernels/face.js';
import type { Block } from './arena.js';
import type { Dtype, Dtypes, MemoryTag } from './memory.js';

export type Shape = readonly number[];

export function sizeOf(shape: Shape): number {
  let n = 1;
  for (const side of shape) n *= side;
  return n;
}

export const shapeText = (shape: Shape): string => `[${shape.join(', ')}]`;

/** Gradient of some rows of a parameter: row `rows[t]` has gradient `values[t, :]`; rows ascending, none twice. */
export interface RowGradient {
  readonly count: number;
  readonly rows: Uint32Array;
  /** [>= count, dim] */
  readonly values: Tensor;
}

export class Tensor {
  readonly shape: Shape;
  readonly dtype: Dtype;
  readonly tag: MemoryTag;
  /** Null for tensors that outlive steps. */
  readonly block: Block | null;
  /** Whether releasing this tensor returns its block: false for another shape of somebody else's numbers. */
  readonly owner: boolean;
  readonly #data: Dtypes[Dtype];
  /** Whether the tape follows it. */
  requiresGrad = false;

  constructor(
    shape: Shape,
    dtype: Dtype,
    data: Dtypes[Dtype],
    tag: MemoryTag,
    block: Block | null,
    owner = true,
  ) {
    this.shape = shape;
    this.dtype = dtype;
    this.tag = tag;
    this.block = block;
    this.owner = owner;
    this.#data = data;
  }

  get size(): number {
    return sizeOf(this.shape);
  }

  /** The numbers themselves, for kernels; users read with `read()`. */
  get data(): Floats {
    if (this.block !== null && !this.block.live) {
      throw new EspalierError({
        code: 'TENSOR_RELEASED',
        kind: 'usage',
        op: 'tensor',
        problem: `the ${shapeText(this.shape)} tensor belongs to a step that is over`,
        hint: 'read what you need before the next step, or copy it',
      });
    }
    return this.#data as Floats;
  }

  /** The raw array whatever its dtype. */
  get raw(): Dtypes[Dtype] {
    return this.#data;
  }

  /** A copy of the values; asynchronous so that a device with its own memory can join. */
  async read(): Promise<Floats> {
    return this.data.slice() as Floats;
  }

  /** The single value of a one-element tensor. */
  async item(): Promise<number> {
    if (this.size !== 1) {
      throw new EspalierError({
        code: 'TENSOR_NOT_SCALAR',
        kind: 'usage',
        op: 'item',
        problem: 'only a tensor of one element has an item',
        expected: '1 element',
        received: shapeText(this.shape),
      });
    }
    return this.data[0];
  }
}
