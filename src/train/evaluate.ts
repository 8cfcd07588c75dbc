/** Scores a saved model on a split of a dataset, once, with intervals and figures by label frequency. */
import type { DatasetDirectory, Split } from '../data/cache.js';
import { labelBuckets, labelFrequencies } from '../data/statistics.js';
import type { Kernels } from '../kernels/face.js';
import { propensities } from '../metrics/propensities.js';
import type { Reliability } from '../metrics/reliability.js';
import { TopKMetrics, type TopKReport } from '../metrics/top-k.js';
import { type LoadedModel, loadClassifier } from '../model/model-io.js';
import { ranksBy } from '../model/ranking.js';
import { checkFits, type Scorer, scoreDataset } from '../model/score.js';
import type { TopK } from '../output/layer.js';
import { PairCollector, reliabilityOf } from './probabilities.js';

export interface EvaluationReport extends TopKReport {
  readonly model: string;
  readonly data: string;
  readonly split: Split;
  /** What put labels in order: calibrated probabilities, as in every answer of the model, scores without them, or `rare`. */
  readonly rankedBy: 'probability' | 'score' | 'rarity';
  /** How far rare labels were favoured (see `PredictOptions.rare`). */
  readonly rare: number;
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
): Promise<EvaluationReport> {
  const loaded = typeof model === 'string' ? await loadClassifier(model, kernels) : model;
  const { classifier, calibration } = loaded;
  checkFits({ code: 'EVALUATE_MISMATCH', op: 'evaluate' }, loaded, directory);
  const trained = await directory.load('trainAll');
  const frequencies = labelFrequencies(trained);
  const rows = split === 'trainAll' ? trained : await directory.load(split);
  const metrics = new TopKMetrics({
    ks,
    propensities: propensities(frequencies, trained.rows),
    buckets: labelBuckets(frequencies),
  });
  const perRow = Math.min(directory.info.labels, calibration?.perRow ?? 10);
  const pairs = new PairCollector(perRow);
  const all: Scorer = {
    add: (best, truth, rowIds) => {
      metrics.add(best, truth, rowIds);
      pairs.add(best, truth, rowIds);
      also?.add(firstOf(best, Math.max(...ks)), truth, rowIds);
    },
  };
  const k = Math.max(...ks, perRow);
  await scoreDataset(classifier, rows, all, { batch: 256, k, ranking: loaded, onProgress });
  const reliability = { perRow, ...reliabilityOf(pairs.pairs, calibration) };
  const { rare = 0 } = loaded;
  const rankedBy = rare === 0 ? ranksBy(calibration) : 'rarity';
  const about = { model: loaded.directory, data: directory.path, split, rankedBy, rare } as const;
  return { ...about, ...metrics.report(), reliability };
}

/** The best `count` labels of every row. */
function firstOf({ k, labels, scores }: TopK, count: number): TopK {
  if (count >= k) return { k, labels, scores };
  const isFirst = (_: number, i: number) => i % k < count;
  return { k: count, labels: labels.filter(isFirst), scores: scores.filter(isFirst) };
}
