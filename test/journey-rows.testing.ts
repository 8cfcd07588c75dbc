/** A catalogue as a shop or a museum might export it, made of WordNet: real words, a real long tail, awkward rows. */
import { findWordnet, readSynsets } from '../src/data/wordnet-files.js';
import { readableLemma } from '../src/data/wordnet-names.js';

export interface CatalogueRow {
  readonly id: string;
  readonly title: string;
  readonly body: string;
  readonly tags: readonly string[];
}

export interface Catalogue {
  /** What is known at first. */
  readonly known: readonly CatalogueRow[];
  /** Rows of tags that come later, none of which `known` has. */
  readonly later: readonly CatalogueRow[];
}

/** Quotes, a delimiter and blanks: a tag that every format and every shell gets wrong once. */
export const awkwardTag = 'said to be "small", or so';
const LATER = 'beverage';
const SHELVES = new Set(['vehicle', 'food', LATER, 'musical instrument', 'clothing', 'tool']);

/** Sentences in other scripts, by the tag that says so. */
const scripts: Readonly<Record<string, readonly (readonly string[])[]>> = {
  日本語: [
    ['小さな', '古い', '赤い', '木の'],
    ['椅子', '茶碗', '時計', '傘'],
    ['です。', 'を売ります。', 'があります。'],
  ],
  ελληνικά: [
    ['μικρό', 'παλιό', 'κόκκινο', 'ξύλινο'],
    ['τραπέζι', 'ρολόι', 'βιβλίο'],
    ['από τη Θήρα', 'του χωριού', 'για το σπίτι'],
  ],
  العربية: [
    ['كتاب', 'كرسي', 'مصباح', 'إبريق'],
    ['صغير', 'قديم', 'أحمر'],
    ['من السوق', 'للبيت', 'من الخشب'],
  ],
};

/** Foods, clothes, tools, instruments and vehicles at first, drinks later, each tagged with the two nearest kinds that it is of. */
export async function catalogue(): Promise<Catalogue> {
  const synsets = await readSynsets(findWordnet().directory);
  const above = (key: string) => synsets.get(key)?.pointers.find(({ symbol }) => symbol === '@')?.target;
  const nameOf = (key: string) => readableLemma(synsets.get(key)?.lemmas[0] ?? key);
  const known: CatalogueRow[] = [];
  const later: CatalogueRow[] = [];
  for (const { key, lemmas, gloss } of synsets.values()) {
    if (!key.startsWith('n')) continue;
    const kinds: string[] = [];
    for (let k = above(key); k !== undefined && kinds.length < 20; k = above(k)) kinds.push(nameOf(k));
    const shelf = kinds.findIndex((kind) => SHELVES.has(kind));
    if (shelf < 0) continue;
    const tags = new Set(kinds.slice(0, Math.min(2, shelf + 1)));
    const isLater = kinds[shelf] === LATER;
    if (!isLater && /\bsmall\b/.test(gloss)) tags.add(awkwardTag);
    // A line end between a definition and its example.
    const body = gloss.replace('; ', '\n');
    (isLater ? later : known).push({
      id: key,
      title: lemmas.map(readableLemma).join(', '),
      body,
      tags: [...tags],
    });
  }
  const laterTags = new Set(later.flatMap(({ tags }) => tags));
  const first = known.filter(({ tags }) => !tags.some((tag) => laterTags.has(tag)));
  for (const [tag, parts] of Object.entries(scripts)) {
    for (let i = 0; i < 36; i++) {
      const words = parts.map(
        (choices, p) => choices[Math.floor(i / (p === 0 ? 1 : 4 * p)) % choices.length],
      );
      first.push({ id: `${tag} ${i}`, title: words[1], body: words.join(' '), tags: [tag] });
    }
  }
  return { known: first, later };
}

const quoted = (text: string) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** A line as a spreadsheet writes it. */
export const csvLine = ({ id, title, body, tags }: CatalogueRow): string =>
  `${[id, title, body, tags.join(';')].map(quoted).join(',')}\r\n`;

export const csvHead = 'id,title,body,tags\r\n';
