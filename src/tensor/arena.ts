/**
 * The step arena: one region, sized by a dry run, from which a training step takes its activations, gradients and
 * scratch, and which is emptied at the start of the next step. Nobody disposes by hand; the tape returns
 * blocks early where it knows that nothing needs them.
 */
import { EspalierError } from '../errors.js';
import { returnPages } from '../kernels/native-addon.js';
import {
  bytesPerElement,
  type Dtype,
  type Dtypes,
  type MemoryLedger,
  type MemoryTag,
  viewOf,
} from './memory.js';

const alignment = 64;
/** Capacity of a dry region; whole and exact, and so are sums below it. */
const endless = 2 ** 52;

/** Blocks that last from forward to backward lie at one end of a region, passing ones at the other: no holes between. */
export type Stay = 'passing' | 'lasting';

export interface Block {
  readonly offset: number;
  readonly bytes: number;
  readonly tag: MemoryTag;
  readonly stay: Stay;
  /** The region that holds it; 0 is the planned one. */
  readonly region: number;
  live: boolean;
}

interface Span {
  offset: number;
  bytes: number;
}

interface Region {
  readonly buffer: ArrayBuffer | null;
  readonly capacity: number;
  readonly ends: Readonly<Record<Stay, End>>;
}

export class StepArena {
  readonly #ledger: MemoryLedger;
  readonly #dry: boolean;
  #regions: Region[] = [];
  #blocks = new Set<Block>();
  #highWater = 0;
  #growths = 0;

  constructor(ledger: MemoryLedger, dry = false) {
    this.#ledger = ledger;
    this.#dry = dry;
    if (dry) this.#addRegion(endless);
  }

