/**
 * A parser of the sparse text format of the Extreme Classification Repository, over chunks of bytes:
 *
 *   N D L                        rows, features, labels
 *   l1,l2 f:v f:v ...            one line a row; without labels it begins with a space or with a feature
 *
 * Only the unfinished last line of a chunk is copied; no string is made unless a number needs more than 15
 * digits or an exponent. Labels and features may come in any order, and are sorted.
 */
import { EspalierError } from '../errors.js';
import { sortEntries, sortIds } from './builder.js';
import { chunkedFloat32, chunkedFloat64, chunkedUint32 } from './chunked.js';
import { CsrDataset, LARGEST_COUNT } from './dataset.js';

export interface XcShape {
  readonly features: number;
  readonly labels: number;
  /** Checked at the end when given. */
  readonly rows?: number;
}

export interface XcParserOptions {
  /** Named in errors. */
  readonly file?: string;
  /** For a file without its header line. */
  readonly shape?: XcShape;
  /** Longer lines are refused, so that a file of another kind cannot fill the memory; default 64 MiB. */
  readonly maxLineBytes?: number;
}

const LF = 10;
const [TAB, CR, SPACE, COMMA, MINUS, DOT, ZERO, COLON] = [9, 13, 32, 44, 45, 46, 48, 58];

/** Powers of ten that doubles hold exactly: mantissa / POWERS[n] is then rounded once, as Number() rounds. */
const POWERS = Float64Array.from({ length: 23 }, (_, n) => 10 ** n);
const EXACT_DIGITS = 15;

const HEADERLESS =
  'a file without a header line is read with its sizes given: readXc(path, { shape: { features, labels } })';

export class XcParser {
  readonly #file: string | undefined;
  readonly #maxLine: number;
  readonly #headerless: boolean;
  #shape: XcShape | null;
  readonly #indptr = chunkedFloat64();
  readonly #indices = chunkedUint32();
  readonly #values = chunkedFloat32();
  readonly #labelIndptr = chunkedFloat64();
  readonly #labelIds = chunkedUint32();
  #rows = 0;
  /** Lines parsed; the line at work is one more. */
  #lines = 0;
  #carry = new Uint8Array(1 << 12);
  #carried = 0;
  /** Empty lines not yet taken as rows: they count only when something follows. */
  #blank = 0;

  constructor(options: XcParserOptions = {}) {
    this.#file = options.file;
    this.#maxLine = options.maxLineBytes ?? 1 << 26;
    this.#shape = options.shape ?? null;
    this.#headerless = options.shape !== undefined;
    this.#indptr.push(0);
    this.#labelIndptr.push(0);
  }

  get rows(): number {
    return this.#rows;
  }

  /** Parses the lines that `chunk` completes; it may be reused afterwards. */
  push(chunk: Uint8Array): void {
    let begin = 0;
    if (this.#carried > 0) {
      const newline = chunk.indexOf(LF);
      begin = newline < 0 ? chunk.length : newline + 1;
      this.#keep(chunk, 0, begin);
      if (newline < 0) return;
      this.#parse(this.#carry, 0, this.#carried);
      this.#carried = 0;
    }
    const end = chunk.lastIndexOf(LF) + 1;
    if (end > begin) this.#parse(chunk, begin, end);
    this.#keep(chunk, Math.max(begin, end), chunk.length);
  }

