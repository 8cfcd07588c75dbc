/** A layer as if it began with a later label: what a step is told of the rows from there on. */
import type { Moments, OutputUpdate, Positives } from '../kernels/face.js';

/** Positives of the labels from `from` on, numbered from 0, and views of their rows, `width` numbers each. */
export function partFrom(
  from: number,
  width: number,
  { label, row, count }: Positives,
  update: OutputUpdate,
): { readonly positives: Positives; readonly update: OutputUpdate } {
  let at = 0;
  while (at < count && label[at] < from) at++;
  const rest = ({ m, v }: Moments, numbers: number): Moments => ({
    m: m?.subarray(from * numbers) ?? null,
    v: v?.subarray(from * numbers) ?? null,
  });
  return {
    positives: {
      count: count - at,
      label: label.subarray(at, count).map((l) => l - from),
      row: row.subarray(at, count),
    },
    update: {
      ...update,
      weightMoments: rest(update.weightMoments, width),
      biasMoments: rest(update.biasMoments, 1),
      dWeights: update.dWeights?.subarray(from * width) ?? null,
      dBias: update.dBias?.subarray(from) ?? null,
    },
  };
}
