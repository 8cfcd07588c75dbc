/** Random datasets for property tests. */
import fc from 'fast-check';
import { CsrBuilder } from './builder.js';
import type { CsrDataset } from './dataset.js';

export interface RowRecord {
  readonly features: readonly number[];
  readonly values: readonly number[];
  readonly labels: readonly number[];
}

/** Datasets of up to 12 rows, 20 features and `labels` labels, with empty rows among them. */
export function arbitraryDataset(labels = 9): fc.Arbitrary<CsrDataset> {
  const value = fc.float({ noNaN: true, noDefaultInfinity: true });
  const row = fc
    .tuple(
      fc.uniqueArray(fc.nat(19), { maxLength: 8 }),
      fc.array(value, { minLength: 8, maxLength: 8 }),
      fc.uniqueArray(fc.nat(labels - 1), { maxLength: 5 }),
    )
    .map(([features, values, ids]) => ({ features, values: values.slice(0, features.length), labels: ids }));
  return fc.array(row, { maxLength: 12 }).map((rows) => datasetOf(rows, 20, labels));
}

export function datasetOf(rows: readonly RowRecord[], features: number, labels: number): CsrDataset {
  const builder = new CsrBuilder({ features, labels });
  for (const { features: f, values, labels: l } of rows) builder.row(f, values, l);
  return builder.finish();
}

/** The rows of a dataset as plain records. */
export function rowRecords(dataset: CsrDataset): RowRecord[] {
  return Array.from({ length: dataset.rows }, (_, row) => {
    const [begin, end] = [dataset.indptr[row], dataset.indptr[row + 1]];
    const [labelBegin, labelEnd] = [dataset.labelIndptr[row], dataset.labelIndptr[row + 1]];
    return {
      features: [...dataset.indices.subarray(begin, end)],
      values: [...dataset.values.subarray(begin, end)],
      labels: [...dataset.labelIds.subarray(labelBegin, labelEnd)],
    };
  });
}
