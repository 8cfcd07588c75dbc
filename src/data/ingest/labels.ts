/** Labels of a row, whatever form they come in; and the labels of a dataset with how many rows have them. */
import { EspalierError } from '../../errors.js';

export interface LabelRule {
  /** Columns of labels among the values of a row. */
  readonly columns: readonly number[];
  readonly separator: string | undefined;
  readonly indicators: readonly { readonly place: number; readonly label: string }[];
}

export interface Place {
  readonly file: string;
  readonly line: number;
}

/** The distinct labels of a row, in order; throws `DATA_LABEL` for values that are none. */
export function labelsOf(values: readonly unknown[], rule: LabelRule, place: Place): string[] {
  const found = new Set<string>();
  for (const column of rule.columns) {
    for (const label of items(values[column], rule.separator, place)) if (label !== '') found.add(label);
  }
  for (const { place: column, label } of rule.indicators) {
    if (isTrue(values[column], label, place)) found.add(label);
  }
  return [...found];
}

function items(value: unknown, separator: string | undefined, place: Place): string[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value.flatMap((item) => items(item, undefined, place));
  if (typeof value === 'string') {
    if (separator !== undefined) return value.split(separator).map((label) => label.trim());
    const text = value.trim();
    return text.startsWith('[') && text.endsWith(']') ? (listOf(text) ?? [text]) : [text];
  }
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
    return [String(value)];
  throw refuse('a label is neither a text nor a number', 'texts, numbers, or lists of them', value, place);
}

/** A list written into a text cell as JSON; undefined for what is none. */
function listOf(text: string): string[] | undefined {
  try {
    const list: unknown = JSON.parse(text);
    if (Array.isArray(list) && list.every((item) => typeof item !== 'object'))
      return list.map((item) => String(item).trim());
  } catch {
    // A label may stand in brackets.
  }
  return undefined;
}

function isTrue(value: unknown, label: string, place: Place): boolean {
  if (value === undefined || value === null || value === '') return false;
  if (typeof value === 'boolean') return value;
  const word = String(value).trim().toLowerCase();
  if (['1', '1.0', 'true', 't', 'yes', 'y'].includes(word)) return true;
  if (['0', '0.0', 'false', 'f', 'no', 'n', ''].includes(word)) return false;
  throw refuse(
    `the column ${JSON.stringify(label)} says neither yes nor no`,
    '1 or 0, true or false, yes or no',
    value,
    place,
  );
}

function refuse(problem: string, expected: string, value: unknown, { file, line }: Place): EspalierError {
  const received =
    typeof value === 'object' ? JSON.stringify(value).slice(0, 60) : String(value).slice(0, 60);
  return new EspalierError({
    code: 'DATA_LABEL',
    kind: 'data',
    op: 'espalier data',
    problem,
    expected,
    received,
    file,
    line,
  });
}

/** A `Map` holds no more. */
const MOST_LABELS = 2 ** 24;

function tooMany(): EspalierError {
  return new EspalierError({
    code: 'DATA_TOO_MANY_LABELS',
    kind: 'usage',
    op: 'espalier data',
    problem: 'there are more different labels than can be told apart',
    expected: `at most ${MOST_LABELS.toLocaleString('en')}`,
    hint: 'is --labels the right column, and --label-separator what stands between labels?',
  });
}

/** Rows by label, counted on the first pass. */
export class LabelCounts {
  readonly #ids = new Map<string, number>();
  /** Rows of training and validation. */
  #fitted = new Uint32Array(1 << 10);
  readonly #separators = new Map([
    [',', 0],
    [';', 0],
    ['|', 0],
    ['\t', 0],
  ]);
  #looked = 0;

  add(labels: readonly string[], isTest: boolean): void {
    for (const label of labels) {
      let id = this.#ids.get(label);
      if (id === undefined) {
        id = this.#ids.size;
        if (id === MOST_LABELS) throw tooMany();
        // NOTE: a part of a text keeps all of that text alive, here a block of the file for each new label.
        this.#ids.set(Buffer.from(label, 'utf16le').toString('utf16le'), id);
        if (id >= this.#fitted.length) {
          const larger = new Uint32Array(2 * this.#fitted.length);
          larger.set(this.#fitted);
          this.#fitted = larger;
        }
      }
      if (!isTest) this.#fitted[id]++;
      if (this.#looked < 100_000) {
        this.#looked++;
        for (const [separator, count] of this.#separators)
          if (label.includes(separator)) this.#separators.set(separator, count + 1);
      }
    }
  }

  /** A character that stands in a third of the labels or more: perhaps it separates them. */
  get likelySeparator(): string | undefined {
    for (const [separator, count] of this.#separators)
      if (this.#looked >= 10 && 3 * count >= this.#looked) return separator;
    return undefined;
  }

  /**
   * Ids of the labels of at least `minRows` rows that are not test rows, numbered by name, behind those of `kept`,
   * which stay whatever their rows.
   */
  finish(
    minRows: number,
    kept: readonly string[] = [],
  ): {
    readonly names: string[];
    readonly ids: ReadonlyMap<string, number>;
    readonly rare: number;
    readonly testOnly: number;
  } {
    const names: string[] = [];
    const known = new Set(kept);
    let [rare, testOnly] = [0, 0];
    for (const [name, id] of this.#ids) {
      if (known.has(name)) continue;
      if (this.#fitted[id] === 0) testOnly++;
      else if (this.#fitted[id] < minRows) rare++;
      else names.push(name);
    }
    // NOTE: by code units, not by locale: the same numbers on every machine.
    names.sort((a, b) => (a < b ? -1 : 1));
    names.unshift(...kept);
    this.#ids.clear();
    return { names, ids: new Map(names.map((name, id) => [name, id])), rare, testOnly };
  }
}
