/**
 * Labels that are called exactly as a question is: in one column of text both have the same terms of the vocabulary. How
 * much that says for a label, or against it, is learnt on validation rows: of items that are labels of each other it says
 * that the label is the item itself, which is no answer; of tags that the text spells the tag out.
 */
import type { CsrDataset } from '../../data/dataset.js';
import type { Featurizer } from '../../data/featurizer/index.js';
import { labelFeatures } from '../../data/label-rows.js';

/** Plain data. */
export interface Namesakes {
  /** The column of text in which questions and labels are compared. */
  readonly column: string;
  /** [features], 1: a term of that column. */
  readonly terms: Uint8Array;
  /** [labels], `keyOf` what each label is called; 0: in no word that is known. */
  readonly keys: Float64Array;
  /** [labels], by rising key, equal ones by number. */
  readonly order: Uint32Array;
}

/** Rows of features, as a batch has them. */
export interface Questions {
  readonly indptr: ArrayLike<number>;
  readonly indices: Uint32Array;
  /** Default: ones. */
  readonly values?: ArrayLike<number> | null;
}

/** What more labels than these are called alike says of none of them. */
const mostNamesakes = 64;

/** The terms of a column as one number: 53 bits of two hashes (FNV-1a's prime, and another), 0 where there are none. */
export function keyOf(indices: Uint32Array, from: number, to: number, terms: Uint8Array): number {
  let [low, high, found] = [0x811c9dc5, 0x9e3779b9, 0];
  for (let e = from; e < to; e++) {
    if (terms[indices[e]] === 0) continue;
    low = Math.imul(low ^ indices[e], 0x01000193);
    low ^= low >>> 15;
    high = Math.imul(high ^ indices[e], 0x85ebca6b);
    high ^= high >>> 13;
    found++;
  }
  return found === 0 ? 0 : Math.max(1, (high >>> 11) * 2 ** 32 + (low >>> 0));
}

/** What labels are called, ready to be asked. */
export function namesakes(column: string, terms: Uint8Array, keys: Float64Array): Namesakes {
  const order = new Uint32Array(new SharedArrayBuffer(4 * keys.length));
  order.set(Uint32Array.from(keys, (_, label) => label).sort((a, b) => keys[a] - keys[b] || a - b));
  return { column, terms, keys, order };
}

/** The labels that are called as row `r` is, ascending; none for a row without a known word in the column. */
export function namesakesOf({ terms, keys, order }: Namesakes, { indptr, indices }: Questions, r: number) {
  const key = keyOf(indices, indptr[r], indptr[r + 1], terms);
  if (key === 0) return order.subarray(0, 0);
  const begin = firstAt(keys, order, key);
  const end = firstAt(keys, order, key + 1);
  return end - begin > mostNamesakes ? order.subarray(0, 0) : order.subarray(begin, end);
}

/** The first place in `order` whose key is not below `key`. */
function firstAt(keys: Float64Array, order: Uint32Array, key: number): number {
  let [low, high] = [0, order.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[order[middle]] < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Names compared in the column in which most of `rows` have a namesake, the first of equals; null where none has one, or
 * where terms are hashed, so that nothing tells columns apart.
 */
export function namesIn(
  featurizer: Featurizer,
  texts: readonly string[],
  rows: CsrDataset,
): Namesakes | null {
  let best: Namesakes | null = null;
  let most = 0;
  for (const column of featurizer.options.text) {
    const terms = featurizer.termsOf(column);
    if (terms === null) continue;
    const names = namesakes(column, terms, keysOf(featurizer, texts, column, terms));
    let found = 0;
    for (let row = 0; row < rows.rows; row++) if (namesakesOf(names, rows, row).length > 0) found++;
    if (found > most) [best, most] = [names, found];
  }
  return best;
}

function keysOf(featurizer: Featurizer, texts: readonly string[], column: string, terms: Uint8Array) {
  const keys = new Float64Array(new SharedArrayBuffer(8 * texts.length));
  for (const { label, indptr, indices, row } of labelFeatures(featurizer, texts, [column]))
    keys[label] = keyOf(indices, indptr[row], indptr[row + 1], terms);
  return keys;
}
