/** Scores a dataset with a classifier, batch by batch, through streamed top-k. */
import { Batch, BatchPlan, batchShape, fillBatch } from '../data/batches.js';
import type { CsrDataset } from '../data/dataset.js';
import type { TopK } from '../output/layer.js';
import type { Classifier } from './classifier.js';

export interface ScoreOptions {
  /** Rows at a time. */
  readonly batch: number;
  /** Labels per row. */
  readonly k: number;
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
  { batch: size, k, onProgress }: ScoreOptions,
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
    const best = await output.topK(classifier.infer(batch.features), k);
    metrics.add(best, dataset, rowIds);
    onProgress?.(step * rowsAtOnce + rowIds.length, dataset.rows);
  }
  device.arena.reset();
}
