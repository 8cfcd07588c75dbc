/** Rows on their way into features: text as UTF-8 in one buffer, numbers beside it; what threads hand each other. */
import { EspalierError } from '../../errors.js';
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
    if (typeof row === 'string') {
      if (this.#first < 0)
        throw refuse('FEATURE_ROW', 'a bare text came, and no column takes text', this.#columns, 'text');
      for (let c = 0; c < this.#texts.length; c++) this.#text(c === this.#first ? row : '');
      for (let n = 0; n < this.#numeric.length; n++) this.#numbers.push(Number.NaN);
    } else if (typeof row === 'object' && row !== null && !Array.isArray(row)) {
      for (const column of this.#texts) this.#text(textOf(own(row, column), column));
      for (const column of this.#numeric) this.#numbers.push(this.#number(own(row, column)));
    } else {
      throw refuse('FEATURE_ROW', 'this is no row', this.#columns, row === null ? 'null' : typeof row);
    }
    this.#rows++;
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
