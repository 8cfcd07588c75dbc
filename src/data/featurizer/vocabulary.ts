/** Which terms become features, and in which order: the most frequent first, then by section and bytes. */
import { fnv, mixHash, TermTable } from '../text/term-table.js';
import type { CountedTerm } from './counts.js';
import type { FeaturizerOptions } from './options.js';

export interface Vocabulary {
  readonly table: TermTable;
  /** [terms] */
  readonly df: Uint32Array;
}

type Limits = Extract<FeaturizerOptions['vocabulary'], { kind: 'terms' }>;

/** Selects from terms that come in the order of sections and bytes, in memory for twice `maxFeatures`. */
export function selectTerms(terms: Iterable<CountedTerm>, documents: number, limits: Limits): Vocabulary {
  const largest = Math.floor(limits.maxDocumentShare * documents);
  const kept: { readonly term: CountedTerm; readonly place: number }[] = [];
  let place = 0;
  const cut = () => {
    kept.sort((a, b) => b.term.df - a.term.df || a.place - b.place);
    kept.length = Math.min(kept.length, limits.maxFeatures);
  };
  for (const term of terms) {
    if (term.df < limits.minDocuments || term.df > largest) continue;
    // The bytes are a view of a run: a copy lets the run go.
    kept.push({ term: { ...term, bytes: Uint8Array.from(term.bytes) }, place: place++ });
    if (kept.length >= 2 * limits.maxFeatures) cut();
  }
  cut();
  const table = new TermTable();
  const df = new Uint32Array(kept.length);
  for (const { term } of kept) {
    const { section, bytes } = term;
    df[table.add(section, bytes, 0, bytes.length, mixHash(fnv(bytes, 0, bytes.length), section))] = term.df;
  }
  return { table, df };
}
