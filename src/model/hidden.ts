/** A dataset as the output layer sees it, batch by batch. */
import { Batch, BatchPlan, batchShape, fillBatch } from '../data/batches.js';
import type { CsrDataset } from '../data/dataset.js';
import type { SparseBatch } from '../ops/sparse-batch.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Classifier } from './classifier.js';

export interface HiddenBatch {
  /** [rows of the batch, d], of the step arena: until the next one is asked for. */
  readonly h: Tensor;
  /** Of its rows: a view that holds as long. */
  readonly features: SparseBatch;
  /** A view that holds as long. */
  readonly rowIds: Uint32Array;
  /** Rows so far. */
  readonly done: number;
}

/** All rows in their order, `size` at a time. Empties the step arena before every batch and at the end. */
export function* hiddenBatches(
  classifier: Classifier,
  dataset: CsrDataset,
  size: number,
): Generator<HiddenBatch> {
  const { rows } = dataset;
  if (rows === 0) return;
  const { device } = classifier;
  const rowsAtOnce = Math.min(size, rows);
  const order = new BatchPlan({ rows, batch: rowsAtOnce, seed: 0, shuffle: false });
  const batch = new Batch(batchShape(dataset, rowsAtOnce));
  for (let step = 0; step < order.stepsPerEpoch; step++) {
    const rowIds = order.rowIds({ epoch: 0, step });
    fillBatch(dataset, rowIds, batch);
    device.arena.reset();
    const { features } = batch;
    yield { h: classifier.infer(features), features, rowIds, done: step * rowsAtOnce + rowIds.length };
  }
  device.arena.reset();
}
