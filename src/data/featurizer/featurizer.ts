/**
 * Rows of columns to sparse features, the same code at training and at serving.
 *
 * tf-idf: (1 + ln tf) * ln(N / df). BM25 (Robertson and Zaragoza 2009, eq. 3.15, with the idf that is never
 * negative): ln(1 + (N - df + 0.5) / (df + 0.5)) * tf (k1 + 1) / (tf + k1 (1 - b + b length / mean length)).
 * Text features of a row are then scaled to unit norm.
 *
 * Features are numbered: terms (or buckets), the most frequent first, then numeric columns.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withFileErrors } from '../../files.js';
import type { TermArrays } from '../text/term-table.js';
import { TermTable } from '../text/term-table.js';
import { mergeRuns, type Run, TermCounts } from './counts.js';
import {
  checkFeaturizerOptions,
  type FeaturizerOptions,
  type FeaturizerOptionsInput,
  sectionsOf,
} from './options.js';
import { type FeaturizerRow, packBlock, type RowBlock } from './row-block.js';
import { type FeaturizerState, parseState, type StoredNumeric, storedState } from './state.js';
import { TermReader } from './terms.js';
import { selectTerms } from './vocabulary.js';

export const featurizerFile = 'featurizer.json';

/** Sparse rows as an embedding bag takes them. */
export interface FeatureBlock {
  readonly rows: number;
  readonly nnz: number;
  readonly width: number;
  /** [rows + 1] */
  readonly indptr: Int32Array;
  /** Ascending within a row. [nnz] */
  readonly indices: Uint32Array;
  /** [nnz] */
  readonly values: Float32Array;
  /** Words, n-grams and category values read, by occurrence. */
  readonly terms: number;
  /** Of these, the ones that the vocabulary does not have. */
  readonly unknownTerms: number;
}

/** What was learnt from rows, beside the terms. */
export interface FittedFacts {
  readonly documents: number;
  /** Mean number of words per row. */
  readonly meanLength: number;
  readonly numeric: readonly StoredNumeric[];
}

/** A featurizer as it travels to threads: the vocabulary is shared, not copied. */
export interface SharedFeaturizer {
  readonly options: FeaturizerOptions;
  readonly facts: FittedFacts;
  readonly terms: TermArrays | null;
  readonly df: Uint32Array;
}

/** Clipping of standardised numbers: one wild value must not drown a row. */
const NUMERIC_LIMIT = 4;

export class Featurizer {
  readonly options: FeaturizerOptions;
  readonly facts: FittedFacts;
  /** Number of features. */
  readonly features: number;
  readonly #table: TermTable | null;
  readonly #df: Uint32Array;
  readonly #idf: Float64Array;
  readonly #tf: Uint32Array;
  readonly #reader: TermReader;
  #indices = new Uint32Array(1 << 12);
  #values = new Float32Array(1 << 12);
  #weights = new Float64Array(1 << 8);
  /** Of the block at work. */
  #terms = 0;
  #unknown = 0;

  /** @param table null for hashed features */
  constructor(options: FeaturizerOptions, facts: FittedFacts, table: TermTable | null, df: Uint32Array) {
    this.options = options;
    this.facts = facts;
    this.#table = table;
    this.#df = df;
    this.#idf = inverseFrequencies(options, facts.documents, df);
    this.#tf = new Uint32Array(df.length);
    this.#reader = new TermReader(options);
    this.features = df.length + options.numeric.length;
  }

  /**
   * Learns vocabulary, document frequencies and means from rows, in this thread.
   *
   * @example Featurizer.fit([{ title: 'red apple' }, { title: 'red car' }], { text: ['title'] })
   * @throws `FEATURIZER_OPTIONS`, `FEATURE_ROW`, `FEATURE_VALUE`
   */
  static fit(rows: Iterable<FeaturizerRow>, options: FeaturizerOptionsInput): Featurizer {
    const full = checkFeaturizerOptions(options);
    const counts = new TermCounts(full);
    const moments = new Moments(full.numeric.length);
    let some: FeaturizerRow[] = [];
    const flush = () => {
      const block = packBlock(some, full);
      counts.add(block);
      moments.add(block);
      some = [];
    };
    for (const row of rows) if (some.push(row) >= 1024) flush();
    flush();
    const { documents, words, buckets } = counts;
    return fitted(full, { documents, words, buckets, runs: counts.finish() }, moments);
  }

  /** The featurizer of a dataset or model directory; throws `FEATURIZER_STATE` where its file is damaged. */
  static async load(directory: string): Promise<Featurizer> {
    const file = join(directory, featurizerFile);
    const text = await withFileErrors('Featurizer.load', file, () => readFile(file, 'utf8'));
    return Featurizer.parse(text, file);
  }

  /** A featurizer from the text of its file; throws `FEATURIZER_STATE` when it is none. */
  static parse(text: string, file?: string): Featurizer {
    const { options, facts, table, df } = parseState(text, file);
    return new Featurizer(options, facts, table, df);
  }

