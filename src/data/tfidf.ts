/**
 * Text to sparse features: tf-idf over words, each text field in a namespace of its own.
 *
 * weight = (1 + ln tf) * ln(N / df), rows scaled to unit norm; words of fewer than `minDocuments` rows are left
 * out. The state is the vocabulary with its counts, whole numbers, so that a stored featurizer is exact.
 */
import { EspalierError } from '../errors.js';

export interface TokenRule {
  /** `ascii`: runs of [a-z0-9] after lower-casing; `unicode`: runs of letters, marks and digits of any script. */
  readonly alphabet: 'ascii' | 'unicode';
  /** Shorter tokens are dropped, counted in UTF-16 units. */
  readonly minLength: number;
  readonly stopWords: readonly string[];
}

export interface TfIdfOptions extends TokenRule {
  /** Namespaces, in the order of the texts of a row; the first one takes free text. */
  readonly fields: readonly string[];
  readonly minDocuments: number;
}

export const tfIdfDefaults: TfIdfOptions = {
  fields: ['text'],
  minDocuments: 2,
  alphabet: 'unicode',
  minLength: 2,
  stopWords: [],
};

export interface TfIdfState extends TfIdfOptions {
  readonly format: 'espalier-tfidf';
  readonly version: 1;
  /** N, the rows that df was counted on. */
  readonly documents: number;
  /** [features] of [`field:word`, df], most frequent first, then by code units. */
  readonly terms: readonly (readonly [string, number])[];
}

export interface SparseRow {
  /** Ascending. */
  readonly indices: Uint32Array;
  readonly values: Float32Array;
}

const RUNS = { ascii: /[a-z0-9]+/g, unicode: /[\p{L}\p{M}\p{N}]+/gu };

/** Lower-cased words of `text`, in order, repeats included. */
export function tokenize(text: string, rule: TokenRule, stop = new Set(rule.stopWords)): string[] {
  const runs = text.toLowerCase().match(RUNS[rule.alphabet]);
  return (runs ?? []).filter((word) => word.length >= rule.minLength && !stop.has(word));
}

export class TfIdfFeaturizer {
  readonly #state: TfIdfState;
  readonly #stop: Set<string>;
  /** By field: the feature of a word. */
  readonly #ids: readonly Map<string, number>[];
  readonly #idf: Float64Array;

  private constructor(state: TfIdfState) {
    this.#state = state;
    this.#stop = new Set(state.stopWords);
    this.#ids = state.fields.map(() => new Map());
    state.terms.forEach(([term], id) => {
      const colon = term.indexOf(':');
      this.#ids[state.fields.indexOf(term.slice(0, colon))]?.set(term.slice(colon + 1), id);
    });
    this.#idf = Float64Array.from(state.terms, ([, df]) => Math.log(state.documents / df));
  }

  /** Counts words over rows, each row one text per field. */
  static fit(rows: Iterable<readonly string[]>, options: Partial<TfIdfOptions> = {}): TfIdfFeaturizer {
    const settings = { ...tfIdfDefaults, ...options };
    checkFields(settings.fields);
    const stop = new Set(settings.stopWords);
    const counts = settings.fields.map(() => new Map<string, { df: number; last: number }>());
    let documents = 0;
    for (const texts of rows) {
      documents++;
      checkTexts('TfIdfFeaturizer.fit', texts, settings.fields);
      for (let f = 0; f < texts.length; f++) {
        for (const word of tokenize(texts[f], settings, stop)) {
          const seen = counts[f].get(word);
          if (seen === undefined) counts[f].set(word, { df: 1, last: documents });
          else if (seen.last < documents) {
            seen.df++;
            seen.last = documents;
          }
        }
      }
    }
    const terms = settings.fields.flatMap((field, f) =>
      [...counts[f]].map(([word, { df }]) => [`${field}:${word}`, df] as const),
    );
    const kept = terms
      .filter(([, df]) => df >= settings.minDocuments)
      .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    return new TfIdfFeaturizer({
      format: 'espalier-tfidf',
      version: 1,
      ...settings,
      documents,
      terms: kept,
    });
  }

  /** A featurizer from `toJSON()`; throws `FEATURIZER_STATE` when it is none. */
  static fromJSON(state: unknown): TfIdfFeaturizer {
    const s = state as Partial<TfIdfState> | null;
    const sound =
      s?.format === 'espalier-tfidf' &&
      s.version === 1 &&
      isStrings(s.fields) &&
      isStrings(s.stopWords) &&
      (s.alphabet === 'ascii' || s.alphabet === 'unicode') &&
      typeof s.minLength === 'number' &&
      typeof s.documents === 'number' &&
      Array.isArray(s.terms) &&
      s.terms.every(([term, df]) => typeof term === 'string' && df > 0 && df <= Number(s.documents));
    if (!sound) {
      throw new EspalierError({
        code: 'FEATURIZER_STATE',
        kind: 'data',
        op: 'TfIdfFeaturizer.fromJSON',
        problem: 'this is not the state of a tf-idf featurizer of version 1',
        received: `format ${String(s?.format)}, version ${String(s?.version)}`,
        hint: 'the file may come from a newer version of espalier, or be damaged: make the dataset again',
      });
    }
    return new TfIdfFeaturizer(s as TfIdfState);
  }

  toJSON(): TfIdfState {
    return this.#state;
  }

  get features(): number {
    return this.#state.terms.length;
  }

  get fields(): readonly string[] {
    return this.#state.fields;
  }

  /** `field:word` of every feature. */
  featureNames(): string[] {
    return this.#state.terms.map(([term]) => term);
  }

  /** Features of one row, one text per field; missing last texts count as empty. Unknown words are left out. */
  transform(texts: readonly string[]): SparseRow {
    const counts = new Map<number, number>();
    checkTexts('TfIdfFeaturizer.transform', texts, this.#state.fields);
    for (let f = 0; f < texts.length; f++) {
      for (const word of tokenize(texts[f], this.#state, this.#stop)) {
        const id = this.#ids[f].get(word);
        if (id !== undefined) counts.set(id, (counts.get(id) ?? 0) + 1);
      }
    }
    const indices = Uint32Array.from(counts.keys()).sort();
    const weights = new Float64Array(indices.length);
    let squares = 0;
    for (let i = 0; i < indices.length; i++) {
      weights[i] = (1 + Math.log(counts.get(indices[i]) as number)) * this.#idf[indices[i]];
      squares += weights[i] ** 2;
    }
    const norm = Math.sqrt(squares);
    const values = new Float32Array(indices.length);
    // A word of every row weighs nothing: a row of such words has a norm of 0.
    for (let i = 0; i < values.length; i++) values[i] = norm === 0 ? 0 : weights[i] / norm;
    return { indices, values };
  }
}

function checkFields(fields: readonly string[]): void {
  const sound = fields.length > 0 && new Set(fields).size === fields.length;
  if (sound && fields.every((field) => !field.includes(':'))) return;
  throw new EspalierError({
    code: 'FEATURIZER_FIELDS',
    kind: 'usage',
    op: 'TfIdfFeaturizer.fit',
    problem: 'these cannot be field names',
    expected: 'at least one name, no two alike, without a colon',
    received: JSON.stringify(fields),
  });
}

function checkTexts(op: string, texts: readonly string[], fields: readonly string[]): void {
  if (texts.length <= fields.length) return;
  throw new EspalierError({
    code: 'FEATURIZER_TEXTS',
    kind: 'usage',
    op,
    problem: 'a row has more texts than there are fields',
    expected: `at most ${fields.length}: ${fields.join(', ')}`,
    received: String(texts.length),
  });
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
