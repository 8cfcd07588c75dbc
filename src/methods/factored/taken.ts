/** How many changes rows have taken, for the few rows that took any: an open hash table of fixed size. */
import type { Device } from '../../tensor/device.js';

export class TakenCounts {
  /** [places], 1 + row; 0 where free. The next free place after its own holds a row that found that one occupied. */
  readonly rows: Uint32Array;
  /** [places] */
  readonly counts: Uint16Array;
  #used = 0;

  /** Room for `most` rows. */
  constructor(device: Device, most: number) {
    const places = 2 ** Math.ceil(Math.log2(2 * most));
    this.rows = device.allocator.allocate('weights', 'uint32', places);
    this.counts = device.allocator.allocate('weights', 'uint16', places);
  }

  /** Whether `more` rows are sure to find room. */
  fits(more: number): boolean {
    return this.#used + more <= this.rows.length / 2;
  }

  get(row: number): number {
    return this.#used === 0 ? 0 : this.counts[this.#place(row)];
  }

  set(row: number, count: number): void {
    const at = this.#place(row);
    if (this.rows[at] === 0) this.#used++;
    this.rows[at] = row + 1;
    this.counts[at] = count;
  }

  /** No row has taken any. */
  clear(): void {
    if (this.#used === 0) return;
    this.rows.fill(0);
    this.counts.fill(0);
    this.#used = 0;
  }

  /** After the arrays were loaded: whether they can be what was saved, no row having taken more than `most`. */
  recount(most: number): boolean {
    this.#used = 0;
    let sound = true;
    for (const [at, row] of this.rows.entries()) {
      const count = this.counts[at];
      if (row !== 0) this.#used++;
      sound &&= row === 0 ? count === 0 : count <= most && this.#place(row - 1) === at;
      // A full table has no end to a search.
      if (!this.fits(0)) return false;
    }
    return sound;
  }

  #place(row: number): number {
    const { rows } = this;
    const last = rows.length - 1;
    // Fibonacci hashing: neighbours spread.
    let at = Math.imul(row, 0x9e3779b1) >>> (Math.clz32(last) & 31);
    while (rows[at] !== 0 && rows[at] !== row + 1) at = (at + 1) & last;
    return at;
  }
}
