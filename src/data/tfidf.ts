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

/** Lower-cased words of `text`, in order, repeats included. */
export function tokenize(text: string, rule: TokenRule, stop = new Set(rule.stopWords)): string[] {
  const runs = text.toLowerCase().match(rule.alphabet === 'ascii' ? /[a-z0-9]+/g : /[\p{L}\p{M}\p{N}]+/gu);
  return (runs ?? []).filter((word) => word.length >= rule.minLength && !stop.has(word));
}

export class TfIdfFeaturizer {
  readonly #state: TfIdfState;
  readonly #stop: Set<string>;
  readonly #ids: Map<string, number>;
  readonly #idf: Float64Array;

  private constructor(state: TfIdfState) {
    this.#state = state;
    this.#stop = new Set(state.stopWords);
    this.#ids = new Map(state.terms.map(([term], id) => [term, id]));
    this.#idf = Float64Array.from(state.terms, ([, df]) => Math.log(state.documents / df));
  }

  /** Counts words over rows, each row one text per field. */
  static fit(rows: Iterable<readonly string[]>, options: Partial<TfIdfOptions> = {}): TfIdfFeaturizer {
    const settings = { ...tfIdfDefaults, ...options };
    const stop = new Set(settings.stopWords);
    const df = new Map<string, number>();
    let documents = 0;
    for (const texts of rows) {
      documents++;
      for (const term of new Set(terms(texts, settings, stop))) df.set(term, (df.get(term) ?? 0) + 1);
    }
    const kept = [...df]
      .filter(([, n]) => n >= settings.minDocuments)
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
    for (const term of terms(texts, this.#state, this.#stop)) {
      const id = this.#ids.get(term);
      if (id !== undefined) counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    const indices = Uint32Array.from(counts.keys()).sort();
    const weights = Float64Array.from(
      indices,
      (id) => (1 + Math.log(counts.get(id) as number)) * this.#idf[id],
    );
    const norm = Math.sqrt(weights.reduce((sum, w) => sum + w * w, 0));
    // A word of every row weighs nothing: such a row has a norm of 0.
    const values = Float32Array.from(weights, (w) => (norm === 0 ? 0 : w / norm));
    return { indices, values };
  }
}

function* terms(texts: readonly string[], rule: TfIdfOptions, stop: Set<string>): Generator<string> {
  for (let f = 0; f < texts.length; f++) {
    for (const word of tokenize(texts[f], rule, stop)) yield `${rule.fields[f]}:${word}`;
  }
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
