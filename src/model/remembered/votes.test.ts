/** Remembered rows: answers against a slow twin, for every kind of layer; what changes nothing; files, threads, damage. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CsrBuilder } from '../../data/builder.js';
import { CsrDataset } from '../../data/dataset.js';
import { datasetContent } from '../../data/dataset-file.js';
import { concatRows } from '../../data/rows.js';
import { nearestBf16 } from '../../kernels/bf16.js';
import { selectKernels } from '../../kernels/index.js';
import { RandomStream } from '../../kernels/random.js';
import { referenceKernels } from '../../kernels/reference/index.js';
import { bfloat16ToNumber } from '../../store/dtypes.js';
import { explainRow } from '../explain.js';
import { type LoadedModel, loadClassifier } from '../model-io.js';
import { packRows, predictRows, type SparseInput, topRows } from '../predict.js';
import { removeLabels } from '../remove-labels.js';
import { adoptModel, shareModel } from '../shared-model.js';
import { kinds, saveTinyModel, tinyCalibration } from '../tiny-model.testing.js';
import { rememberedFiles } from './file.js';
import { rememberRows, type VoteSettings } from './rows.js';

const [labels, features] = [37, 20];
const settings: VoteSettings = { nearest: 7, temperature: 0.1, weight: 3 };
const byFeatures: VoteSettings = { ...settings, featureTemperature: 0.2, featureWeight: 2 };
let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-remembered-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

/** Rows of one to four features and labels, none without. */
function drawnRows(rows: number, seed = 1): CsrDataset {
  const random = RandomStream.named(seed, 'remembered');
  const some = (most: number, below: number) => [
    ...new Set(Array.from({ length: 1 + random.below(most) }, () => random.below(below))),
  ];
  const builder = new CsrBuilder({ features, labels });
  for (let row = 0; row < rows; row++) {
    const indices = some(4, features);
    builder.row(
      indices,
      indices.map(() => 0.25 + random.uniform()),
      some(4, labels),
    );
  }
  return builder.finish();
}

const examples = drawnRows(60);
const inputOf = ({ indptr, indices, values }: CsrDataset, row: number): SparseInput => ({
  indices: indices.subarray(indptr[row], indptr[row + 1]),
  values: values.subarray(indptr[row], indptr[row + 1]),
});
const questions = Array.from({ length: 9 }, (_, row) => inputOf(drawnRows(9, 2), row));

let runs = 0;
async function saved(options: object): Promise<string> {
  const run = join(home, `run-${runs++}`);
  await saveTinyModel(run, { text: false, labels, ...options });
  return run;
}

/** Every label's score for one row, from the formula, one number after the other. */
async function slowScores({ classifier, remembered }: LoadedModel, row: SparseInput): Promise<number[]> {
  const { device, output } = classifier;
  const hidden = (input: SparseInput) => {
    device.arena.reset();
    return Array.from(classifier.infer(packRows([input], features)).data.subarray(0, output.inputs));
  };
  const origin = hidden({ indices: [], values: [] });
  const direction = (input: SparseInput) => {
    const from = hidden(input).map((x, j) => x - origin[j]);
    const length = Math.hypot(...from);
    return from.map((x) => (length === 0 ? 0 : x / length));
  };
  const q = direction(row);
  const all = new CsrDataset(remembered!.examples);
  const { nearest, temperature, weight } = remembered!.settings;
  const cosines = Array.from({ length: all.rows }, (_, i) => {
    const k = direction(inputOf(all, i)).map((x) => bfloat16ToNumber(nearestBf16(x)));
    return { row: i, cosine: k.reduce((sum, x, j) => sum + x * q[j], 0) };
  });
  device.arena.reset();
  const z = await output.scores(classifier.infer(packRows([row], features)));
  const scores = Array.from(z.data.subarray(0, labels));
  const count = (voters: { row: number; cosine: number }[], temperature: number, weight: number) => {
    voters.sort((a, b) => b.cosine - a.cosine || a.row - b.row).splice(nearest);
    const weights = voters.map(({ cosine }) => Math.exp(cosine / temperature));
    const sum = weights.reduce((total, one) => total + one, 0);
    for (const [i, voter] of voters.entries()) {
      const own = all.labelIds.subarray(all.labelIndptr[voter.row], all.labelIndptr[voter.row + 1]);
      for (const label of own) scores[label] += (weight * weights[i]) / sum;
    }
  };
  count(cosines, temperature, weight);
  const { featureTemperature = 1, featureWeight = 0 } = remembered!.settings;
  const x = denseOf(row);
  const alike = Array.from({ length: all.rows }, (_, i) => {
    const y = denseOf(inputOf(all, i));
    // Rows of length 1 are kept in float32.
    const unit = y.map((value) => Math.fround(value / Math.hypot(...y)));
    const product = x.reduce((total, value, f) => total + value * unit[f], 0);
    return { row: i, cosine: product / Math.hypot(...x) };
  });
  count(
    alike.filter(({ cosine }) => cosine > 0),
    featureTemperature,
    featureWeight,
  );
  return scores;
}

