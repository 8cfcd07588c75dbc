/**
 * Accounted memory: every buffer of Espalier is acquired here under a tag, so that the table at the end of a
 * run is the sum of what was really held, and a dry device can count the same bytes before anything exists.
 */
import { EspalierError, ensure } from '../errors.js';

export const memoryTags = [
  'weights',
  'indices',
  'optimizer',
  'gradients',
  'activations',
  'workspace',
  'data',
  'auxiliary',
] as const;
export type MemoryTag = (typeof memoryTags)[number];

export interface Dtypes {
  float32: Float32Array;
  float64: Float64Array;
  uint8: Uint8Array;
  uint16: Uint16Array;
  uint32: Uint32Array;
  int32: Int32Array;
}
export type Dtype = keyof Dtypes;

const constructors = {
  float32: Float32Array,
  float64: Float64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  int32: Int32Array,
} as const;

export function bytesPerElement(dtype: Dtype): number {
  return constructors[dtype].BYTES_PER_ELEMENT;
}

/** A typed array of `length` elements of `dtype` over `buffer`. */
export function viewOf<D extends Dtype>(
  dtype: D,
  buffer: ArrayBufferLike,
  offset = 0,
  length?: number,
): Dtypes[D] {
  return new constructors[dtype](buffer as ArrayBuffer, offset, length) as unknown as Dtypes[D];
}

export type BytesByTag = Record<MemoryTag, number>;

const zeroBytes = (): BytesByTag => Object.fromEntries(memoryTags.map((t) => [t, 0])) as BytesByTag;

/** Bytes alive now and at the worst moment, per tag and in all. */
export class MemoryLedger {
  readonly #live = zeroBytes();
  #liveTotal = 0;
  #peakTotal = 0;
  #atPeak = zeroBytes();
  readonly #peakByTag = zeroBytes();
  #recentTotal = 0;
  #recent = zeroBytes();
  #watcher: (() => void) | null = null;

  /** Calls `watcher` after every change; null: nobody. */
  watch(watcher: (() => void) | null): void {
    this.#watcher = watcher;
  }

  acquire(tag: MemoryTag, bytes: number): void {
    this.#live[tag] += bytes;
    this.#liveTotal += bytes;
    if (this.#live[tag] > this.#peakByTag[tag]) this.#peakByTag[tag] = this.#live[tag];
    if (this.#liveTotal > this.#peakTotal) {
      this.#peakTotal = this.#liveTotal;
      for (const t of memoryTags) this.#atPeak[t] = this.#live[t];
    }
    if (this.#liveTotal > this.#recentTotal) {
      this.#recentTotal = this.#liveTotal;
      for (const t of memoryTags) this.#recent[t] = this.#live[t];
    }
    this.#watcher?.();
  }

  release(tag: MemoryTag, bytes: number): void {
    this.#live[tag] -= bytes;
    this.#liveTotal -= bytes;
    this.#watcher?.();
  }

  /** Forgets the peaks so far: they start again from what is live. */
  restartPeaks(): void {
    this.#peakTotal = this.#liveTotal;
    for (const t of memoryTags) {
      this.#atPeak[t] = this.#live[t];
      this.#peakByTag[t] = this.#live[t];
    }
  }

  get liveBytes(): number {
    return this.#liveTotal;
  }

  get peakBytes(): number {
    return this.#peakTotal;
  }

  live(): BytesByTag {
    return { ...this.#live };
  }

  /** What each tag held at the moment of the total's peak: these add up to `peakBytes`. */
  atPeak(): BytesByTag {
    return { ...this.#atPeak };
  }

  /** What each tag held at the worst moment since the last call: a course of memory over time. */
  takeRecentPeak(): BytesByTag {
    const worst = this.#recent;
    this.#recent = { ...this.#live };
    this.#recentTotal = this.#liveTotal;
    return worst;
  }

  /** The worst moment of each tag by itself. */
  peakByTag(): BytesByTag {
    return { ...this.#peakByTag };
  }
}

/** The refusal of a buffer that the system has no room for. */
export function outOfMemory(problem: string, received: string | undefined, cause: unknown): EspalierError {
  return new EspalierError({
    code: 'OUT_OF_MEMORY',
    kind: 'system',
    op: 'allocate',
    problem,
    received,
    hint: 'lower the hidden width, the fan-in or the batch, or choose a sparser output layer',
    cause,
  });
}

/** Buffers that live as long as the model: weights, indices, optimiser state, data. */
export class Allocator {
  readonly ledger: MemoryLedger;
  /** A dry allocator counts and hands out empty arrays. */
  readonly dry: boolean;
  /** Counts everything under this tag, whatever the callers say; null: as they say. */
  readonly #as: MemoryTag | null;
  /** What each array costs: the empty arrays of a dry allocator cannot say. */
  readonly #costs = new WeakMap<object, number>();

  constructor(ledger: MemoryLedger, dry = false, as: MemoryTag | null = null) {
    this.ledger = ledger;
    this.dry = dry;
    this.#as = as;
  }

  /** A zeroed array; shared, so that worker threads can read one copy of the weights. */
  allocate<D extends Dtype>(wanted: MemoryTag, dtype: D, length: number): Dtypes[D] {
    const tag = this.#as ?? wanted;
    const bytes = length * bytesPerElement(dtype);
    this.ledger.acquire(tag, bytes);
    try {
      const array = this.make(tag, dtype, this.dry ? 0 : length);
      this.#costs.set(array, bytes);
      return array;
    } catch (cause) {
      this.ledger.release(tag, bytes);
      if (cause instanceof EspalierError) throw cause;
      const held = `${this.ledger.liveBytes.toLocaleString('en')} bytes held already`;
      throw outOfMemory(`no room for ${bytes.toLocaleString('en')} bytes of ${tag}`, held, cause);
    }
  }

  protected make<D extends Dtype>(_tag: MemoryTag, dtype: D, length: number): Dtypes[D] {
    return viewOf(dtype, new SharedArrayBuffer(length * bytesPerElement(dtype)));
  }

  /** Gives an array of `allocate` back, once. */
  release(tag: MemoryTag, array: object): void {
    const bytes = this.#costs.get(array);
    ensure(bytes !== undefined, () => ({
      code: 'NOT_ALLOCATED',
      kind: 'usage',
      op: 'release',
      problem: `this array of ${tag} was not allocated here, or was released before`,
    }));
    this.#costs.delete(array);
    this.ledger.release(this.#as ?? tag, bytes);
  }
}