  static fromShared({ options, facts, terms, df }: SharedFeaturizer): Featurizer {
    return new Featurizer(options, facts, terms === null ? null : new TermTable(terms), df);
  }

  /** For other threads: the vocabulary in shared memory. */
  share(): SharedFeaturizer {
    const { options, facts } = this;
    const df = new Uint32Array(new SharedArrayBuffer(4 * this.#df.length));
    df.set(this.#df);
    return { options, facts, terms: this.#table?.shared() ?? null, df };
  }

  toJSON(): FeaturizerState {
    return storedState(this.options, this.facts, this.#table, this.#df);
  }

  /** Columns a row may have, text first. */
  get columns(): readonly string[] {
    return [...this.options.text, ...this.options.categorical, ...this.options.numeric];
  }

  /** `column:word`, `column~characters`, `column=value`, `column`; hashed features are `#bucket`. */
  featureNames(): string[] {
    const table = this.#table;
    const decoder = new TextDecoder();
    const sections = sectionsOf(this.options);
    const marks = { word: ':', characters: '~', category: '=' };
    const terms = Array.from(this.#df, (_, id) => {
      if (table === null) return `#${id}`;
      const { kind, column } = sections[table.section(id)];
      return `${column}${marks[kind]}${decoder.decode(table.bytes(id))}`;
    });
    return [...terms, ...this.options.numeric];
  }

  /** [features], 1: a term of that column of text, or of all that share one vocabulary; null where terms are hashed. */
  termsOf(column: string): Uint8Array | null {
    const table = this.#table;
    if (table === null) return null;
    const { shareColumns, text } = this.options;
    const name = shareColumns ? text.join('+') : column;
    const sections = sectionsOf(this.options);
    const terms = new Uint8Array(new SharedArrayBuffer(this.features));
    for (let id = 0; id < this.#df.length; id++) {
      const section = sections[table.section(id)];
      if (section.kind !== 'category' && section.column === name) terms[id] = 1;
    }
    return terms;
  }

  /**
   * Sparse features of rows; unknown terms and missing columns are left out.
   *
   * @throws `FEATURE_ROW`, `FEATURE_VALUE` for what is no row
   */
  featurize(rows: readonly FeaturizerRow[]): FeatureBlock {
    return this.featurizeBlock(packBlock(rows, this.options));
  }

  /** Sparse features of packed rows. */
  featurizeBlock(block: RowBlock): FeatureBlock {
    const indptr = new Int32Array(block.rows + 1);
    let nnz = 0;
    this.#terms = 0;
    this.#unknown = 0;
    for (let row = 0; row < block.rows; row++) {
      nnz = this.#row(block, row, nnz);
      indptr[row + 1] = nnz;
    }
    return {
      rows: block.rows,
      nnz,
      width: this.features,
      indptr,
      indices: this.#indices.slice(0, nnz),
      values: this.#values.slice(0, nnz),
      terms: this.#terms,
      unknownTerms: this.#unknown,
    };
  }

  #row(block: RowBlock, row: number, begin: number): number {
    const tf = this.#tf;
    const reader = this.#reader;
    let used = begin;
    let length = 0;
    let categories = 0;
    for (let column = 0; column < reader.columns; column++) {
      reader.read(block, row, column);
      length += reader.words;
      this.#reserve(used + reader.count);
      if (this.#isCategory(column)) {
        // Behind the terms of the row, for now: they have a weight of their own.
        const id = reader.count === 0 ? -1 : this.#feature(0);
        this.#terms += reader.count;
        if (reader.count > 0 && id < 0) this.#unknown++;
        if (id >= 0 && tf[id] === 0) {
          tf[id] = CATEGORY;
          this.#indices[used++] = id;
          categories++;
        }
      } else used = this.#countTerms(used);
    }
    const numbers = this.#numeric(block, row, used);
    this.#weigh(begin, used, length, categories);
    return numbers;
  }

  #isCategory(column: number): boolean {
    return column >= this.options.text.length;
  }

  #feature(term: number): number {
    const reader = this.#reader;
    const hash = reader.hash[term];
    if (this.#table === null) return hash & (this.#df.length - 1);
    return this.#table.find(reader.section[term], reader.bytes, reader.begin[term], reader.end[term], hash);
  }

  #countTerms(from: number): number {
    const tf = this.#tf;
    const indices = this.#indices;
    const { count } = this.#reader;
    this.#terms += count;
    let used = from;
    for (let t = 0; t < count; t++) {
      const id = this.#feature(t);
      if (id < 0) {
        this.#unknown++;
        continue;
      }
      if (tf[id] === 0) indices[used++] = id;
      tf[id]++;
    }
    return used;
  }

  /** Turns counts of the row's features into values, and counts back to zero. */
  #weigh(begin: number, end: number, length: number, categories: number): void {
    const { weights, sublinear, bm25, norm, categoricalWeight } = this.options;
    const [indices, values, tf, idf] = [this.#indices, this.#values, this.#tf, this.#idf];
    if (end - begin > 1) indices.subarray(begin, end).sort();
    if (end - begin > this.#weights.length) this.#weights = new Float64Array(2 * (end - begin));
    const raw = this.#weights;
    const saturation = bm25.k1 * (1 - bm25.b + (bm25.b * length) / Math.max(1e-9, this.facts.meanLength));
    let squares = 0;
    for (let e = begin; e < end; e++) {
      const id = indices[e];
      const count = tf[id];
      if (categories > 0 && count === CATEGORY) continue;
      const local =
        weights === 'bm25'
          ? (count * (bm25.k1 + 1)) / (count + saturation)
          : sublinear
            ? 1 + (count < LOGS.length ? LOGS[count] : Math.log(count))
            : count;
      const weight = local * idf[id];
      raw[e - begin] = weight;
      squares += weight ** 2;
    }
    const scale = norm === 'l2' ? Math.sqrt(squares) : 1;
    for (let e = begin; e < end; e++) {
      const id = indices[e];
      // A word of every row weighs nothing: a row of such words has a norm of 0.
      if (categories > 0 && tf[id] === CATEGORY) values[e] = categoricalWeight;
      else values[e] = scale === 0 ? 0 : raw[e - begin] / scale;
      tf[id] = 0;
    }
  }

  /** Behind the terms, whose number only grows: columns come in order. */
  #numeric(block: RowBlock, row: number, from: number): number {
    const { numeric } = this.facts;
    this.#reserve(from + numeric.length);
    let used = from;
    for (let n = 0; n < numeric.length; n++) {
      const value = block.numbers[row * numeric.length + n];
      const { mean, deviation } = numeric[n];
      if (Number.isNaN(value) || deviation === 0) continue;
      const standard = Math.max(-NUMERIC_LIMIT, Math.min(NUMERIC_LIMIT, (value - mean) / deviation));
      this.#indices[used] = this.#df.length + n;
      this.#values[used++] = standard * this.options.numericWeight;
    }
    return used;
  }

  #reserve(wanted: number): void {
    if (wanted <= this.#indices.length) return;
    const [indices, values] = [new Uint32Array(2 * wanted), new Float32Array(2 * wanted)];
    indices.set(this.#indices);
    values.set(this.#values);
    this.#indices = indices;
    this.#values = values;
  }
}

/** Stands for "a value of a categorical column" among the counts of a row. */
const CATEGORY = 0xffffffff;

const LOGS = Float64Array.from({ length: 256 }, (_, n) => Math.log(n));

function inverseFrequencies(options: FeaturizerOptions, documents: number, df: Uint32Array): Float64Array {
  const idf = new Float64Array(df.length);
  for (let id = 0; id < df.length; id++) {
    // A bucket that no row fell into can still be met at serving.
    const rows = Math.max(1, df[id]);
    if (options.weights === 'count') idf[id] = 1;
    else if (options.weights === 'bm25') idf[id] = Math.log(1 + (documents - rows + 0.5) / (rows + 0.5));
    else idf[id] = Math.log(Math.max(1, documents) / rows);
  }
  return idf;
}

/** Mean and deviation of numeric columns, over rows in order (Welford 1962), so that threads cannot change them. */
export class Moments {
  readonly #count: Float64Array;
  readonly #mean: Float64Array;
  readonly #squares: Float64Array;

  constructor(columns: number) {
    this.#count = new Float64Array(columns);
    this.#mean = new Float64Array(columns);
    this.#squares = new Float64Array(columns);
  }

  add({ numbers }: RowBlock): void {
    const columns = this.#count.length;
    for (let i = 0; i < numbers.length; i++) {
      if (Number.isNaN(numbers[i])) continue;
      const column = i % columns;
      const delta = numbers[i] - this.#mean[column];
      this.#mean[column] += delta / ++this.#count[column];
      this.#squares[column] += delta * (numbers[i] - this.#mean[column]);
    }
  }

  finish(): StoredNumeric[] {
    return Array.from(this.#count, (n, c) => {
      const deviation = n < 2 ? 0 : Math.sqrt(this.#squares[c] / n);
      // Values near the largest float64 overflow: such a column says nothing.
      if (!Number.isFinite(deviation) || !Number.isFinite(this.#mean[c])) return { mean: 0, deviation: 0 };
      return { mean: this.#mean[c], deviation };
    });
  }
}

export interface FittedCounts {
  readonly documents: number;
  readonly words: number;
  readonly runs: readonly Run[];
  /** Rows of each bucket of hashed features; null for a vocabulary. */
  readonly buckets: Uint32Array | null;
}

/** The featurizer of counted terms. */
export function fitted(options: FeaturizerOptions, counts: FittedCounts, moments: Moments): Featurizer {
  const { documents, words, runs, buckets } = counts;
  const facts = { documents, meanLength: documents === 0 ? 0 : words / documents, numeric: moments.finish() };
  if (buckets !== null || options.vocabulary.kind === 'hashed') {
    return new Featurizer(options, facts, null, buckets ?? new Uint32Array(0));
  }
  const { table, df } = selectTerms(mergeRuns(runs), documents, options.vocabulary);
  return new Featurizer(options, facts, table, df);
}
