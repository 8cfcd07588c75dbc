import { expect } from 'vitest';
import type { Floats } from '../face.js';
import { normalCdf, normalDensity } from '../reference/erf.js';
import { type Case, Data, type Lab, lazy, type Outputs, RAGGED } from './case.testing.js';

/** The last is long enough to be cut between threads. */
const LENGTHS = [0, ...RAGGED, 1000, 100_003] as const;

const SPECIAL = Float32Array.of(
  0,
  -0,
  1,
  -1,
  Number.NaN,
  Infinity,
  -Infinity,
  1e-45,
  -1e-45,
  1e-38,
  3e38,
  -3e38,
  0.1,
  -0.1,
  20,
  -20,
  6,
  -6,
  13.5,
  -13.5,
  200,
  -200,
);

/** What the operands of a case are: random ones of some length, or the special values. */
interface Operands {
  readonly name: string;
  readonly a: () => Float32Array;
  readonly b: () => Float32Array;
}

function operands(size: number): Operands[] {
  const random = LENGTHS.map((n) => ({
    name: `${n} elements`,
    a: lazy(() => new Data(`elementwise a ${n}`).floats(n, size)),
    b: lazy(() => new Data(`elementwise b ${n}`).floats(n, size)),
  }));
  const special = {
    name: 'zeros, NaN, infinities, denormal and huge numbers',
    a: () => SPECIAL,
    b: lazy(() => new Data('special').floats(SPECIAL.length, size)),
  };
  return [...random, special];
}

type Bounds = NonNullable<Case['bounds']>;

function cases(
  size: number,
  run: (a: Float32Array, b: Float32Array, ...rest: Parameters<Case['run']>) => Outputs,
  bounds?: (a: Float32Array, b: Float32Array, ...rest: Parameters<Bounds>) => ReturnType<Bounds>,
): Case[] {
  return operands(size).map(({ name, a, b }) => ({
    name,
    run: (kernels, lab) => run(a(), b(), kernels, lab),
    bounds: bounds && ((rounding, oracle) => bounds(a(), b(), rounding, oracle)),
  }));
}

/** The same operation into a buffer of its own and in place; both must agree. */
function both(lab: Lab, x: Float32Array, operate: (x: Floats, y: Floats) => void): Outputs {
  const y = lab.output(x.length);
  operate(lab.input(x), y);
  const inPlace = lab.inout(x);
  operate(inPlace, inPlace);
  return { y, inPlace };
}

function onBoth(bound: Float64Array): Record<string, Float64Array> {
  return { y: bound, inPlace: bound };
}

export const RELU_CASES = cases(1, (a, _, kernels, lab) =>
  both(lab, a, (x, y) => kernels.relu(a.length, x, y)),
);

export const RELU_BACKWARD_CASES = cases(1, (a, b, kernels, lab) =>
  both(lab, b, (dy, dx) => kernels.reluBackward(a.length, lab.input(a), dy, dx)),
);

// Phi(x) is exp(-x^2/2) times something smooth: rounding x^2/2 costs x^2/2 units, the rest a few.
const normalUnits = (x: number) => 16 + x * x;

export const GELU_CASES = cases(
  6,
  (a, _, kernels, lab) => both(lab, a, (x, y) => kernels.gelu(a.length, x, y)),
  (a, _, { unit }) =>
    onBoth(Float64Array.from(a, (x) => unit * normalUnits(x) * Math.abs(x) * normalCdf(x)).map(finite)),
);

export const GELU_BACKWARD_CASES = cases(
  6,
  (a, b, kernels, lab) => both(lab, b, (dy, dx) => kernels.geluBackward(a.length, lab.input(a), dy, dx)),
  (a, b, { unit }) =>
    onBoth(
      Float64Array.from(a, (x, i) => {
        const slope = normalCdf(x) + Math.abs(x) * normalDensity(x);
        return finite(unit * normalUnits(x) * Math.abs(b[i]) * slope);
      }),
    ),
);

/** A bound is a number even where the value is not: not finite outputs are compared exactly anyway. */
function finite(bound: number): number {
  return Number.isFinite(bound) ? bound : 0;
}

const ALPHA = 0.3;

