/** What labels are called, learnt on validation rows: for a label, against it, or nothing, as the rows have it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CsrBuilder } from '../data/builder.js';
import { DatasetDirectory, writeDatasetDirectory } from '../data/cache.js';
import { Featurizer } from '../data/featurizer/index.js';
import { selectKernels } from '../kernels/index.js';
import { RandomStream } from '../kernels/random.js';
import { Model } from '../model/model.js';
import { removeLabels } from '../model/remove-labels.js';
import { evaluateModel } from './evaluate.js';
import { remember } from './remember.js';
import { train } from './train.js';

const kernels = selectKernels({ backend: 'reference' });
const [groups, size] = [40, 12];
const items = groups * size;
let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-names-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

const titleOf = (item: number) => `name${item} of${item % size}`;

interface MadeRow {
  readonly row: { readonly text: string; readonly title: string };
  readonly labels: readonly number[];
}

/** A row of every item: its title, words of its group, and as labels what `labelsOf` says. */
async function made(
  name: string,
  labelsOf: (item: number, random: RandomStream) => number[],
  texts: string[],
) {
  const random = RandomStream.named(7, name);
  const rows = Array.from({ length: items }, (_, item) => {
    const group = Math.floor(item / size);
    const text = Array.from({ length: 3 }, () => `word${group}x${random.below(6)}`).join(' ');
    return { row: { text, title: titleOf(item) }, labels: labelsOf(item, random) };
  });
  return written(name, rows, texts);
}

/** Every second row judges; a network is trained on the others. */
async function written(name: string, rows: MadeRow[], texts: string[]) {
  const featurizer = Featurizer.fit(
    rows.map(({ row }) => row),
    { text: ['text', 'title'], vocabulary: { minDocuments: 1 } },
  );
  const shape = { features: featurizer.features, labels: items };
  const split = { train: new CsrBuilder(shape), validation: new CsrBuilder(shape) };
  for (const [item, { row, labels }] of rows.entries()) {
    const { indices, values } = featurizer.featurize([row]);
    split[item % 2 === 0 ? 'train' : 'validation'].row(indices, values, labels);
  }
  const names = { labelNames: Array.from({ length: items }, (_, item) => `item ${item}`) };
  const path = join(home, name);
  await writeDatasetDirectory(path, {
    ...{ name, origin: 'made', licence: 'none', featurizer, labelTexts: texts },
    ...{ train: split.train.finish(names), validation: split.validation.finish(names) },
  });
  await train({
    ...{ data: path, out: join(home, `${name}-run`), epochs: 6, threads: 1, backend: 'reference' },
    model: { encoder: { embedding: 24 }, output: { kind: 'dense' } },
    validation: { best: false },
  });
  return DatasetDirectory.open(path);
}

/** Others of its group: an item is no label of itself. */
function others(item: number, random: RandomStream): number[] {
  const first = item - (item % size);
  const some = new Set<number>();
  while (some.size < 4) {
    const other = first + random.below(size);
    if (other !== item) some.add(other);
  }
  return [...some];
}
const own = (item: number, random: RandomStream) => [item, ...others(item, random)];
const titles = Array.from({ length: items }, (_, item) => titleOf(item));

