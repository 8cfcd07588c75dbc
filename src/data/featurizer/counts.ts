/**
 * In how many rows each term stands, counted in bounded memory: a full table becomes a sorted run, of a file or of
 * bytes, and runs are merged: some as soon as they are many, all at the end. Counts are whole numbers and the merge
 * adds them up, so the result does not depend on how rows were spread over threads or on where a table was full.
 */
import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { TermTable } from '../text/term-table.js';
import type { FeaturizerOptions } from './options.js';
import type { RowBlock } from './row-block.js';
import { TermReader } from './terms.js';

/** Terms in the order of sections, then of bytes: section u8, length u32, rows u32, bytes. */
export type Run = Uint8Array | { readonly file: string };

export interface CountedTerm {
  readonly section: number;
  readonly bytes: Uint8Array;
  /** Document frequency. */
  readonly df: number;
}

export interface TermCountsOptions {
  /** Bytes of memory above which a table is turned into a run. */
  readonly memory?: number;
  /** Names a file for the next run; without it runs are kept in memory. */
  readonly spillTo?: () => string;
}

const HEAD = 9;
/** A table below this is cheaper kept than written. */
const SMALL = 1 << 22;
/** Files of a thread before they become one: a merge holds a buffer for each. */
const MOST_RUNS = 16;
/** For the buffers of all runs of a merge together. */
const MERGE_BYTES = 1 << 25;

export class TermCounts {
  /** Rows counted. */
  documents = 0;
  /** Words of all text columns. */
  words = 0;
  readonly #reader: TermReader;
  readonly #memory: number;
  readonly #spillTo: (() => string) | undefined;
  readonly #buckets: Uint32Array | null;
  #table = new TermTable();
  #df = new Uint32Array(1 << 10);
  #last = new Uint32Array(1 << 10);
  #runs: Run[] = [];

