/** Rows on their way into features: text as UTF-8 in one buffer, numbers beside it; what threads hand each other. */
import { EspalierError } from '../../errors.js';
import { FNV_PRIME, FNV_START, fnv, mixHash } from '../text/term-table.js';
import type { FeaturizerOptions } from './options.js';

/** A text for the first text column, or values by column; columns that are missing are empty. */
export type FeaturizerRow = string | Readonly<Record<string, unknown>>;

export interface RowBlock {
  readonly rows: number;
  readonly bytes: Uint8Array;
  /** Text columns, then categorical ones, row by row. [rows * columns + 1] */
  readonly offsets: Uint32Array;
  /** NaN where a value is missing. [rows * numeric columns] */
  readonly numbers: Float64Array;
}

const encoder = new TextEncoder();

/** Gathers rows into blocks. */
export class RowBlockBuilder {
  readonly #texts: readonly string[];
  readonly #first: number;
  readonly #numeric: readonly string[];
  #bytes = new Uint8Array(1 << 12);
  #used = 0;
  #offsets: number[] = [0];
  #numbers: number[] = [];
  #rows = 0;
  /** Values of numeric columns that are no numbers, since the start. */
  unreadable = 0;

  constructor({ text, categorical, numeric }: Pick<FeaturizerOptions, 'text' | 'categorical' | 'numeric'>) {
    this.#texts = [...text, ...categorical];
    this.#first = text.length > 0 ? 0 : -1;
    this.#numeric = numeric;
  }

  get rows(): number {
    return this.#rows;
  }

  /** Bytes of text gathered. */
  get byteLength(): number {
    return this.#used;
  }

  /** Adds a row; throws `FEATURE_VALUE` for values that are neither text nor numbers, `FEATURE_ROW` for no row. */
  add(row: FeaturizerRow): void {
    const texts = this.#texts;
    if (typeof row === 'string') {
      if (this.#first < 0)
        throw refuse('FEATURE_ROW', 'a bare text came, and no column takes text', this.#columns, 'text');
      this.addValues(texts.map((_, c) => (c === this.#first ? row : '')));
    } else if (typeof row === 'object' && row !== null && !Array.isArray(row)) {
      this.addValues([...texts, ...this.#numeric].map((column) => own(row, column)));
    } else {
      throw refuse('FEATURE_ROW', 'this is no row', this.#columns, row === null ? 'null' : typeof row);
    }
  }

  /** Adds a row whose values come in the order of text, categorical and numeric columns; missing last ones are empty. */
  addValues(values: readonly unknown[]): void {
    const texts = this.#texts;
    const begin = this.#used;
    const cells = this.#offsets.length;
    try {
      for (let c = 0; c < texts.length; c++) this.#text(textOf(values[c], texts[c]));
    } catch (error) {
      this.#used = begin;
      this.#offsets.length = cells;
      throw error;
    }
    for (let n = 0; n < this.#numeric.length; n++) this.#numbers.push(this.#number(values[texts.length + n]));
    this.#rows++;
  }

  /** Takes the last row back. */
  dropLast(): void {
    this.#offsets.length -= this.#texts.length;
    this.#used = this.#offsets[this.#offsets.length - 1];
    this.#numbers.length -= this.#numeric.length;
    this.#rows--;
  }

  /** Two independent 32-bit hashes of the last row: equal rows have equal ones. */
  hashLast(): readonly [number, number] {
    const columns = this.#texts.length;
    const first = this.#offsets.length - 1 - columns;
    let [h, g] = [FNV_START, 0];
    for (let c = 0; c < columns; c++) {
      [h, g] = hashOn(this.#bytes, this.#offsets[first + c], this.#offsets[first + c + 1], h, g);
      h = Math.imul(h ^ c, FNV_PRIME);
    }
    if (this.#numeric.length > 0) {
      const numbers = new Uint8Array(Float64Array.from(this.#numbers.slice(-this.#numeric.length)).buffer);
      [h, g] = hashOn(numbers, 0, numbers.length, h, g);
    }
    return [mixHash(h, 0), mixHash(g, 1)];
  }

  /** The rows since the last call. */
  take(): RowBlock {
    const block = {
      rows: this.#rows,
      bytes: this.#bytes.slice(0, this.#used),
      offsets: Uint32Array.from(this.#offsets),
      numbers: Float64Array.from(this.#numbers),
    };
    this.#used = 0;
    this.#rows = 0;
    this.#offsets = [0];
    this.#numbers = [];
    return block;
  }

  get #columns(): string {
    return `a text, or an object with ${[...this.#texts, ...this.#numeric].join(', ')}`;
  }

  #text(text: string): void {
    // A UTF-16 unit takes at most 3 bytes.
    const wanted = this.#used + 3 * text.length;
    if (wanted > this.#bytes.length) {
      const larger = new Uint8Array(2 * wanted);
      larger.set(this.#bytes.subarray(0, this.#used));
      this.#bytes = larger;
    }
    if (text !== '') this.#used += encoder.encodeInto(text, this.#bytes.subarray(this.#used)).written;
    this.#offsets.push(this.#used);
  }

  #number(value: unknown): number {
    if (value === undefined || value === null || value === '') return Number.NaN;
    const number = typeof value === 'string' && value.trim() === '' ? Number.NaN : Number(value);
    if (Number.isFinite(number)) return number;
    this.unreadable++;
    return Number.NaN;
  }
}

/** Two hashes of bytes, continued from those of what came before. */
function hashOn(bytes: Uint8Array, begin: number, end: number, h: number, g: number): [number, number] {
  for (let at = begin; at < end; at++) {
    h = Math.imul(h ^ bytes[at], FNV_PRIME);
    g = (Math.imul(g, 31) + bytes[at] + (g >>> 27)) | 0;
  }
  return [h, Math.imul(g ^ (end - begin), 0x85ebca6b)];
}

/** Where a text falls between 0 and 1, by its hash alone: the same on every machine, whatever else is in the file. */
export function unitHash(text: string): number {
  const bytes = encoder.encode(text);
  return mixHash(fnv(bytes, 0, bytes.length), 0) / 2 ** 32;
}

/** The rows as one block. */
export function packBlock(
  rows: readonly FeaturizerRow[],
  options: Pick<FeaturizerOptions, 'text' | 'categorical' | 'numeric'>,
): RowBlock {
  const builder = new RowBlockBuilder(options);
  for (const row of rows) builder.add(row);
  return builder.take();
}

function own(row: Readonly<Record<string, unknown>>, column: string): unknown {
  return Object.hasOwn(row, column) ? row[column] : undefined;
}

/** Texts as they are, numbers and truth values written out, lists joined by blanks, nothing as ''. */
function textOf(value: unknown, column: string): string {
  if (typeof value === 'string') return value;
  if (value === undefined || value === null) return '';
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return String(value);
  if (Array.isArray(value) && value.every((item) => typeof item !== 'object' || item === null)) {
    return value.map((item) => textOf(item, column)).join(' ');
  }
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? '' : value.toISOString();
  throw refuse(
    'FEATURE_VALUE',
    `the value of column ${JSON.stringify(column)} is no text`,
    'text, a number or a list of them',
    JSON.stringify(value)?.slice(0, 60) ?? typeof value,
  );
}

function refuse(code: string, problem: string, expected: string, received: string): EspalierError {
  return new EspalierError({ code, kind: 'data', op: 'featurize', problem, expected, received });
}
