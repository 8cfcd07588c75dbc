/** Calibrated probabilities: what is fitted is right, kept, read again, and refused where it is damaged. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DatasetDirectory, writeDatasetDirectory } from '../data/cache.js';
import type { CsrDataset } from '../data/dataset.js';
import { plantedDataset } from '../data/planted.js';
import { selectKernels } from '../kernels/index.js';
import { RandomStream } from '../kernels/random.js';
import { ReliabilityBins } from '../metrics/reliability.js';
import { Calibration, mapCalibration, parseCalibration } from '../model/calibration.js';
import { Model } from '../model/model.js';
import { type LoadedModel, loadClassifier } from '../model/model-io.js';
import { fitScaling, logLoss, sigmoid } from '../model/platt.js';
import { predictRows } from '../model/predict.js';
import { saveTinyModel, tinyCalibration } from '../model/tiny-model.testing.js';
import { reliabilitySvg } from '../pictures/reliability.js';
import { evaluateModel } from './evaluate.js';
import type { TrainEvent } from './events.js';
import { calibrate, PairCollector } from './probabilities.js';
import { train } from './train.js';

const kernels = selectKernels({ backend: 'reference' });
let home: string;
let data: string;
const shape = { features: 120, labels: 40, seed: 3 };
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-probabilities-'));
  data = join(home, 'data');
  await writeDatasetDirectory(data, {
    ...{ name: 'planted', origin: 'made', licence: 'none' },
    train: plantedDataset({ ...shape, rows: 300 }),
    validation: plantedDataset({ ...shape, rows: 120, split: 'validation' }),
    test: plantedDataset({ ...shape, rows: 120, split: 'test' }),
  });
});
afterAll(() => rm(home, { recursive: true, force: true }));

/** Pairs of rows of ten: label l of 30, right with the probability that its scaling says. */
function drawn(rows: number, scalingOf: (label: number) => { slope: number; offset: number }) {
  const stream = RandomStream.named(5, 'pairs');
  const pairs = new PairCollector(10);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < 10; i++) {
      const label = stream.below(30);
      const score = 6 * stream.uniform() - 3;
      const { slope, offset } = scalingOf(label);
      pairs.pairs.scores.push(score);
      pairs.pairs.labels.push(label);
      pairs.pairs.right.push(stream.uniform() < sigmoid(slope * score + offset) ? 1 : 0);
      pairs.pairs.row.push(row);
    }
    pairs.rows++;
  }
  return pairs;
}
/** Labels 0 to 9 are the tail, 10 to 19 the torso, the rest the head. */
const frequencies = Uint32Array.from(
  { length: 30 },
  (_, l) => [20, 22, 21][Math.floor(l / 10)] ** (1 + Math.floor(l / 10) / 9),
);
const options = { perRow: 10, leastRight: 50, isLogit: true };

describe('a scaling', () => {
  it('has a gradient of 0 where it was found, without and with a prior', () => {
    const { pairs } = drawn(40, () => ({ slope: 2, offset: -1 }));
    for (const prior of [undefined, { scaling: { slope: 1, offset: 0.5 }, pairs: 30 }]) {
      const found = fitScaling(pairs, { prior });
      expect(found).not.toBeNull();
      const at = (da: number, db: number) =>
        logLoss({ slope: found!.slope + da, offset: found!.offset + db }, pairs);
      if (prior === undefined) {
        // Targets are smoothed by one pair: the likelihood itself is flat to that order.
        expect(Math.abs(at(1e-3, 0) - at(-1e-3, 0)) / 2e-3).toBeLessThan(2e-2);
        expect(Math.abs(at(0, 1e-3) - at(0, -1e-3)) / 2e-3).toBeLessThan(2e-2);
        expect(Math.abs(found!.slope - 2)).toBeLessThan(0.6);
      } else {
        const free = fitScaling(pairs)!;
        expect(found!.slope).toBeGreaterThan(1);
        expect(found!.slope).toBeLessThan(free.slope);
      }
    }
  });

  it('is none where larger scores are right less often; and stays finite where scores tell all', () => {
    expect(fitScaling({ scores: [1, 2, 3, 4], right: [1, 1, 0, 0] })).toBeNull();
    const told = fitScaling({ scores: [-2, -1, 1, 2], right: [0, 0, 1, 1] });
    expect(told!.slope).toBeLessThan(20);
  });
});

