/** The terms of a row: words, runs of words, runs of characters, and values of categorical columns. */
import { FNV_START, fnv, mixHash } from '../text/term-table.js';
import { Words } from '../text/words.js';
import type { FeaturizerOptions } from './options.js';
import type { RowBlock } from './row-block.js';

/**
 * Reads one column of one row at a time into arrays that are reused. Every term is a slice of `bytes`: words stand
 * there with one blank between them, so that a run of words, or a character with the blank before it, is one too.
 */
export class TermReader {
  count = 0;
  bytes: Uint8Array = new Uint8Array(0);
  begin = new Int32Array(1 << 10);
  end = new Int32Array(1 << 10);
  /** Mixed, by section. */
  hash = new Uint32Array(1 << 10);
  section = new Uint8Array(1 << 10);
  /** Words of the column, 0 for a categorical one. */
  words = 0;
  /** Columns of a row that hold bytes. */
  readonly columns: number;
  readonly #textColumns: number;
  readonly #shared: boolean;
  readonly #wordNGrams: number;
  readonly #characters: { readonly min: number; readonly max: number } | null;
  readonly #words: Words;

  constructor(options: FeaturizerOptions) {
    this.#textColumns = options.text.length;
    this.columns = options.text.length + options.categorical.length;
    this.#shared = options.shareColumns;
    this.#wordNGrams = options.wordNGrams;
    this.#characters = options.characterNGrams;
    this.#words = new Words(options);
  }

  /** Takes the terms of a column of a row. */
  read(block: RowBlock, row: number, column: number): void {
    const cell = row * this.columns + column;
    const [begin, end] = [block.offsets[cell], block.offsets[cell + 1]];
    this.count = 0;
    this.words = 0;
    if (column < this.#textColumns) this.#text(block.bytes, begin, end, this.#shared ? 0 : 2 * column);
    else if (end > begin) {
      const first = 2 * (this.#shared ? Math.min(1, this.#textColumns) : this.#textColumns);
      this.bytes = block.bytes;
      this.#add(begin, end, fnv(block.bytes, begin, end), first + column - this.#textColumns);
    }
  }

  #text(bytes: Uint8Array, begin: number, end: number, section: number): void {
    const words = this.#words;
    words.read(bytes, begin, end);
    this.bytes = words.bytes;
    this.words = words.count;
    const runs = this.#wordNGrams;
    this.#reserve(words.count * runs);
    for (let w = 0; w < words.count; w++) {
      let hash = words.hash[w];
      this.#put(words.begin[w], words.end[w], hash, section);
      const last = Math.min(words.count, w + runs);
      for (let next = w + 1; next < last; next++) {
        hash = fnv(words.bytes, words.end[next - 1], words.end[next], hash);
        this.#put(words.begin[w], words.end[next], hash, section);
      }
    }
    if (this.#characters !== null) this.#runsOfCharacters(this.#characters, section + 1);
  }

  /** From the blank before each word to the blank behind it. */
  #runsOfCharacters({ min, max }: { readonly min: number; readonly max: number }, section: number): void {
    const { bytes, count, begin, end } = this.#words;
    for (let w = 0; w < count; w++) {
      const stop = end[w] + 1;
      for (let from = begin[w] - 1; from < stop; from = nextCharacter(bytes, from)) {
        let hash = FNV_START;
        let to = from;
        for (let n = 1; n <= max && to < stop; n++) {
          const next = nextCharacter(bytes, to);
          hash = fnv(bytes, to, next, hash);
          to = next;
          if (n >= min && !(n === 1 && bytes[from] === 0x20)) this.#add(from, to, hash, section);
        }
      }
    }
  }

  #add(begin: number, end: number, hash: number, section: number): void {
    this.#reserve(1);
    this.#put(begin, end, hash, section);
  }

  #put(begin: number, end: number, hash: number, section: number): void {
    const term = this.count++;
    this.begin[term] = begin;
    this.end[term] = end;
    this.hash[term] = mixHash(hash, section);
    this.section[term] = section;
  }

  #reserve(more: number): void {
    const wanted = this.count + more;
    if (wanted <= this.begin.length) return;
    const length = 2 * wanted;
    this.begin = copied(this.begin, new Int32Array(length));
    this.end = copied(this.end, new Int32Array(length));
    this.hash = copied(this.hash, new Uint32Array(length));
    this.section = copied(this.section, new Uint8Array(length));
  }
}

/** Where the character after the one at `at` begins. */
function nextCharacter(bytes: Uint8Array, at: number): number {
  const lead = bytes[at];
  return at + (lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4);
}

function copied<T extends Int32Array | Uint32Array | Uint8Array>(from: T, into: T): T {
  into.set(from);
  return into;
}
