/** Labels that are called as a question is: answers against a slow twin that compares words; files, threads, damage. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CsrBuilder } from '../../data/builder.js';
import { Featurizer } from '../../data/featurizer/index.js';
import { RandomStream } from '../../kernels/random.js';
import { referenceKernels } from '../../kernels/reference/index.js';
import { explainRow } from '../explain.js';
import { type LoadedModel, loadClassifier } from '../model-io.js';
import { topRows } from '../predict.js';
import { removeLabels } from '../remove-labels.js';
import { adoptModel, shareModel } from '../shared-model.js';
import { kinds, saveTinyModel, tinyFeaturizer, tinyRows, words } from '../tiny-model.testing.js';
import { keyOf, namesakes, namesakesOf, namesIn } from './namesakes.js';

const labels = 37;
const featurizer = tinyFeaturizer();
/** Some alike, one in no known word. */
const texts = Array.from({ length: labels }, (_, l) =>
  l === 5 ? 'unheard-of' : l % 3 === 0 ? words[l % 7] : `${words[l % 7]}_${words[(l * 3) % 10]}`,
);
/** Titles of one word, as labels have them, and texts of three, which none has. */
function titled() {
  const builder = new CsrBuilder({ features: featurizer.features, labels });
  for (const [i, title] of words.entries()) {
    const text = [1, 2, 3].map((more) => words[(i + more) % words.length]).join(' ');
    const { indices, values } = featurizer.featurize([{ text, title }]);
    builder.row(indices, values, [i]);
  }
  return builder.finish();
}
const names = namesIn(featurizer, texts, titled())!;
const asked = [...words, `${words[1]} ${words[3]}`, `${words[4]} ${words[2]}`, 'nothing known', ''].map(
  (title, i) => ({ title, text: words[(3 * i + 1) % words.length] }),
);
const questions = asked.map((row) => {
  const { indices, values } = featurizer.featurize([row]);
  return { indices, values };
});

let home: string;
let runs = 0;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-namesakes-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

async function saved(namesake: number, options: object = {}, weight = 6): Promise<string> {
  const run = join(home, `run-${runs++}`);
  const { settings, examples } = tinyRows(labels);
  const remembered = { settings: { ...settings, weight, namesake }, examples, names };
  await saveTinyModel(run, { labels, remembered, ...options });
  return run;
}

const wordsOf = (text: string) =>
  new Set(
    text
      .toLowerCase()
      .split(/[^\p{L}]+/u)
      .filter((word) => words.includes(word)),
  );
/** From the words themselves. */
function isNamesake(label: number, { title }: { title: string }): boolean {
  const [a, b] = [wordsOf(texts[label].replaceAll('_', ' ')), wordsOf(title)];
  return a.size > 0 && a.size === b.size && [...a].every((word) => b.has(word));
}

it('compares in the column in which most rows have a namesake', () => {
  expect(names.column).toBe('title');
  const found = asked.map((row) =>
    Array.from({ length: labels }, (_, l) => l).filter((l) => isNamesake(l, row)),
  );
  expect(found.filter((some) => some.length > 1).length).toBeGreaterThan(3);
  for (const [i, { indices }] of questions.entries()) {
    const question = { indptr: [0, indices.length], indices };
    expect([...namesakesOf(names, question, 0)]).toEqual(found[i]);
  }
});

describe.each(Object.entries(kinds))('namesakes beside a layer, %s', (_, output) => {
  it.each([-40, -0.5, 0.5, 40])('have %d more than without names, best first, whatever k is', async (c) => {
    const kernels = referenceKernels('float64');
    const model = await loadClassifier(await saved(c, { output }), kernels);
    const plain: LoadedModel = { ...model, remembered: { ...model.remembered!, names: null } };
    const [all, without] = [await topRows(model, questions, labels), await topRows(plain, questions, labels)];
    for (const [r, row] of asked.entries()) {
      const expected = new Float64Array(labels);
      for (let i = r * labels; i < (r + 1) * labels; i++) {
        const label = without.labels[i];
        expected[label] = without.scores[i] + (isNamesake(label, row) ? c : 0);
      }
      const order = Array.from(expected.keys()).sort((a, b) => expected[b] - expected[a] || a - b);
      const found = [...all.labels.subarray(r * labels, (r + 1) * labels)];
      for (const [i, label] of found.entries()) {
        expect(all.scores[r * labels + i]).toBeCloseTo(expected[label], 9);
        // Where two are nearly one, either may come first.
        expect(expected[label]).toBeCloseTo(expected[order[i]], 9);
      }
    }
    for (const k of [1, 2, 5]) {
      const some = await topRows(model, questions, k);
      for (let r = 0; r < questions.length; r++) {
        const own = some.labels.subarray(r * k, (r + 1) * k);
        expect(own).toEqual(all.labels.subarray(r * labels, r * labels + k));
      }
    }
  });
});