describe('what labels are called', () => {
  it('speaks against a label where items are labels of each other, and the item itself comes no more', async () => {
    const data = await made('others', others, titles);
    const report = await remember(join(home, 'others-run'), data, { out: join(home, 'a') }, kernels);
    expect(report.column).toBe('title');
    expect(report.votes.namesake).toBeLessThan(0);
    const { with: found, without } = report.validation!;
    expect(found.precision[1]).toBeGreaterThan(without.precision[1]);
    const model = await Model.load(join(home, 'a'), kernels);
    const measured = await evaluateModel({ ...model, calibration: null }, data, 'validation', kernels);
    expect(100 * measured.at[0].precision.value).toBeCloseTo(found.precision[1], 6);
    const plain = await Model.load(join(home, 'others-run'), kernels);
    const itself = async (asked: Model) => {
      let found = 0;
      for (let item = 1; item < items; item += 2) {
        const group = Math.floor(item / size);
        const text = [0, 1, 2].map((word) => `word${group}x${word}`).join(' ');
        const { predictions } = await asked.predict({ text, title: titleOf(item) }, { k: 6 });
        if (predictions.some(({ label }) => label === item)) found++;
      }
      return found;
    };
    expect(await itself(plain)).toBeGreaterThan(5);
    expect(await itself(model)).toBe(0);
  });

  it('speaks for a label where rows name it, though training never showed that label', async () => {
    const data = await made('own', own, titles);
    const report = await remember(join(home, 'own-run'), data, { out: join(home, 'b') }, kernels);
    expect(report.votes.namesake).toBeGreaterThan(0);
    expect(report.validation!.with.precision[1]).toBeGreaterThan(90);
    expect(report.validation!.without.precision[1]).toBeLessThan(80);
  });

  it('counts nothing where names are those of other labels, where 0 is given, and as it is given', async () => {
    const strange = Array.from({ length: items }, (_, item) => titleOf((item + 5 * size) % items));
    const data = await made('strange', others, strange);
    const run = (out: string, votes: object) =>
      remember(join(home, 'strange-run'), data, { out: join(home, out), votes }, kernels);
    const chosen = await run('c', {});
    expect([chosen.votes.namesake, chosen.column]).toEqual([undefined, null]);
    expect((await run('d', { namesake: 0 })).column).toBeNull();
    const given = await run('e', { namesake: 2 });
    expect([given.votes.namesake, given.column]).toEqual([2, 'title']);
    // Beside rows that are there, names go on to count as they did.
    const more = { out: join(home, 'f'), add: true };
    const added = await remember(join(home, 'e'), data, more, kernels);
    expect([added.votes.namesake, added.column]).toEqual([2, 'title']);
    const { keys } = (await Model.load(join(home, 'f'), kernels)).remembered!.names!;
    expect(keys).toEqual((await Model.load(join(home, 'e'), kernels)).remembered!.names!.keys);
  });

  it('needs no rows where these do not vote: none are kept, and the answers are the same', async () => {
    const data = await DatasetDirectory.open(join(home, 'strange'));
    const options = { out: join(home, 'h'), rows: 'all', votes: { weight: 0, namesake: 2 } } as const;
    const report = await remember(join(home, 'strange-run'), data, options, kernels);
    expect(report).toMatchObject({ rows: 0, column: 'title', votes: { weight: 0, namesake: 2 } });
    const [alone, plain] = await Promise.all(
      ['h', 'strange-run'].map((run) => Model.load(join(home, run), kernels)),
    );
    expect(alone.remembered!.examples.rows).toBe(0);
    for (let item = 0; item < 20; item++) {
      const [found, without] = await Promise.all(
        [alone, plain].map(async (model) => {
          const { predictions } = await model.predict({ text: '', title: titleOf(item) }, { k: items });
          return new Map(predictions.map(({ label, score }) => [label, score]));
        }),
      );
      const namesake = (item + items - 5 * size) % items;
      expect(without.size).toBe(items);
      for (const [label, score] of without)
        expect(found.get(label)! - score).toBeCloseTo(label === namesake ? 2 : 0, 5);
    }
    await removeLabels(join(home, 'h'), ['item 0'], join(home, 'i'), kernels);
    const left = await Model.load(join(home, 'i'), kernels);
    expect(left.remembered!.names!.keys).toEqual(alone.remembered!.names!.keys.slice(1));
    await expect(
      remember(join(home, 'h'), data, { out: join(home, 'j'), add: true }, kernels),
    ).rejects.toMatchObject({ code: 'REMEMBER_ADD' });
  });

  it('is refused where it is to count and no row is called as a label is', async () => {
    const data = await made('nameless', others, Array(items).fill('unheard of'));
    const options = { out: join(home, 'g'), votes: { namesake: -2 } };
    const refused = remember(join(home, 'nameless-run'), data, options, kernels);
    await expect(refused).rejects.toMatchObject({ code: 'REMEMBER_NAMES' });
    const report = await remember(join(home, 'nameless-run'), data, { out: join(home, 'g') }, kernels);
    expect(report.column).toBeNull();
  });
});

