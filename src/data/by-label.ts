/** The rows of a dataset by label. */
import type { CsrDataset } from './dataset.js';

export interface RowsByLabel {
  /** [labels + 1], the rows of label l are rowOf[begin[l]] to rowOf[begin[l + 1]]. */
  readonly begin: Float64Array;
  /** [positives], ascending within a label. */
  readonly rowOf: Uint32Array;
}

/** Turns labels by row into rows by label, by counting. */
export function rowsByLabel({
  rows,
  labels,
  labelIndptr,
  labelIds,
}: Pick<CsrDataset, 'rows' | 'labels' | 'labelIndptr' | 'labelIds'>): RowsByLabel {
  const begin = new Float64Array(labels + 1);
  for (let e = 0; e < labelIds.length; e++) begin[labelIds[e] + 1]++;
  for (let label = 0; label < labels; label++) begin[label + 1] += begin[label];
  const rowOf = new Uint32Array(labelIds.length);
  for (let row = 0; row < rows; row++) {
    for (let e = labelIndptr[row]; e < labelIndptr[row + 1]; e++) rowOf[begin[labelIds[e]]++] = row;
  }
  // Every pointer has walked to the next label's begin.
  begin.copyWithin(1, 0, labels);
  begin[0] = 0;
  return { begin, rowOf };
}
