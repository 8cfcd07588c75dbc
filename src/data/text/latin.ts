/**
 * Tables of the fast path: how each Latin character folds, and how it behaves at word boundaries (Unicode Standard
 * Annex 29, section 4.1).
 *
 * NOTE: the behaviour is asked from `Intl.Segmenter` itself, character by character, because its rules differ
 * between versions of Node (the colon was once part of words). What the few probes cannot place is `SLOW`.
 */
import { fold, type WordRule, wordSegmenter } from './rule.js';

export const OTHER = 0;
export const LETTER = 1;
export const DIGIT = 2;
/** Joins letters and digits, as `_`. */
export const JOINER = 3;
/** Inside a word between two letters, as the middle dot. */
export const MID_LETTER = 4;
/** Between two digits, as the comma. */
export const MID_DIGIT = 5;
/** Between two letters or two digits, as the apostrophe. */
export const MID_BOTH = 6;
/** Not for the fast path. */
export const SLOW = 7;

/** U+0000 to U+024F: Basic Latin to Latin Extended-B. */
export const LATIN_END = 0x250;
/** U+2000 to U+20BF, general punctuation to currency signs, are stored behind them. */
const PUNCTUATION = 0x2000;
const PUNCTUATION_END = 0x20c0;
const SIZE = LATIN_END + PUNCTUATION_END - PUNCTUATION;

export interface LatinTable {
  /** Behaviour of each character. [SIZE] */
  readonly kind: Uint8Array;
  /** The code point it folds to; of no meaning where `kind` is OTHER or SLOW. [SIZE] */
  readonly folded: Uint16Array;
}

const known = new Map<string, LatinTable>();

/** The table of a rule; made once. */
export function latinTable(rule: WordRule): LatinTable {
  const key = `${rule.words} ${rule.normalize} ${rule.lowerCase} ${rule.foldAccents}`;
  let table = known.get(key);
  if (table === undefined) {
    table = rule.words === 'ascii' ? asciiTable(rule) : probedTable(rule);
    known.set(key, table);
  }
  return table;
}

function probedTable(rule: WordRule): LatinTable {
  const kind = new Uint8Array(SIZE).fill(SLOW);
  const folded = new Uint16Array(SIZE);
  const kinds = new Map<string, number>();
  const kindOf = (c: string): number => {
    const found = kinds.get(c) ?? behaviour(c);
    kinds.set(c, found);
    return found;
  };
  for (let i = 0; i < SIZE; i++) {
    const code = i < LATIN_END ? i : PUNCTUATION + i - LATIN_END;
    const text = fold(String.fromCharCode(code), rule);
    // Two or more marks in a row, as the dots of an ellipsis, never stand inside a word.
    if (text.length !== 1) {
      if (text.length > 1 && [...text].every((c) => c < '\x80' && isMark(kindOf(c)))) kind[i] = OTHER;
      continue;
    }
    kind[i] = kindOf(text);
    folded[i] = text.charCodeAt(0);
  }
  return { kind, folded };
}

function isMark(kind: number): boolean {
  return kind === OTHER || (kind >= MID_LETTER && kind <= MID_BOTH);
}

function behaviour(c: string): number {
  const segmenter = wordSegmenter();
  const parts = (text: string) => [...segmenter.segment(text)];
  const whole = (text: string) => parts(text).length === 1;
  const alone = parts(c)[0].isWordLike === true;
  if (whole(`a${c}`)) {
    if (!whole(`${c}a`) || !whole(`1${c}`) || !whole(`${c}1`)) return SLOW;
    if (!alone) return parts(c + c)[0].isWordLike === true && whole(c + c) ? JOINER : SLOW;
    if (whole(`${c}'a`) && !whole(`${c}'1`)) return LETTER;
    return whole(`${c}'1`) && !whole(`${c}'a`) ? DIGIT : SLOW;
  }
  if (alone || whole(`1${c}`) || whole(`${c}a`) || whole(`${c}1`)) return SLOW;
  const [letters, digits] = [whole(`a${c}a`), whole(`1${c}1`)];
  if (letters) return digits ? MID_BOTH : MID_LETTER;
  return digits ? MID_DIGIT : OTHER;
}

/** Runs of [a-z0-9]; characters beyond ASCII may fold into it (U+212A to k), so they go the slow way. */
function asciiTable(rule: WordRule): LatinTable {
  const kind = new Uint8Array(SIZE).fill(SLOW);
  const folded = new Uint16Array(SIZE);
  for (let code = 0; code < 0x80; code++) {
    const to = fold(String.fromCharCode(code), rule);
    folded[code] = to.charCodeAt(0);
    kind[code] = /[a-z0-9]/.test(to) ? LETTER : OTHER;
  }
  return { kind, folded };
}
