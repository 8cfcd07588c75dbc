/** Which terms become features, and in which order: the most frequent first, then by section and bytes. */
import { fnv, mixHash, TermTable } from '../text/term-table.js';
import type { CountedTerm } from './counts.js';
import type { FeaturizerOptions } from './options.js';

export interface Vocabulary {
  readonly table: TermTable;
  /** [terms] */
  readonly df: Uint32Array;
  /** Distinct terms seen, and how many were left out as too rare, too frequent, or above `maxFeatures`. */
  readonly seen: number;
  readonly rare: number;
  readonly common: number;
  readonly beyond: number;
}

type Limits = Extract<FeaturizerOptions['vocabulary'], { kind: 'terms' }>;

/** Selects from terms that come in the order of sections and bytes, in memory for twice `maxFeatures`. */
export function selectTerms(terms: Iterable<CountedTerm>, documents: number, limits: Limits): Vocabulary {
  const largest = Math.floor(limits.maxDocumentShare * documents);
  let kept: { readonly term: CountedTerm; readonly place: number }[] = [];
  let [seen, rare, common] = [0, 0, 0];
  const cut = () => {
    kept.sort((a, b) => b.term.df - a.term.df || a.place - b.place);
    kept.length = Math.min(kept.length, limits.maxFeatures);
  };
  for (const term of terms) {
    const place = seen++;
    if (term.df < limits.minDocuments) rare++;
    else if (term.df > largest) common++;
    else {
      // The bytes are a view of a run: a copy lets the run go.
      kept.push({ term: { ...term, bytes: Uint8Array.from(term.bytes) }, place });
      if (kept.length >= 2 * limits.maxFeatures) cut();
    }
  }
  const before = seen - rare - common;
  cut();
  const table = new TermTable();
  const df = new Uint32Array(kept.length);
  for (const { term } of kept) {
    const { section, bytes } = term;
    df[table.add(section, bytes, 0, bytes.length, mixHash(fnv(bytes, 0, bytes.length), section))] = term.df;
  }
  kept = [];
  return { table, df, seen, rare, common, beyond: before - table.count };
}