describe('a model that knows what labels are called', () => {
  const kernels = referenceKernels('float32');

  it('explains it: everything adds up to the score', async () => {
    const model = await loadClassifier(await saved(-3), referenceKernels('float64'));
    let counted = 0;
    for (const [i, row] of questions.entries()) {
      const top = await topRows(model, [row], labels);
      for (const [at, why] of explainRow(model, row, [...top.labels], 1000).entries()) {
        const sum = why.features.reduce((total, { contribution }) => total + contribution, 0);
        expect(why.namesake).toBe(isNamesake(why.label, asked[i]) ? -3 : 0);
        if (why.namesake !== 0) counted++;
        expect(why.score).toBeCloseTo(top.scores[at], 9);
        expect(
          why.base + sum + why.votes!.contribution + why.featureVotes!.contribution + why.namesake!,
        ).toBeCloseTo(why.score, 9);
      }
    }
    expect(counted).toBeGreaterThan(10);
  });

  it('answers in another thread with the same bits, over memory that is shared', async () => {
    const run = await saved(-3);
    const shared = await shareModel(run, kernels);
    const { terms, keys, order } = shared.remembered!.names!;
    for (const array of [terms, keys, order]) expect(array.buffer).toBeInstanceOf(SharedArrayBuffer);
    const expected = await topRows(await loadClassifier(run, kernels), questions, 6);
    expect(await topRows(adoptModel(shared, kernels), questions, 6)).toEqual(expected);
  });

  it('answers as without names where they weigh nothing, and saves none then', async () => {
    const [mute, loud] = [await saved(0), await saved(-3)];
    const filesOf = async (run: string) => {
      const model = (await readdir(run)).find((one) => one.startsWith('model-')) as string;
      return readdir(join(run, model));
    };
    expect(await filesOf(mute)).not.toContain('remembered-names.bin');
    expect(await filesOf(loud)).toContain('remembered-names.bin');
    const model = await loadClassifier(loud, kernels);
    const plain = { ...model, remembered: { ...model.remembered!, names: null } };
    expect(await topRows(await loadClassifier(mute, kernels), questions, labels)).toEqual(
      await topRows(plain, questions, labels),
    );
  });

  it('keeps the names of the labels that are left when others are removed', async () => {
    const out = join(home, `run-${runs++}`);
    await removeLabels(await saved(-3), ['label "0" ŕ', 'label "9" ŕ'], out, kernels);
    const left = (await loadClassifier(out, kernels)).remembered!.names!;
    expect([...left.keys]).toEqual([...names.keys].filter((_, label) => label !== 0 && label !== 9));
  });

  it.each([
    ['names cut short', 'remembered-names.bin', (bytes: Buffer) => bytes.subarray(8)],
    ['a name that is no number', 'remembered-names.bin', (bytes: Buffer) => bytes.fill(0xff, 8, 16)],
    ['no names', 'remembered-names.bin', () => null],
    [
      'a column that is none',
      'remembered-rows.json',
      (bytes: Buffer) => Buffer.from(bytes.toString().replace('"title"', '"other"')),
    ],
    [
      'a weight without bounds',
      'remembered-rows.json',
      (bytes: Buffer) => Buffer.from(bytes.toString().replace('"weight":-3', '"weight":-3e9')),
    ],
  ])('is refused by name with %s', async (_, file, damage) => {
    const run = await saved(-3);
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
        code: expect.stringMatching(/^(FILE_|REMEMBERED_ROWS|MODEL_)/),
      });
  });
});

describe('keys of what is called', () => {
  it('are the same for the same terms, whatever else a row has, and differ for all others of 30,000', () => {
    const terms = Uint8Array.from({ length: 400 }, (_, id) => id % 2);
    const random = RandomStream.named(1, 'keys');
    const known = new Map<number, string>();
    for (let i = 0; i < 30_000; i++) {
      const ids = [...new Set(Array.from({ length: 1 + random.below(6) }, () => random.below(400)))].sort(
        (a, b) => a - b,
      );
      const own = ids.filter((id) => terms[id] === 1);
      const key = keyOf(Uint32Array.from(ids), 0, ids.length, terms);
      expect(keyOf(Uint32Array.from(own), 0, own.length, terms)).toBe(key);
      expect(Number.isSafeInteger(key) && key > 0).toBe(own.length > 0);
      expect(known.get(key) ?? own.join()).toBe(own.join());
      known.set(key, own.join());
    }
    expect(known.size).toBeGreaterThan(10_000);
  });

  it('say nothing where more than 64 labels are called alike', () => {
    const terms = Uint8Array.of(1, 1);
    const key = (id: number) => keyOf(Uint32Array.of(id), 0, 1, terms);
    const question = { indptr: [0, 1], indices: Uint32Array.of(0) };
    const called = (n: number) =>
      namesakes(
        'a',
        terms,
        Float64Array.from({ length: 100 }, (_, l) => (l < n ? key(0) : key(1))),
      );
    expect(namesakesOf(called(64), question, 0).length).toBe(64);
    expect(namesakesOf(called(65), question, 0).length).toBe(0);
  });

  it('are not made where terms are hashed, which tells no columns apart, nor where no row has a namesake', () => {
    const vocabulary = { kind: 'hashed' as const, bits: 6 };
    const hashed = Featurizer.fit([{ text: 'a b', title: 'c' }], { text: ['text', 'title'], vocabulary });
    expect(hashed.termsOf('title')).toBeNull();
    expect(namesIn(hashed, texts, titled())).toBeNull();
    expect(namesIn(featurizer, Array(labels).fill('unheard-of'), titled())).toBeNull();
  });
});