describe('words that labels are called by', () => {
  /** A word of the item's own name, which many items share, beside words of its group. */
  async function mentioned(name: string, texts: string[]) {
    const random = RandomStream.named(8, name);
    const wanted = (item: number) => Math.floor((7 * item) / 3) % items;
    const rows = Array.from({ length: items }, (_, item) => ({
      row: { text: `about name${wanted(item)} and word${random.below(30)}`, title: `entry word${item % 9}` },
      labels: [wanted(item)],
    }));
    return written(name, rows, texts);
  }

  it('speak for labels that texts mention, most of which training never showed', async () => {
    const data = await mentioned('mentioned', titles);
    const report = await remember(join(home, 'mentioned-run'), data, { out: join(home, 'p') }, kernels);
    expect(report.votes.textWeight).toBeGreaterThan(0);
    expect(report.texts).toBeGreaterThan(items / 2);
    const { with: found, without } = report.validation!;
    expect(found.precision[1]).toBeGreaterThan(without.precision[1] + 20);
    const model = await Model.load(join(home, 'p'), kernels);
    expect(model.remembered?.settings).toEqual(report.votes);
    const measured = await evaluateModel({ ...model, calibration: null }, data, 'validation', kernels);
    expect(100 * measured.at[0].precision.value).toBeCloseTo(found.precision[1], 6);
    // The best of what was tried: none other has more, all else as it is.
    const sum = async (textTemperature: number, textWeight: number) => {
      const settings = { ...report.votes, textTemperature, textWeight };
      const tried = { ...model, calibration: null, remembered: { ...model.remembered!, settings } };
      const { at } = await evaluateModel(tried, data, 'validation', kernels);
      return at.reduce((all, { precision }) => all + precision.value, 0);
    };
    const best = measured.at.reduce((all, { precision }) => all + precision.value, 0);
    for (const t of [0.05, 0.1, 0.3])
      for (const w of [1, 4, 16, 48]) expect(await sum(t, w)).toBeLessThanOrEqual(best + 1e-9);
  });

  it('count nothing where labels are called otherwise, where 0 is given, and as they are given', async () => {
    const strange = Array.from({ length: items }, (_, item) => `name${(item + 211) % items}`);
    const data = await mentioned('otherwise', strange);
    const run = (out: string, votes: object) =>
      remember(join(home, 'otherwise-run'), data, { out: join(home, out), votes }, kernels);
    const chosen = await run('q', {});
    expect([chosen.votes.textWeight ?? 0, chosen.texts]).toEqual([0, 0]);
    expect((await run('r', { textWeight: 0 })).texts).toBe(0);
    const given = await run('s', { textWeight: 3, weight: 2 });
    expect(given.votes).toMatchObject({ textWeight: 3, weight: 2 });
    expect(given.texts).toBeGreaterThan(items / 2);
    // Beside rows that are there, labels go on to be called as they were.
    const more = { out: join(home, 't'), add: true };
    const added = await remember(join(home, 's'), data, more, kernels);
    expect([added.votes, added.texts]).toEqual([given.votes, given.texts]);
    const [before, after] = await Promise.all(['s', 't'].map((out) => Model.load(join(home, out), kernels)));
    expect(after.remembered!.texts).toEqual(before.remembered!.texts);
  });

  it('count alone too, where there is nothing to choose by, with the temperature by default', async () => {
    const data = await DatasetDirectory.open(join(home, 'mentioned'));
    const options = { out: join(home, 'u'), rows: 'all', votes: { weight: 0, textWeight: 30 } } as const;
    const report = await remember(join(home, 'mentioned-run'), data, options, kernels);
    expect(report).toMatchObject({ rows: 0, votes: { textWeight: 30, textTemperature: 0.1 } });
    const model = await Model.load(join(home, 'u'), kernels);
    expect(model.remembered!.examples.rows).toBe(0);
    const { predictions } = await model.predict({ text: 'about name77', title: '' }, { k: 3 });
    expect(predictions[0].name).toBe('item 77');
  });

  it('are refused where they are to count and no label is called by a word that is known', async () => {
    const data = await DatasetDirectory.open(join(home, 'nameless'));
    const options = { out: join(home, 'v'), votes: { textWeight: 2 } };
    const refused = remember(join(home, 'nameless-run'), data, options, kernels);
    await expect(refused).rejects.toMatchObject({ code: 'REMEMBER_NAMES' });
  });
});
