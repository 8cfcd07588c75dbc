/**
 * How many rows are equal to an earlier one, in bounded memory: exact for up to `CAPACITY` distinct rows; beyond,
 * rows are sampled by their hash (adaptive sampling, Flajolet 1990) and the count is scaled up.
 */
const CAPACITY = 1 << 21;

export class Duplicates {
  readonly #capacity: number;
  /** Pairs of hashes; (0, 0) is an empty place. */
  readonly #high: Uint32Array;
  readonly #low: Uint32Array;
  readonly #test: Uint8Array;
  #used = 0;
  /** Rows count whose high hash ends in so many zero bits. */
  #depth = 0;
  #equal = 0;
  #across = 0;

  constructor(capacity = CAPACITY) {
    this.#capacity = capacity;
    this.#high = new Uint32Array(2 * capacity);
    this.#low = new Uint32Array(2 * capacity);
    this.#test = new Uint8Array(2 * capacity);
  }

  add([high, low]: readonly [number, number], isTest: boolean): void {
    if ((high & ((1 << this.#depth) - 1)) !== 0) return;
    const slot = this.#find(high, low === 0 ? 1 : low);
    if (this.#low[slot] !== 0) {
      this.#equal++;
      if ((this.#test[slot] === 1) !== isTest) this.#across++;
      return;
    }
    this.#put(slot, high, low === 0 ? 1 : low, isTest ? 1 : 0);
    if (this.#used > this.#capacity) this.#thin();
  }

  /** Rows equal to an earlier one; those of them that stand on the other side of the test split. */
  get result(): { readonly rows: number; readonly acrossTest: number; readonly exact: boolean } {
    const scale = 2 ** this.#depth;
    return { rows: this.#equal * scale, acrossTest: this.#across * scale, exact: this.#depth === 0 };
  }

  #find(high: number, low: number): number {
    const mask = this.#low.length - 1;
    // The low bits of `high` may be zero by sampling, so the place hangs on `low`.
    let slot = (low ^ (low >>> 15)) & mask;
    while (this.#low[slot] !== 0 && (this.#low[slot] !== low || this.#high[slot] !== high))
      slot = (slot + 1) & mask;
    return slot;
  }

  #put(slot: number, high: number, low: number, test: number): void {
    this.#high[slot] = high;
    this.#low[slot] = low;
    this.#test[slot] = test;
    this.#used++;
  }

  #thin(): void {
    this.#depth++;
    // Counted duplicates cannot be looked up again: on average half of them stay.
    this.#equal /= 2;
    this.#across /= 2;
    const kept: number[] = [];
    const bit = (1 << this.#depth) - 1;
    for (let slot = 0; slot < this.#low.length; slot++) {
      if (this.#low[slot] !== 0 && (this.#high[slot] & bit) === 0)
        kept.push(this.#high[slot], this.#low[slot], this.#test[slot]);
    }
    this.#low.fill(0);
    this.#used = 0;
    for (let k = 0; k < kept.length; k += 3)
      this.#put(this.#find(kept[k], kept[k + 1]), kept[k], kept[k + 1], kept[k + 2]);
  }
}
