/** Labels by words of a question that they are called by: answers against a slow twin; files, threads, damage. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CsrBuilder } from '../../data/builder.js';
import { CsrDataset } from '../../data/dataset.js';
import { datasetContent } from '../../data/dataset-file.js';
import { rowsOfTexts } from '../../data/label-rows.js';
import { referenceKernels } from '../../kernels/reference/index.js';
import { explainRow } from '../explain.js';
import { type LoadedModel, loadClassifier } from '../model-io.js';
import { type SparseInput, topRows } from '../predict.js';
import { removeLabels } from '../remove-labels.js';
import { adoptModel, shareModel } from '../shared-model.js';
import { kinds, saveTinyModel, tinyFeaturizer, tinyRows, words } from '../tiny-model.testing.js';
import type { VoteSettings } from './rows.js';

const labels = 37;
const featurizer = tinyFeaturizer();
/** Some alike, some longer than others, one in no known word. */
const names = Array.from({ length: labels }, (_, l) =>
  l === 5 ? 'unheard-of' : l % 3 === 0 ? words[l % 7] : `${words[l % 7]}_${words[(l * 3) % 10]}`,
);
const texts = rowsOfTexts(featurizer, names, ['text', 'title']);
const questions = words.map((word, i): SparseInput => {
  const rest = words.slice(i + 2, i + 4).join(' ');
  return featurizer.featurize([{ title: word, text: `${rest} ${words[(3 * i) % words.length]}` }]);
});

let home: string;
let runs = 0;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-label-texts-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

const tiny = tinyRows(labels);
const called = { nearest: 6, textTemperature: 0.2, textWeight: 4 };
async function saved(settings: Partial<VoteSettings>, output: unknown = kinds['fan-in']): Promise<string> {
  const run = join(home, `run-${runs++}`);
  const remembered = { ...tiny, settings: { ...tiny.settings, ...called, ...settings }, texts };
  await saveTinyModel(run, { labels, output: output as object, remembered });
  return run;
}
const without = ({ remembered, ...model }: LoadedModel): LoadedModel => ({
  ...model,
  remembered: { ...remembered!, texts: null },
});

function unit({ indices, values }: SparseInput): Map<number, number> {
  const x = new Map<number, number>();
  for (let e = 0; e < indices.length; e++) x.set(indices[e], (x.get(indices[e]) ?? 0) + values[e]);
  const length = Math.hypot(...x.values());
  return new Map([...x].map(([feature, value]) => [feature, value / length]));
}

/** What each label gets, from the formula: every label is compared. */
function slowShares(question: SparseInput, { nearest, textTemperature: t, textWeight: u }: typeof called) {
  const x = unit(question);
  const alike = names
    .map((name, label) => {
      const own = name.replaceAll('_', ' ');
      const y = unit(featurizer.featurize([{ text: own, title: own }]));
      let cosine = 0;
      for (const [feature, value] of x) cosine += value * (y.get(feature) ?? 0);
      return { label, cosine };
    })
    .filter(({ cosine }) => cosine > 0)
    // Those of one cosine but for rounding: the first.
    .sort((a, b) => (Math.abs(b.cosine - a.cosine) < 1e-6 ? a.label - b.label : b.cosine - a.cosine))
    .slice(0, nearest);
  const weights = alike.map(({ cosine }) => Math.exp(cosine / t));
  const sum = weights.reduce((all, one) => all + one, 0);
  return new Map(alike.map(({ label }, i) => [label, (u * weights[i]) / sum]));
}

const ways = [
  ['beside both votes', {}],
  ['beside votes by direction', { featureWeight: 0 }],
  ['alone', { weight: 0, featureWeight: 0 }],
] as const;

describe.each(Object.entries(kinds))('what labels are called beside a layer, %s', (_, output) => {
  it.each(ways)('adds what the formula says, best first, whatever k is: %s', async (_, settings) => {
    const model = await loadClassifier(await saved(settings, output), referenceKernels('float64'));
    const all = await topRows(model, questions, labels);
    const plain = await topRows(without(model), questions, labels);
    let cut = 0;
    for (const [r, question] of questions.entries()) {
      const shares = slowShares(question, called);
      if (shares.size === called.nearest) cut++;
      const expected = new Float64Array(labels);
      for (let i = r * labels; i < (r + 1) * labels; i++)
        expected[plain.labels[i]] = plain.scores[i] + (shares.get(plain.labels[i]) ?? 0);
      const order = [...expected].sort((a, b) => b - a);
      for (let i = 0; i < labels; i++) {
        const [label, score] = [all.labels[r * labels + i], all.scores[r * labels + i]];
        // Lengths of rows are kept in float32.
        expect(score).toBeCloseTo(expected[label], 5);
        expect(score).toBeCloseTo(order[i], 5);
      }
    }
    expect(cut).toBeGreaterThan(3);
    for (const k of [1, 2, 5]) {
      const some = await topRows(model, questions, k);
      for (let r = 0; r < questions.length; r++)
        expect(some.labels.subarray(r * k, (r + 1) * k)).toEqual(
          all.labels.subarray(r * labels, r * labels + k),
        );
    }
  });

  it('is explained: everything adds up to the score', async () => {
    const model = await loadClassifier(await saved({}, output), referenceKernels('float64'));
    let counted = 0;
    for (const question of questions) {
      const shares = slowShares(question, called);
      const top = await topRows(model, [question], labels);
      for (const [at, why] of explainRow(model, question, [...top.labels], 1000).entries()) {
        const sum = why.features.reduce((total, { contribution }) => total + contribution, 0);
        const ofRows = why.votes!.contribution + why.featureVotes!.contribution;
        expect(why.labelText).toBeCloseTo(shares.get(why.label) ?? 0, 5);
        expect(why.score).toBeCloseTo(top.scores[at], 9);
        expect(why.base + sum + ofRows + why.labelText!).toBeCloseTo(why.score, 9);
        if (why.labelText !== 0) counted++;
      }
      expect(explainRow(without(model), question, [3], 5)[0].labelText).toBeNull();
    }
    expect(counted).toBeGreaterThan(20);
  });
});

