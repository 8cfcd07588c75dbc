import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Featurizer } from '../data/featurizer/index.js';
import { referenceKernels } from '../kernels/reference/index.js';
import { evidenceIn } from './evidence.js';
import { describeLabel, explainRow } from './explain.js';
import { rowOf } from './input.js';
import { Model } from './model.js';
import { topRows } from './predict.js';
import { adoptModel, shareModel } from './shared-model.js';
import { kinds, saveTinyModel } from './tiny-model.testing.js';

const kernels = referenceKernels('float64');
let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-explain-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

async function shared(name: string, options: object) {
  const run = join(home, name.replaceAll(/[^a-z0-9]/g, '-'));
  await saveTinyModel(run, options);
  return adoptModel(await shareModel(run, kernels), kernels);
}

const text = 'Prune the apple TREE, then the apple';

describe.each(Object.entries(kinds).filter(([name]) => !name.includes('bf16')))(
  'explanations, %s',
  (name, output) => {
    it('units and the bias add up to the score; features are what removing each of them would change', async () => {
      for (const encoder of [{}, { hidden: [16] }]) {
        const model = await shared(`${name}${JSON.stringify(encoder)}`, { output, encoder });
        const row = rowOf(model, text);
        const top = await topRows(model, [row], 3);
        const labels = [...top.labels];
        const why = explainRow(model, row, labels, 1000);
        for (const [i, one] of why.entries()) {
          expect(one.label).toBe(labels[i]);
          expect(one.method).toBe('exact');
          expect(one.score).toBeCloseTo(top.scores[i], 9);
          const units = one.units.reduce((sum, { contribution }) => sum + contribution, one.bias);
          expect(units).toBeCloseTo(one.score, 9);
          expect(one.features).toHaveLength(row.indices.length);
          // The network is linear near the row: a small change of a value moves the score by its share.
          for (const { feature, value, contribution } of one.features) {
            const at = [...(row.indices as Uint32Array)].indexOf(feature);
            // Rows are packed in float32.
            const values = Float32Array.from(row.values);
            values[at] *= 1 + 2 ** -12;
            const change = values[at] / row.values[at] - 1;
            const [moved] = explainRow(model, { indices: row.indices, values }, [one.label], 1);
            expect((moved.score - one.score) / change).toBeCloseTo(contribution, 4);
            expect(value).toBeCloseTo(row.values[at], 12);
          }
          const sum = one.features.reduce((total, { contribution }) => total + contribution, one.base);
          expect(sum).toBeCloseTo(one.score, 9);
        }
      }
    });

    it('neighbours are the labels of largest cosine', async () => {
      const model = await shared(name, { output });
      const { output: layer } = model.classifier;
      const dense = (label: number) => {
        const { inputs, weights } = layer.connections(label);
        const row = new Float64Array(layer.inputs);
        for (let i = 0; i < inputs.length; i++) row[inputs[i]] = weights[i];
        return row;
      };
      const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, x, i) => sum + x * b[i], 0);
      const facts = await describeLabel(model, 3, 5);
      const own = dense(3);
      const cosines = Array.from({ length: 37 }, (_, l) => dense(l))
        .map((row, label) => ({ label, cosine: dot(own, row) / Math.sqrt(dot(own, own) * dot(row, row)) }))
        .filter(({ label }) => label !== 3)
        .sort((a, b) => b.cosine - a.cosine);
      for (const [i, near] of facts.neighbours.entries())
        expect(near.cosine).toBeCloseTo(cosines[i].cosine, 9);
      expect(facts.connectionCount).toBe(layer.connections(3).inputs.length);
    });
  },
);

it('layer norm and gelu make features a first-order reading, and the answer says so', async () => {
  for (const encoder of [{ layerNorm: true }, { activation: 'gelu' }]) {
    const model = await shared(JSON.stringify(encoder), { encoder });
    const [why] = explainRow(model, rowOf(model, text), [1], 10);
    expect(why.method).toBe('gradient');
    expect(why.features.length).toBeGreaterThan(0);
  }
});