  /** Makes the planned region of at least `bytes`; refused while blocks are alive. */
  reserve(bytes: number): void {
    if ((this.#regions[0]?.capacity ?? 0) < bytes) this.resize(bytes);
  }

  /** Makes the planned region anew, smaller too: what it held goes back to the system. Refused while blocks are alive. */
  resize(bytes: number): void {
    if (this.#dry) return;
    if (this.#blocks.size > 0) {
      throw new EspalierError({
        code: 'ARENA_BUSY',
        kind: 'usage',
        op: 'arena.reserve',
        problem: 'the arena cannot be resized in the middle of a step',
        hint: 'reserve before the first step, or call reset() first',
      });
    }
    // At once, whenever the collector may come by.
    for (const { buffer } of this.#regions) if (buffer !== null) returnPages(buffer);
    this.#regions = [];
    this.#addRegion(bytes);
  }

  /** Bytes of all regions. */
  get reservedBytes(): number {
    return this.#dry ? this.#highWater : this.#regions.reduce((sum, { capacity }) => sum + capacity, 0);
  }

  /** Most bytes ever needed of the planned region, holes included: what `reserve` needs for the same steps. */
  get highWaterBytes(): number {
    return this.#highWater;
  }

  /** Starts the high water again from what is live. */
  forget(): void {
    const region = this.#regions[0];
    this.#highWater = region === undefined ? 0 : region.ends.passing.top + region.ends.lasting.top;
  }

  /** How often a step asked for more than was reserved; 0 for a well planned run. */
  get growths(): number {
    return this.#growths;
  }

  /** An array of unspecified contents (the last step's bytes): kernels overwrite, so nothing is cleared. */
  take<D extends Dtype>(
    tag: MemoryTag,
    dtype: D,
    length: number,
    stay: Stay = 'passing',
  ): { block: Block; data: Dtypes[D] } {
    const bytes = Math.max(alignment, Math.ceil((length * bytesPerElement(dtype)) / alignment) * alignment);
    const block = this.#place(tag, bytes, stay);
    this.#ledger.acquire(tag, bytes);
    this.#blocks.add(block);
    const { buffer } = this.#regions[block.region];
    const data =
      buffer === null ? viewOf(dtype, new ArrayBuffer(0)) : viewOf(dtype, buffer, block.offset, length);
    return { block, data };
  }

  /** Returns a block before the end of the step. */
  release(block: Block): void {
    if (!block.live) return;
    block.live = false;
    this.#blocks.delete(block);
    this.#ledger.release(block.tag, block.bytes);
    const { capacity, ends } = this.#regions[block.region];
    ends[block.stay].release(distance(block, capacity), block.bytes);
  }

  /** The blocks alive now. */
  mark(): ReadonlySet<Block> {
    return new Set(this.#blocks);
  }

  /** Returns all blocks taken since `mark`, but for `kept`. */
  releaseSince(mark: ReadonlySet<Block>, kept: Block | null): void {
    for (const block of [...this.#blocks]) if (!mark.has(block) && block !== kept) this.release(block);
  }

  /** Empties the arena: every tensor of the last step is void. */
  reset(): void {
    for (const block of this.#blocks) {
      this.#ledger.release(block.tag, block.bytes);
      block.live = false;
    }
    this.#blocks.clear();
    for (const { ends } of this.#regions) {
      ends.passing.clear();
      ends.lasting.clear();
    }
  }

  #place(tag: MemoryTag, bytes: number, stay: Stay): Block {
    for (const [region, { capacity, ends }] of this.#regions.entries()) {
      const other = ends[stay === 'passing' ? 'lasting' : 'passing'].top;
      const at = ends[stay].take(bytes, capacity - other);
      if (at < 0) continue;
      if (region === 0) this.#highWater = Math.max(this.#highWater, other + ends[stay].top);
      const offset = stay === 'passing' ? at : capacity - at - bytes;
      return { offset, bytes, tag, stay, region, live: true };
    }
    if (this.#regions.length > 0) this.#growths++;
    this.#addRegion(Math.max(bytes, 1 << 20));
    return this.#place(tag, bytes, stay);
  }

  #addRegion(bytes: number): void {
    const capacity = Math.ceil(bytes / alignment) * alignment;
    try {
      const buffer = this.#dry ? null : new ArrayBuffer(capacity);
      this.#regions.push({ buffer, capacity, ends: { passing: new End(), lasting: new End() } });
    } catch (cause) {
      throw new EspalierError({
        code: 'OUT_OF_MEMORY',
        kind: 'system',
        op: 'arena.reserve',
        problem: `no room for a step arena of ${capacity.toLocaleString('en')} bytes`,
        hint: 'lower the batch or the hidden width',
        cause,
      });
    }
  }
}

/** How far a block lies from its end of the region. */
function distance({ offset, bytes, stay }: Block, capacity: number): number {
  return stay === 'passing' ? offset : capacity - offset - bytes;
}

/**
 * One end of a region, in distances from it. Everything below `top` is taken, or in the list of free spans; beyond it
 * nothing is. Blocks go to the smallest span that holds them, and raise `top` only where none does: so a region of
 * exactly the planned size places every block where the endless region of a dry run placed it, and the plan is enough.
 */
class End {
  top = 0;
  #free: Span[] = [];

  /** The distance at which `bytes` now lie; negative where they would reach beyond `limit`. */
  take(bytes: number, limit: number): number {
    const free = this.#free;
    let best = -1;
    for (let i = 0; i < free.length; i++) {
      if (free[i].bytes >= bytes && (best < 0 || free[i].bytes < free[best].bytes)) best = i;
    }
    if (best < 0) {
      if (this.top + bytes > limit) return -1;
      this.top += bytes;
      return this.top - bytes;
    }
    const span = free[best];
    const at = span.offset;
    if (span.bytes === bytes) free.splice(best, 1);
    else {
      span.offset += bytes;
      span.bytes -= bytes;
    }
    return at;
  }

  /** Keeps the list sorted, merges neighbours, and lowers `top` where the last span reaches it. */
  release(offset: number, bytes: number): void {
    const free = this.#free;
    let i = 0;
    while (i < free.length && free[i].offset < offset) i++;
    const span = { offset, bytes };
    free.splice(i, 0, span);
    if (i + 1 < free.length && offset + bytes === free[i + 1].offset) {
      span.bytes += free[i + 1].bytes;
      free.splice(i + 1, 1);
    }
    if (i > 0 && free[i - 1].offset + free[i - 1].bytes === offset) {
      free[i - 1].bytes += span.bytes;
      free.splice(i, 1);
    }
    const last = free.at(-1);
    if (last !== undefined && last.offset + last.bytes === this.top) {
      this.top = last.offset;
      free.pop();
    }
  }

  clear(): void {
    this.top = 0;
    this.#free = [];
  }
}
