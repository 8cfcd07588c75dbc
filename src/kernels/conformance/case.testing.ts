/**
 * What the conformance suite is made of: cases that run on any backend, buffers that notice misuse, and bounds
 * on the error that rounding alone can explain.
 */
import type { Floats, Kernels } from '../face.js';
import { RandomStream } from '../random.js';

export type Output = Floats | Uint32Array | Int32Array | number;
export type Outputs = Record<string, Output>;

export interface Case {
  readonly name: string;
  /** Runs on fresh buffers of the lab and returns everything that came out. */
  readonly run: (kernels: Kernels, lab: Lab) => Outputs;
  /**
   * Largest error of an output against the float64 oracle, element by element, or one for all. Outputs without
   * a bound equal the oracle's, rounded once.
   */
  readonly bounds?: (rounding: Rounding, oracle: Kernels) => Record<string, Floats | number>;
  /** What else must hold. */
  readonly law?: (outputs: Outputs) => void;
  /** Outputs whose bits may depend on the number of threads; all others may not. */
  readonly threadDependent?: readonly string[];
}

/** How a backend rounds: `unit` relative error of one operation or store, `sum(n)` of n products, relative to sum |terms|. */
export interface Rounding {
  readonly unit: number;
  sum(n: number): number;
}

/** gamma_n of Higham (Accuracy and Stability, ch. 3) for any order of summation, first order, with two roundings to spare. */
export function roundingOf(kernels: Kernels): Rounding {
  const unit = kernels.precision === 'float32' ? 2 ** -24 : 2 ** -53;
  // The reference backend sums in doubles and rounds once.
  const inner = kernels.name.startsWith('reference') ? 2 ** -53 : unit;
  return { unit, sum: (n) => 2 * unit + n * inner };
}

/** Below this, float32 is denormal and relative errors mean nothing. */
export const TINY = 2 ** -126;

const GUARD = 64;
const GUARD_BYTE = 0xa5;

type Typed = Floats | Uint32Array | Int32Array | Uint16Array | Uint8Array;
type TypedConstructor<T extends Typed> = {
  new (buffer: ArrayBuffer, at: number, length: number): T;
  BYTES_PER_ELEMENT: number;
};

/**
 * Hands out the buffers of one run, in the backend's precision, at odd offsets, between guard zones. `verify`
 * tells which guard was overwritten and which input changed.
 */
export class Lab {
  readonly #floats: TypedConstructor<Floats>;
  readonly #watched: { name: string; array: Typed; before: Typed | null }[] = [];

  constructor(precision: 'float32' | 'float64') {
    this.#floats = precision === 'float32' ? Float32Array : Float64Array;
  }

  /** Read only: `verify` compares it with its values. */
  input(values: ArrayLike<number>): Floats {
    return this.#watch(this.#floats, values.length, values, true);
  }
  inputOrNull(values: ArrayLike<number> | null): Floats | null {
    return values === null ? null : this.input(values);
  }
  inout(values: ArrayLike<number>): Floats {
    return this.#watch(this.#floats, values.length, values, false);
  }
  /** All NaN: an element that the kernel leaves out, or reads first, shows. */
  output(length: number): Floats {
    return this.#watch(this.#floats, length, null, false).fill(Number.NaN);
  }
  scratch(length: number): Floats {
    return this.output(length);
  }
  doubles(values: ArrayLike<number>): Float64Array {
    return this.#watch(Float64Array, values.length, values, false);
  }
  u32(values: ArrayLike<number>): Uint32Array {
    return this.#watch(Uint32Array, values.length, values, true);
  }
  u16(values: ArrayLike<number>): Uint16Array {
    return this.#watch(Uint16Array, values.length, values, true);
  }
  u8Output(length: number): Uint8Array {
    return this.#watch(Uint8Array, length, null, false).fill(0xad);
  }
  u32InOut(values: ArrayLike<number>): Uint32Array {
    return this.#watch(Uint32Array, values.length, values, false);
  }
  u16InOut(values: ArrayLike<number>): Uint16Array {
    return this.#watch(Uint16Array, values.length, values, false);
  }
  i32(values: ArrayLike<number>): Int32Array {
    return this.#watch(Int32Array, values.length, values, true);
  }
  u32Output(length: number): Uint32Array {
    return this.#watch(Uint32Array, length, null, false).fill(0xdeadbeef);
  }
  i32Output(length: number): Int32Array {
    return this.#watch(Int32Array, length, null, false).fill(-0x21524111);
  }
  u16Output(length: number): Uint16Array {
    return this.#watch(Uint16Array, length, null, false).fill(0xdead);
  }

  /** Sentences about guards overwritten and inputs changed; empty when all is well. */
  verify(): string[] {
    const faults: string[] = [];
    for (const { name, array, before } of this.#watched) {
      const bytes = new Uint8Array(array.buffer);
      const end = array.byteOffset + array.byteLength;
      for (let i = 0; i < bytes.length; i++) {
        if (i === array.byteOffset) i = end;
        if (bytes[i] !== GUARD_BYTE && i < bytes.length) {
          faults.push(`${name} was written at byte ${i - array.byteOffset} of ${array.byteLength}`);
          break;
        }
      }
      if (before !== null && !sameBits(before, array)) faults.push(`${name} is an input and was changed`);
    }
    return faults;
  }

