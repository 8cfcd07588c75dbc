/**
 * Arrays of unknown length: filled in chunks, joined once at the end, so that nothing is copied while growing
 * and a size claimed by a file is never allocated on its word.
 */
type Numbers = Uint32Array | Float32Array | Float64Array;

const FIRST = 1 << 12;
const LARGEST = 1 << 22;

export class ChunkedArray<T extends Numbers> {
  /** Write at `tail[used]` and count `used` up, at most as far as the last `reserve` allowed. */
  tail: T;
  used = 0;
  readonly #make: (length: number) => T;
  readonly #full: T[] = [];
  #before = 0;

  constructor(make: (length: number) => T) {
    this.#make = make;
    this.tail = make(FIRST);
  }

  get length(): number {
    return this.#before + this.used;
  }

  /** Makes room for `n` more elements in one piece. */
  reserve(n: number): void {
    if (this.used + n <= this.tail.length) return;
    if (this.used > 0) {
      this.#full.push(this.tail.subarray(0, this.used) as T);
      this.#before += this.used;
    }
    this.tail = this.#make(Math.max(n, Math.min(LARGEST, 2 * this.tail.length)));
    this.used = 0;
  }

  push(value: number): void {
    this.reserve(1);
    this.tail[this.used++] = value;
  }

  /** All elements in one array; the chunks are let go one by one, and this object is empty afterwards. */
  join(): T {
    const all = this.#make(this.length);
    let at = 0;
    this.#full.reverse();
    for (let chunk = this.#full.pop(); chunk !== undefined; chunk = this.#full.pop()) {
      all.set(chunk as never, at);
      at += chunk.length;
    }
    all.set(this.tail.subarray(0, this.used) as never, at);
    this.tail = this.#make(FIRST);
    this.used = 0;
    this.#before = 0;
    return all;
  }
}

export const chunkedUint32 = () => new ChunkedArray((n) => new Uint32Array(n));
export const chunkedFloat32 = () => new ChunkedArray((n) => new Float32Array(n));
export const chunkedFloat64 = () => new ChunkedArray((n) => new Float64Array(n));
