/** Where the words of an explanation stand in the text, for highlighting. */
import type { FeaturizerOptions } from '../data/featurizer/index.js';
import { wordSegmenter, wordsOf } from '../data/text/rule.js';
import type { Explanation } from './explain.js';

/** A word of the text that an explanation speaks of. */
export interface Evidence {
  /** In UTF-16 units of the text as it came. */
  readonly start: number;
  readonly end: number;
  /** The features that the word is part of. */
  readonly features: readonly number[];
  /** What they add together; a feature of several words is shared out among them. */
  readonly contribution: number;
}

// Longer texts are marked so far: cutting into words takes a second per million characters.
const longest = 1 << 16;

/**
 * The words of a text column that are part of explained features, ascending: words themselves, runs of words, and
 * runs of characters within a word. Hashed features have no words.
 */
export function evidenceIn(
  text: string,
  column: string,
  options: FeaturizerOptions,
  why: Pick<Explanation, 'features'>,
): Evidence[] {
  const section = options.shareColumns ? options.text.join('+') : column;
  const terms = new Map<string, { feature: number; contribution: number }>();
  for (const { feature, name, contribution } of why.features) {
    if (name?.startsWith(section) && (name[section.length] === ':' || name[section.length] === '~')) {
      terms.set(name.slice(section.length), { feature, contribution });
    }
  }
  if (terms.size === 0) return [];
  const words = placesOf(text.slice(0, longest), options);
  const sums = words.map(() => ({ features: [] as number[], contribution: 0 }));
  const give = (term: string, from: number, to: number) => {
    const found = terms.get(term);
    if (found === undefined) return;
    for (let w = from; w < to; w++) {
      sums[w].features.push(found.feature);
      sums[w].contribution += found.contribution / (to - from);
    }
  };
  for (let w = 0; w < words.length; w++) {
    let run = '';
    for (let to = w + 1; to <= Math.min(words.length, w + options.wordNGrams); to++) {
      run += run === '' ? words[w].word : ` ${words[to - 1].word}`;
      give(`:${run}`, w, to);
    }
    for (const characters of runsOfCharacters(words[w].word, options)) give(`~${characters}`, w, w + 1);
  }
  return words
    .map(({ start, end }, w) => ({ start, end, ...sums[w] }))
    .filter(({ features }) => features.length > 0);
}

interface Place {
  readonly start: number;
  readonly end: number;
  /** Folded, as the featurizer sees it. */
  readonly word: string;
}

/** The words of the text as it came; each is folded by itself. */
function placesOf(text: string, options: FeaturizerOptions): Place[] {
  const stop = new Set(options.stopWords);
  const places: Place[] = [];
  const pieces =
    options.words === 'ascii'
      ? Array.from(text.matchAll(/[A-Za-z0-9]+/g), (match) => ({ segment: match[0], index: match.index }))
      : [...wordSegmenter().segment(text)].filter(({ isWordLike }) => isWordLike);
  for (const { segment, index } of pieces) {
    const word = wordsOf(segment, options).join(' ');
    if (word === '' || [...word].length < options.minLength || stop.has(word)) continue;
    places.push({ start: index, end: index + segment.length, word });
  }
  return places;
}

/** From the blank before a word to the blank behind it, each run once. */
function runsOfCharacters(word: string, { characterNGrams }: FeaturizerOptions): Set<string> {
  const runs = new Set<string>();
  if (characterNGrams === null) return runs;
  const characters = [' ', ...word, ' '];
  for (let from = 0; from < characters.length; from++) {
    const last = Math.min(characters.length, from + characterNGrams.max);
    for (let to = from + characterNGrams.min; to <= last; to++) runs.add(characters.slice(from, to).join(''));
  }
  return runs;
}

/** An explanation with the words of an input that it speaks of. */
export interface Highlight extends Evidence {
  readonly field: string;
}

/** The evidence in every text column of a row; a bare text is the first column. */
export function highlightsOf(
  input: string | Readonly<Record<string, unknown>>,
  options: FeaturizerOptions,
  why: Pick<Explanation, 'features'>,
): Highlight[] {
  const row = typeof input === 'string' ? { [options.text[0]]: input } : input;
  return options.text.flatMap((field) => {
    const text = Object.hasOwn(row, field) ? row[field] : undefined;
    return typeof text === 'string'
      ? evidenceIn(text, field, options, why).map((place) => ({ field, ...place }))
      : [];
  });
}
