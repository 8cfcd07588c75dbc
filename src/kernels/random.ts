/**
 * Random numbers that can be named, stored and resumed: Philox4x32-10 (Salmon, Moraes, Dror & Shaw,
 * "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and streams over it.
 *
 * Counter-based: the words of block `c` under a key are a pure function of (key, c). So a stream is a key and
 * a position, nothing else, and a kernel that is handed a range of counters draws from the same stream.
 */
import { createHash } from 'node:crypto';
import { ensure } from '../errors.js';
import type { RandomKey } from './face.js';

const TWO_32 = 2 ** 32;
const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
/** Weyl increments of the key: the golden ratio and sqrt(3) - 1, in 32 bits. */
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;

/** out[0..4) = Philox4x32-10 of the counter words (c0, c1, c2, c3) under the key (key0, key1); all unsigned 32-bit. */
export function philox4x32(
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  key0: number,
  key1: number,
  out: Uint32Array,
): void {
  for (let round = 0; round < ROUNDS; round++) {
    const low0 = Math.imul(MULTIPLIER_0, c0) >>> 0;
    const low1 = Math.imul(MULTIPLIER_1, c2) >>> 0;
    // High words: product - low is an exact multiple of 2^32 plus a rounding error below 2^12, so rounding is exact.
    const high0 = ((MULTIPLIER_0 * c0 - low0) / TWO_32 + 0.5) >>> 0;
    const high1 = ((MULTIPLIER_1 * c2 - low1) / TWO_32 + 0.5) >>> 0;
    c0 = (high1 ^ c1 ^ key0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ key1) >>> 0;
    c3 = low0;
    key0 = (key0 + WEYL_0) >>> 0;
    key1 = (key1 + WEYL_1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** The four words of block `counter` (a whole number below 2^53) of a stream, as kernels use them. */
export function philoxBlock(key0: number, key1: number, counter: number, out: Uint32Array): void {
  philox4x32(counter % TWO_32, Math.floor(counter / TWO_32), 0, 0, key0, key1, out);
}

/** Where a stream stands; plain numbers, fit for JSON. */
export interface RandomState {
  readonly key0: number;
  readonly key1: number;
  /** 32-bit words drawn so far. NOTE: words, while `RandomKey.counter` counts blocks of four words. */
  readonly counter: number;
}

/** Any array whose elements can be exchanged. */
export type Shuffleable = { readonly length: number; [index: number]: unknown };

/**
 * A named, resumable stream of random numbers. Same seed and name, same numbers, on every machine and backend.
 *
 * @example
 * const rng = RandomStream.named(42, 'init/encoder');
 * const order = rng.shuffle(Uint32Array.from([0, 1, 2, 3]));
 * const key = rng.reserve(1024); // counters for a dropout kernel over 1,024 elements
 */
export class RandomStream {
  readonly #key0: number;
  readonly #key1: number;
  #words: number;
  readonly #block = new Uint32Array(4);
  /** Which block `#block` holds; -1: none. A cache only: the state is the number of words. */
  #cached = -1;

  private constructor(key0: number, key1: number, words: number) {
    this.#key0 = key0;
    this.#key1 = key1;
    this.#words = words;
  }

  /**
   * The stream of one component. Its key is the first eight bytes, as two little-endian words, of the SHA-256 of
   * the UTF-8 text `<seed>/<name>`: streams of other names neither overlap nor shift when one is not used.
   *
   * @param seed a whole number, |seed| < 2^53
   */
  static named(seed: number, name: string): RandomStream {
    ensure(Number.isSafeInteger(seed), () => ({
      code: 'RANDOM_SEED',
      kind: 'usage',
      op: 'RandomStream.named',
      problem: 'the seed is not a whole number',
      expected: 'a whole number below 2^53',
      received: String(seed),
    }));
    // `+ 0` makes -0 and 0 one seed.
    const digest = createHash('sha256')
      .update(`${seed + 0}/${name}`, 'utf8')
      .digest();
    return new RandomStream(digest.readUInt32LE(0), digest.readUInt32LE(4), 0);
  }

  /** The stream that continues exactly where `state()` was taken. */
  static from(state: RandomState): RandomStream {
    const { key0, key1, counter } = state;
    const sound = isWord(key0) && isWord(key1) && Number.isSafeInteger(counter) && counter >= 0;
    ensure(sound, () => ({
      code: 'RANDOM_STATE',
      kind: 'data',
      op: 'RandomStream.from',
      problem: 'not the state of a random stream',
      expected: 'key0 and key1 below 2^32, counter a whole number below 2^53',
      received: JSON.stringify(state),
    }));
    return new RandomStream(key0, key1, counter);
  }

  state(): RandomState {
    return { key0: this.#key0, key1: this.#key1, counter: this.#words };
  }

  /** Moves this stream to where `state` was taken; the state must be of a stream with the same key. */
  restore(state: RandomState): void {
    const there = RandomStream.from(state);
    ensure(there.#key0 === this.#key0 && there.#key1 === this.#key1, () => ({
      code: 'RANDOM_STATE',
      kind: 'data',
      op: 'RandomStream.restore',
      problem: 'the state belongs to another stream',
      expected: `key ${this.#key0}, ${this.#key1}`,
      received: `key ${there.#key0}, ${there.#key1}`,
      hint: 'resume with the seed that the run was begun with',
    }));
    this.#words = there.#words;
  }

  /** 32 random bits, as a number in [0, 2^32). */
  uint32(): number {
    const word = this.#words++;
    const block = Math.floor(word / 4);
    if (block !== this.#cached) {
      philoxBlock(this.#key0, this.#key1, block, this.#block);
      this.#cached = block;
    }
    return this.#block[word % 4];
  }

  /** A uniform double in [0, 1) with 53 random bits (two words). */
  uniform(): number {
    const high = this.uint32() >>> 5;
    const low = this.uint32() >>> 6;
    return (high * 2 ** 26 + low) * 2 ** -53;
  }

  /** A whole number in [0, n), every one equally likely; 1 <= n <= 2^32. */
  below(n: number): number {
    ensure(Number.isInteger(n) && n >= 1 && n <= TWO_32, () => ({
      code: 'RANDOM_RANGE',
      kind: 'usage',
      op: 'RandomStream.below',
      problem: 'no such range',
      expected: 'a whole number from 1 to 2^32',
      received: String(n),
    }));
    // Words at or above the last whole multiple of n would favour the small remainders: draw again.
    const limit = TWO_32 - (TWO_32 % n);
    let word = this.uint32();
    while (word >= limit) word = this.uint32();
    return word % n;
  }

  /** A standard normal (Box & Muller 1958). The second value of the pair is not kept, so that the state is the position alone. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Permutes `array` in place, every order equally likely (Fisher-Yates), and returns it. */
  shuffle<T extends Shuffleable>(array: T): T {
    for (let i = array.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const held = array[i];
      array[i] = array[j];
      array[j] = held;
    }
    return array;
  }

  /** Sets `blocks` whole blocks of four words aside and returns where they begin; what is left of a begun block is passed over. */
  skip(blocks: number): RandomKey {
    const counter = Math.ceil(this.#words / 4);
    const words = (counter + blocks) * 4;
    ensure(Number.isInteger(blocks) && blocks >= 0 && Number.isSafeInteger(words), () => ({
      code: 'RANDOM_SKIP',
      kind: 'usage',
      op: 'RandomStream.skip',
      problem: 'cannot set that many blocks aside',
      expected: 'a whole number, total below 2^51',
      received: String(blocks),
    }));
    this.#words = words;
    return { key0: this.#key0, key1: this.#key1, counter };
  }

  /** The counters of a kernel call that draws one word for each of `n` elements. */
  reserve(n: number): RandomKey {
    return this.skip(Math.ceil(n / 4));
  }
}

function isWord(x: number): boolean {
  return Number.isInteger(x) && x >= 0 && x < TWO_32;
}