function denseOf({ indices, values }: SparseInput): number[] {
  const x = new Array<number>(features).fill(0);
  for (let e = 0; e < indices.length; e++) x[indices[e]] += values[e];
  return x;
}

const ways = [
  ['by direction', settings],
  ['by features too', byFeatures],
  ['by features alone', { ...byFeatures, weight: 0 }],
] as const;

describe.each(Object.entries(kinds))('votes beside a layer, %s', (_, output) => {
  it.each(ways)(
    'give every label the score of the formula, best first, whatever k is: %s',
    async (_, settings) => {
      const kernels = referenceKernels('float64');
      const model = await loadClassifier(
        await saved({ output, remembered: { settings, examples } }),
        kernels,
      );
      const all = await topRows(model, questions, labels);
      for (const [r, row] of questions.entries()) {
        const expected = await slowScores(model, row);
        const order = Array.from(expected.keys()).sort((a, b) => expected[b] - expected[a]);
        const found = [...all.labels.subarray(r * labels, (r + 1) * labels)];
        expect(found).toEqual(order);
        for (const [i, label] of found.entries())
          expect(all.scores[r * labels + i]).toBeCloseTo(expected[label], 9);
      }
      for (const k of [1, 2, 5, 11]) {
        const some = await topRows(model, questions, k);
        for (let r = 0; r < questions.length; r++) {
          const [own, first] = [r * k, r * labels];
          expect(some.labels.subarray(own, own + k)).toEqual(all.labels.subarray(first, first + k));
          for (let i = 0; i < k; i++) expect(some.scores[own + i]).toBeCloseTo(all.scores[first + i], 9);
        }
      }
    },
  );

  it.each(ways)(
    'are explained: base, features and votes add up to the score, as do bias, units and votes: %s',
    async (_, settings) => {
      const kernels = referenceKernels('float64');
      const model = await loadClassifier(
        await saved({ output, remembered: { settings, examples } }),
        kernels,
      );
      for (const row of questions) {
        const top = await topRows(model, [row], 4);
        for (const [i, why] of explainRow(model, row, [...top.labels], 1000).entries()) {
          const sum = (of: readonly { readonly contribution: number }[]) =>
            of.reduce((total, { contribution }) => total + contribution, 0);
          expect(why.score).toBeCloseTo(top.scores[i], 9);
          expect(why.featureVotes === null).toBe(!('featureWeight' in settings));
          const both = [why.votes!, ...(why.featureVotes === null ? [] : [why.featureVotes])];
          expect(why.base + sum(why.features) + sum(both)).toBeCloseTo(why.score, 9);
          expect(why.bias + sum(why.units) + sum(both)).toBeCloseTo(why.score, 9);
          for (const { rows, contribution } of both) {
            expect(sum(rows)).toBeCloseTo(contribution, 12);
            for (const { row: voter } of rows) {
              const { labelIds, labelIndptr } = examples;
              expect(labelIds.subarray(labelIndptr[voter], labelIndptr[voter + 1])).toContain(why.label);
            }
          }
        }
      }
    },
  );

  it('are the same by the fast kernels and by plain ones, where all rows vote', async () => {
    // Of fewer, those of nearly one cosine could be others.
    const run = await saved({ output, remembered: { settings: { ...settings, nearest: 60 }, examples } });
    const [slow, fast] = await Promise.all(
      [referenceKernels('float64'), selectKernels()].map(async (kernels) =>
        topRows(await loadClassifier(run, kernels), questions, labels),
      ),
    );
    for (let r = 0; r < questions.length; r++) {
      const scores = (top: typeof slow) => {
        const byLabel = new Float64Array(labels);
        for (let i = r * labels; i < (r + 1) * labels; i++) byLabel[top.labels[i]] = top.scores[i];
        return byLabel;
      };
      const [a, b] = [scores(slow), scores(fast)];
      for (let label = 0; label < labels; label++) expect(Math.abs(a[label] - b[label])).toBeLessThan(2e-2);
    }
  });
});

