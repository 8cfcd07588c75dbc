import { nearestBf16, widenBf16 } from '../bf16.js';
import type { Kernels } from '../face.js';
import {
  absolute,
  absoluteOrNull,
  type Case,
  Data,
  type Lab,
  lazy,
  type Outputs,
  RAGGED,
} from './case.testing.js';

interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transA: boolean;
  readonly transB: boolean;
  readonly bias?: boolean;
  readonly relu?: boolean;
  readonly accumulate?: boolean;
  readonly products?: 'bf16';
}

interface Operands {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly c: Float32Array;
  readonly bias: Float32Array;
}

/** Several products as one case; operands are slices of one pool, of numbers that bfloat16 holds with `exact`. */
function gemmCase(name: string, products: readonly Product[], { exact = false } = {}): Case {
  const operands = lazy(() => {
    const data = new Data(`gemm/${name}`);
    const longest = products.reduce((most, { m, n, k }) => Math.max(most, m * k, k * n, m * n, n), 0);
    const pool = data.floats(longest + 997);
    if (exact) widenBf16(Uint16Array.from(pool, nearestBf16), pool);
    const slice = (length: number) => {
      const at = data.stream.below(997);
      return pool.subarray(at, at + length);
    };
    return products.map(
      ({ m, n, k }): Operands => ({ a: slice(m * k), b: slice(k * n), c: slice(m * n), bias: slice(n) }),
    );
  });
  const key = (p: Product) => `${p.m}x${p.n}x${p.k} ${p.transA ? 'T' : 'N'}${p.transB ? 'T' : 'N'}`;
  return {
    name,
    run: (kernels, lab) => {
      const outputs: Outputs = {};
      products.forEach((product, i) => {
        outputs[key(product)] = multiply(kernels, lab, product, operands()[i]);
      });
      return outputs;
    },
    // |error| <= gamma_(k + 2) (|A| |B| + |bias| + |C|); relu does not increase it. Operands rounded to bfloat16 are off
    // by 2^-9 of themselves, both.
    bounds: (rounding, oracle) =>
      Object.fromEntries(
        products.map((product, i) => {
          const { a, b, c, bias } = operands()[i];
          const sizes = absolute(c);
          oracle.gemm({
            ...product,
            a: absolute(a),
            b: absolute(b),
            c: sizes,
            bias: absoluteOrNull(product.bias ? bias : null),
          });
          return [
            key(product),
            sizes.map(
              (x) => (rounding.sum(product.k + 2) + (product.products && !exact ? 2.01 * 2 ** -9 : 0)) * x,
            ),
          ];
        }),
      ),
  };
}

function multiply(kernels: Kernels, lab: Lab, product: Product, { a, b, c, bias }: Operands) {
  const out = product.accumulate ? lab.inout(c) : lab.output(c.length);
  kernels.gemm({
    ...product,
    a: lab.input(a),
    b: lab.input(b),
    c: out,
    bias: product.bias ? lab.input(bias) : null,
    activation: product.relu ? 'relu' : 'none',
  });
  return out;
}

const TRANSPOSES = [
  { transA: false, transB: false },
  { transA: false, transB: true },
  { transA: true, transB: false },
  { transA: true, transB: true },
];
const OPTIONS = [
  {},
  { bias: true },
  { relu: true },
  { accumulate: true },
  { bias: true, relu: true, accumulate: true },
];

function everyTranspose(sizes: readonly [m: number, n: number, k: number][], options = {}): Product[] {
  return sizes.flatMap(([m, n, k]) => TRANSPOSES.map((transpose) => ({ m, n, k, ...transpose, ...options })));
}

/** Every n with three depths each, turned so that over all m every pair of sizes is met. */
function raggedWith(m: number): [number, number, number][] {
  const at = RAGGED.indexOf(m as (typeof RAGGED)[number]);
  return RAGGED.flatMap((n, j) =>
    [0, 3, 7].map((turn): [number, number, number] => [m, n, RAGGED[(at + j + turn) % 10]]),
  );
}

