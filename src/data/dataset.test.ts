import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { arbitraryDataset, datasetOf, rowRecords } from './arbitrary.testing.js';
import { CsrBuilder } from './builder.js';
import { ChunkedArray } from './chunked.js';
import { CsrDataset, type CsrDatasetParts } from './dataset.js';
import { concatRows, selectRows } from './rows.js';

const sound: CsrDatasetParts = {
  rows: 2,
  features: 4,
  labels: 3,
  indptr: Float64Array.of(0, 2, 3),
  indices: Uint32Array.of(0, 3, 1),
  values: Float32Array.of(1, 2, 3),
  labelIndptr: Float64Array.of(0, 0, 2),
  labelIds: Uint32Array.of(0, 2),
};

describe('CsrDataset accepts the canonical form and nothing else', () => {
  it('takes sound arrays over', () => {
    const dataset = new CsrDataset({ ...sound, labelNames: ['a', 'b', 'c'] });
    expect([dataset.nnz, dataset.positives, dataset.labelName(2)]).toEqual([3, 2, 'c']);
    expect(dataset.indices).toBe(sound.indices);
    expect(new CsrDataset(sound).labelName(1)).toBe('1');
  });

  const wrong: [string, Partial<CsrDatasetParts>, string][] = [
    ['fractional rows', { rows: 1.5 }, 'DATASET_SHAPE'],
    ['too many labels for ids of 32 bits', { labels: 2 ** 32 }, 'DATASET_SHAPE'],
    ['too few names', { labelNames: ['a'] }, 'DATASET_SHAPE'],
    ['too few values', { values: new Float32Array(2) }, 'DATASET_SHAPE'],
    ['pointers of other length', { indptr: Float64Array.of(0, 3) }, 'DATASET_INDPTR'],
    ['pointers that fall', { labelIndptr: Float64Array.of(0, 3, 2) }, 'DATASET_INDPTR'],
    ['pointers that fall below zero', { indptr: Float64Array.of(0, -1, 3) }, 'DATASET_INDPTR'],
    ['pointers that are not whole', { indptr: Float64Array.of(0, 1.5, 3) }, 'DATASET_INDPTR'],
    ['pointers that are not numbers', { indptr: Float64Array.of(0, Number.NaN, 3) }, 'DATASET_INDPTR'],
    ['a duplicate feature', { indices: Uint32Array.of(3, 3, 1) }, 'DATASET_ORDER'],
    ['unsorted labels', { labelIds: Uint32Array.of(2, 0) }, 'DATASET_ORDER'],
    ['a feature out of range', { indices: Uint32Array.of(0, 4, 1) }, 'DATASET_RANGE'],
    ['a label out of range', { labelIds: Uint32Array.of(0, 3) }, 'DATASET_RANGE'],
    ['NaN', { values: Float32Array.of(1, Number.NaN, 3) }, 'DATASET_VALUE'],
    ['infinity', { values: Float32Array.of(1, 2, -1 / 0) }, 'DATASET_VALUE'],
  ];
  it.each(wrong)('refuses %s', (_name, change, code) => {
    expect(() => new CsrDataset({ ...sound, ...change })).toThrow(expect.objectContaining({ code }));
  });

  it('names the row of a bad value', () => {
    const values = Float32Array.of(1, 2, Number.NaN);
    expect(() => new CsrDataset({ ...sound, values })).toThrow('feature 1 of row 1 is not finite');
  });
});

describe('CsrBuilder', () => {
  it('sorts features with their values, and labels', () => {
    const dataset = datasetOf([{ features: [3, 0, 2], values: [30, 0.5, 20], labels: [2, 1] }], 4, 3);
    expect(rowRecords(dataset)).toEqual([{ features: [0, 2, 3], values: [0.5, 20, 30], labels: [1, 2] }]);
  });

  const row = (f: number[], v: number[], l: number[]) => () =>
    new CsrBuilder({ features: 4, labels: 3 }).row(f, v, l);
  it.each([
    ['a duplicate feature', row([1, 0, 1], [1, 2, 3], []), 'ROW_DUPLICATE'],
    ['a duplicate label', row([], [], [2, 2]), 'ROW_DUPLICATE'],
    ['missing values', row([1, 2], [1], []), 'ROW_LENGTH'],
    ['a feature out of range', row([4], [1], []), 'ROW_ID'],
    ['a negative label', row([], [], [-1]), 'ROW_ID'],
    ['a fractional label', row([], [], [0.5]), 'ROW_ID'],
  ])('refuses %s', (_name, build, code) => {
    expect(build).toThrow(expect.objectContaining({ code }));
  });
});

describe('ChunkedArray', () => {
  it('joins what was written, whatever the reserves, and is empty afterwards', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 5 }), (sizes) => {
        const chunks = new ChunkedArray((n) => new Uint32Array(n));
        const wanted: number[] = [];
        for (const size of sizes) {
          chunks.reserve(size);
          for (let i = 0; i < size; i++) chunks.tail[chunks.used++] = i;
          for (let i = 0; i < size; i++) wanted.push(i);
        }
        expect(chunks.length).toBe(wanted.length);
        expect([...chunks.join()].every((value, i) => value === wanted[i])).toBe(true);
        expect(chunks.length).toBe(0);
      }),
      { numRuns: 30 },
    );
  });
});

describe('rows of datasets', () => {
  it('selecting all rows of a concatenation in two parts gives the parts back', () => {
    fc.assert(
      fc.property(arbitraryDataset(), arbitraryDataset(), (a, b) => {
        const both = concatRows(a, b);
        const ids = Array.from({ length: both.rows }, (_, i) => i);
        expect(rowRecords(selectRows(both, ids.slice(0, a.rows)))).toEqual(rowRecords(a));
        expect(rowRecords(selectRows(both, ids.slice(a.rows)))).toEqual(rowRecords(b));
      }),
    );
  });

  it('may repeat rows and refuses rows that are not there', () => {
    const a = datasetOf([{ features: [1], values: [2], labels: [0] }], 3, 3);
    expect(selectRows(a, [0, 0]).rows).toBe(2);
    expect(() => selectRows(a, [1])).toThrow(expect.objectContaining({ code: 'ROW_RANGE' }));
    const other = datasetOf([], 4, 3);
    expect(() => concatRows(a, other)).toThrow(expect.objectContaining({ code: 'ROWS_MISMATCH' }));
  });
});