describe('calibration', () => {
  it('leaves a calibrated model as it is, and mends one that is off: the error on rows not seen falls', () => {
    const sound = calibrate(
      drawn(200, () => ({ slope: 1, offset: 0 })),
      frequencies,
      options,
    )!;
    expect(Math.abs(sound.ece.after - sound.ece.before)).toBeLessThan(0.02);
    const off = calibrate(
      drawn(200, () => ({ slope: 0.4, offset: -1 })),
      frequencies,
      options,
    )!;
    expect(off.method).toBe('platt');
    expect(off.ece.before).toBeGreaterThan(0.1);
    expect(off.ece.after).toBeLessThan(off.ece.before / 2);
    expect(off.all.slope).toBeCloseTo(0.4, 0);
  });

  it('ranks by probability only where that puts right labels nearer to the front than chance would', () => {
    const order = (scalingOf: (label: number) => { slope: number; offset: number }) =>
      calibrate(drawn(300, scalingOf), frequencies, options)?.order;
    expect(order(() => ({ slope: 1, offset: -1 }))).toBe('score');
    expect(order((label) => ({ slope: 1, offset: label < 10 ? -3 : 0 }))).toBe('probability');
  });

  it('takes buckets and labels apart only where that helps, and labels only above the stated count', () => {
    const same = calibrate(
      drawn(200, () => ({ slope: 1, offset: -1 })),
      frequencies,
      options,
    )!;
    expect(same.labels.length).toBeLessThan(8);
    const apart = drawn(300, (label) => ({ slope: 1, offset: label < 10 ? -2 : label === 25 ? 3 : 0 }));
    const { buckets, labels } = calibrate(apart, frequencies, options)!;
    expect(Object.values(buckets).filter((bucket) => bucket !== null).length).toBeGreaterThan(0);
    expect(labels.map(({ label }) => label)).toContain(25);
    const strict = calibrate(apart, frequencies, { ...options, leastRight: 1000 })!;
    expect(strict.labels).toEqual([]);
  });

  it('gives thresholds above which predictions are as precise as was asked, by bucket', () => {
    const pairs = drawn(300, () => ({ slope: 1.5, offset: -0.5 }));
    const state = calibrate(pairs, frequencies, options)!;
    const read = Calibration.of(state);
    for (const { precision, all } of state.thresholds) {
      if (all === null) continue;
      let [seen, right] = [0, 0];
      for (const [i, score] of pairs.pairs.scores.entries()) {
        if (read.probability(pairs.pairs.labels[i], score) < all) continue;
        seen++;
        right += pairs.pairs.right[i];
      }
      expect(right / seen).toBeGreaterThanOrEqual(precision);
    }
    expect(state.thresholds[0].all).not.toBeNull();
    expect(read.threshold(3, 0.6)).toBeLessThanOrEqual(read.threshold(3, 0.8));
    expect(read.threshold(3, 0.999)).toBe(Number.POSITIVE_INFINITY);
  });

  it('says nothing where there is nothing to learn from', () => {
    expect(
      calibrate(
        drawn(2, () => ({ slope: 1, offset: 0 })),
        frequencies,
        options,
      ),
    ).toBeNull();
  });

  it('follows labels that go and move; with new ones there is none', () => {
    const apart = drawn(300, (label) => ({ slope: 1, offset: label === 25 ? 3 : 0 }));
    const state = calibrate(apart, frequencies, options)!;
    const map = Int32Array.of(25, 3, 0);
    const mapped = mapCalibration(state, map)!;
    for (const [j, from] of map.entries())
      expect(Calibration.of(mapped).probability(j, 0.7)).toBe(Calibration.of(state).probability(from, 0.7));
    expect(mapCalibration(state, Int32Array.of(1, -1))).toBeNull();
    const text = JSON.stringify(mapped);
    expect(parseCalibration(text, 3)).toEqual(mapped);
    for (const wrong of ['{', '{}', text.replace('"slope":', '"slope":-'), text])
      expect(() => parseCalibration(wrong, wrong === text ? 4 : 3)).toThrow(/CALIBRATION_STATE/);
  });
});

describe('the expected calibration error', () => {
  it('is the mean distance between what was said and what happened, bin by bin', () => {
    const bins = new ReliabilityBins(2);
    for (const right of [true, true, true, false]) bins.add(0.9, right);
    bins.add(0.1, false);
    expect(bins.report().ece).toBeCloseTo((4 * 0.15 + 0.1) / 5, 12);
    expect(reliabilitySvg({ title: 'a < b', panels: [{ title: 'x', bins: bins.report().bins }] })).toContain(
      'a &lt; b',
    );
  });
});

