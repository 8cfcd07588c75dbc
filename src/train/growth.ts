/** The training rows as growth by gradients sees them: a batch, and every label's own examples. */
import { Batch, type BatchShape, batchBytes, batchShape, fillBatch } from '../data/batches.js';
import { type RowsByLabel, rowsByLabel } from '../data/by-label.js';
import type { CsrDataset } from '../data/dataset.js';
import type { Positives } from '../kernels/face.js';
import type { Classifier } from '../model/classifier.js';
import type { SparseBatch } from '../ops/sparse-batch.js';
import type { GrowthSource } from '../output/layer.js';
import type { Tensor } from '../tensor/tensor.js';

/** Rows encoded at once for evidence. */
const evidenceRows = 1024;

/** What evidence needs of memory beside the step arena. */
export interface GrowthShape {
  readonly evidence: BatchShape;
  readonly bytes: number;
}

/** null where the output layer does not ask for evidence. `logSums`: a number per row is remembered too. */
export function growthShape(rows: CsrDataset, growsBy: string, logSums: boolean): GrowthShape | null {
  if (growsBy !== 'positives') return null;
  const evidence = batchShape(rows, Math.min(evidenceRows, rows.rows));
  const byLabel = 4 * rows.positives + 8 * (rows.labels + 1);
  const bytes = batchBytes(evidence) + byLabel + (logSums ? 8 * rows.rows : 0);
  return { evidence, bytes };
}

export class TrainingGrowth implements GrowthSource {
  readonly examples: number;
  readonly evidenceRows: number;
  readonly #rows: CsrDataset;
  readonly #classifier: Classifier;
  readonly #last: Batch;
  readonly #evidence: Batch | null;
  #byLabel: RowsByLabel | null = null;

  constructor(rows: CsrDataset, classifier: Classifier, last: Batch, shape: GrowthShape | null) {
    this.examples = rows.rows;
    this.#rows = rows;
    this.#classifier = classifier;
    this.#last = last;
    this.#evidence = shape === null ? null : new Batch(shape.evidence);
    this.evidenceRows = shape?.evidence.rows ?? 0;
  }

  batch(): { readonly h: Tensor; readonly positives: Positives } {
    return { h: this.#encode(this.#last.features), positives: this.#last.positives };
  }

  labelsOf(row: number): number {
    const { labelIndptr } = this.#rows;
    return labelIndptr[row + 1] - labelIndptr[row];
  }

  rowsOf(label: number): Uint32Array {
    this.#byLabel ??= rowsByLabel(this.#rows);
    const { begin, rowOf } = this.#byLabel;
    return rowOf.subarray(begin[label], begin[label + 1]);
  }

  hidden(rows: Uint32Array): Tensor {
    const batch = this.#evidence as Batch;
    fillBatch(this.#rows, rows, batch);
    return this.#encode(batch.features);
  }

  #encode(features: SparseBatch): Tensor {
    return this.#classifier.device.keepOnly(() => this.#classifier.infer(features));
  }
}
