/** Where the words of an explanation stand in the text, for highlighting. */
import type { Explanation } from './explain.js';

export interface Evidence {
  /** In UTF-16 units. */
  readonly start: number;
  readonly end: number;
  readonly feature: number;
  readonly contribution: number;
}

const WORDS = /[\p{L}\p{M}\p{N}]+/gu;

/**
 * The places in `text` of every explained word, ascending. Features are named `field:word`; those of other fields and
 * features that are no single word (counts, n-grams) have no place.
 */
export function evidenceIn(text: string, field: string, why: Explanation): Evidence[] {
  const byWord = new Map<string, { feature: number; contribution: number }>();
  for (const { feature, name, contribution } of why.features) {
    if (name?.startsWith(`${field}:`)) byWord.set(name.slice(field.length + 1), { feature, contribution });
  }
  const found: Evidence[] = [];
  if (byWord.size === 0) return found;
  for (const match of text.matchAll(WORDS)) {
    const hit = byWord.get(match[0].toLowerCase());
    if (hit !== undefined) found.push({ start: match.index, end: match.index + match[0].length, ...hit });
  }
  return found;
}
