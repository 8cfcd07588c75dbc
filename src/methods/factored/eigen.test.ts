import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../kernels/random.js';
import { symmetricEigen } from './eigen.js';
import { rowSumBound, spectralRadius, stepSpectrum } from './spectrum.js';

function symmetric(n: number, name: string): Float64Array {
  const draws = RandomStream.named(1, name);
  const a = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      a[i * n + j] = draws.uniform() - 0.5;
      a[j * n + i] = a[i * n + j];
    }
  }
  return a;
}

describe('symmetricEigen', () => {
  const repeated = (n: number) => Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 2 : 0));
  const rankOne = (n: number) =>
    Float64Array.from({ length: n * n }, (_, i) => ((i % n) + 1) * (Math.floor(i / n) + 1));
  it.each([
    ...[0, 1, 2, 3, 10, 65].map((n) => ({ name: `random ${n}`, n, a: symmetric(n, `eigen ${n}`) })),
    { name: 'twice the identity', n: 7, a: repeated(7) },
    { name: 'zero', n: 5, a: new Float64Array(25) },
    { name: 'rank one', n: 9, a: rankOne(9) },
    { name: 'tiny', n: 6, a: symmetric(6, 'tiny').map((x) => x * 1e-150) },
  ])('A v = lambda v with orthonormal v, ascending: $name', ({ n, a }) => {
    const { values, vectors } = symmetricEigen(n, a);
    const size = Math.max(...a.map(Math.abs), 1e-300);
    for (let i = 0; i < n; i++) {
      if (i > 0) expect(values[i]).toBeGreaterThanOrEqual(values[i - 1]);
      const v = vectors.subarray(i * n, (i + 1) * n);
      for (let r = 0; r < n; r++) {
        let image = 0;
        for (let c = 0; c < n; c++) image += a[r * n + c] * v[c];
        expect(Math.abs(image - values[i] * v[r])).toBeLessThan(1e-13 * n * size);
      }
      for (let j = 0; j < n; j++) {
        let inner = 0;
        for (let c = 0; c < n; c++) inner += v[c] * vectors[j * n + c];
        expect(Math.abs(inner - (i === j ? 1 : 0))).toBeLessThan(1e-13 * n);
      }
    }
  });
});

describe('stepSpectrum', () => {
  it.each([
    { name: 'positive k', m: 5, d: 9, sign: 1 },
    { name: 'k of both signs', m: 6, d: 4, sign: -1 },
  ])('finds h^T diag(k) h e = lambda e, e = z h of unit length: $name', ({ m, d, sign }) => {
    const draws = RandomStream.named(2, `spectrum ${m}`);
    const h = Float64Array.from({ length: m * d }, () => draws.uniform() - 0.3);
    const k = Float64Array.from({ length: m }, (_, i) => (1 + draws.uniform()) * (i % 2 === 1 ? sign : 1));
    const gram = new Float64Array(m * m);
    for (let i = 0; i < m; i++)
      for (let j = 0; j < m; j++) for (let l = 0; l < d; l++) gram[i * m + j] += h[i * d + l] * h[j * d + l];
    const { values, combinations } = stepSpectrum(m, gram, k);
    expect(values).toHaveLength(Math.min(m, d));
    for (const [i, value] of values.entries()) {
      const e = new Float64Array(d);
      for (let j = 0; j < m; j++) for (let l = 0; l < d; l++) e[l] += combinations[i * m + j] * h[j * d + l];
      expect(e.reduce((sum, x) => sum + x * x, 0)).toBeCloseTo(1, 9);
      const image = new Float64Array(d);
      for (let j = 0; j < m; j++) {
        let inner = 0;
        for (let l = 0; l < d; l++) inner += h[j * d + l] * e[l];
        for (let l = 0; l < d; l++) image[l] += k[j] * inner * h[j * d + l];
      }
      for (let l = 0; l < d; l++) expect(image[l]).toBeCloseTo(value * e[l], 8);
    }
    const product = gram.map((x, at) => x * k[at % m]);
    const largest = Math.max(...values.map(Math.abs));
    expect(rowSumBound(m, product)).toBeGreaterThanOrEqual(largest);
    if (sign > 0) expect(spectralRadius(m, product, 200)).toBeCloseTo(largest, 6);
  });
});
