/**
 * In how many rows each term stands, counted in bounded memory: a full table becomes a sorted run, of a file or of
 * bytes, and runs are merged at the end. Counts are whole numbers and the merge adds them up, so the result does
 * not depend on how rows were spread over threads or on where a table was full.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
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
      if (this.#buckets === null && this.#table.byteLength + 8 * this.#df.length > this.#memory)
        this.#spill();
    }
  }

  /** All runs; nothing may be added afterwards. */
  finish(): Run[] {
    if (this.#table.count > 0) this.#runs.push(encodeAll(this.#table, this.#df));
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
    const file = this.#spillTo?.();
    if (file === undefined) this.#runs.push(encodeAll(this.#table, this.#df));
    else {
      const handle = openSync(file, 'wx');
      try {
        for (const piece of encoded(this.#table, this.#df)) {
          for (let at = 0; at < piece.length; ) at += writeSync(handle, piece, at);
        }
      } finally {
        closeSync(handle);
      }
      this.#runs.push({ file });
    }
    this.#table = new TermTable();
    this.#df = new Uint32Array(1 << 10);
    this.#last = new Uint32Array(1 << 10);
  }
}

function doubled(from: Uint32Array): Uint32Array<ArrayBuffer> {
  const into = new Uint32Array(2 * from.length);
  into.set(from);
  return into;
}

/** The table as a run, in pieces of about a mebibyte, which are reused. */
function* encoded(table: TermTable, df: Uint32Array): Generator<Uint8Array> {
  let piece = Buffer.allocUnsafe(1 << 20);
  let used = 0;
  for (const id of table.sortedIds()) {
    const bytes = table.bytes(id);
    if (used + HEAD + bytes.length > piece.length) {
      yield piece.subarray(0, used);
      used = 0;
      if (HEAD + bytes.length > piece.length) piece = Buffer.allocUnsafe(2 * (HEAD + bytes.length));
    }
    piece[used] = table.section(id);
    piece.writeUInt32LE(bytes.length, used + 1);
    piece.writeUInt32LE(df[id], used + 5);
    piece.set(bytes, used + HEAD);
    used += HEAD + bytes.length;
  }
  yield piece.subarray(0, used);
}

function encodeAll(table: TermTable, df: Uint32Array): Uint8Array {
  // A piece is overwritten by the next one.
  return new Uint8Array(Buffer.concat(Array.from(encoded(table, df), (piece) => Buffer.from(piece))));
}

/** The terms of all runs in order, each once, with its counts added up. */
export function* mergeRuns(runs: readonly Run[]): Generator<CountedTerm> {
  const readers = runs.map(readRun);
  try {
    const heads = readers.map((reader) => reader.next().value as CountedTerm | undefined);
    for (;;) {
      let least: CountedTerm | undefined;
      for (const head of heads)
        if (head !== undefined && (least === undefined || compare(head, least) < 0)) least = head;
      if (least === undefined) return;
      let df = 0;
      for (let r = 0; r < heads.length; r++) {
        const head = heads[r];
        if (head === undefined || compare(head, least) !== 0) continue;
        df += head.df;
        heads[r] = readers[r].next().value as CountedTerm | undefined;
      }
      yield { section: least.section, bytes: least.bytes, df };
    }
  } finally {
    for (const reader of readers) reader.return(undefined);
  }
}

function compare(a: CountedTerm, b: CountedTerm): number {
  return a.section - b.section || Buffer.compare(a.bytes, b.bytes);
}

function* readRun(run: Run): Generator<CountedTerm, undefined> {
  if (run instanceof Uint8Array) {
    const view = Buffer.from(run.buffer, run.byteOffset, run.byteLength);
    for (let at = 0; at < view.length; ) {
      const length = view.readUInt32LE(at + 1);
      const bytes = view.subarray(at + HEAD, at + HEAD + length);
      yield { section: view[at], bytes, df: view.readUInt32LE(at + 5) };
      at += HEAD + length;
    }
    return;
  }
  const handle = openSync(run.file, 'r');
  try {
    let rest: Buffer = Buffer.alloc(0);
    for (;;) {
      const more = Buffer.allocUnsafe(Math.max(1 << 20, 2 * rest.length));
      const read = readSync(handle, more);
      const view = Buffer.concat([rest, more.subarray(0, read)]);
      let at = 0;
      while (at + HEAD <= view.length) {
        const length = view.readUInt32LE(at + 1);
        if (at + HEAD + length > view.length) break;
        yield {
          section: view[at],
          bytes: view.subarray(at + HEAD, at + HEAD + length),
          df: view.readUInt32LE(at + 5),
        };
        at += HEAD + length;
      }
      rest = view.subarray(at);
      if (read === 0) return;
    }
  } finally {
    closeSync(handle);
  }
}
