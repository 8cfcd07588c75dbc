/** Letting a model remember: what is chosen is the best of what was tried, and what is told is what is saved. */
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CsrBuilder } from '../data/builder.js';
import { DatasetDirectory, writeDatasetDirectory } from '../data/cache.js';
import { plantedDataset } from '../data/planted.js';
import { selectKernels } from '../kernels/index.js';
import { RandomStream } from '../kernels/random.js';
import { loadClassifier } from '../model/model-io.js';
import { defaultVotes, rememberRows } from '../model/remembered/rows.js';
import { modelArrays } from '../model/state.js';
import { evaluateModel } from './evaluate.js';
import { remember } from './remember.js';
import { train } from './train.js';
import { askRows, chooseVotes, judgeVotes } from './votes-choice.js';

const kernels = selectKernels({ backend: 'reference' });
const shape = { features: 160, labels: 60, seed: 3 };
let home: string;
let data: DatasetDirectory;
const run = (name: string) => join(home, name);
const base = {
  model: { encoder: { embedding: 24 }, output: { kind: 'fan-in' as const, fanIn: 6 } },
  ...{ epochs: 2, threads: 1, backend: 'reference' as const, validation: { best: false } },
};
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-remember-'));
  await writeDatasetDirectory(run('data'), {
    ...{ name: 'planted', origin: 'made', licence: 'none' },
    train: plantedDataset({ ...shape, rows: 400 }),
    validation: plantedDataset({ ...shape, rows: 150, split: 'validation' }),
    test: plantedDataset({ ...shape, rows: 100, split: 'test' }),
  });
  data = await DatasetDirectory.open(run('data'));
  await train({ ...base, data: run('data'), out: run('plain') });
  await train({ ...base, data: run('data'), out: run('all'), rows: 'all' });
});
afterAll(() => rm(home, { recursive: true, force: true }));

const precisions = (at: readonly { readonly precision: { readonly value: number } }[]) =>
  at.map(({ precision }) => 100 * precision.value);

/** The validation rows as the plain model sees them, and the figure that settings are chosen by. */
async function askPlain() {
  const { classifier } = await loadClassifier(run('plain'), kernels);
  const remembered = rememberRows(classifier, await data.load('train'), defaultVotes);
  const asked = await askRows(classifier, await data.load('validation'), remembered, 5);
  const facts = { counts: new Uint32Array(shape.labels).fill(1), trained: 400, perRow: 5 };
  const sum = (temperature: number, weight: number) => {
    const { precision } = judgeVotes(asked, remembered, { temperature, weight }, facts).scores;
    return precision[1] + precision[3] + precision[5];
  };
  return { asked, remembered, sum };
}
const temperatures = [0.03, 0.05, 0.07, 0.1, 0.15];
const weights = [2, 4, 6, 8, 10, 12, 16];

