/**
 * The step arena: one region, sized once, from which a training step takes its activations, gradients and
 * scratch, and which is emptied at the start of the next step. Nobody disposes by hand; the tape returns
 * blocks early where it knows that nothing needs them.
 */
import { EspalierError } from '../errors.js';
import {
  bytesPerElement,
  type Dtype,
  type Dtypes,
  type MemoryLedger,
  type MemoryTag,
  viewOf,
} from './memory.js';

const alignment = 64;

export interface Block {
  readonly offset: number;
  readonly bytes: number;
  readonly tag: MemoryTag;
  /** The region that holds it; 0 is the planned one. */
  readonly region: number;
  live: boolean;
}

interface Span {
  offset: number;
  bytes: number;
}

export class StepArena {
  readonly #ledger: MemoryLedger;
  readonly #dry: boolean;
  #regions: (ArrayBuffer | null)[] = [];
  #capacity: number[] = [];
  #free: Span[][] = [];
  #blocks = new Set<Block>();
  #highWater = 0;
  #growths = 0;

  constructor(ledger: MemoryLedger, dry = false) {
    this.#ledger = ledger;
    this.#dry = dry;
    if (dry) this.#addRegion(Number.MAX_SAFE_INTEGER);
  }

  /** Makes the planned region; refused while blocks are alive. */
  reserve(bytes: number): void {
    if (this.#dry || (this.#capacity[0] ?? 0) >= bytes) return;
    if (this.#blocks.size > 0) {
      throw new EspalierError({
        code: 'ARENA_BUSY',
        kind: 'usage',
        op: 'arena.reserve',
        problem: 'the arena cannot be resized in the middle of a step',
        hint: 'reserve before the first step, or call reset() first',
      });
    }
    this.#regions = [];
    this.#capacity = [];
    this.#free = [];
    this.#addRegion(bytes);
  }

  /** Bytes of all regions. */
  get reservedBytes(): number {
    return this.#dry ? this.#highWater : this.#capacity.reduce((a, b) => a + b, 0);
  }

  /** Highest address ever used in the planned region: what `reserve` needs for the same steps. */
  get highWaterBytes(): number {
    return this.#highWater;
  }

  /** How often a step asked for more than was reserved; 0 for a well planned run. */
  get growths(): number {
    return this.#growths;
  }

  /** An array of unspecified contents (the last step's bytes): kernels overwrite, so nothing is cleared. */
  take<D extends Dtype>(tag: MemoryTag, dtype: D, length: number): { block: Block; data: Dtypes[D] } {
    const bytes = Math.max(alignment, Math.ceil((length * bytesPerElement(dtype)) / alignment) * alignment);
    const block = this.#place(tag, bytes);
    this.#ledger.acquire(tag, bytes);
    this.#blocks.add(block);
    const buffer = this.#regions[block.region];
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
    insertSpan(this.#free[block.region], { offset: block.offset, bytes: block.bytes });
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
    for (let r = 0; r < this.#free.length; r++) this.#free[r] = [{ offset: 0, bytes: this.#capacity[r] }];
  }

  #place(tag: MemoryTag, bytes: number): Block {
    for (let region = 0; region < this.#free.length; region++) {
      const offset = takeBestFit(this.#free[region], bytes, this.#capacity[region]);
      if (offset >= 0) {
        if (region === 0) this.#highWater = Math.max(this.#highWater, offset + bytes);
        return { offset, bytes, tag, region, live: true };
      }
    }
    if (this.#capacity.length > 0) this.#growths++;
    this.#addRegion(Math.max(bytes, 1 << 20));
    return this.#place(tag, bytes);
  }

  #addRegion(bytes: number): void {
    const size = Math.ceil(bytes / alignment) * alignment;
    try {
      this.#regions.push(this.#dry ? null : new ArrayBuffer(size));
    } catch (cause) {
      throw new EspalierError({
        code: 'OUT_OF_MEMORY',
        kind: 'system',
        op: 'arena.reserve',
        problem: `no room for a step arena of ${size.toLocaleString('en')} bytes`,
        hint: 'lower the batch or the hidden width',
        cause,
      });
    }
    this.#capacity.push(size);
    this.#free.push([{ offset: 0, bytes: size }]);
  }
}

/**
 * NOTE: the span at the end of the region is the last resort, whatever its size. Then a region of exactly the
 * planned size places every block where the endless region of a dry run placed it, and the plan is enough.
 */
function takeBestFit(free: Span[], bytes: number, capacity: number): number {
  let best = -1;
  for (let i = 0; i < free.length; i++) {
    if (free[i].bytes < bytes) continue;
    const atEnd = free[i].offset + free[i].bytes === capacity;
    if (best < 0 || (!atEnd && free[i].bytes < free[best].bytes)) best = i;
  }
  if (best < 0) return -1;
  const span = free[best];
  const offset = span.offset;
  if (span.bytes === bytes) free.splice(best, 1);
  else {
    span.offset += bytes;
    span.bytes -= bytes;
  }
  return offset;
}

/** Keeps the list sorted by offset and merges neighbours. */
function insertSpan(free: Span[], span: Span): void {
  let i = 0;
  while (i < free.length && free[i].offset < span.offset) i++;
  free.splice(i, 0, span);
  if (i + 1 < free.length && span.offset + span.bytes === free[i + 1].offset) {
    span.bytes += free[i + 1].bytes;
    free.splice(i + 1, 1);
  }
  if (i > 0 && free[i - 1].offset + free[i - 1].bytes === span.offset) {
    free[i - 1].bytes += span.bytes;
    free.splice(i, 1);
  }
}
