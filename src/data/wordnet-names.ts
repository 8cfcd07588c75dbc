/** Readable, distinct names for synsets: words first, more words or the gloss only where two would be alike. */
import type { Synset } from './wordnet-files.js';

/** `domestic dog` for `domestic_dog`; adjectives lose their place marker, `(a)`, `(p)` or `(ip)`. */
export function readableLemma(lemma: string): string {
  return lemma.replace(/\((a|p|ip)\)$/, '').replaceAll('_', ' ');
}

/** `dog, domestic dog: a member of the genus Canis ...` */
export function synsetText(synset: Synset): string {
  return `${synset.lemmas.map(readableLemma).join(', ')}: ${synset.gloss}`;
}

/**
 * One name per synset, no two alike: the first word (`thing`); where others share it, the other words
 * (`bank (depository financial institution, ...)`), else the beginning of the gloss, at last the key.
 */
export function synsetNames(synsets: readonly Synset[]): string[] {
  const names = synsets.map(({ lemmas }) => readableLemma(lemmas[0]));
  const refinements: ((synset: Synset) => string)[] = [
    ({ lemmas, gloss }) => lemmas.slice(1, 4).map(readableLemma).join(', ') || firstWords(gloss),
    ({ gloss }) => firstWords(gloss),
    ({ gloss, key }) => `${firstWords(gloss)}, ${key}`,
  ];
  for (const refine of refinements) {
    const seen = new Map<string, number>();
    for (const name of names) seen.set(name, (seen.get(name) ?? 0) + 1);
    for (let i = 0; i < names.length; i++) {
      if ((seen.get(names[i]) as number) < 2) continue;
      names[i] = `${readableLemma(synsets[i].lemmas[0])} (${refine(synsets[i])})`;
    }
  }
  return names;
}

/** The definition up to its first semicolon, cut at a word near 48 characters. */
function firstWords(gloss: string): string {
  const definition = gloss.split(';')[0].trim();
  if (definition.length <= 48) return definition;
  return `${definition.slice(0, definition.lastIndexOf(' ', 48))} ...`;
}
