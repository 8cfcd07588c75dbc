/**
 * How much of the space of connections a run has tried: which (label, column) pairs have ever been connected, kept
 * for evenly spaced labels only, so that it costs little whatever the number of labels.
 */
import type { Columns } from '../../kernels/face.js';

const trackedLabels = 2048;

export class Explored {
  readonly stride: number;
  readonly words: number;
  readonly tracked: number;
  /** [tracked, words], one bit per column. */
  readonly bits: Uint32Array;
  readonly #shape: { readonly labels: number; readonly fanIn: number; readonly inputs: number };

  constructor(
    shape: { readonly labels: number; readonly fanIn: number; readonly inputs: number },
    allocate: (length: number) => Uint32Array,
  ) {
    this.#shape = shape;
    this.stride = Math.max(1, Math.ceil(shape.labels / trackedLabels));
    this.tracked = Math.ceil(shape.labels / this.stride);
    this.words = Math.ceil(shape.inputs / 32);
    this.bits = allocate(this.tracked * this.words);
  }

  /** Adds the connections of now. */
  add(columns: Columns): void {
    const { fanIn } = this.#shape;
    for (let t = 0; t < this.tracked; t++) {
      const from = t * this.stride * fanIn;
      for (let s = from; s < from + fanIn; s++) {
        const column = columns[s];
        this.bits[t * this.words + (column >>> 5)] |= 1 << (column & 31);
      }
    }
  }

  /** Share of the pairs of the tracked labels that have been connected. */
  get share(): number {
    let count = 0;
    for (let word of this.bits) {
      for (; word !== 0; word &= word - 1) count++;
    }
    return this.tracked === 0 ? 0 : count / (this.tracked * this.#shape.inputs);
  }
}