it('an input without a known word has no features to blame, and its score is the base', async () => {
  const model = await shared('empty', {});
  const [why] = explainRow(model, rowOf(model, 'xyzzy'), [1], 10);
  expect(why.features).toEqual([]);
  expect(why.base).toBe(why.score);
});

it('evidence marks every place of a word, in its own field, whatever its case', async () => {
  const model = await shared('evidence', {});
  const [why] = explainRow(model, rowOf(model, text), [1], 10);
  const { options } = model.featurizer as Featurizer;
  const marks = evidenceIn(text, 'text', options, why);
  expect(marks.map(({ start, end }) => text.slice(start, end))).toEqual(['Prune', 'apple', 'TREE', 'apple']);
  expect(evidenceIn(text, 'title', options, why)).toEqual([]);
});

describe('Model', () => {
  it('questions asked at once get the answers that they get one by one', async () => {
    await saveTinyModel(join(home, 'model'));
    const model = await Model.load(join(home, 'model'), kernels);
    const ask = ['apple', 'tree wall', 'fruit'].map((t) => ({ text: t, title: 'bud' }));
    const together = await Promise.all(ask.map((input) => model.predict(input, { k: 3, explain: 1 })));
    for (const [i, input] of ask.entries()) {
      expect(await model.predict(input, { k: 3, explain: 1 })).toEqual(together[i]);
    }
    expect(await model.predictAll(ask, { k: 3, explain: 1 })).toEqual(together);
    expect(new Set(together.map(({ predictions }) => predictions[0].score)).size).toBe(3);
  });

  it('a threshold leaves out what is less probable', async () => {
    const model = await Model.load(join(home, 'model'), kernels);
    const { predictions } = await model.predict('apple', { k: 37 });
    const middle = predictions[9].probability as number;
    const above = await model.predict('apple', { k: 37, threshold: middle });
    expect(above.predictions).toEqual(predictions.slice(0, 10));
  });

  it('fields, labels and features that do not exist are refused by name, and the next question works', async () => {
    const model = await Model.load(join(home, 'model'), kernels);
    await expect(model.predict({ titel: 'x' })).rejects.toMatchObject({
      facts: { code: 'PREDICT_FIELD', hint: 'did you mean "title"?' },
    });
    await expect(model.predict({ indices: [10 ** 6], values: [1] })).rejects.toThrow(/PREDICT_FEATURE/);
    await expect(model.predict({ indices: [1], values: [] })).rejects.toThrow(/PREDICT_FEATURE/);
    await expect(model.describeLabel('label "37" ŕ')).rejects.toThrow(/LABEL_UNKNOWN.*did you mean/);
    expect((await model.describeLabel('label "3" ŕ')).label).toBe(3);
    expect((await model.predict('apple')).predictions).toHaveLength(5);
  });
});

it('evidence shares runs of words out among their words, and finds runs of characters within one', () => {
  const { options } = Featurizer.fit([{ text: 'x' }], {
    text: ['text'],
    wordNGrams: 2,
    characterNGrams: { min: 3, max: 3 },
    vocabulary: { minDocuments: 1 },
  });
  const features = [
    { feature: 1, name: 'text:red apple', value: 1, contribution: 2 },
    { feature: 2, name: 'text:apple', value: 1, contribution: 0.5 },
    { feature: 3, name: 'text~ap', value: 1, contribution: 9 },
    { feature: 4, name: 'text~ ap', value: 1, contribution: -4 },
    { feature: 5, name: 'other:car', value: 1, contribution: 1 },
  ];
  expect(evidenceIn('A Ｒｅｄ Apple, car', 'text', options, { features })).toEqual([
    { start: 2, end: 5, features: [1], contribution: 1 },
    { start: 6, end: 11, features: [1, 2, 4], contribution: 1 + 0.5 - 4 },
  ]);
  const japanese = [{ feature: 1, name: 'text:東京', value: 1, contribution: 1 }];
  const [tokyo] = evidenceIn('私は東京に住む', 'text', options, { features: japanese });
  expect('私は東京に住む'.slice(tokyo.start, tokyo.end)).toBe('東京');
});