  /** The dataset; throws where the file ends too early. The parser must not be used afterwards. */
  finish(): CsrDataset {
    if (this.#carried > 0) this.push(Uint8Array.of(LF));
    const shape = this.#shape;
    if (shape === null) {
      throw this.#error('XC_EMPTY', 'the file is empty', 1, {
        hint: 'was the export cut short? Write the file again',
        expected: 'a header line `rows features labels`',
      });
    }
    while (this.#blank > 0 && this.#rows < (shape.rows ?? 0)) {
      this.#endRow();
      this.#blank--;
    }
    if (shape.rows !== undefined && this.#rows !== shape.rows) {
      throw this.#error('XC_ROWS', 'the file ends too early', this.#lines + 1, {
        expected: `${shape.rows} rows`,
        received: `${this.#rows}`,
        hint: 'the file is cut off, or its header line is wrong',
      });
    }
    return new CsrDataset({
      rows: this.#rows,
      features: shape.features,
      labels: shape.labels,
      indptr: this.#indptr.join(),
      indices: this.#indices.join(),
      values: this.#values.join(),
      labelIndptr: this.#labelIndptr.join(),
      labelIds: this.#labelIds.join(),
    });
  }

  #keep(chunk: Uint8Array, begin: number, end: number): void {
    const size = this.#carried + end - begin;
    if (size > this.#maxLine) {
      throw this.#error('XC_LINE_LENGTH', 'the line is too long', this.#lines + 1, {
        expected: `at most ${this.#maxLine} bytes`,
        hint: 'is this a text file of rows? If it is, raise maxLineBytes',
      });
    }
    if (size > this.#carry.length) {
      const larger = new Uint8Array(Math.max(size, 2 * this.#carry.length));
      larger.set(this.#carry.subarray(0, this.#carried));
      this.#carry = larger;
    }
    this.#carry.set(chunk.subarray(begin, end), this.#carried);
    this.#carried = size;
  }

  /** Whole lines: bytes[end - 1] is a line feed. */
  #parse(bytes: Uint8Array, begin: number, end: number): void {
    let at = begin;
    if (this.#shape === null) {
      at = bytes.indexOf(LF, begin) + 1;
      this.#shape = this.#header(ascii(bytes, begin, at));
      this.#lines++;
    }
    // The shortest feature with its separator takes 4 bytes, the shortest label 2: room for all, then no checks.
    this.#indices.reserve((end - at) / 4 + 1);
    this.#values.reserve((end - at) / 4 + 1);
    this.#labelIds.reserve((end - at) / 2 + 1);
    while (at < end) {
      at = this.#row(bytes, at);
      this.#lines++;
    }
  }

  #header(line: string): XcShape {
    const match = /^(?:\xef\xbb\xbf)?\s*(\d+)\s+(\d+)\s+(\d+)\s*$/.exec(line);
    const [rows, features, labels] = (match ?? []).slice(1).map(Number);
    if (match === null || Math.max(rows, features, labels) > LARGEST_COUNT) {
      throw this.#error('XC_HEADER', 'the first line is not a header', 1, {
        expected: 'three whole numbers: rows features labels',
        received: quote(line),
        hint: HEADERLESS,
      });
    }
    return { rows, features, labels };
  }

  /** One line from `begin`; returns where the next one begins. */
  #row(bytes: Uint8Array, begin: number): number {
    const { features, labels, rows } = this.#shape as XcShape;
    let at = begin;
    let c = bytes[at];
    if (c === LF || (c === CR && bytes[at + 1] === LF)) {
      this.#blank++;
      return at + (c === LF ? 1 : 2);
    }
    while (this.#blank > 0) {
      this.#endRow();
      this.#blank--;
    }
    if (rows !== undefined && this.#rows >= rows) {
      throw this.#error('XC_ROWS', 'there are more rows than the header says', this.#lines + 1, {
        expected: `${rows} rows`,
        hint: 'correct the header line; `wc -l` counts the lines of the file, the header included',
      });
    }

    const ids = this.#labelIds.tail;
    const firstLabel = this.#labelIds.used;
    let label = firstLabel;
    let ordered = true;
    let previous = -1;
    if (isDigit(c)) {
      for (;;) {
        const start = at;
        let id = 0;
        for (; isDigit(c); c = bytes[++at]) id = id * 10 + (c - ZERO);
        if (at === start) throw this.#token(bytes, begin, start, 'a label: a whole number');
        if (c === COLON && label === firstLabel) {
          at = start;
          break;
        }
        if (id >= labels) throw this.#range('label', bytes, begin, start, id, labels);
        ordered &&= id > previous;
        previous = id;
        ids[label++] = id;
        if (c !== COMMA) {
          if (c > SPACE) throw this.#token(bytes, begin, start, 'labels l1,l2,... then a space');
          break;
        }
        c = bytes[++at];
      }
    } else if (c > SPACE) {
      throw this.#token(bytes, begin, at, 'labels l1,l2,... or a space');
    }
    if (!ordered) {
      const twice = sortIds(ids, firstLabel, label - firstLabel);
      if (twice >= 0) throw this.#duplicate('label', twice, bytes, begin);
    }

    const indices = this.#indices.tail;
    const values = this.#values.tail;
    const first = this.#indices.used;
    const shift = this.#values.used - first;
    let entry = first;
    ordered = true;
    previous = -1;
    for (;;) {
      c = bytes[at];
      while (c === SPACE || c === TAB || c === CR) c = bytes[++at];
      if (c === LF) break;
      const start = at;
      let id = 0;
      for (; isDigit(c); c = bytes[++at]) id = id * 10 + (c - ZERO);
      if (at === start || c !== COLON) throw this.#token(bytes, begin, start, 'feature:value');
      if (id >= features) throw this.#range('feature', bytes, begin, start, id, features);
      ordered &&= id > previous;
      previous = id;

      c = bytes[++at];
      const negative = c === MINUS;
      if (negative) c = bytes[++at];
      const digits = at;
      let mantissa = 0;
      for (; isDigit(c); c = bytes[++at]) mantissa = mantissa * 10 + (c - ZERO);
      let decimals = 0;
      let dot = 0;
      if (c === DOT) {
        dot = 1;
        const point = ++at;
        for (c = bytes[at]; isDigit(c); c = bytes[++at]) mantissa = mantissa * 10 + (c - ZERO);
        decimals = at - point;
      }
      let value: number;
      const figures = at - digits - dot;
      if (c <= SPACE && figures > 0 && figures <= EXACT_DIGITS) {
        value = mantissa / POWERS[decimals];
        if (negative) value = -value;
      } else {
        at = tokenEnd(bytes, at);
        value = this.#slowValue(bytes, begin, start, negative ? digits - 1 : digits, at);
      }
      indices[entry] = id;
      values[shift + entry++] = value;
    }
    if (!ordered) {
      const twice = sortEntries(indices, values, first, shift + first, entry - first);
      if (twice >= 0) throw this.#duplicate('feature', twice, bytes, begin);
    }
    this.#labelIds.used = label;
    this.#indices.used = entry;
    this.#values.used = shift + entry;
    this.#endRow();
    return at + 1;
  }

  #endRow(): void {
    this.#rows++;
    this.#indptr.push(this.#indices.length);
    this.#labelIndptr.push(this.#labelIds.length);
  }

  #slowValue(bytes: Uint8Array, line: number, token: number, begin: number, end: number): number {
    const text = ascii(bytes, begin, end);
    if (/^[+-]?(nan|inf(inity)?)$/i.test(text)) throw this.#notFinite(bytes, line, token);
    if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
      throw this.#token(bytes, line, token, 'feature:value with a decimal number');
    }
    const value = Math.fround(Number(text));
    if (!Number.isFinite(value)) throw this.#notFinite(bytes, line, token);
    return value;
  }

  #notFinite(bytes: Uint8Array, line: number, token: number): EspalierError {
    return this.#error('XC_NOT_FINITE', 'a feature value is not a finite float32 number', this.#lines + 1, {
      column: token - line + 1,
      received: quote(ascii(bytes, token, tokenEnd(bytes, token))),
      hint: 'clean the source: NaN and infinities would poison every weight',
    });
  }

  #token(bytes: Uint8Array, line: number, token: number, expected: string): EspalierError {
    // The header of a file that was declared headerless lands here: say so.
    const header = this.#headerless && this.#lines === 0;
    return this.#error('XC_TOKEN', 'a token is malformed', this.#lines + 1, {
      column: token - line + 1,
      expected,
      received: quote(ascii(bytes, token, tokenEnd(bytes, token))),
      hint: header
        ? 'does the file have a header line after all? Then leave `shape` out'
        : 'correct the line: labels with commas between them, a blank, then feature:value pairs with blanks between them',
    });
  }

  #range(
    what: string,
    bytes: Uint8Array,
    line: number,
    token: number,
    id: number,
    limit: number,
  ): EspalierError {
    return this.#error(`XC_${what.toUpperCase()}_RANGE`, `a ${what} is out of range`, this.#lines + 1, {
      column: token - line + 1,
      expected: `a ${what} below ${limit}`,
      received: id < LARGEST_COUNT ? String(id) : quote(ascii(bytes, token, tokenEnd(bytes, token))),
      hint: `${what}s count from 0; the header says how many there are`,
    });
  }

  #duplicate(what: string, id: number, bytes: Uint8Array, line: number): EspalierError {
    const text = ascii(bytes, line, bytes.indexOf(LF, line));
    const pattern = what === 'label' ? `(?<=^|,)0*${id}(?=[,\\s]|$)` : `(?<=^|\\s)0*${id}:`;
    const places = [...text.matchAll(new RegExp(pattern, 'g'))].map(({ index }) => index + 1);
    return this.#error(
      `XC_${what.toUpperCase()}_REPEAT`,
      `a ${what} occurs twice in a row`,
      this.#lines + 1,
      {
        column: places[1],
        expected: `each ${what} once`,
        received: `${id} again, first at column ${places[0]}`,
        hint: `remove one, or merge them where the file is made`,
      },
    );
  }

  #error(
    code: string,
    problem: string,
    line: number,
    more: { column?: number; expected?: string; received?: string; hint?: string },
  ): EspalierError {
    const place = { file: this.#file ?? 'input', line };
    return new EspalierError({ code, kind: 'data', op: 'readXc', problem, ...place, ...more });
  }
}

function isDigit(c: number): boolean {
  return c >= ZERO && c < COLON;
}

/** The first separator or line feed from `at`. */
function tokenEnd(bytes: Uint8Array, at: number): number {
  while (bytes[at] > SPACE) at++;
  return at;
}

function ascii(bytes: Uint8Array, begin: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + begin, end - begin).toString('latin1');
}

function quote(text: string): string {
  const line = text.trimEnd();
  return JSON.stringify(line.length > 60 ? `${line.slice(0, 60)}...` : line);
}