describe('a model that remembers rows', () => {
  const kernels = referenceKernels('float32');

  it('answers as without them where their votes weigh nothing, and where the question says nothing', async () => {
    const plain = await loadClassifier(await saved({}), kernels);
    const remembered = (weight: number) => ({ settings: { ...settings, weight }, examples });
    const mute = await loadClassifier(await saved({ remembered: remembered(0) }), kernels);
    expect(await topRows(mute, questions, labels)).toEqual(await topRows(plain, questions, labels));
    // Nobody is asked there.
    expect(explainRow(mute, questions[0], [3], 5)[0].votes).toEqual({ contribution: 0, rows: [] });
    const loud = await loadClassifier(await saved({ remembered: remembered(50) }), kernels);
    const silence = [{ indices: [], values: [] }];
    expect(await topRows(loud, silence, labels)).toEqual(await topRows(plain, silence, labels));
    expect(explainRow(loud, silence[0], [3], 5)[0].votes).toEqual({ contribution: 0, rows: [] });
  });

  it('gives a remembered row its own labels where the nearest row alone votes, and loudly', async () => {
    const own = { settings: { nearest: 1, temperature: 0.01, weight: 100 }, examples };
    const model = await loadClassifier(await saved({ remembered: own }), kernels);
    let foundItself = 0;
    for (let row = 0; row < examples.rows; row++) {
      const wanted = [
        ...examples.labelIds.subarray(examples.labelIndptr[row], examples.labelIndptr[row + 1]),
      ];
      const input = inputOf(examples, row);
      const found = await topRows(model, [input], wanted.length);
      const [{ votes }] = explainRow(model, input, [wanted[0]], 5);
      // Another row may lie in the same direction: then that one is it.
      if (votes?.rows[0]?.row !== row) continue;
      foundItself++;
      expect([...found.labels].sort((a, b) => a - b)).toEqual(wanted);
      expect(votes.rows[0].cosine).toBeGreaterThan(0.995);
    }
    expect(foundItself).toBeGreaterThan(0.8 * examples.rows);
  });

  it('is shared between threads without a copy, and answers there with the same bits', async () => {
    const calibration = tinyCalibration(labels, 9);
    const run = await saved({ remembered: { settings: byFeatures, examples }, calibration });
    const shared = await shareModel(run, kernels);
    const { directions, postings, examples: kept } = shared.remembered!;
    const { begin, rowOf, values } = postings!;
    const { indptr, indices, labelIndptr, labelIds } = kept;
    const ofRows = [indptr, indices, kept.values, labelIndptr, labelIds];
    for (const array of [begin, rowOf, values, directions, ...ofRows])
      expect(array.buffer).toBeInstanceOf(SharedArrayBuffer);
    const adopted = adoptModel(shared, kernels);
    const loaded = await loadClassifier(run, kernels);
    expect(await predictRows(adopted, questions, 6)).toEqual(
      (await predictRows(loaded, questions, 6)).map((row) =>
        row.map((one) => ({ ...one, name: String(one.label) })),
      ),
    );
  });

  it('forgets rows with the last of their labels, and the votes of the others stay where they were', async () => {
    const lonely = new CsrBuilder({ features, labels });
    lonely.row([1], [1], [0]);
    const rows = concatRows(examples, lonely.finish());
    const all = { ...settings, nearest: 1024 };
    const run = await saved({ remembered: { settings: all, examples: rows } });
    const out = join(home, `run-${runs++}`);
    await removeLabels(run, ['label "0" ŕ'], out, kernels);
    const left = await loadClassifier(out, kernels);
    const without = Array.from({ length: rows.rows }, (_, row) =>
      rows.labelIds.subarray(rows.labelIndptr[row], rows.labelIndptr[row + 1]),
    ).filter((own) => own.length > 1 || own[0] !== 0);
    expect(left.remembered?.examples.rows).toBe(without.length);
    expect(without.length).toBeLessThan(rows.rows);
    for (const [row, own] of without.entries()) {
      const { labelIds, labelIndptr } = left.remembered!.examples;
      const kept = labelIds.subarray(labelIndptr[row], labelIndptr[row + 1]);
      expect([...kept]).toEqual([...own].filter((label) => label > 0).map((label) => label - 1));
    }
  });

  it('is refused where it would remember rows without features or labels, or none at all', async () => {
    const { classifier } = await loadClassifier(await saved({}), kernels);
    const rows = (...all: [number[], number[]][]) => {
      const builder = new CsrBuilder({ features, labels });
      for (const [indices, own] of all)
        builder.row(
          indices,
          indices.map(() => 1),
          own,
        );
      return builder.finish();
    };
    for (const bad of [rows(), rows([[1], [1]], [[], [1]]), rows([[1], [1]], [[2], []])])
      expect(() => rememberRows(classifier, bad, settings)).toThrow(
        expect.objectContaining({ code: 'REMEMBERED_ROWS' }),
      );
  });
});

