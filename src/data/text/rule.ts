/**
 * What counts as a word. Text is folded (Unicode normalisation, case, perhaps accents), cut into words, and short
 * words and stop words are dropped; the rule is stored with every model.
 */
import { EspalierError } from '../../errors.js';

export interface WordRule {
  /** `segmenter`: the words of `Intl.Segmenter`, for any script; `ascii`: runs of [a-z0-9]. */
  readonly words: 'segmenter' | 'ascii';
  readonly normalize: 'NFKC' | 'NFC' | 'none';
  readonly lowerCase: boolean;
  /** Leaves out accents and other marks: `café` and `cafe` are one word. */
  readonly foldAccents: boolean;
  /** Shorter words are dropped, counted in code points. */
  readonly minLength: number;
  /** Compared after folding. */
  readonly stopWords: readonly string[];
}

export const wordRuleDefaults: WordRule = {
  words: 'segmenter',
  normalize: 'NFKC',
  lowerCase: true,
  foldAccents: false,
  minLength: 1,
  stopWords: [],
};

/** The text that is cut into words. */
export function fold(text: string, { normalize, lowerCase, foldAccents }: WordRule): string {
  let folded = normalize === 'none' ? text : text.normalize(normalize);
  if (lowerCase) folded = folded.toLowerCase();
  if (foldAccents) folded = folded.normalize('NFKD').replace(/\p{M}/gu, '').normalize('NFC');
  return folded;
}

let segmenter: Intl.Segmenter | undefined;

/** The one segmenter of this process; the root rules serve every script, so the locale is fixed. */
export function wordSegmenter(): Intl.Segmenter {
  if (segmenter === undefined) {
    if (typeof Intl.Segmenter !== 'function') {
      throw new EspalierError({
        code: 'NO_SEGMENTER',
        kind: 'system',
        op: 'wordSegmenter',
        problem: 'this Node was built without word segmentation',
        expected: 'a Node with full ICU',
        hint: 'use an official build of Node',
      });
    }
    segmenter = new Intl.Segmenter('en', { granularity: 'word' });
  }
  return segmenter;
}

/** The words of one piece of text, in order, before short words and stop words are dropped: the definition. */
export function wordsOf(piece: string, rule: WordRule): string[] {
  const folded = fold(piece, rule);
  if (rule.words === 'ascii') return folded.match(/[a-z0-9]+/g) ?? [];
  const words: string[] = [];
  for (const { segment, isWordLike } of wordSegmenter().segment(folded)) if (isWordLike) words.push(segment);
  return words;
}
