/** Labels that are no answer to a question: the answers are the first k of the list without them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RandomStream } from '../kernels/random.js';
import { referenceKernels } from '../kernels/reference/index.js';
import { Calibration } from './calibration.js';
import { Model } from './model.js';
import { type LoadedModel, loadClassifier } from './model-io.js';
import { saveTinyModel, tinyCalibration, tinyRows, words } from './tiny-model.testing.js';

const [labels, perRow] = [37, 9];
const calibration = tinyCalibration(labels, perRow);
let home: string;
let loaded: LoadedModel;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-exclude-'));
  await saveTinyModel(home, { labels, calibration, remembered: tinyRows(labels) });
  loaded = await loadClassifier(home, referenceKernels('float64'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

const questions = words.map((word, i) => `${word} ${words[(i + 4) % words.length]}`);
const numbersOf = (answer: { readonly predictions: readonly { readonly label: number }[] }) =>
  answer.predictions.map(({ label }) => label);

describe('labels that are excluded', () => {
  it.each([
    ['by score', { calibration: null }],
    ['by score without votes', { calibration: null, remembered: null }],
    ['by probability', {}],
    ['in favour of rare ones', { rare: 2 }],
  ])('leave the first k of the others in their order: %s', async (_how, own) => {
    const model = new Model({ ...loaded, ...own });
    const stream = RandomStream.named(7, 'exclude');
    const all = await model.predictAll(questions, { k: labels });
    for (let trial = 0; trial < 25; trial++) {
      // By number, by name, and by both; some of them twice.
      const exclude = Array.from({ length: stream.below(labels + 4) }, () => stream.below(labels)).map((l) =>
        stream.below(2) === 0 ? l : loaded.labelNames[l],
      );
      const out = new Set(exclude.map((l) => (typeof l === 'number' ? l : loaded.labelNames.indexOf(l))));
      const k = 1 + stream.below(labels);
      const answers = await model.predictAll(questions, { k, exclude });
      for (const [q, answer] of answers.entries()) {
        const left = numbersOf(all[q]).filter((label) => !out.has(label));
        expect(numbersOf(answer)).toEqual(left.slice(0, k));
      }
    }
  });

  it('lower no probability of those behind them', async () => {
    const model = new Model(loaded);
    const read = Calibration.of(calibration);
    let apart = 0;
    for (const question of questions) {
      const all = await model.predict(question, { k: labels });
      const exclude = numbersOf(all).filter((_, i) => i % 3 === 0);
      let least = 1;
      const left = all.predictions.filter(({ label }) => !exclude.includes(label));
      const found = await model.predict(question, { k: labels, exclude });
      for (const [i, { label, score, probability }] of found.predictions.entries()) {
        least = Math.min(least, read.probability(label, score));
        expect(probability).toBe(least);
        if (probability !== left[i].probability) apart++;
      }
    }
    expect(apart).toBeGreaterThan(0);
  });

  it('that the model does not know are in nobody’s way; all of them leave nothing, which is not "none"', async () => {
    const model = new Model(loaded);
    const plain = await model.predict(questions[0], { k: 6 });
    const unknown = ['no such label', labels + 3, '3', ''];
    expect(await model.predict(questions[0], { k: 6, exclude: unknown })).toEqual(plain);
    const nothing = await model.predict(questions[0], { k: 6, exclude: [...loaded.labelNames] });
    expect(nothing).toMatchObject({ predictions: [], none: false, explanations: [] });
  });

  it('are all labels of a name, where several share it', async () => {
    const twins = new Model({ ...loaded, labelNames: loaded.labelNames.map((_, l) => `pair ${l >> 1}`) });
    const all = numbersOf(await twins.predict(questions[1], { k: labels }));
    const found = await twins.predict(questions[1], { k: labels, exclude: ['pair 2', 'pair 5'] });
    expect(numbersOf(found)).toEqual(all.filter((label) => ![4, 5, 10, 11].includes(label)));
  });

  it('are explained no more; sure enough are those that are left', async () => {
    const model = new Model(loaded);
    const [first] = numbersOf(await model.predict(questions[2], { k: 1 }));
    const asked = { k: 8, exclude: [first], explain: 3, threshold: 0.2 };
    const { predictions, explanations } = await model.predict(questions[2], asked);
    expect(explanations.map(({ label }) => label)).toEqual(predictions.slice(0, 3).map(({ label }) => label));
    expect(numbersOf({ predictions })).not.toContain(first);
    expect(predictions.every(({ probability }) => (probability ?? 0) >= 0.2)).toBe(true);
  });

  it.each([0, -1, 1.5, Number.NaN])('make no number of labels of k = %d', async (k) => {
    const model = new Model(loaded);
    await expect(model.predict(questions[0], { k, exclude: [1, 2] })).rejects.toMatchObject({
      code: 'TOP_K_RANGE',
    });
  });
});
