/** The order of answers: by probability, the same list whatever k is asked for. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { referenceKernels } from '../kernels/reference/index.js';
import { propensities } from '../metrics/propensities.js';
import { Calibration, type CalibrationState } from './calibration.js';
import { Model } from './model.js';
import { type LoadedModel, loadClassifier } from './model-io.js';
import { predictRows } from './predict.js';
import { rareCandidates } from './ranking.js';
import { saveTinyModel, tinyCalibration, tinyFrequencies } from './tiny-model.testing.js';

const [labels, perRow] = [37, 9];
let home: string;
let model: LoadedModel;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-ranking-'));
  await saveTinyModel(home, { text: false, labels, calibration: tinyCalibration(labels, perRow) });
  model = await loadClassifier(home, referenceKernels('float64'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

const rows = Array.from({ length: 12 }, (_, i) => ({ indices: [i, (3 * i + 1) % 20], values: [1, 0.5] }));
const namesOf = (answer: readonly { readonly label: number }[]) => answer.map(({ label }) => label);

describe('the answers of a model with a calibration', () => {
  it('are the first k of one and the same list, whatever k is', async () => {
    const all = await predictRows(model, rows, labels);
    for (let k = 1; k < labels; k++) {
      const some = await predictRows(model, rows, k);
      for (const [r, answer] of some.entries()) expect(answer).toEqual(all[r].slice(0, k));
    }
  });

  it('have probabilities that do not rise down the list, though scores may', async () => {
    let rises = 0;
    for (const answer of await predictRows(model, rows, labels)) {
      for (let i = 1; i < answer.length; i++) {
        expect(answer[i].probability).toBeLessThanOrEqual(answer[i - 1].probability as number);
        if (answer[i].score > answer[i - 1].score) rises++;
      }
    }
    expect(rises).toBeGreaterThan(0);
  });

  it('begin with the labels that the calibration was fitted on, each with its own probability; the rest by score', async () => {
    const byScore = await predictRows({ ...model, calibration: null }, rows, labels);
    const read = Calibration.of(tinyCalibration(labels, perRow));
    for (const [r, answer] of (await predictRows(model, rows, labels)).entries()) {
      const first = answer.slice(0, perRow);
      expect(namesOf(first).toSorted()).toEqual(namesOf(byScore[r].slice(0, perRow)).toSorted());
      for (const { label, score, probability } of first)
        expect(probability).toBe(read.probability(label, score));
      expect(namesOf(answer.slice(perRow))).toEqual(namesOf(byScore[r].slice(perRow)));
    }
  });

  it('stay by score where the calibration did not find probabilities better, each with its own', async () => {
    const kept = { ...(model.calibration as CalibrationState), order: 'score' as const };
    const read = Calibration.of(kept);
    const byScore = await predictRows({ ...model, calibration: null }, rows, labels);
    let rises = 0;
    for (const [r, answer] of (await predictRows({ ...model, calibration: kept }, rows, labels)).entries()) {
      expect(namesOf(answer)).toEqual(namesOf(byScore[r]));
      for (const [i, { label, score, probability }] of answer.entries()) {
        expect(probability).toBe(read.probability(label, score));
        if (i > 0 && (probability as number) > (answer[i - 1].probability as number)) rises++;
      }
    }
    expect(rises).toBeGreaterThan(0);
  });

  it('stay by score where the calibration is of more labels than there are, or of equal probabilities', async () => {
    const apart = tinyCalibration(labels, labels + 50);
    const [answer] = await predictRows({ ...model, calibration: apart }, rows, labels + 5);
    expect(answer).toHaveLength(labels);
    const even = { ...apart, buckets: { head: null, torso: null, tail: null }, labels: [] };
    const found = await predictRows({ ...model, calibration: even }, rows, labels);
    const byScore = await predictRows({ ...model, calibration: null }, rows, labels);
    expect(found.map(namesOf)).toEqual(byScore.map(namesOf));
  });
});

describe('answers that favour rare labels', () => {
  const many = 130;
  let wide: LoadedModel;
  beforeAll(async () => {
    await saveTinyModel(join(home, 'wide'), { text: false, labels: many });
    wide = await loadClassifier(join(home, 'wide'), referenceKernels('float64'));
  });

  it('are the best 100 by score in the order of score - rare log p_l, those behind by score', async () => {
    const { rows: seen, counts } = tinyFrequencies(many);
    const p = propensities(counts, seen);
    const byScore = await predictRows(wide, rows, many);
    for (const rare of [0.01, 0.3, 1, 10]) {
      for (const [r, answer] of (await predictRows({ ...wide, rare }, rows, many)).entries()) {
        const first = byScore[r]
          .slice(0, rareCandidates)
          .toSorted(
            (a, b) => b.score - rare * Math.log(p[b.label]) - (a.score - rare * Math.log(p[a.label])),
          );
        expect(answer).toEqual([...first, ...byScore[r].slice(rareCandidates)]);
      }
    }
  });

  it('are the first k of one and the same list, whatever k is', async () => {
    const all = await predictRows({ ...wide, rare: 0.5 }, rows, many);
    for (const k of [1, 5, 99, 100, 101, 129]) {
      for (const [r, answer] of (await predictRows({ ...wide, rare: 0.5 }, rows, k)).entries())
        expect(answer).toEqual(all[r].slice(0, k));
    }
  });

  it('are the order of scores where all labels were seen as often, and the own order of the model at 0', async () => {
    const even = { ...wide, frequencies: { rows: 400, counts: new Uint32Array(many).fill(7) } };
    expect(await predictRows({ ...even, rare: 3 }, rows, many)).toEqual(await predictRows(wide, rows, many));
    expect(await predictRows({ ...model, rare: 0 }, rows, labels)).toEqual(
      await predictRows(model, rows, labels),
    );
  });

  it('start from the own order of a model that ranks by probability: by that of score - rare log p_l', async () => {
    const { rows: seen, counts } = tinyFrequencies(labels);
    const p = propensities(counts, seen);
    const read = Calibration.of(model.calibration as CalibrationState);
    const byScore = await predictRows({ ...model, calibration: null }, rows, labels);
    for (const rare of [0.01, 1, 10]) {
      const key = ({ label, score }: { readonly label: number; readonly score: number }) =>
        read.probability(label, score - rare * Math.log(p[label]));
      for (const [r, answer] of (await predictRows({ ...model, rare }, rows, labels)).entries()) {
        const first = byScore[r].toSorted((a, b) => key(b) - key(a));
        expect(namesOf(answer)).toEqual(namesOf(first));
      }
    }
  });

  it('keep the probability of every label, though a calibration orders the answers otherwise', async () => {
    const read = Calibration.of(model.calibration as CalibrationState);
    for (const answer of await predictRows({ ...model, rare: 2 }, rows, labels)) {
      for (const { label, score, probability } of answer)
        expect(probability).toBe(read.probability(label, score));
    }
  });

  it('favour as far as the model says, unless a question says otherwise', async () => {
    const [plain, own] = [new Model(wide), new Model({ ...wide, rare: 2 })];
    const byDefault = await own.predict(rows[0], { k: 9 });
    expect(byDefault).toEqual(await plain.predict(rows[0], { k: 9, rare: 2 }));
    const byScore = await own.predict(rows[0], { k: 9, rare: 0 });
    expect(byScore).toEqual(await plain.predict(rows[0], { k: 9 }));
    expect(namesOf(byDefault.predictions)).not.toEqual(namesOf(byScore.predictions));
  });

  it.each([-1, 10.5, Number.NaN])('are refused for rare = %d', async (rare) => {
    await expect(predictRows({ ...wide, rare }, rows, 5)).rejects.toMatchObject({ code: 'RARE_RANGE' });
  });

  it('are refused by a model that does not say how often labels were seen, and only then', async () => {
    await saveTinyModel(join(home, 'older'), { text: false, labels, frequencies: null });
    const older = await loadClassifier(join(home, 'older'), referenceKernels('float64'));
    await expect(predictRows({ ...older, rare: 1 }, rows, 5)).rejects.toMatchObject({ code: 'RARE_UNKNOWN' });
    expect(await predictRows(older, rows, 5)).toHaveLength(rows.length);
  });
});
