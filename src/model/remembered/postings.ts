/**
 * Rows by what they have in common with a question: for each feature the rows that have it. Only those are looked at, and
 * the nearest by cosine of features are exact.
 */
import { type RowsByLabel, rowsByLabel } from '../../data/by-label.js';
import type { CsrDatasetParts } from '../../data/dataset.js';
import type { Questions } from './namesakes.js';

/** A remembered row that is among the nearest. */
export interface Vote {
  readonly row: number;
  readonly cosine: number;
}

/** Plain data. */
export interface Postings extends RowsByLabel {
  /** Rows there are, those without features too. */
  readonly rows: number;
  /** [entries], of the row's features divided by their length. */
  readonly values: Float32Array;
}

export function postingsOf({ rows, features, indptr, indices, values }: CsrDatasetParts): Postings {
  // Rows by feature are found as rows by label are.
  const { begin, rowOf } = rowsByLabel({ rows, labels: features, labelIndptr: indptr, labelIds: indices });
  const next = begin.slice();
  const units = new Float32Array(rowOf.length);
  for (let row = 0; row < rows; row++) {
    let squares = 0;
    for (let e = indptr[row]; e < indptr[row + 1]; e++) squares += values[e] ** 2;
    const scale = squares > 0 ? 1 / Math.sqrt(squares) : 0;
    for (let e = indptr[row]; e < indptr[row + 1]; e++) units[next[indices[e]]++] = scale * values[e];
  }
  return { rows, begin, rowOf, values: units };
}

/**
 * The k rows whose features have the largest cosine with those of row `r`, above 0; equal ones: the smaller row first.
 * Fewer where fewer share a feature. A feature that the question has twice counts with the sum of its values.
 */
export function nearestByFeatures(postings: Postings, questions: Questions, r: number, k: number): Vote[] {
  const { begin, rowOf, values } = postings;
  const { cosines, seen, touched } = scratchOf(postings);
  const own = new Map<number, number>();
  for (let e = questions.indptr[r]; e < questions.indptr[r + 1]; e++) {
    const feature = questions.indices[e];
    own.set(feature, (own.get(feature) ?? 0) + (questions.values?.[e] ?? 1));
  }
  let squares = 0;
  for (const value of own.values()) squares += value * value;
  const scale = squares > 0 ? 1 / Math.sqrt(squares) : 0;
  let count = 0;
  for (const [feature, value] of own) {
    const x = scale * value;
    for (let e = begin[feature]; e < begin[feature + 1]; e++) {
      const row = rowOf[e];
      // A sum may come back to 0 and tells nothing of who was there.
      if (seen[row] === 0) touched[count++] = row;
      seen[row] = 1;
      cosines[row] += x * values[e];
    }
  }
  const found = touched.subarray(0, count);
  const best = mostAlike(cosines, found, k);
  for (const row of found) seen[row] = cosines[row] = 0;
  return best;
}

/** The k largest above 0 of `touched`. */
function mostAlike(cosines: Float64Array, touched: Uint32Array, k: number): Vote[] {
  // The k best so far, the best first: hardly any of the many that share a frequent word get here.
  const best: Vote[] = [];
  let least = 0;
  for (const row of touched) {
    const cosine = cosines[row];
    if (!(cosine > 0 && (best.length < k || cosine >= least))) continue;
    let at = best.length;
    while (
      at > 0 &&
      (best[at - 1].cosine < cosine || (best[at - 1].cosine === cosine && best[at - 1].row > row))
    )
      at--;
    best.splice(at, 0, { row, cosine });
    if (best.length > k) best.pop();
    least = best[best.length - 1].cosine;
  }
  return best;
}

/** Room of one thread: zeros between questions. */
interface Scratch {
  readonly cosines: Float64Array;
  readonly seen: Uint8Array;
  readonly touched: Uint32Array;
}

const scratches = new WeakMap<Postings, Scratch>();

function scratchOf(postings: Postings): Scratch {
  let scratch = scratches.get(postings);
  if (scratch === undefined) {
    const { rows } = postings;
    const [cosines, seen] = [new Float64Array(rows), new Uint8Array(rows)];
    scratch = { cosines, seen, touched: new Uint32Array(rows) };
    scratches.set(postings, scratch);
  }
  return scratch;
}