describe('a model that counts by which words labels are called', () => {
  const kernels = referenceKernels('float32');

  it('knows no label by words that it does not know, nor a question without words', async () => {
    expect(texts.rows).toBe(labels - 1);
    expect([...texts.labelIds]).not.toContain(5);
    const model = await loadClassifier(await saved({ weight: 0, featureWeight: 0 }), kernels);
    const silence = [{ indices: [], values: [] }];
    expect(await topRows(model, silence, labels)).toEqual(await topRows(without(model), silence, labels));
  });

  it('answers in another thread with the same bits, over memory that is shared', async () => {
    const run = await saved({});
    const shared = await shareModel(run, kernels);
    const { examples, postings } = shared.remembered!.texts!;
    const { indptr, indices, values, labelIndptr, labelIds } = examples;
    const all = [indptr, indices, values, labelIndptr, labelIds];
    for (const array of [...all, postings.begin, postings.rowOf, postings.values])
      expect(array.buffer).toBeInstanceOf(SharedArrayBuffer);
    const expected = await topRows(await loadClassifier(run, kernels), questions, 6);
    expect(await topRows(adoptModel(shared, kernels), questions, 6)).toEqual(expected);
  });

  it('answers as without texts where they weigh nothing, and saves none then', async () => {
    const [mute, loud] = [await saved({ textWeight: 0 }), await saved({})];
    const filesOf = async (run: string) => {
      const model = (await readdir(run)).find((one) => one.startsWith('model-')) as string;
      return readdir(join(run, model));
    };
    expect(await filesOf(mute)).not.toContain('remembered-texts.bin');
    expect(await filesOf(loud)).toContain('remembered-texts.bin');
    const model = await loadClassifier(loud, kernels);
    expect(model.remembered?.settings).toEqual({ ...tiny.settings, ...called });
    expect(await topRows(await loadClassifier(mute, kernels), questions, labels)).toEqual(
      await topRows(without(model), questions, labels),
    );
  });

  it.each([{}, { weight: 0, featureWeight: 0 }])(
    'keeps what the labels are called that are left when others are removed: %o',
    async (settings) => {
      const out = join(home, `run-${runs++}`);
      await removeLabels(await saved(settings), ['label "0" ŕ', 'label "9" ŕ'], out, kernels);
      const left = new CsrDataset((await loadClassifier(out, kernels)).remembered!.texts!.examples);
      const kept = Array.from(texts.labelIds.keys()).filter((row) => ![0, 9].includes(texts.labelIds[row]));
      expect(left.rows).toBe(kept.length);
      const stayed = Array.from({ length: labels }, (_, l) => l).filter((l) => l !== 0 && l !== 9);
      for (const [row, before] of kept.entries()) {
        expect(stayed[left.labelIds[row]]).toBe(texts.labelIds[before]);
        expect(left.indices.subarray(left.indptr[row], left.indptr[row + 1])).toEqual(
          texts.indices.subarray(texts.indptr[before], texts.indptr[before + 1]),
        );
      }
    },
  );

  const otherLabels = datasetContent('x', new CsrBuilder({ features: texts.features, labels: 3 }).finish());
  it.each([
    ['texts cut short', 'remembered-texts.bin', (bytes: Buffer) => bytes.subarray(0, -4)],
    ['texts of other labels', 'remembered-texts.bin', () => Buffer.concat([...otherLabels.content])],
    ['no texts', 'remembered-texts.bin', () => null],
    [
      'a weight without bounds',
      'remembered-rows.json',
      (bytes: Buffer) => Buffer.from(bytes.toString().replace('"weight":4', '"weight":4e9')),
    ],
    [
      'a temperature of 0',
      'remembered-rows.json',
      (bytes: Buffer) => Buffer.from(bytes.toString().replace('"temperature":0.2', '"temperature":0')),
    ],
  ])('is refused by name with %s', async (_, file, damage) => {
    const run = await saved({});
    const model = (await readdir(run)).find((one) => one.startsWith('model-')) as string;
    const path = join(run, model, file);
    const before = await readFile(path);
    const bytes = damage(Buffer.from(before));
    if (bytes === null) await rm(path);
    else {
      expect(bytes).not.toEqual(before);
      await writeFile(path, bytes);
    }
    for (const load of [loadClassifier, shareModel])
      await expect(load(run, kernels)).rejects.toMatchObject({
        code: expect.stringMatching(/^(FILE_|REMEMBERED_ROWS|DATASET_FILE_|MODEL_)/),
      });
  });
});
