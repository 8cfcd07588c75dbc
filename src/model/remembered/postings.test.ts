/** Nearest rows by features: equal to a search through all rows, cosine by cosine. */
import { describe, expect, it } from 'vitest';
import { CsrBuilder } from '../../data/builder.js';
import type { CsrDataset } from '../../data/dataset.js';
import { RandomStream } from '../../kernels/random.js';
import { nearestByFeatures, postingsOf } from './postings.js';

const features = 12;
const random = RandomStream.named(5, 'postings');
/** Few values, so that cosines are equal often; some below 0. */
const values = [-1, 0.5, 1, 1, 2];
const drawn = (most: number): [number[], number[]] => {
  const indices = [...new Set(Array.from({ length: random.below(most + 1) }, () => random.below(features)))];
  return [indices, indices.map(() => values[random.below(values.length)])];
};

function rowsOf(all: readonly [number[], number[]][]): CsrDataset {
  const builder = new CsrBuilder({ features, labels: 1 });
  for (const [indices, own] of all) builder.row(indices, own, [0]);
  return builder.finish();
}

function dense([indices, own]: readonly [readonly number[], readonly number[] | null]): number[] {
  const x = new Array<number>(features).fill(0);
  for (const [i, feature] of indices.entries()) x[feature] += own?.[i] ?? 1;
  return x;
}

const lengthOf = (x: readonly number[]) => Math.sqrt(x.reduce((sum, one) => sum + one * one, 0));

/** Every row above 0, the most alike first. */
function slowNearest(rows: readonly [number[], number[]][], question: readonly number[]) {
  return rows
    .map((one, row) => {
      const x = dense(one);
      const product = x.reduce((sum, value, f) => sum + value * question[f], 0);
      return { row, cosine: product === 0 ? 0 : product / (lengthOf(x) * lengthOf(question)) };
    })
    .filter(({ cosine }) => cosine > 1e-12)
    .sort((a, b) => b.cosine - a.cosine || a.row - b.row);
}

/** Lists of one order, where cosines that differ by rounding alone may stand either way. */
function expectSame(
  found: readonly { readonly row: number; readonly cosine: number }[],
  all: readonly { readonly row: number; readonly cosine: number }[],
  k: number,
) {
  expect(found).toHaveLength(Math.min(k, all.length));
  expect(new Set(found.map(({ row }) => row)).size).toBe(found.length);
  for (const [i, { row, cosine }] of found.entries()) {
    expect(cosine).toBeCloseTo(all[i].cosine, 6);
    expect(all.find((one) => one.row === row)?.cosine).toBeCloseTo(cosine, 6);
  }
}

describe('the nearest rows by features', () => {
  it('are those of a search through all rows, for drawn rows and questions, whatever k is', () => {
    for (let round = 0; round < 60; round++) {
      const rows = Array.from({ length: random.below(40) }, () => drawn(5));
      const postings = postingsOf(rowsOf(rows));
      const asked = Array.from({ length: 6 }, () => drawn(6));
      const { indptr, indices, values: own } = rowsOf(asked);
      for (const [r, question] of asked.entries())
        for (const k of [1, 3, 32]) {
          const found = nearestByFeatures(postings, { indptr, indices, values: own }, r, k);
          expectSame(found, slowNearest(rows, dense(question)), k);
        }
    }
  });

  it('are in the order of rows where they are equally alike', () => {
    const twins = rowsOf([
      [[2], [1]],
      [[1], [2]],
      [[1], [0.5]],
      [[1], [7]],
    ]);
    const question = { indptr: [0, 1], indices: Uint32Array.of(1), values: [3] };
    const found = nearestByFeatures(postingsOf(twins), question, 0, 2);
    expect(found.map(({ row }) => row)).toEqual([1, 2]);
    for (const { cosine } of found) expect(cosine).toBeCloseTo(1, 7);
  });

  it('take a question with a feature twice by the sum of its values, and one without values by ones', () => {
    const rows = Array.from({ length: 30 }, () => drawn(5));
    const postings = postingsOf(rowsOf(rows));
    const indices = [3, 5, 3, 8];
    const asked = { indptr: [0, 4], indices: Uint32Array.from(indices) };
    const twice = [0.5, 1, 1.5, -1];
    expectSame(
      nearestByFeatures(postings, { ...asked, values: twice }, 0, 9),
      slowNearest(rows, dense([indices, twice])),
      9,
    );
    expectSame(nearestByFeatures(postings, asked, 0, 9), slowNearest(rows, dense([indices, null])), 9);
  });

  it('are none for a question without features, for features that add up to nothing, and among no rows', () => {
    const postings = postingsOf(
      rowsOf([
        [
          [1, 2],
          [1, 1],
        ],
      ]),
    );
    const ask = (indices: number[], own: number[]) =>
      nearestByFeatures(
        postings,
        { indptr: [0, indices.length], indices: Uint32Array.from(indices), values: own },
        0,
        4,
      );
    expect(ask([], [])).toEqual([]);
    expect(ask([1, 1], [2, -2])).toEqual([]);
    // Neither is a row with which the products cancel; and nothing of it is left for the next question.
    expect(ask([1, 2], [1, -1])).toEqual([]);
    expect(ask([1], [1])).toEqual([{ row: 0, cosine: expect.closeTo(Math.SQRT1_2, 7) }]);
    const nobody = postingsOf(rowsOf([]));
    expect(
      nearestByFeatures(nobody, { indptr: [0, 1], indices: Uint32Array.of(1), values: [1] }, 0, 4),
    ).toEqual([]);
  });
});
