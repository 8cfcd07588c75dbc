/** Scores a dataset with a model, batch by batch, through streamed top-k. */
import { Batch, BatchPlan, batchShape, fillBatch } from '../data/batches.js';
import type { DatasetDirectory } from '../data/cache.js';
import type { CsrDataset } from '../data/dataset.js';
import { EspalierError } from '../errors.js';
import type { TopK } from '../output/layer.js';
import type { Classifier } from './classifier.js';
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
  if (dataset.rows === 0) return;
  const { device, output } = classifier;
  const rowsAtOnce = Math.min(size, dataset.rows);
  const order = new BatchPlan({ rows: dataset.rows, batch: rowsAtOnce, seed: 0, shuffle: false });
  const batch = new Batch(batchShape(dataset, rowsAtOnce));
  for (let step = 0; step < order.stepsPerEpoch; step++) {
    const rowIds = order.rowIds({ epoch: 0, step });
    fillBatch(dataset, rowIds, batch);
    device.arena.reset();
    const best = await rankLabels(output, classifier.infer(batch.features), k, ranking);
    metrics.add(best, dataset, rowIds);
    onProgress?.(step * rowsAtOnce + rowIds.length, dataset.rows);
  }
  device.arena.reset();
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
