/** What a model got right, row by row: what paired comparisons are made of. */
import type { CsrDataset } from '../../data/dataset.js';
import { BUCKETS, type LabelBuckets } from '../../data/statistics.js';
import { noLabel } from '../../kernels/no-label.js';
import type { TopK } from '../../output/layer.js';
import type { RowRatio } from './bootstrap.js';

export const cutoffs = [1, 3, 5] as const;

/** Names of the figures, in the order of `ratios`. */
export const figureNames: readonly string[] = [
  ...cutoffs.map((k) => `P@${k}`),
  ...BUCKETS.flatMap((bucket) => [`${bucket} found@1`, `${bucket} found@5`]),
];

export class RowOutcomes {
  readonly #buckets: LabelBuckets;
  readonly #ratios: readonly RowRatio[];

  constructor(rows: number, buckets: LabelBuckets) {
    this.#buckets = buckets;
    this.#ratios = figureNames.map(() => ({ part: new Float64Array(rows), whole: new Float64Array(rows) }));
  }

  add(best: TopK, truth: CsrDataset, rowIds: ArrayLike<number>): void {
    for (let i = 0; i < rowIds.length; i++) {
      const row = rowIds[i];
      const labels = truth.labelIds.subarray(truth.labelIndptr[row], truth.labelIndptr[row + 1]);
      const found = new Float64Array(2 * BUCKETS.length);
      let hits = 0;
      let figure = 0;
      for (let r = 0; r < cutoffs[2]; r++) {
        const label = r < best.k ? best.labels[i * best.k + r] : noLabel;
        if (labels.includes(label)) {
          hits++;
          const bucket = this.#buckets.of[label];
          if (r === 0) found[2 * bucket]++;
          found[2 * bucket + 1]++;
        }
        if (r + 1 === cutoffs[figure]) this.#set(figure++, row, hits / (r + 1), 1);
      }
      const there = new Float64Array(BUCKETS.length);
      for (const label of labels) there[this.#buckets.of[label]]++;
      for (let b = 0; b < BUCKETS.length; b++) {
        this.#set(figure + 2 * b, row, found[2 * b], there[b]);
        this.#set(figure + 2 * b + 1, row, found[2 * b + 1], there[b]);
      }
    }
  }

  ratios(): readonly RowRatio[] {
    return this.#ratios;
  }

  #set(figure: number, row: number, part: number, whole: number): void {
    this.#ratios[figure].part[row] = part;
    this.#ratios[figure].whole[row] = whole;
  }
}
