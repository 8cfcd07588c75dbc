import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nearestBf16, widenBf16 } from '../../kernels/bf16.js';
import { RandomStream } from '../../kernels/random.js';
import { drawColumns, drawFree, magnitudesOf, RowMarks, selectMagnitude, smallestSlots } from './topology.js';

const stream = (name: string) => RandomStream.named(11, name);

/** Pearson's statistic of counts that should be equal, and a bound that honest draws pass all but never. */
function chiSquare(counts: readonly number[]): { statistic: number; bound: number } {
  const expected = counts.reduce((a, b) => a + b, 0) / counts.length;
  const statistic = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  const freedom = counts.length - 1;
  return { statistic, bound: freedom + 5 * Math.sqrt(2 * freedom) };
}

function expectUniform(counts: readonly number[]) {
  const { statistic, bound } = chiSquare(counts);
  expect(statistic).toBeLessThanOrEqual(bound);
}

describe('chiSquare', () => {
  it('notices what is not uniform', () => {
    const { statistic, bound } = chiSquare([1000, 1000, 1000, 1200]);
    expect(statistic).toBeGreaterThan(bound);
  });
});

describe('drawColumns', () => {
  it('gives every row exactly F different columns, F from 1 to d, and touches no other row', () => {
    fc.assert(
      fc.property(
        fc
          .integer({ min: 1, max: 40 })
          .chain((d) => fc.tuple(fc.constant(d), fc.integer({ min: 1, max: d }))),
        fc.integer({ min: 0, max: 1000 }),
        ([inputs, fanIn], seed) => {
          const columns = new Uint16Array(5 * fanIn).fill(999);
          drawColumns(columns, fanIn, inputs, 1, 4, RandomStream.named(seed, 'draw'));
          for (let row = 0; row < 5; row++) {
            const own = columns.subarray(row * fanIn, (row + 1) * fanIn);
            if (row === 0 || row === 4) expect(own.every((c) => c === 999)).toBe(true);
            else {
              expect(new Set(own).size).toBe(fanIn);
              expect(own.every((c) => c < inputs)).toBe(true);
            }
          }
        },
      ),
      { numRuns: 200, seed: 1 },
    );
  });

  it('draws every column equally often', () => {
    const [inputs, fanIn, rows] = [20, 5, 8000];
    const columns = new Uint16Array(rows * fanIn);
    drawColumns(columns, fanIn, inputs, 0, rows, stream('columns'));
    const counts = new Array<number>(inputs).fill(0);
    for (const column of columns) counts[column]++;
    // A column cannot occur twice in a row, so the counts vary less than independent draws would.
    expectUniform(counts);
    expect(chiSquare(counts).statistic).toBeGreaterThan(1);
  });

  it('draws every subset equally often', () => {
    const rows = 12_000;
    const columns = new Uint16Array(rows * 2);
    drawColumns(columns, 2, 5, 0, rows, stream('subsets'));
    const counts = new Map<string, number>();
    for (let row = 0; row < rows; row++) {
      const name = Array.from(columns.subarray(2 * row, 2 * row + 2))
        .toSorted()
        .join();
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    expect(counts.size).toBe(10);
    expectUniform([...counts.values()]);
  });

  it('names columns above 65,535 in 32 bits', () => {
    const inputs = 100_000;
    const columns = new Uint32Array(400);
    drawColumns(columns, 4, inputs, 0, 100, stream('wide'));
    expect(Math.max(...columns)).toBeGreaterThan(65_535);
    expect(columns.every((c) => c < inputs)).toBe(true);
  });
});

describe('drawFree', () => {
  it.each([
    { inputs: 12, used: 3, way: 'drawing again' },
    { inputs: 12, used: 9, way: 'counting' },
    { inputs: 12, used: 11, way: 'the only one left' },
  ])('draws every free column equally often: $used of $inputs used, $way', ({ inputs, used }) => {
    const marks = new RowMarks(inputs);
    marks.nextRow();
    for (let i = 0; i < used; i++) marks.use((i * 5) % inputs);
    const counts = new Array<number>(inputs).fill(0);
    const draws = stream(`free ${used}`);
    for (let i = 0; i < 6000; i++) counts[drawFree(marks, inputs, used, draws)]++;
    const free = counts.filter((_, column) => !marks.used(column));
    expect(free).toHaveLength(inputs - used);
    expect(free.reduce((a, b) => a + b, 0)).toBe(6000);
    expectUniform(free);
  });
});

describe('RowMarks', () => {
  it('forgets at the next row', () => {
    const marks = new RowMarks(3);
    marks.nextRow();
    marks.use(1);
    expect([0, 1, 2].map((c) => marks.used(c))).toEqual([false, true, false]);
    marks.nextRow();
    expect([0, 1, 2].some((c) => marks.used(c))).toBe(false);
  });
});

/** Few distinct values, zeros of both signs, the smallest and the largest numbers. */
const weight = fc.oneof(
  fc.constantFrom(0, -0, 1, -1, 0.5, 1e-45, -1e-45, 3e38, Number.POSITIVE_INFINITY),
  fc.float({ noNaN: true }),
);
const weights = fc.array(weight, { minLength: 1, maxLength: 60 });

describe('selectMagnitude', () => {
  it.each([
    ['float32', Float32Array],
    ['float64', Float64Array],
  ])('equals sorting the magnitudes, ties, zeros and duplicates included (%s)', (_name, Floats) => {
    fc.assert(
      fc.property(weights, fc.double({ min: 0, max: 1, noNaN: true }), (list, share) => {
        const count = Math.floor(share * list.length);
        const sorted = list.map((w) => Math.fround(Math.abs(w))).toSorted((a, b) => a - b);
        const { threshold, ties } = selectMagnitude(Floats.from(list), count);
        // The same weights as slots 1 and 2 of every three.
        const rows = list.flatMap((w, i) => (i % 2 === 0 ? [9, w] : [w]));
        expect(selectMagnitude(Floats.from(rows), count, { fanIn: 3, shared: 1 })).toEqual({
          threshold,
          ties,
        });
        if (count === 0) return void expect(ties).toBe(0);
        expect(threshold).toBe(sorted[count - 1]);
        const below = sorted.filter((w) => w < threshold).length;
        expect(below + ties).toBe(count);
        expect(ties).toBeLessThanOrEqual(sorted.filter((w) => w === threshold).length);
      }),
      { numRuns: 400, seed: 2 },
    );
  });

  it('of bfloat16 equals that of the same numbers in float32', () => {
    fc.assert(
      fc.property(weights, fc.double({ min: 0, max: 1, noNaN: true }), (list, share) => {
        const count = Math.floor(share * list.length);
        const bits = Uint16Array.from(list, nearestBf16);
        const wide = new Float32Array(list.length);
        widenBf16(bits, wide);
        expect(selectMagnitude(bits, count)).toEqual(selectMagnitude(wide, count));
        expect(Array.from(bits, (_, slot) => magnitudesOf(bits)(slot))).toEqual(Array.from(wide, Math.abs));
      }),
      { numRuns: 200, seed: 2 },
    );
  });

  it('lets nothing go when nothing is to go', () => {
    expect(selectMagnitude(Float32Array.of(0, 0, 1), 0)).toEqual({ threshold: 0, ties: 0 });
  });
});

describe('smallestSlots', () => {
  it('equals the head of a stable sort of one row', () => {
    fc.assert(
      fc.property(weights, fc.double({ min: 0, max: 1, noNaN: true }), (list, share) => {
        const count = Math.round(share * list.length);
        const order = new Uint32Array(count);
        smallestSlots(magnitudesOf(Float32Array.from([7, ...list, 7])), 1, list.length, count, order);
        const sorted = list
          .map((w, k) => ({ w: Math.fround(Math.abs(w)), k }))
          // Two infinities differ by NaN, which counts as a tie.
          .toSorted((a, b) => a.w - b.w || a.k - b.k);
        expect(Array.from(order)).toEqual(sorted.slice(0, count).map(({ k }) => k));
      }),
      { numRuns: 300, seed: 3 },
    );
  });
});