describe('the files of remembered rows', () => {
  const kernels = referenceKernels('float32');
  const sound = { settings, examples };

  it.each([
    ['a row file cut short', 'remembered-rows.bin', (bytes: Buffer) => bytes.subarray(0, -5)],
    [
      'a row file with a bit turned',
      'remembered-rows.bin',
      (bytes: Buffer) => flipped(bytes, bytes.length - 9),
    ],
    ['no row file', 'remembered-rows.bin', () => null],
    [
      'rows of other features',
      'remembered-rows.bin',
      () => Buffer.concat([...datasetContent('x', new CsrBuilder({ features: 3, labels }).finish()).content]),
    ],
    ['settings that are no JSON', 'remembered-rows.json', () => Buffer.from('{')],
    [
      'another version',
      'remembered-rows.json',
      (bytes: Buffer) => replaced(bytes, '"version":1', '"version":2'),
    ],
    ['no voters', 'remembered-rows.json', (bytes: Buffer) => replaced(bytes, '"nearest":7', '"nearest":0')],
    [
      'votes by features that are not told',
      'remembered-rows.json',
      (bytes: Buffer) => replaced(bytes, '"version":1', '"version":3'),
    ],
    ['a temperature of 0', 'remembered-rows.json', (bytes: Buffer) => replaced(bytes, '0.1', '0')],
  ])('are refused by name: %s', async (_, file, damage) => {
    const run = await saved({ remembered: sound });
    const name = (await readdir(run)).find((one) => one.startsWith('model-')) as string;
    const path = join(run, name, file);
    const bytes = damage(await readFile(path));
    if (bytes === null) await rm(path);
    else await writeFile(path, bytes);
    for (const load of [loadClassifier, shareModel]) {
      await expect(load(run, kernels)).rejects.toMatchObject({
        code: expect.stringMatching(/^(FILE_|REMEMBERED_ROWS|DATASET_FILE_|MODEL_)/),
      });
    }
  });

  it.each([settings, byFeatures])('hold the rows as they were, and the settings, %o', async (settings) => {
    const sound = { settings, examples };
    const loaded = await loadClassifier(await saved({ remembered: sound }), kernels);
    expect(loaded.remembered?.settings).toEqual(settings);
    expect(loaded.remembered?.postings === null).toBe(settings.featureWeight === undefined);
    for (const name of ['indptr', 'indices', 'values', 'labelIndptr', 'labelIds'] as const)
      expect([...loaded.remembered!.examples[name]]).toEqual([...examples[name]]);
    expect(Object.keys(rememberedFiles(sound))).toEqual(['remembered-rows.bin', 'remembered-rows.json']);
  });
});

function flipped(bytes: Buffer, at: number): Buffer {
  bytes[at] ^= 4;
  return bytes;
}

function replaced(bytes: Buffer, from: string, to: string): Buffer {
  const text = bytes.toString('utf8');
  expect(text).toContain(from);
  return Buffer.from(text.replace(from, to));
}