export const ADD_CASES = cases(
  1,
  (a, b, kernels, lab) => both(lab, a, (x, y) => kernels.add(a.length, x, lab.input(b), ALPHA, y)),
  // alpha rounded, the product rounded, the sum rounded
  (a, b, { unit }) =>
    onBoth(Float64Array.from(a, (x, i) => finite(unit * (Math.abs(x) + 3 * Math.abs(ALPHA * b[i]))))),
);

export const MULTIPLY_CASES = cases(1, (a, b, kernels, lab) =>
  both(lab, a, (x, y) => kernels.multiply(a.length, x, lab.input(b), y)),
);

export const SCALE_CASES = cases(
  1,
  (a, _, kernels, lab) => both(lab, a, (x, y) => kernels.scale(a.length, ALPHA, x, y)),
  (a, _, { unit }) => onBoth(Float64Array.from(a, (x) => finite(2 * unit * Math.abs(ALPHA * x)))),
);

const MATRICES = [
  [0, 5],
  [5, 0],
  [1, 1],
  [1, 65],
  [64, 1],
  [33, 17],
  [70, 33],
  [2000, 31],
  [3, 5000],
] as const;

export const COLUMN_SUM_CASES: readonly Case[] = MATRICES.map(([rows, cols]) => {
  const data = lazy(() => {
    const source = new Data(`column sum ${rows} ${cols}`);
    return { x: source.floats(rows * cols), start: source.floats(cols) };
  });
  return {
    name: `${rows} x ${cols}`,
    run: (kernels, lab) => {
      const fresh = lab.output(cols);
      const accumulated = lab.inout(data().start);
      const x = lab.input(data().x);
      kernels.columnSum(rows, cols, x, fresh, false);
      kernels.columnSum(rows, cols, x, accumulated, true);
      return { fresh, accumulated };
    },
    bounds: (rounding) => {
      const { x, start } = data();
      const fresh = new Float64Array(cols);
      for (let i = 0; i < x.length; i++) fresh[i % cols] += rounding.sum(rows + 1) * Math.abs(x[i]);
      return { fresh, accumulated: fresh.map((e, j) => e + rounding.sum(rows + 1) * Math.abs(start[j])) };
    },
  };
});

/** In double precision whatever the buffers are: n roundings of 2^-53. */
const inDouble = (terms: Float32Array) =>
  2 ** -53 * terms.length * terms.reduce((s, x) => s + Math.abs(x), 0);

export const SUM_CASES: readonly Case[] = LENGTHS.map((n) => {
  const data = lazy(() => new Data(`sum ${n}`).floats(n, 100));
  return {
    name: `${n} elements`,
    run: (kernels, lab) => ({ sum: kernels.sum(n, lab.input(data())) }),
    bounds: () => ({ sum: inDouble(data()) }),
  };
});

export const SUM_SQUARES_CASES: readonly Case[] = [
  ...LENGTHS.map((n): Case => {
    const data = lazy(() => new Data(`sum of squares ${n}`).floats(n, 100));
    return {
      name: `${n} elements`,
      run: (kernels, lab) => ({ sum: kernels.sumSquares(n, lab.input(data())) }),
      bounds: () => ({ sum: inDouble(data().map((x) => x * x)) * 1.01 }),
    };
  }),
  {
    name: 'is finite for the largest float32 and not for a single NaN or infinity, wherever it stands',
    run: (kernels, lab) => {
      const n = 67;
      const ofLast = (at: number, value: number) => {
        const x = new Float32Array(n);
        x[at] = value;
        return Number(Number.isFinite(kernels.sumSquares(n, lab.input(x))));
      };
      const places = Array.from({ length: n }, (_, at) => at);
      return {
        largest: ofLast(0, 3.4028234e38),
        nan: Uint32Array.from(places, (at) => ofLast(at, Number.NaN)),
        infinite: Uint32Array.from(places, (at) => ofLast(at, -Infinity)),
      };
    },
    law: ({ largest, nan, infinite }) => {
      expect(largest).toBe(1);
      expect(Array.from(nan as Uint32Array)).not.toContain(1);
      expect(Array.from(infinite as Uint32Array)).not.toContain(1);
    },
  },
];
