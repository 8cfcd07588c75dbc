/** What every reader of rows with columns gives, whatever the file. */
import { EspalierError, suggest } from '../../errors.js';

export interface RecordBatch {
  /** By row, then in the order of the columns that were asked for; undefined where a row lacks one. */
  readonly rows: readonly (readonly unknown[])[];
  /** Where each row begins: a line, or for files without lines its number; from 1. */
  readonly lines: ArrayLike<number>;
}

export interface SourceProgress {
  readonly bytes: number;
  readonly totalBytes: number;
}

/** A file that can be read more than once. */
export interface RecordSource {
  readonly file: string;
  /** Columns in their order; of files without a schema those of the first rows. */
  columns(): Promise<readonly string[]>;
  /** All rows; a second call reads the file again. */
  batches(columns: readonly string[], onProgress?: (at: SourceProgress) => void): AsyncGenerator<RecordBatch>;
}

/** Faults of single rows, counted with the place of the first one. */
export interface Notice {
  readonly what: string;
  count: number;
  readonly first: { readonly file: string; readonly line?: number; readonly column?: number };
}

/** Collects faults that do not stop a reader. */
export class Notices {
  readonly #all = new Map<string, Notice>();
  readonly #maxBadRows: number;
  #badRows = 0;

  constructor(maxBadRows = 0) {
    this.#maxBadRows = maxBadRows;
  }

  get all(): Notice[] {
    return [...this.#all.values()];
  }

  add(what: string, first: Notice['first'], count = 1): void {
    const known = this.#all.get(what);
    if (known === undefined) this.#all.set(what, { what, count, first });
    else known.count += count;
  }

  /** Counts a row that cannot be read, and throws its fault where there are more than `maxBadRows`. */
  badRow(fault: EspalierError): void {
    if (++this.#badRows > this.#maxBadRows) throw fault;
    const { file = '', line, column } = fault.facts;
    this.add('rows that cannot be read were left out', { file, line, column });
  }

  /** Forgets everything: the next pass counts anew. */
  clear(): void {
    this.#all.clear();
    this.#badRows = 0;
  }
}

/** Throws `DATA_COLUMN` for a column that is not there, with those that are. */
export function checkColumns(file: string, wanted: readonly string[], present: readonly string[]): void {
  for (const column of wanted) {
    if (present.includes(column)) continue;
    const near = suggest(column, present);
    const listed = present.slice(0, 40).map((name) => JSON.stringify(name));
    if (present.length > 40) listed.push(`and ${present.length - 40} more`);
    throw new EspalierError({
      code: 'DATA_COLUMN',
      kind: 'usage',
      op: 'espalier data',
      problem: `there is no column ${JSON.stringify(column)}`,
      expected: listed.length === 0 ? 'a file with columns: this one is empty' : listed.join(', '),
      hint: near === undefined ? undefined : `did you mean ${JSON.stringify(near)}?`,
      file,
    });
  }
}
