import { describe, expect, it } from 'vitest';
import { rowRecords } from './arbitrary.testing.js';
import type { CsrDataset } from './dataset.js';
import { Featurizer } from './featurizer/index.js';
import { type WordnetTask, wordnetData } from './wordnet.js';
import { readableLemma, synsetNames } from './wordnet-names.js';

/** The definition's counts; labels and features per row over train, validation and test together. */
const published: [WordnetTask, object][] = [
  [
    'wordnet-related',
    { train: 104_894, test: 11_776, features: 63_460, labels: 109_103, perRow: ['3.06', '9.1'] },
  ],
  [
    'wordnet-hypernym',
    { train: 72_072, test: 8_070, features: 25_407, labels: 16_394, perRow: ['4.69', '7.5'] },
  ],
];

describe.each(published)('%s', (task, counts) => {
  it('has the published counts, distinct names, unit rows, and a featurizer that gives the same rows again', async () => {
    const { train, validation, test, featurizer, labelTexts, testRows } = await wordnetData(task);
    const splits = [train, validation, test];
    const rows = train.rows + validation.rows + test.rows;
    const mean = (of: 'nnz' | 'positives') => splits.reduce((sum, s) => sum + s[of], 0) / rows;
    expect({
      train: train.rows + validation.rows,
      test: test.rows,
      features: train.features,
      labels: train.labels,
      perRow: [mean('positives').toFixed(2), mean('nnz').toFixed(1)],
    }).toEqual(counts);

    expect(new Set(train.labelNames).size).toBe(train.labels);
    expect(testRows.length).toBe(test.rows);
    // The words alone, as a row has them: a name may go on with what the row of that very synset says.
    expect(labelTexts.length).toBe(train.labels);
    const first = (text: string) => readableLemma(text.split(' ')[0]);
    expect(labelTexts.findIndex((text, label) => !train.labelName(label).startsWith(first(text)))).toBe(-1);
    const restored = Featurizer.parse(JSON.stringify(featurizer));
    for (const row of [0, 100, test.rows - 1]) {
      const [begin, end] = [test.indptr[row], test.indptr[row + 1]];
      const values = test.values.subarray(begin, end);
      expect(values.reduce((sum, v) => sum + v * v, 0)).toBeCloseTo(1, 5);
      const [words, ...gloss] = testRows[row].text.split(': ');
      const again = restored.featurize([{ gloss: gloss.join(': '), lemma: words }]);
      expect(again.indices).toEqual(test.indices.slice(begin, end));
      expect(again.values).toEqual(values.slice());
    }
    if (task === 'wordnet-hypernym') expectTransitive(train);
  });
});

/** Whatever is a dog is a mammal. */
function expectTransitive(train: CsrDataset): void {
  const [dog, mammal] = ['dog', 'mammal'].map((name) => train.labelNames?.indexOf(name) as number);
  const rows = rowRecords(train).map(({ labels }) => labels);
  const dogs = rows.filter((labels) => labels.includes(dog));
  expect(dogs.length).toBeGreaterThan(100);
  expect(dogs.every((labels) => labels.includes(mammal))).toBe(true);
}

it('a missing source says which file', async () => {
  await expect(wordnetData('wordnet-related', 'no/such/place')).rejects.toMatchObject({
    code: 'FILE_MISSING',
    facts: { file: 'no/such/place/data.noun', kind: 'system' },
  });
});

describe('names of synsets', () => {
  const synset = (key: string, lemmas: string[], gloss: string) => ({ key, lemmas, gloss, pointers: [] });

  it('add other words, then the gloss, then the key, only as far as needed', () => {
    const names = synsetNames([
      synset('n1', ['solo_word'], 'x'),
      synset('n2', ['bank', 'savings_bank'], 'keeps money'),
      synset('n3', ['bank'], 'sloping land; "by the bank"'),
      synset('n4', ['bank'], 'sloping land'),
      synset('v1', ['run', 'go'], 'move'),
      synset('v2', ['run', 'go'], 'stretch'),
    ]);
    expect(names).toEqual([
      'solo word',
      'bank (savings bank)',
      'bank (sloping land, n3)',
      'bank (sloping land, n4)',
      'run (move)',
      'run (stretch)',
    ]);
  });

  it('lose the marker of adjectives', () => {
    expect(['galore(ip)', 'mere(a)', 'f(x)'].map(readableLemma)).toEqual(['galore', 'mere', 'f(x)']);
  });
});
