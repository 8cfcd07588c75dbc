/**
 * How much of the space of connections a run has tried: which (label, column) pairs have ever been connected, kept
 * for evenly spaced labels only, so that it costs little whatever the number of labels.
 */
import type { Columns } from '../../kernels/face.js';
import type { NamedArray } from '../../output/layer.js';
import type { Device } from '../../tensor/device.js';

const trackedRows = 2048;

/** Rows are labels, or groups of them. */
interface ExploredShape {
  readonly rows: number;
  readonly fanIn: number;
  readonly inputs: number;
  /** Inputs that every row has from the start, and that do not count; default 0. */
  readonly shared?: number;
}

export class Explored {
  readonly #shape: ExploredShape;
  readonly #stride: number;
  readonly #tracked: number;
  readonly #words: number;
  readonly #device: Device;
  /** [tracked, words], one bit per column. */
  readonly #bits: Uint32Array;

  constructor(device: Device, shape: ExploredShape, columns: Columns) {
    this.#device = device;
    this.#shape = shape;
    this.#stride = Math.max(1, Math.ceil(shape.rows / trackedRows));
    this.#tracked = Math.ceil(shape.rows / this.#stride);
    this.#words = Math.ceil(shape.inputs / 32);
    this.#bits = device.allocator.allocate('indices', 'uint32', this.#tracked * this.#words);
    if (!device.dry) this.add(columns);
  }

  release(): void {
    this.#device.allocator.release('indices', this.#bits);
  }

  /** Adds the connections of now. */
  add(columns: Columns): void {
    const { fanIn } = this.#shape;
    for (let t = 0; t < this.#tracked; t++) {
      const from = t * this.#stride * fanIn;
      for (let s = from; s < from + fanIn; s++) {
        const column = columns[s];
        this.#bits[t * this.#words + (column >>> 5)] |= 1 << (column & 31);
      }
    }
  }

  /** Share of the pairs of the tracked labels that have been connected. */
  get share(): number {
    const { inputs, shared = 0 } = this.#shape;
    let count = -this.#tracked * shared;
    for (let word of this.#bits) {
      for (; word !== 0; word &= word - 1) count++;
    }
    return this.#tracked === 0 ? 0 : count / (this.#tracked * (inputs - shared));
  }

  /** What a checkpoint keeps. */
  get array(): NamedArray {
    return { name: 'explored', shape: [this.#tracked, this.#words], data: this.#bits };
  }
}
