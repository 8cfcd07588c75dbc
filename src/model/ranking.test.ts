/** The order of answers: by probability, the same list whatever k is asked for. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { referenceKernels } from '../kernels/reference/index.js';
import { Calibration, type CalibrationState } from './calibration.js';
import { type LoadedModel, loadClassifier } from './model-io.js';
import { predictRows } from './predict.js';
import { saveTinyModel, tinyCalibration } from './tiny-model.testing.js';

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
