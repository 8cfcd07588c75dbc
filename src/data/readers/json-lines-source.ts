/** JSON Lines: one object a line, its members are the columns. */
import { EspalierError } from '../../errors.js';
import { nestsTooDeep } from '../../nesting.js';
import type { Notices, RecordBatch, RecordSource, SourceProgress } from './record-source.js';
import { textBlocks } from './text-blocks.js';

/** Members below a name come as `name.member`, this deep. */
const DEPTH = 4;

export class JsonLinesSource implements RecordSource {
  readonly file: string;
  readonly #notices: Notices;
  readonly #blockBytes: number | undefined;
  #columns: readonly string[] | undefined;

  constructor(file: string, notices: Notices, options: { readonly blockBytes?: number } = {}) {
    this.file = file;
    this.#notices = notices;
    this.#blockBytes = options.blockBytes;
  }

  async columns(): Promise<readonly string[]> {
    if (this.#columns !== undefined) return this.#columns;
    const names = new Set<string>();
    for await (const rows of this.#objects()) {
      for (const [object] of rows.objects) for (const name of namesOf(object)) names.add(name);
      if (names.size > 0) break;
    }
    this.#notices.clear();
    this.#columns = [...names];
    return this.#columns;
  }

  async *batches(
    columns: readonly string[],
    onProgress?: (at: SourceProgress) => void,
  ): AsyncGenerator<RecordBatch> {
    const paths = columns.map((column) => column.split('.'));
    for await (const { objects, progress } of this.#objects()) {
      yield {
        rows: objects.map(([object]) => columns.map((column, c) => valueAt(object, column, paths[c]))),
        lines: objects.map(([, line]) => line),
      };
      onProgress?.(progress);
    }
  }

  async *#objects(): AsyncGenerator<{
    readonly objects: readonly (readonly [Record<string, unknown>, number])[];
    readonly progress: SourceProgress;
  }> {
    const options = { notices: this.#notices, quotes: false, blockBytes: this.#blockBytes };
    for await (const { text, line: firstLine, progress } of textBlocks(this.file, options)) {
      const objects: (readonly [Record<string, unknown>, number])[] = [];
      let line = firstLine;
      for (let begin = 0; begin < text.length; line++) {
        let end = text.indexOf('\n', begin);
        if (end < 0) end = text.length;
        const row = text.slice(begin, end);
        begin = end + 1;
        if (row.trim() === '') continue;
        try {
          if (nestsTooDeep(row)) throw this.#fault('a line nests its values too deep', line, row);
          const value: unknown = JSON.parse(row);
          if (typeof value !== 'object' || value === null || Array.isArray(value)) {
            throw this.#fault('a line is JSON, but no object', line, row);
          }
          objects.push([value as Record<string, unknown>, line]);
        } catch (cause) {
          this.#notices.badRow(
            cause instanceof EspalierError ? cause : this.#fault('a line is not JSON', line, row, cause),
          );
        }
      }
      yield { objects, progress };
    }
  }

  #fault(problem: string, line: number, row: string, cause?: unknown): EspalierError {
    const place = cause instanceof Error ? /position (\d+)/.exec(cause.message)?.[1] : undefined;
    const array = row.trimStart().startsWith('[');
    return new EspalierError({
      code: 'JSON_LINES',
      kind: 'data',
      op: 'readJsonLines',
      problem,
      expected: 'one JSON object on each line',
      received: row.length > 80 ? `${row.slice(0, 80)}...` : row,
      hint: array
        ? "a JSON array becomes lines with: jq -c '.[]'"
        : 'a few such lines are left out with --max-bad-rows N',
      file: this.file,
      line,
      column: place === undefined ? undefined : Number(place) + 1,
      cause,
    });
  }
}

function namesOf(object: Record<string, unknown>, prefix = '', depth = 1): string[] {
  return Object.entries(object).flatMap(([name, value]) => {
    const path = prefix + name;
    const inner = typeof value === 'object' && value !== null && !Array.isArray(value) && depth < DEPTH;
    return inner ? [path, ...namesOf(value as Record<string, unknown>, `${path}.`, depth + 1)] : [path];
  });
}

/** The columns that an object has, and nothing else. */
export function columnsOf(
  object: Record<string, unknown>,
  columns: readonly string[],
): Record<string, unknown> {
  const found = columns.map((column) => [column, valueAt(object, column, column.split('.'))] as const);
  return Object.fromEntries(found.filter(([, value]) => value !== undefined));
}

/** A member of that very name, or else of objects within objects. */
function valueAt(object: Record<string, unknown>, column: string, path: readonly string[]): unknown {
  if (Object.hasOwn(object, column)) return object[column];
  if (path.length === 1) return undefined;
  let value: unknown = object;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}