/** P@k of what `predictRows` answers. */
async function precisionOfAnswers(model: LoadedModel, rows: CsrDataset, k: number): Promise<number> {
  const inputs = Array.from({ length: rows.rows }, (_, r) => ({
    indices: rows.indices.subarray(rows.indptr[r], rows.indptr[r + 1]),
    values: rows.values.subarray(rows.indptr[r], rows.indptr[r + 1]),
  }));
  let right = 0;
  for (const [r, answer] of (await predictRows(model, inputs, k)).entries()) {
    const truth = rows.labelIds.subarray(rows.labelIndptr[r], rows.labelIndptr[r + 1]);
    right += answer.filter(({ label }) => truth.includes(label)).length / k;
  }
  return right / rows.rows;
}

it('evaluation is of the ranking that predictions print, which is not that of scores', async () => {
  const run = join(home, 'shuffled');
  await saveTinyModel(run, { text: false, labels: 40, calibration: tinyCalibration(40, 10) });
  const model = await loadClassifier(run, kernels);
  const rows = plantedDataset({ rows: 90, features: 20, labels: 40, seed: 5 });
  const path = join(home, 'narrow');
  const made = { name: 'narrow', origin: 'made', licence: 'none', train: rows };
  await writeDatasetDirectory(path, { ...made, test: rows });
  const directory = await DatasetDirectory.open(path);
  const found: number[][] = [];
  for (const calibration of [model.calibration, null]) {
    const one = { ...model, calibration };
    const { at } = await evaluateModel(one, directory, 'test', kernels);
    found.push(at.map(({ precision }) => precision.value));
    for (const [i, k] of [1, 3, 5].entries())
      expect(await precisionOfAnswers(one, rows, k)).toBeCloseTo(found.at(-1)?.[i] ?? -1, 12);
  }
  expect(found[0]).not.toEqual(found[1]);
});

describe('a trained model', () => {
  it.each(['bce', 'squaredHinge'] as const)(
    'keeps its calibration: predictions and evaluation use it, %s',
    async (loss) => {
      const out = join(home, loss);
      const events: TrainEvent[] = [];
      await train(
        {
          ...{ data, out, backend: 'reference', batch: 32, epochs: 4 },
          optimizer: { kind: 'adam', rate: 2e-2 },
          outputOptimizer: { kind: 'adam', rate: 2e-2 },
          model: { encoder: { embedding: 24, dropout: 0.1 }, output: { kind: 'dense' }, loss },
        },
        { onEvent: (e) => events.push(e) },
      );
      const told = events.find((e) => e.event === 'calibration');
      const loaded = await loadClassifier(out, kernels);
      expect(told).toMatchObject({
        before: loaded.calibration?.ece.before,
        after: loaded.calibration?.ece.after,
      });
      const report = await evaluateModel(loaded, await DatasetDirectory.open(data), 'test', kernels);
      expect(report.reliability.calibrated!.ece).toBeLessThan(report.reliability.raw.ece + 0.02);
      const model = new Model(loaded);
      const test = await (await DatasetDirectory.open(data)).load('test');
      const to = test.indptr[1];
      const input = { indices: test.indices.subarray(0, to), values: test.values.subarray(0, to) };
      expect(report.rankedBy).toBe(loaded.calibration!.order);
      expect(await precisionOfAnswers(loaded, test, 3)).toBeCloseTo(report.at[1].precision.value, 12);
      const { predictions, none } = await model.predict(input, { k: 5 });
      expect(none).toBe(false);
      let least = 1;
      for (const { label, score, probability } of predictions) {
        least = Math.min(least, Calibration.of(loaded.calibration!).probability(label, score));
        expect(probability).toBe(least);
      }
      expect(await model.predict(input, { threshold: 1.01 })).toMatchObject({ predictions: [], none: true });
      const sure = (await model.predict(input, { k: 5, precision: 0.8 })).predictions;
      expect(sure.length).toBeLessThanOrEqual(predictions.length);
      await expect(
        new Model({ ...loaded, calibration: null }).predict(input, { precision: 0.9 }),
      ).rejects.toThrow(/NO_CALIBRATION/);
    },
  );
});
