import { expect } from 'vitest';
import { type Case, Data, lazy } from './case.testing.js';

interface Split {
  readonly name: string;
  readonly rows: number;
  readonly features: number;
  /** Entries per row, at most. */
  readonly longest: number;
  /** Rows of each segment. */
  readonly segments: readonly number[];
  readonly values?: boolean;
  /** How many segments may be worked on at once. */
  readonly room?: number;
}

const even = (segments: number, size: number): number[] => Array.from({ length: segments }, () => size);

const SHAPES: readonly Split[] = [
  { name: 'one segment', rows: 60, features: 30, longest: 9, segments: [60] },
  { name: 'an odd segment of ones', rows: 61, features: 12, longest: 3, segments: [61], values: false },
  { name: 'no, one and two rows', rows: 9, features: 5, longest: 4, segments: [0, 1, 2, 0, 3, 1] },
  { name: 'no segments', rows: 3, features: 5, longest: 4, segments: [] },
  { name: 'rows without entries', rows: 20, features: 5, longest: 0, segments: [20] },
  { name: 'one feature', rows: 20, features: 1, longest: 1, segments: [11, 9] },
  { name: 'no features', rows: 8, features: 0, longest: 0, segments: [5, 3] },
  { name: 'more threads than room', rows: 300, features: 40, longest: 8, segments: even(50, 6) },
  { name: 'room for each thread', rows: 900, features: 200, longest: 12, segments: even(90, 9), room: 64 },
  { name: 'rows shared by threads', rows: 3000, features: 500, longest: 20, segments: [2000, 999], room: 4 },
];

function splitCase(shape: Split): Case {
  const { rows, features, longest, segments, values = true, room = 1 } = shape;
  const data = lazy(() => {
    const source = new Data(`split/${shape.name}`);
    const indptr = new Int32Array(rows + 1);
    const indices: number[] = [];
    for (let i = 0; i < rows; i++) {
      const size = source.stream.below(longest + 1);
      // Rows of one theme share features, so that there is something to find.
      const theme = source.stream.below(4);
      const own = source.distinct(Math.min(size, features), features);
      const themed = own.map((f) => (source.stream.below(3) > 0 ? f - (f % 4) + theme : f));
      indices.push(...new Set(themed.filter((f) => f < features)));
      indptr[i + 1] = indices.length;
    }
    const bounds = [0];
    for (const n of segments) bounds.push(bounds[bounds.length - 1] + n);
    const order = source.stream.shuffle(Uint32Array.from({ length: rows }, (_, i) => i));
    return {
      indptr,
      indices,
      values: values ? source.between(indices.length, 0, 1) : null,
      bounds,
      starts: segments.flatMap((n) => (n < 2 ? [0, 0] : source.distinct(2, n))),
      order: order.subarray(0, bounds[segments.length]),
    };
  });
  return {
    name: `${shape.name}: ${rows} rows of up to ${longest} of ${features}`,
    run: (kernels, lab) => {
      const { indptr, indices, bounds, starts, order, ...made } = data();
      const listed = lab.u32Output(order.length);
      listed.set(order);
      const similarity = lab.doubles(segments.map(() => Number.NaN));
      const sides = lab.u32Output(order.length);
      kernels.balancedSplit({
        rows,
        features,
        indptr: lab.i32(indptr),
        indices: lab.u32(indices),
        values: lab.inputOrNull(made.values),
        segments: segments.length,
        bounds: lab.i32(bounds),
        starts: lab.u32(starts),
        minGain: 1e-4,
        order: listed,
        sums: lab.doubles(new Float64Array(2 * features * room).fill(Number.NaN)),
        scores: lab.doubles(new Float64Array(3 * order.length).fill(Number.NaN)),
        sides,
        similarity,
      });
      return { listed, similarity };
    },
    // No bounds: the same bits as the oracle's, on every backend.
    law: ({ listed }) => {
      const { bounds, order } = data();
      for (const [s] of segments.entries()) {
        const sorted = (ids: Uint32Array) => Array.from(ids.slice(bounds[s], bounds[s + 1])).sort();
        expect(sorted(listed as Uint32Array)).toEqual(sorted(order));
      }
    },
  };
}

export const BALANCED_SPLIT_CASES = SHAPES.map(splitCase);