  constructor(options: FeaturizerOptions, { memory = 1 << 28, spillTo }: TermCountsOptions = {}) {
    this.#reader = new TermReader(options);
    this.#memory = memory;
    this.#spillTo = spillTo;
    const { vocabulary } = options;
    this.#buckets = vocabulary.kind === 'hashed' ? new Uint32Array(1 << vocabulary.bits) : null;
    if (this.#buckets !== null) this.#last = new Uint32Array(this.#buckets.length);
  }

  /** Rows of each bucket of a hashed vocabulary. */
  get buckets(): Uint32Array | null {
    return this.#buckets;
  }

  add(block: RowBlock): void {
    for (let row = 0; row < block.rows; row++) {
      this.documents++;
      for (let column = 0; column < this.#reader.columns; column++) {
        this.#reader.read(block, row, column);
        this.words += this.#reader.words;
        if (this.#buckets === null) this.#count();
        else this.#countBuckets(this.#buckets);
      }
      // Arrays grow by doubling: up to half of them is spare room.
      if (this.#buckets === null && 2 * (this.#table.usedBytes + 8 * this.#table.count) > this.#memory)
        this.#spill();
    }
  }

  /** All runs; nothing may be added afterwards. */
  finish(): Run[] {
    if (this.#table.byteLength > SMALL) this.#spill();
    else if (this.#table.count > 0) this.#runs.push(encodeAll(termsOf(this.#table, this.#df)));
    this.#table = new TermTable();
    return this.#runs;
  }

  #count(): void {
    const { bytes, begin, end, hash, section, count } = this.#reader;
    for (let t = 0; t < count; t++) {
      const id = this.#table.add(section[t], bytes, begin[t], end[t], hash[t]);
      if (id >= this.#df.length) {
        this.#df = doubled(this.#df);
        this.#last = doubled(this.#last);
      }
      if (this.#last[id] === this.documents) continue;
      this.#last[id] = this.documents;
      this.#df[id]++;
    }
  }

  #countBuckets(df: Uint32Array): void {
    const { hash, count } = this.#reader;
    const mask = df.length - 1;
    for (let t = 0; t < count; t++) {
      const bucket = hash[t] & mask;
      if (this.#last[bucket] === this.documents) continue;
      this.#last[bucket] = this.documents;
      df[bucket]++;
    }
  }

  #spill(): void {
    this.#runs.push(this.#written(termsOf(this.#table, this.#df)));
    if (this.#table.byteLength > 2 * this.#memory) {
      // One enormous row.
      this.#table = new TermTable();
      this.#df = new Uint32Array(1 << 10);
      this.#last = new Uint32Array(1 << 10);
    } else {
      // NOTE: new arrays for every run would be garbage faster than the collector of a thread takes it away.
      this.#table.clear();
      this.#df.fill(0);
      this.#last.fill(0);
    }
    if (this.#spillTo === undefined || this.#runs.length < MOST_RUNS) return;
    const merged = this.#written(mergeRuns(this.#runs));
    for (const run of this.#runs) if (!(run instanceof Uint8Array)) unlinkSync(run.file);
    this.#runs = [merged];
  }

  #written(terms: Iterable<CountedTerm>): Run {
    const file = this.#spillTo?.();
    if (file === undefined) return encodeAll(terms);
    const handle = openSync(file, 'wx');
    try {
      for (const piece of encoded(terms)) {
        for (let at = 0; at < piece.length; ) at += writeSync(handle, piece, at);
      }
    } finally {
      closeSync(handle);
    }
    return { file };
  }
}

function doubled(from: Uint32Array): Uint32Array<ArrayBuffer> {
  const into = new Uint32Array(2 * from.length);
  into.set(from);
  return into;
}

/** The terms of a table in order. */
function* termsOf(table: TermTable, df: Uint32Array): Generator<CountedTerm> {
  for (const id of table.sortedIds())
    yield { section: table.section(id), bytes: table.bytes(id), df: df[id] };
}

/** Terms in order as a run, in pieces of about a mebibyte, which are reused. */
function* encoded(terms: Iterable<CountedTerm>): Generator<Uint8Array> {
  let piece = Buffer.allocUnsafe(1 << 20);
  let used = 0;
  for (const { section, bytes, df } of terms) {
    if (used + HEAD + bytes.length > piece.length) {
      yield piece.subarray(0, used);
      used = 0;
      if (HEAD + bytes.length > piece.length) piece = Buffer.allocUnsafe(2 * (HEAD + bytes.length));
    }
    piece[used] = section;
    piece.writeUInt32LE(bytes.length, used + 1);
    piece.writeUInt32LE(df, used + 5);
    piece.set(bytes, used + HEAD);
    used += HEAD + bytes.length;
  }
  yield piece.subarray(0, used);
}

function encodeAll(terms: Iterable<CountedTerm>): Uint8Array {
  // A piece is overwritten by the next one.
  return new Uint8Array(Buffer.concat(Array.from(encoded(terms), (piece) => Buffer.from(piece))));
}

interface Head {
  term: CountedTerm;
  readonly rest: Generator<CountedTerm, undefined>;
}

/**
 * The terms of all runs in order, each once, with its counts added up. The bytes of a term are those of a buffer: they
 * hold until the next one is asked for.
 */
export function* mergeRuns(runs: readonly Run[], bufferBytes = MERGE_BYTES): Generator<CountedTerm> {
  const each = Math.floor(bufferBytes / Math.max(1, 2 * runs.length));
  const buffer = Math.max(1 << 12, Math.min(1 << 19, each));
  const readers = runs.map((run) => readRun(run, buffer));
  try {
    // A binary heap, the least term first.
    const heap: Head[] = [];
    for (const rest of readers) {
      const term = rest.next().value;
      if (term !== undefined) heap.push({ term, rest });
    }
    for (let h = (heap.length >> 1) - 1; h >= 0; h--) sink(heap, h);
    while (heap.length > 0) {
      const { section, bytes } = heap[0].term;
      let df = 0;
      do {
        df += heap[0].term.df;
        const next = heap[0].rest.next().value;
        if (next !== undefined) heap[0].term = next;
        else {
          const last = heap.pop() as Head;
          if (heap.length > 0) heap[0] = last;
        }
        sink(heap, 0);
      } while (heap.length > 0 && compare(heap[0].term, { section, bytes, df }) === 0);
      yield { section, bytes, df };
    }
  } finally {
    for (const reader of readers) reader.return(undefined);
  }
}

/** Lets the head at `place` fall to where no lesser one is below it. */
function sink(heap: Head[], place: number): void {
  for (;;) {
    let least = place;
    for (const child of [2 * place + 1, 2 * place + 2])
      if (child < heap.length && compare(heap[child].term, heap[least].term) < 0) least = child;
    if (least === place) return;
    [heap[place], heap[least]] = [heap[least], heap[place]];
    place = least;
  }
}

function compare(a: CountedTerm, b: CountedTerm): number {
  return a.section - b.section || Buffer.compare(a.bytes, b.bytes);
}

/**
 * Two buffers take turns, since new ones would be garbage faster than it is taken away. NOTE: a merge looks at a term
 * after its run has moved on by one, which overwrites the buffer of the one before at most.
 */
function* readRun(run: Run, size: number): Generator<CountedTerm, undefined> {
  if (run instanceof Uint8Array) {
    const view = Buffer.from(run.buffer, run.byteOffset, run.byteLength);
    yield* termsIn(view, view.length);
    return;
  }
  const handle = openSync(run.file, 'r');
  try {
    let [view, other] = [Buffer.allocUnsafe(size), Buffer.allocUnsafe(size)];
    for (let filled = 0; ; ) {
      const at = yield* termsIn(view, filled);
      const rest = filled - at;
      if (at > 0) {
        if (other.length < 2 * rest) other = Buffer.allocUnsafe(2 * rest);
        view.copy(other, 0, at, filled);
        [view, other] = [other, view];
      } else if (rest === view.length) {
        // A term longer than the buffer; the other one holds the term before it.
        const larger = Buffer.allocUnsafe(2 * rest);
        view.copy(larger, 0, 0, rest);
        view = larger;
      }
      const read = readSync(handle, view, rest, view.length - rest, null);
      if (read === 0) return;
      filled = rest + read;
    }
  } finally {
    closeSync(handle);
  }
}

/** The whole terms in the first `filled` bytes; returns where they end. */
function* termsIn(view: Buffer, filled: number): Generator<CountedTerm, number> {
  let at = 0;
  while (at + HEAD <= filled) {
    const length = view.readUInt32LE(at + 1);
    if (at + HEAD + length > filled) break;
    const bytes = view.subarray(at + HEAD, at + HEAD + length);
    yield { section: view[at], bytes, df: view.readUInt32LE(at + 5) };
    at += HEAD + length;
  }
  return at;
}
