/** Predictions for texts and for sparse rows. */
import type { FeaturizerRow } from '../data/featurizer/index.js';
import { EspalierError } from '../errors.js';
import { noLabel } from '../kernels/no-label.js';
import type { SparseBatch } from '../ops/sparse-batch.js';
import type { TopK } from '../output/layer.js';
import { Calibration, type CalibrationState } from './calibration.js';
import type { LoadedModel } from './model-io.js';
import { sigmoid } from './platt.js';
import { type Ranking, rankLabels, ranksBy } from './ranking.js';
import type { ModelSpec } from './spec.js';

export interface Prediction {
  readonly label: number;
  readonly name: string;
  /** Logit. */
  readonly score: number;
  /** Calibrated on validation rows where the model has a calibration; else sigmoid(score) for bce, null for others. */
  readonly probability: number | null;
}

export interface SparseInput {
  readonly indices: ArrayLike<number>;
  readonly values: ArrayLike<number>;
}

/**
 * The best `k` labels of each row, best first: by probability where the model's calibration says so (see `ranking.ts`),
 * else by score; with `{ ...model, rare: 1 }` in favour of rare ones. Features must be in range and finite.
 */
export async function predictRows(
  model: LoadedModel,
  rows: readonly SparseInput[],
  k: number,
): Promise<Prediction[][]> {
  const top = await topRows(model, rows, k);
  return rows.map((_, r) => predictionsOf(top, r, model, (label) => model.labelNames[label]));
}

/** The same as numbers; of fewer labels than `k`, so many columns. Empties the step arena. */
export async function topRows(model: Ranked, rows: readonly SparseInput[], k: number): Promise<TopK> {
  return topBatch(model, packRows(rows, model.shape.features), k);
}

/** The best `k` labels of each row by score, before anything else puts them in order. Empties the step arena. */
export function topByScore(model: Ranked, rows: readonly SparseInput[], k: number): Promise<TopK> {
  return topRows({ ...model, calibration: null, rare: 0 }, rows, k);
}

type Ranked = Pick<LoadedModel, 'classifier' | 'shape' | keyof Ranking>;

/** The same for a batch whose features are known to be in range. */
function topBatch(model: Ranked, batch: SparseBatch, k: number): Promise<TopK> {
  const { classifier, shape } = model;
  classifier.device.arena.reset();
  const most = Math.min(k, Math.max(1, shape.labels));
  return rankLabels(classifier, classifier.infer(batch), most, model, batch);
}

/**
 * Row `r` of `top` in words; `most` labels at most. Where probabilities order the answers (`rare` 0) they do not rise down
 * the list: a label behind those that the calibration was fitted on has that of the one before it at most.
 */
export function predictionsOf(
  top: TopK,
  r: number,
  { spec, calibration, rare = 0 }: ScoreReading,
  nameOf: (label: number) => string | undefined,
  most = top.k,
): Prediction[] {
  const row: Prediction[] = [];
  const ordered = rare === 0 && ranksBy(calibration) === 'probability';
  let least = 1;
  for (let i = r * top.k; i < r * top.k + Math.min(most, top.k); i++) {
    const label = top.labels[i];
    if (label === noLabel) break;
    const score = top.scores[i];
    const own = probabilityOf({ spec, calibration }, label, score);
    const probability = own !== null && ordered ? Math.min(own, least) : own;
    least = probability ?? least;
    row.push({ label, name: nameOf(label) ?? String(label), score, probability });
  }
  return row;
}

/** What reads scores: of a model, in this thread or another. */
export type ScoreReading = Pick<LoadedModel, 'calibration' | 'rare'> & {
  readonly spec: Pick<ModelSpec, 'loss'>;
};

/** By the model's calibration; without one, sigmoid(score) where the loss makes that a probability. */
function probabilityOf({ spec, calibration }: ScoreReading, label: number, score: number): number | null {
  if (calibration !== null) return Calibration.of(calibration).probability(label, score);
  return spec.loss === 'bce' ? sigmoid(score) : null;
}

export interface Confidence {
  /** Least probability, or score where there are no probabilities. */
  readonly threshold?: number;
  /** Least precision of predictions like this one on validation rows. */
  readonly precision?: number;
}

/** The predictions that are sure enough; throws `NO_CALIBRATION` where a precision is asked of a model without one. */
export function confident(
  predictions: Prediction[],
  { threshold = Number.NEGATIVE_INFINITY, precision }: Confidence,
  calibration: CalibrationState | null,
): Prediction[] {
  const sure = predictions.filter(({ probability, score }) => (probability ?? score) >= threshold);
  if (precision === undefined) return sure;
  if (calibration === null) {
    throw new EspalierError({
      code: 'NO_CALIBRATION',
      kind: 'usage',
      op: 'predict',
      problem: 'the model has no calibration, so nothing is known of the precision of its predictions',
      expected: 'a model trained with validation rows',
      hint: 'ask for a threshold instead, or train the model again',
    });
  }
  const read = Calibration.of(calibration);
  return sure.filter(({ label, probability }) => (probability ?? 0) >= read.threshold(label, precision));
}

/** The best `k` labels of each row of text, or of columns by name; a bare text goes to the first text column. */
export async function predictTexts(
  model: LoadedModel,
  rows: readonly FeaturizerRow[],
  k: number,
): Promise<{ readonly predictions: Prediction[]; readonly knownWords: number }[]> {
  const { featurizer } = model;
  if (featurizer === null) {
    throw new EspalierError({
      code: 'PREDICT_NO_TEXT',
      kind: 'usage',
      op: 'predict',
      problem: 'this model was trained on numbered features, not on text',
      hint: 'give sparse rows (index:value index:value) with --features',
    });
  }
  const batch = featurizer.featurize(rows);
  const top = await topBatch(model, batch, k);
  return rows.map((_, r) => ({
    predictions: predictionsOf(top, r, model, (label) => model.labelNames[label]),
    knownWords: batch.indptr[r + 1] - batch.indptr[r],
  }));
}

/** Rows as one sparse batch; throws `PREDICT_FEATURE` for one that does not fit `width` features. */
export function packRows(rows: readonly SparseInput[], width: number): SparseBatch {
  const nnz = rows.reduce((sum, row) => sum + row.indices.length, 0);
  const indptr = new Int32Array(rows.length + 1);
  const indices = new Uint32Array(nnz);
  const values = new Float32Array(nnz);
  let at = 0;
  for (const [r, row] of rows.entries()) {
    for (let e = 0; e < row.indices.length; e++) {
      const [index, value] = [row.indices[e], row.values[e]];
      if (!(Number.isInteger(index) && index >= 0 && index < width && Number.isFinite(value))) {
        throw new EspalierError({
          code: 'PREDICT_FEATURE',
          kind: 'data',
          op: 'predict',
          problem: `a feature of row ${r + 1} does not fit`,
          expected: `an index below ${width} with a finite value`,
          received: `${index}:${value}`,
        });
      }
      indices[at] = index;
      values[at++] = value;
    }
    indptr[r + 1] = at;
  }
  return { rows: rows.length, nnz, width, indptr, indices, values };
}