  #watch<T extends Typed>(
    kind: TypedConstructor<T>,
    length: number,
    values: ArrayLike<number> | null,
    frozen: boolean,
  ): T {
    const width = kind.BYTES_PER_ELEMENT;
    const number = this.#watched.length;
    // 1 to 3 elements off any alignment that a vector load might hope for.
    const at = GUARD + width * (1 + (number % 3));
    const buffer = new ArrayBuffer(at + length * width + GUARD);
    new Uint8Array(buffer).fill(GUARD_BYTE);
    const array = new kind(buffer, at, length);
    if (values !== null) array.set(values);
    const before = frozen ? (array.slice() as T) : null;
    this.#watched.push({ name: `buffer ${number} (${kind.BYTES_PER_ELEMENT} x ${length})`, array, before });
    return array;
  }
}

/** Any NaN equals any other: their sign and payload are nobody's contract, and JavaScript does not keep them. */
export function sameNumbers(a: Typed, b: Typed): boolean {
  return sameBits(a, b) || (a.length === b.length && a.every((x, i) => Object.is(x, b[i])));
}

export function sameBits(a: Typed, b: Typed): boolean {
  if (a.length !== b.length) return false;
  const x = new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
  const y = new Uint8Array(b.buffer, b.byteOffset, b.byteLength);
  return Buffer.compare(x, y) === 0;
}

/** Sentences about the outputs that are further from the oracle's than their bounds; empty when none is. */
export function deviations(
  actual: Outputs,
  expected: Outputs,
  bounds: Record<string, Floats | number>,
  precision: 'float32' | 'float64',
): string[] {
  const faults: string[] = [];
  for (const [name, want] of Object.entries(expected)) {
    const got = actual[name];
    const bound = bounds[name];
    const wantList = typeof want === 'number' ? [want] : want;
    const gotList = typeof got === 'number' ? [got] : got;
    const round = typeof want === 'number' || precision === 'float64' ? (x: number) => x : Math.fround;
    if (wantList.length !== gotList.length) {
      faults.push(`${name}: ${gotList.length} elements instead of ${wantList.length}`);
      continue;
    }
    let worst = -1;
    let count = 0;
    let worstRatio = 0;
    for (let i = 0; i < wantList.length; i++) {
      const allowed = bound === undefined ? 0 : (typeof bound === 'number' ? bound : bound[i]) + TINY;
      const error =
        bound === undefined ? Math.abs(gotList[i] - round(wantList[i])) : Math.abs(gotList[i] - wantList[i]);
      const fine =
        Object.is(gotList[i], wantList[i]) || gotList[i] === round(wantList[i]) || error <= allowed;
      if (fine) continue;
      count++;
      const ratio = error / allowed;
      if (worst < 0 || ratio > worstRatio) {
        worst = i;
        worstRatio = ratio;
      }
    }
    if (count > 0) {
      const allowed = bound === undefined ? 'equality' : typeof bound === 'number' ? bound : bound[worst];
      faults.push(
        `${name}: ${count} of ${wantList.length} elements are off, the worst at ${worst}: ` +
          `${gotList[worst]} instead of ${wantList[worst]}, allowed ${allowed}`,
      );
    }
  }
  return faults;
}

/** Seeded data, already rounded to float32, so that every precision starts from the same numbers. */
export class Data {
  readonly stream: RandomStream;
  constructor(name: string) {
    this.stream = RandomStream.named(20240601, `conformance/${name}`);
  }
  /** Uniform in [-size, size). */
  floats(length: number, size = 1): Float32Array {
    return Float32Array.from({ length }, () => size * (2 * this.stream.uniform() - 1));
  }
  /** Uniform in [low, high). */
  between(length: number, low: number, high: number): Float32Array {
    return Float32Array.from({ length }, () => low + (high - low) * this.stream.uniform());
  }
  /** Whole numbers in [-size, size]: sums of their products are exact in any order. */
  whole(length: number, size: number): Float32Array {
    return Float32Array.from({ length }, () => this.stream.below(2 * size + 1) - size);
  }
  pick<T>(choices: readonly T[]): T {
    return choices[this.stream.below(choices.length)];
  }
  /** `count` different numbers below `n`, in no order. */
  distinct(count: number, n: number): number[] {
    if (3 * count > n) {
      const all = Uint32Array.from({ length: n }, (_, i) => i);
      return Array.from(this.stream.shuffle(all).subarray(0, count));
    }
    const chosen = new Set<number>();
    while (chosen.size < count) chosen.add(this.stream.below(n));
    return [...chosen];
  }
}

/** Computed at first use, once: cases are built for every run of the suite, their data only for those that run. */
export function lazy<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

export function absolute(x: ArrayLike<number>): Float64Array {
  return Float64Array.from(x, Math.abs);
}
export function absoluteOrNull(x: ArrayLike<number> | null): Float64Array | null {
  return x === null ? null : absolute(x);
}

/** Sizes around the widths of registers and tiles. */
export const RAGGED = [1, 7, 8, 15, 16, 17, 31, 33, 64, 65] as const;
