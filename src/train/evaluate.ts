/** Scores a saved model on a split of a dataset, once, with intervals and figures by label frequency. */
import type { DatasetDirectory, Split } from '../data/cache.js';
import type { CsrDataset } from '../data/dataset.js';
import type { Exclusions } from '../data/exclusions.js';
import { labelBuckets, labelFrequencies } from '../data/statistics.js';
import type { Kernels } from '../kernels/face.js';
import { propensities } from '../metrics/propensities.js';
import type { Reliability } from '../metrics/reliability.js';
import { TopKMetrics, type TopKReport } from '../metrics/top-k.js';
import { type LoadedModel, loadClassifier } from '../model/model-io.js';
import { firstOf, leftOf, ordered, ranksBy, widthFor } from '../model/ranking.js';
import { checkFits, type Scorer, scoreDataset } from '../model/score.js';
import { PairCollector, reliabilityOf } from './probabilities.js';

export interface EvaluationReport extends TopKReport {
  readonly model: string;
  readonly data: string;
  readonly split: Split;
  /** What put labels in order: calibrated probabilities, as in every answer of the model, or scores without them. */
  readonly rankedBy: 'probability' | 'score';
  /** How far rare labels were favoured in that order (see `PredictOptions.rare`). */
  readonly rare: number;
  /** Pairs of rows and labels that were left out, and how many of these are labels of their rows, which nothing can find. */
  readonly excluded: { readonly pairs: number; readonly right: number } | null;
  /**
   * Probabilities of the best labels of each row against what was right: by sigmoid(score), and by the model's
   * calibration, null where it has none.
   */
  readonly reliability: {
    readonly perRow: number;
    readonly raw: Reliability;
    readonly calibrated: Reliability | null;
  };
}

/**
 * P@k, nDCG@k and PSP@k at 1, 3, 5, of the labels in the order in which the model answers: by probability where its
 * calibration found that better. With `{ ...model, calibration: null }` they are ranked by score, as scorings while training are;
 * with `{ ...model, rare: 1 }` in favour of rare ones.
 * Propensities and frequencies come from all training rows of the dataset.
 *
 * @param model a path, or a model loaded before
 * @throws EspalierError `EVALUATE_MISMATCH` when the dataset has other features or labels than the model
 */
export async function evaluateModel(
  model: string | LoadedModel,
  directory: DatasetDirectory,
  split: Split,
  kernels: Kernels,
  onProgress?: (done: number, rows: number) => void,
  ks: readonly number[] = [1, 3, 5],
  /** Sees the predictions of every row too. */
  also?: Scorer,
  excluded?: Exclusions,
): Promise<EvaluationReport> {
  const loaded = typeof model === 'string' ? await loadClassifier(model, kernels) : model;
  const [report] = await evaluateRares(loaded, directory, split, [loaded.rare ?? 0], {
    onProgress,
    ks,
    also,
    excluded,
  });
  return report;
}

/** The same for rare labels favoured by so much each time: every row is encoded, and its labels scored, once. */
export async function evaluateRares(
  model: LoadedModel,
  directory: DatasetDirectory,
  split: Split,
  rares: readonly number[],
  {
    onProgress,
    ks = [1, 3, 5],
    also,
    excluded,
  }: {
    readonly onProgress?: (done: number, rows: number) => void;
    readonly ks?: readonly number[];
    /** Sees the predictions of every row too, of the first of `rares`. */
    readonly also?: Scorer;
    /** Pairs that are no question: answers are the first of those that are left, in the order they have with all. */
    readonly excluded?: Exclusions;
  } = {},
): Promise<EvaluationReport[]> {
  const { classifier, calibration, remembered } = model;
  checkFits({ code: 'EVALUATE_MISMATCH', op: 'evaluate' }, model, directory);
  const trained = await directory.load('trainAll');
  const frequencies = labelFrequencies(trained);
  const rows = split === 'trainAll' ? trained : await directory.load(split);
  const worths = propensities(frequencies, trained.rows);
  const buckets = labelBuckets(frequencies);
  const perRow = Math.min(directory.info.labels, calibration?.perRow ?? 10);
  const orders = rares.map((rare) => ({
    ranking: { ...model, rare },
    metrics: new TopKMetrics({ ks, propensities: worths, buckets }),
    pairs: new PairCollector(perRow),
  }));
  const most = Math.max(...ks);
  const k = Math.max(most, perRow);
  const wide = Math.min(directory.info.labels, k + (excluded?.most ?? 0));
  const all: Scorer = {
    add: (top, truth, rowIds) => {
      for (const [i, { ranking, metrics, pairs }] of orders.entries()) {
        const all = ordered(top, Math.max(k, wide), ranking);
        const best =
          excluded === undefined ? all : leftOf(all, k, (r, label) => excluded.of(rowIds[r]).has(label));
        metrics.add(best, truth, rowIds);
        pairs.add(best, truth, rowIds);
        if (i === 0) also?.add(firstOf(best, most), truth, rowIds);
      }
    },
  };
  const widest = Math.max(
    ...orders.map(({ ranking }) => widthFor(ranking, Math.max(k, wide), directory.info.labels)),
  );
  const ranking = { calibration: null, remembered };
  await scoreDataset(classifier, rows, all, { batch: 256, k: widest, ranking, onProgress });
  const left = excluded === undefined ? null : { pairs: excluded.pairs, right: rightOnes(rows, excluded) };
  const about = { model: model.directory, data: directory.path, split, rankedBy: ranksBy(calibration) };
  return orders.map(({ ranking: { rare }, metrics, pairs: { pairs } }) => {
    const reliability = { perRow, ...reliabilityOf(pairs, calibration) };
    return { ...about, rare, excluded: left, ...metrics.report(), reliability };
  });
}

function rightOnes({ rows, labelIndptr, labelIds }: CsrDataset, excluded: Exclusions): number {
  let right = 0;
  for (let row = 0; row < rows; row++) {
    const out = excluded.of(row);
    if (out.size === 0) continue;
    for (let e = labelIndptr[row]; e < labelIndptr[row + 1]; e++) if (out.has(labelIds[e])) right++;
  }
  return right;
}