describe('a model that is to remember the rows it was trained on', () => {
  it('finds more on validation rows by what is chosen there, and says what evaluating it says', async () => {
    const report = await remember(run('plain'), data, { out: run('b') }, kernels);
    expect(report.rows).toBe(400);
    const { with: found, without } = report.validation!;
    const plain = await loadClassifier(run('plain'), kernels);
    const saved = await loadClassifier(run('b'), kernels);
    for (const [model, told] of [
      [plain, without],
      [saved, found],
    ] as const) {
      const measured = await evaluateModel({ ...model, calibration: null }, data, 'validation', kernels);
      for (const [i, k] of [1, 3, 5].entries())
        expect(precisions(measured.at)[i]).toBeCloseTo(told.precision[k], 6);
    }
    expect(found.precision[1]).toBeGreaterThan(without.precision[1] + 5);
    // No weight has changed, names and text rules stay, and probabilities are of the scores with votes.
    for (const [i, { data: weights }] of modelArrays(saved.classifier).entries())
      expect(weights).toEqual(modelArrays(plain.classifier)[i].data);
    expect(saved.frequencies).toEqual(plain.frequencies);
    expect(saved.calibration).not.toEqual(plain.calibration);
    const { reliability } = await evaluateModel(saved, data, 'validation', kernels);
    expect(reliability.calibrated!.ece).toBeLessThan(reliability.raw.ece);
    expect(saved.remembered?.settings).toEqual(report.votes);
  });

  it('has the temperature and weight of the best figures of all that were tried', async () => {
    const { asked, remembered, sum } = await askPlain();
    const { temperature, weight } = chooseVotes(asked, remembered);
    const best = sum(temperature, weight);
    for (const t of temperatures)
      for (const w of [0, ...weights]) expect(sum(t, w)).toBeLessThanOrEqual(best + 1e-9);
  });

  it('chooses beside what is given, and takes a weight that is given though it does not help', async () => {
    const { asked, remembered, sum } = await askPlain();
    for (const weight of [1e-6, 3, 500]) {
      const found = chooseVotes(asked, remembered, { weight });
      expect(found.weight).toBe(weight);
      for (const t of temperatures)
        expect(sum(t, weight)).toBeLessThanOrEqual(sum(found.temperature, weight) + 1e-9);
    }
    const flat = chooseVotes(asked, remembered, { temperature: 5 });
    expect(flat.temperature).toBe(5);
    for (const w of weights) expect(sum(5, w)).toBeLessThanOrEqual(sum(5, flat.weight) + 1e-9);
  });

  it('finds more by features where these say what hidden directions do not, by the best of what was tried', async () => {
    // Both rows of a pair share one feature and a label; a network that has learnt nothing sees no two of them alike.
    const random = RandomStream.named(9, 'pairs');
    const made = (rows: number) => {
      const builder = new CsrBuilder({ features: 400, labels: 60 });
      for (let row = 0; row < rows; row++) {
        const pair = row % 150;
        const noise = [0, 1, 2].map((part) => 150 + 80 * part + random.below(80));
        builder.row([pair, ...noise], [2, 1, 1, 1], [pair % 60]);
      }
      return builder.finish();
    };
    await writeDatasetDirectory(run('pairs'), {
      ...{ name: 'pairs', origin: 'made', licence: 'none', train: made(150), validation: made(150) },
    });
    const pairs = await DatasetDirectory.open(run('pairs'));
    await train({ ...base, data: run('pairs'), out: run('of-pairs'), epochs: 0.1 });
    const report = await remember(run('of-pairs'), pairs, { out: run('by-features') }, kernels);
    const mute = await remember(
      run('of-pairs'),
      pairs,
      { out: run('by-direction'), votes: { featureWeight: 0 } },
      kernels,
    );
    expect(mute.votes.featureWeight).toBeUndefined();
    const precision = ({ validation }: typeof report) => validation!.with.precision[1];
    expect(precision(report)).toBeGreaterThan(precision(mute) + 5);
    const saved = await loadClassifier(run('by-features'), kernels);
    expect(saved.remembered?.settings).toEqual(report.votes);
    const measured = await evaluateModel({ ...saved, calibration: null }, pairs, 'validation', kernels);
    expect(precisions(measured.at)[0]).toBeCloseTo(precision(report), 6);
    const figures = async (featureTemperature: number, featureWeight: number) => {
      const { settings } = saved.remembered!;
      const remembered = {
        ...saved.remembered!,
        settings: { ...settings, featureTemperature, featureWeight },
      };
      const tried = { ...saved, calibration: null, remembered };
      const { at } = await evaluateModel(tried, pairs, 'validation', kernels);
      return precisions(at).reduce((sum, one) => sum + one, 0);
    };
    const best = precisions(measured.at).reduce((sum, one) => sum + one, 0);
    for (const t of [0.1, 0.2, 0.3, 0.5])
      for (const w of [1, 4, 8, 16]) expect(await figures(t, w)).toBeLessThanOrEqual(best + 1e-6);
  });

  it('asks 10,000 validation rows at most, from the first to the last', async () => {
    const builder = new CsrBuilder({ features: shape.features, labels: shape.labels });
    const { rows, indptr, indices, values, labelIds, labelIndptr } = await data.load('validation');
    // Every row twice; own labels, then, from the middle on, others: neither half alone has the figures of the whole.
    for (let place = 0; place < 20_000; place++) {
      const row = Math.floor(place / 2) % rows;
      const own = [...labelIds.subarray(labelIndptr[row], labelIndptr[row + 1])];
      const others = own.map((label) => (label + 7) % shape.labels);
      const [from, to] = [indptr[row], indptr[row + 1]];
      builder.row(indices.subarray(from, to), values.subarray(from, to), place < 10_000 ? own : others);
    }
    await writeDatasetDirectory(run('many'), {
      ...{ name: 'many', origin: 'made', licence: 'none', validation: builder.finish() },
      train: await data.load('train'),
    });
    const many = await DatasetDirectory.open(run('many'));
    const votes = { temperature: 0.1, weight: 4, featureWeight: 0 };
    const { validation } = await remember(run('plain'), many, { out: run('judged'), votes }, kernels);
    expect(validation!.with.rows).toBe(10_000);
    const whole = await evaluateModel(
      { ...(await loadClassifier(run('judged'), kernels)), calibration: null },
      many,
      'validation',
      kernels,
    );
    for (const [i, k] of [1, 3, 5].entries())
      expect(precisions(whole.at)[i]).toBeCloseTo(validation!.with.precision[k], 6);
  });

  it('stays uncalibrated where it was trained to be', async () => {
    await train({ ...base, data: run('data'), out: run('raw'), calibration: null });
    const report = await remember(run('raw'), data, { out: run('m') }, kernels);
    expect(report.validation).not.toBeNull();
    expect((await loadClassifier(run('m'), kernels)).calibration).toBeNull();
  });

  it('is not written where votes do not help: with labels that have nothing to do with features', async () => {
    const rows = async (split: 'train' | 'validation') => {
      const of = await data.load(split);
      // Every row the labels of another one.
      const { rows: n, features, labels, indptr, indices, values, labelIds, labelIndptr } = of;
      const sizes = Array.from({ length: n }, (_, i) => labelIndptr[i + 1] - labelIndptr[i]);
      const builder = new CsrBuilder({ features, labels });
      for (let row = 0; row < n; row++) {
        const other = (row * 7 + 3) % n;
        const own = labelIds.subarray(labelIndptr[other], labelIndptr[other] + sizes[other]);
        builder.row(
          indices.subarray(indptr[row], indptr[row + 1]),
          values.subarray(indptr[row], indptr[row + 1]),
          own,
        );
      }
      return builder.finish();
    };
    await writeDatasetDirectory(run('noise'), {
      ...{ name: 'noise', origin: 'made', licence: 'none', train: await rows('train') },
      validation: await rows('validation'),
    });
    const noise = await DatasetDirectory.open(run('noise'));
    await train({ ...base, data: run('noise'), out: run('of-noise'), epochs: 1 });
    const report = await remember(run('of-noise'), noise, { out: run('silent') }, kernels);
    expect(report).toMatchObject({ model: null, votes: { weight: 0 } });
    expect(await stat(run('silent')).catch(() => null)).toBeNull();
  });

  it('takes validation rows too where it was trained on them, and has nothing to choose or calibrate by', async () => {
    const report = await remember(run('all'), data, { out: run('c') }, kernels);
    expect(report).toMatchObject({ rows: 550, votes: defaultVotes, validation: null });
    expect((await loadClassifier(run('c'), kernels)).calibration).toBeNull();
    // Rows that were learnt are no judges either, remembered or not.
    const fewer = await remember(run('all'), data, { out: run('d'), rows: 'train' }, kernels);
    expect(fewer).toMatchObject({ rows: 400, validation: null });
    const given = { nearest: 5, temperature: 0.2, weight: 3 };
    const own = await remember(run('plain'), data, { out: run('e'), rows: 'all', votes: given }, kernels);
    expect(own).toMatchObject({ rows: 550, votes: given, validation: null });
    const byFeatures = { ...given, featureWeight: 2 };
    const votes = { ...byFeatures, featureTemperature: 0.3 };
    const both = await remember(
      run('plain'),
      data,
      { out: run('e'), rows: 'all', votes: byFeatures },
      kernels,
    );
    expect(both.votes).toEqual(votes);
    expect((await loadClassifier(run('e'), kernels)).remembered?.settings).toEqual(votes);
  });

  it('goes on remembering: added rows stand behind those that are there', async () => {
    const votes = { nearest: 9, temperature: 0.2, weight: 4 };
    await remember(run('plain'), data, { out: run('f'), votes }, kernels);
    const report = await remember(run('f'), data, { out: run('g'), add: true }, kernels);
    expect(report).toMatchObject({ rows: 800, votes, validation: null });
    const [before, after] = await Promise.all(['f', 'g'].map((name) => loadClassifier(run(name), kernels)));
    expect(after.calibration).toEqual(before.calibration);
    expect(after.calibration).not.toBeNull();
    const { examples } = after.remembered!;
    expect(examples.labelIds.subarray(examples.labelIds.length / 2)).toEqual(
      (await data.load('train')).labelIds,
    );
    await expect(remember(run('plain'), data, { out: run('h'), add: true }, kernels)).rejects.toMatchObject({
      code: 'REMEMBER_ADD',
    });
  });

  it('leaves out rows that cannot vote: without features, or without labels', async () => {
    const builder = new CsrBuilder({ features: shape.features, labels: shape.labels });
    builder.row([1, 2], [1, 1], [3]);
    builder.row([], [], [4]);
    builder.row([5], [1], []);
    builder.row([6], [1], [0, 59]);
    await writeDatasetDirectory(run('gaps'), {
      ...{ name: 'gaps', origin: 'made', licence: 'none', train: builder.finish() },
    });
    const gaps = await DatasetDirectory.open(run('gaps'));
    expect(await remember(run('plain'), gaps, { out: run('l') }, kernels)).toMatchObject({ rows: 2 });
    const { examples } = (await loadClassifier(run('l'), kernels)).remembered!;
    expect([[...examples.indices], [...examples.labelIds]]).toEqual([
      [1, 2, 6],
      [3, 0, 59],
    ]);
  });

  it('is stored in half of the bytes and answers as it was judged', async () => {
    const report = await remember(run('plain'), data, { out: run('i'), precision: 'bf16' }, kernels);
    const saved = await loadClassifier(run('i'), kernels);
    const measured = await evaluateModel({ ...saved, calibration: null }, data, 'validation', kernels);
    const { precision, psp } = report.validation!.with;
    expect(precisions(measured.at)).toEqual([1, 3, 5].map((k) => expect.closeTo(precision[k], 9)));
    expect(psp[5]).toBeGreaterThan(0);
    const bytes = async (name: string) =>
      (await readFile(join((await loadClassifier(run(name), kernels)).directory, 'model.safetensors')))
        .length;
    const { classifier } = saved;
    const matrices = modelArrays(classifier).filter(
      ({ data: d, shape: s }) => d instanceof Float32Array && s.length > 1,
    );
    const numbers = matrices.reduce((sum, { data: d }) => sum + d.length, 0);
    // Headers name the types.
    expect(Math.abs((await bytes('plain')) - (await bytes('i')) - 2 * numbers)).toBeLessThan(64);
  });

  it('is refused with a dataset of another shape', async () => {
    await writeDatasetDirectory(run('other'), {
      ...{ name: 'other', origin: 'made', licence: 'none' },
      train: plantedDataset({ ...shape, labels: 61, rows: 40 }),
    });
    const other = await DatasetDirectory.open(run('other'));
    await expect(remember(run('plain'), other, { out: run('k') }, kernels)).rejects.toMatchObject({
      code: 'REMEMBER_MISMATCH',
      facts: { expected: '160 features and 60 labels', received: '160 features and 61 labels' },
    });
    expect(await stat(run('k')).catch(() => null)).toBeNull();
  });
});
