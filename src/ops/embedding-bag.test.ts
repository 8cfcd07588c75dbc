import { describe, expect, it } from 'vitest';
import { arrivals, float64Device, gradcheck, parameter } from '../autograd/gradcheck.testing.js';
import { Tape } from '../autograd/tape.js';
import type { Activation } from '../kernels/face.js';
import { add, multiply } from './elementwise.js';
import { embeddingBag } from './embedding-bag.js';
import type { SparseBatch } from './sparse-batch.js';

function batchOf(rows: readonly (readonly [number, number][])[], width: number, ones = false): SparseBatch {
  const entries = rows.flat();
  const indptr = Int32Array.from([0, ...rows.map((_, i) => rows.slice(0, i + 1).flat().length)]);
  return {
    rows: rows.length,
    nnz: entries.length,
    width,
    indptr,
    indices: Uint32Array.from(entries, ([index]) => index),
    values: ones ? null : Float64Array.from(entries, ([, value]) => value),
  };
}

/** Shared columns, a column twice in one row, an empty row, a column (4) that nobody names. */
const rows: [number, number][][] = [
  [
    [0, 1.5],
    [3, -2],
    [3, 0.5],
  ],
  [],
  [
    [5, 1],
    [0, -0.25],
    [2, 3],
  ],
  [[1, 0]],
];

const cases: { name: string; batch: SparseBatch }[] = [
  { name: 'values, repeated indices, an empty row', batch: batchOf(rows, 6) },
  { name: 'null values: all ones', batch: batchOf(rows, 6, true) },
  { name: 'a batch narrower than the table', batch: batchOf([[[1, 2]], [[0, 1]]], 2) },
  { name: 'empty rows only', batch: batchOf([[], []], 6) },
];

describe.each(cases)('embeddingBag: $name', ({ batch }) => {
  it.each([
    { sparseGradient: true, activation: 'none' },
    { sparseGradient: true, activation: 'relu' },
    { sparseGradient: false, activation: 'relu' },
  ] as { sparseGradient: boolean; activation: Activation }[])(
    'has the right gradients: sparseGradient $sparseGradient, $activation',
    ({ sparseGradient, activation }) => {
      const d = float64Device();
      const table = parameter(d, [6, 3], 'table', { sparseGradient });
      const bias = parameter(d, [3], 'bias');
      gradcheck(d, [table, bias], (tape) => tape.run(embeddingBag, { batch, table, bias, activation }));
    },
  );

  it('has the right gradients for a table that is computed', () => {
    const d = float64Device();
    const p = parameter(d, [6, 3], 'table');
    gradcheck(d, [p], (tape) =>
      tape.run(embeddingBag, { batch, table: arrivals[1].via(tape, p), bias: null, activation: 'none' }),
    );
  });
});

describe('embeddingBag', () => {
  it('sums the weighted rows and adds the bias, to empty rows too', () => {
    const d = float64Device();
    const table = d.fromArray([2, 2], [1, 2, 10, 20]);
    const bias = d.fromArray([2], [100, 200]);
    const batch = batchOf(
      [
        [
          [0, 2],
          [1, -1],
        ],
        [],
      ],
      2,
    );
    const y = new Tape(d).run(embeddingBag, { batch, table, bias, activation: 'none' });
    expect(Array.from(y.data)).toEqual([92, 184, 100, 200]);
  });

  it('gives rows ascending, each once, and only those that occur', () => {
    const d = float64Device();
    const table = parameter(d, [6, 2], 'table', { sparseGradient: true });
    const tape = new Tape(d);
    tape.backward(tape.run(embeddingBag, { batch: batchOf(rows, 6), table, bias: null, activation: 'none' }));
    const { count, rows: found } = table.rowGradient!;
    expect(Array.from(found.subarray(0, count))).toEqual([0, 1, 2, 3, 5]);
    expect(table.grad).toBeNull();
    expect(d.ledger.live().gradients).toBe(128); // 5 rows of 2 doubles, and nothing of the size of the table
  });

  it('adds the gradients of a table used twice', () => {
    const d = float64Device();
    const table = parameter(d, [6, 2], 'table');
    const bag = (tape: Tape, batch: SparseBatch) =>
      tape.run(embeddingBag, { batch, table, bias: null, activation: 'none' });
    const other = batchOf([[[4, 1]], [[0, 2]], [], [[3, 1]]], 6);
    gradcheck(d, [table], (tape) =>
      tape.run(multiply, { a: bag(tape, batchOf(rows, 6)), b: bag(tape, other) }),
    );
  });

  it('refuses to use a table of row-sparse gradients twice in a step, and says what to do', () => {
    const d = float64Device();
    const table = parameter(d, [6, 2], 'table', { sparseGradient: true });
    const tape = new Tape(d);
    const bag = () =>
      tape.run(embeddingBag, { batch: batchOf(rows, 6), table, bias: null, activation: 'none' });
    const y = tape.run(add, { a: bag(), b: bag() });
    expect(() => tape.backward(y)).toThrow(/ROW_GRADIENT_TWICE.*sparseGradient: false/);
  });

  it('refuses a batch that is wider than the table', () => {
    const d = float64Device();
    const tape = new Tape(d);
    const table = parameter(d, [4, 2], 'table');
    const batch = batchOf([[[5, 1]]], 6);
    expect(() => tape.run(embeddingBag, { batch, table, bias: null, activation: 'none' })).toThrow(
      /FEATURES_MISMATCH|more features than the table has rows; expected at most 4; received 6/,
    );
  });
});
