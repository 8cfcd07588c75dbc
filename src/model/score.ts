/** Scores a dataset with a model, batch by batch, through streamed top-k. */
import type { DatasetDirectory } from '../data/cache.js';
import type { CsrDataset } from '../data/dataset.js';
import { EspalierError } from '../errors.js';
import type { TopK } from '../output/layer.js';
import type { Classifier } from './classifier.js';
import { hiddenBatches } from './hidden.js';
import type { LoadedModel } from './model-io.js';
import { type Ranking, rankLabels } from './ranking.js';

export interface ScoreOptions {
  /** Rows at a time. */
  readonly batch: number;
  /** Labels per row. */
  readonly k: number;
  /** Of the model, where labels are ranked as it answers; default: by score. */
  readonly ranking?: Ranking;
  readonly onProgress?: (done: number, rows: number) => void;
}

/** Takes in the best labels of some rows of a dataset, e.g. `TopKMetrics`. */
export interface Scorer {
  add(best: TopK, truth: CsrDataset, rowIds: ArrayLike<number>): void;
}

/** Adds the best k labels of every row to `metrics`. Empties the step arena. */
export async function scoreDataset(
  classifier: Classifier,
  dataset: CsrDataset,
  metrics: Scorer,
  { batch: size, k, ranking = { calibration: null }, onProgress }: ScoreOptions,
): Promise<void> {
  for (const { h, features, rowIds, done } of hiddenBatches(classifier, dataset, size)) {
    metrics.add(await rankLabels(classifier, h, k, ranking, features), dataset, rowIds);
    onProgress?.(done, dataset.rows);
  }
}

/** Refuses a dataset with other features or labels than the model. */
export function checkFits(
  { code, op }: { readonly code: string; readonly op: string },
  { shape }: Pick<LoadedModel, 'shape'>,
  { info, path }: Pick<DatasetDirectory, 'info' | 'path'>,
): void {
  if (info.features === shape.features && info.labels === shape.labels) return;
  throw new EspalierError({
    ...{ code, kind: 'usage', op },
    problem: 'the dataset is not of the kind that the model was trained on',
    expected: `${shape.features} features and ${shape.labels} labels`,
    received: `${info.features} features and ${info.labels} labels`,
    file: path,
  });
}