/** Up to three sizes below 300, options at random. */
function fuzz(seed: string, count: number): Product[] {
  const data = new Data(seed);
  const size = () => data.stream.below(data.pick([3, 20, 100, 300])) + 1;
  return Array.from({ length: count }, () => ({
    m: size(),
    n: size(),
    k: size(),
    ...data.pick(TRANSPOSES),
    ...data.pick(OPTIONS),
  }));
}

/** NaN and infinity reach exactly the elements whose sums they enter. */
const notFinite: Case = {
  name: 'carries NaN and infinity to the rows and columns that they enter, and nowhere else',
  run: (kernels, lab) => {
    const data = new Data('gemm/nan');
    const [m, n, k] = [19, 37, 21];
    const a = data.between(m * k, 0.5, 1);
    const b = data.between(k * n, 0.5, 1);
    a[3 * k + 20] = Number.NaN;
    b[20 * n + 35] = Number.POSITIVE_INFINITY;
    const c = lab.output(m * n);
    kernels.gemm({ m, n, k, a: lab.input(a), b: lab.input(b), c });
    const kinds = Uint32Array.from(c, (x) => (Number.isNaN(x) ? 2 : Number.isFinite(x) ? 0 : 1));
    return { kinds };
  },
};

export const GEMM_CASES: readonly Case[] = [
  ...RAGGED.map((m) => gemmCase(`m = ${m}, ragged n and k, all transposes`, everyTranspose(raggedWith(m)))),
  ...OPTIONS.slice(1).map((options) =>
    gemmCase(
      `with ${Object.keys(options).join(', ')}`,
      everyTranspose(
        [
          [1, 1, 1],
          [1, 65, 33],
          [5, 17, 9],
          [33, 48, 64],
          [64, 97, 130],
          [70, 33, 31],
        ],
        options,
      ),
    ),
  ),
  gemmCase(
    'empty: no rows, no columns',
    everyTranspose([
      [0, 5, 3],
      [4, 0, 3],
      [0, 0, 0],
    ]),
  ),
  ...OPTIONS.map((options) =>
    gemmCase(
      `k = 0 leaves ${Object.keys(options).join(', ') || 'zeros'}`,
      everyTranspose(
        [
          [3, 5, 0],
          [17, 33, 0],
        ],
        options,
      ),
    ),
  ),
  gemmCase(
    'deeper than a cache block',
    everyTranspose([
      [9, 33, 1500],
      [64, 40, 800],
      [1, 50, 2049],
      [130, 7, 769],
    ]),
  ),
  gemmCase(
    'wider and taller than a cache block',
    everyTranspose([
      [3, 2100, 40],
      [700, 19, 40],
      [260, 260, 20],
    ]),
  ),
  gemmCase('40 random shapes', fuzz('gemm/fuzz', 40)),
  ...RAGGED.map((m) =>
    gemmCase(
      `m = ${m}, ragged n and k, products of bfloat16, exact operands`,
      everyTranspose(raggedWith(m), { products: 'bf16' }),
      { exact: true },
    ),
  ),
  ...OPTIONS.map((options) =>
    gemmCase(
      `products of bfloat16 with ${Object.keys(options).join(', ') || 'nothing'}, exact operands`,
      everyTranspose(
        [
          [40, 65, 33],
          [33, 48, 0],
          [70, 33, 31],
          [300, 40, 1500],
          [64, 33, 1025],
        ],
        { ...options, products: 'bf16' },
      ),
      { exact: true },
    ),
  ),
  gemmCase(
    'products of bfloat16, operands that must be rounded',
    everyTranspose(
      [
        [40, 65, 33],
        [100, 97, 301],
        [64, 40, 2100],
      ],
      { products: 'bf16' },
    ),
  ),
  notFinite,
];
