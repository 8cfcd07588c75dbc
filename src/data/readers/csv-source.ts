/** CSV as RFC 4180 has it, with any delimiter: quoted fields may hold delimiters, line ends and doubled quotes. */
import { EspalierError } from '../../errors.js';
import type { Notices, RecordBatch, RecordSource, SourceProgress } from './record-source.js';
import { textBlocks } from './text-blocks.js';

export interface CsvOptions {
  /** One character; default: the one of `, ; tab |` that the first line has most of. */
  readonly delimiter?: string;
  /** false: quotes are characters like any other. */
  readonly quotes?: boolean;
  /** Names of the columns of a file whose first line is a row. */
  readonly columns?: readonly string[];
  readonly blockBytes?: number;
}

const [LF, CR, QUOTE] = [10, 13, 34];

export class CsvSource implements RecordSource {
  readonly file: string;
  readonly #notices: Notices;
  readonly #options: CsvOptions;
  #delimiter: string | undefined;
  #columns: readonly string[] | undefined;

  constructor(file: string, notices: Notices, options: CsvOptions = {}) {
    this.file = file;
    this.#notices = notices;
    this.#options = options;
    this.#delimiter = options.delimiter;
    this.#columns = options.columns;
  }

  async columns(): Promise<readonly string[]> {
    if (this.#columns !== undefined) return this.#columns;
    for await (const { text } of this.#blocks()) {
      this.#delimiter ??= likeliestDelimiter(text);
      const records = csvRecords(text, 1, this.#delimiter, this.#quotes, this.file);
      const header = records.next().value as CsvRecord | EspalierError | undefined;
      if (header instanceof EspalierError) throw header;
      this.#columns = header?.fields.map((name) => name.trim()) ?? [];
      break;
    }
    this.#columns ??= [];
    this.#notices.clear();
    const twice = this.#columns.find((name, c) => this.#columns?.indexOf(name) !== c);
    if (twice !== undefined) {
      throw new EspalierError({
        code: 'CSV_HEADER',
        kind: 'data',
        op: 'readCsv',
        problem: `two columns are called ${JSON.stringify(twice)}`,
        hint: 'rename one; a file without a header line is read with --columns NAME,NAME,...',
        file: this.file,
        line: 1,
      });
    }
    return this.#columns;
  }

  async *batches(
    columns: readonly string[],
    onProgress?: (at: SourceProgress) => void,
  ): AsyncGenerator<RecordBatch> {
    const names = await this.columns();
    const places = columns.map((column) => names.indexOf(column));
    let header = this.#options.columns === undefined;
    for await (const { text, line, progress } of this.#blocks()) {
      this.#delimiter ??= likeliestDelimiter(text);
      const rows: unknown[][] = [];
      const lines: number[] = [];
      for (const record of csvRecords(text, line, this.#delimiter, this.#quotes, this.file)) {
        if (record instanceof EspalierError) this.#notices.badRow(record);
        else if (header) header = false;
        else if (record.fields.length !== names.length)
          this.#notices.badRow(this.#width(record, names.length));
        else {
          rows.push(places.map((place) => record.fields[place]));
          lines.push(record.line);
        }
      }
      yield { rows, lines };
      onProgress?.(progress);
    }
  }

  get #quotes(): boolean {
    return this.#options.quotes ?? true;
  }

  #blocks() {
    const { blockBytes } = this.#options;
    return textBlocks(this.file, { notices: this.#notices, quotes: this.#quotes, blockBytes });
  }

  #width({ fields, line }: CsvRecord, wanted: number): EspalierError {
    return new EspalierError({
      code: 'CSV_FIELDS',
      kind: 'data',
      op: 'readCsv',
      problem: 'a row has another number of fields than the header',
      expected: `${wanted} fields between ${JSON.stringify(this.#delimiter)}`,
      received: `${fields.length}: ${fields.join(this.#delimiter).slice(0, 80)}`,
      hint: 'fields with delimiters or line ends in them are quoted; --delimiter names another delimiter; a few such rows are left out with --max-bad-rows N',
      file: this.file,
      line,
    });
  }
}

export interface CsvRecord {
  readonly fields: string[];
  /** Line of its beginning. */
  readonly line: number;
}

/** Records of `text`; one that breaks the rules comes as its fault, and reading goes on at the next line. */
export function* csvRecords(
  text: string,
  firstLine: number,
  delimiter: string,
  quotes: boolean,
  file: string,
): Generator<CsvRecord | EspalierError> {
  const comma = delimiter.charCodeAt(0);
  const size = text.length;
  let line = firstLine;
  let at = 0;
  while (at < size) {
    const begin = at;
    const startLine = line;
    const fields: string[] = [];
    let fault: EspalierError | null = null;
    for (;;) {
      if (quotes && text.charCodeAt(at) === QUOTE) {
        const close = closingQuote(text, at + 1);
        const end = close < 0 ? size : close;
        const raw = text.slice(at + 1, end);
        fields.push(raw.includes('""') ? raw.replaceAll('""', '"') : raw);
        for (let i = raw.indexOf('\n'); i >= 0; i = raw.indexOf('\n', i + 1)) line++;
        at = end + 1;
        const next = text.charCodeAt(at);
        const sound =
          close >= 0 &&
          (at >= size ||
            next === comma ||
            next === LF ||
            (next === CR && text.charCodeAt(at + 1) === LF) ||
            (next === CR && at + 1 === size));
        if (!sound) {
          const column = at - (text.lastIndexOf('\n', at - 1) + 1) + 1;
          const problem =
            close < 0 ? 'a quoted field is left open' : 'something follows the quote that ends a field';
          fault = quoteFault(
            problem,
            file,
            close < 0 ? startLine : line,
            close < 0 ? undefined : column,
            text.slice(begin, begin + 80),
          );
          break;
        }
      } else {
        const from = at;
        while (at < size) {
          const code = text.charCodeAt(at);
          if (code === comma || code === LF) break;
          if (quotes && code === QUOTE) {
            const column = at - (text.lastIndexOf('\n', at) + 1) + 1;
            fault = quoteFault(
              'a quote stands inside a field that does not begin with one',
              file,
              line,
              column,
              text.slice(begin, begin + 80),
            );
            break;
          }
          at++;
        }
        if (fault !== null) break;
        const end =
          text.charCodeAt(at - 1) === CR && (at >= size || text.charCodeAt(at) === LF) && at > from
            ? at - 1
            : at;
        fields.push(text.slice(from, end));
      }
      if (at < size && text.charCodeAt(at) === comma) {
        at++;
        continue;
      }
      if (text.charCodeAt(at) === CR) at++;
      break;
    }
    if (fault !== null) {
      const next = text.indexOf('\n', Math.min(at, size));
      at = next < 0 ? size : next + 1;
      line++;
      yield fault;
      continue;
    }
    at++;
    line++;
    // An empty line is no row.
    if (fields.length > 1 || fields[0] !== '') yield { fields, line: startLine };
  }
}

/** The quote that ends a field, doubled ones passed over; -1 where there is none. */
function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at >= 0; at = text.indexOf('"', at + 2)) {
    if (text.charCodeAt(at + 1) !== QUOTE) return at;
  }
  return -1;
}

function likeliestDelimiter(text: string): string {
  const end = text.indexOf('\n');
  const line = (end < 0 ? text : text.slice(0, end)).replace(/"[^"]*"/g, '');
  let best = ',';
  for (const candidate of [';', '\t', '|']) {
    if (line.split(candidate).length > line.split(best).length) best = candidate;
  }
  return best;
}

function quoteFault(
  problem: string,
  file: string,
  line: number,
  column: number | undefined,
  received: string,
): EspalierError {
  return new EspalierError({
    code: 'CSV_QUOTE',
    kind: 'data',
    op: 'readCsv',
    problem,
    expected: 'fields quoted as a whole, with quotes inside doubled',
    received,
    hint: 'files whose quotes mean nothing are read with --no-quotes',
    file,
    line,
    column,
  });
}
