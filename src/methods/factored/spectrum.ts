/**
 * The factors 1 - k_i of a step U <- U (I - h^T diag(k) h), k = 2 rate gq, seen through the m x m matrix G diag(k),
 * G = h h^T: how far it lets U shrink or grow, and the directions that it would make singular.
 */
import { symmetricEigen } from './eigen.js';

/** Largest row sum of |a|: no eigenvalue is larger. */
export function rowSumBound(m: number, a: Float64Array): number {
  let bound = 0;
  for (let i = 0; i < m; i++) {
    let sum = 0;
    for (let at = i * m; at < (i + 1) * m; at++) sum += Math.abs(a[at]);
    bound = Math.max(bound, sum);
  }
  return bound;
}

/** Size of the largest eigenvalue of a matrix with real ones, by the power method; from below, a few percent off. */
export function spectralRadius(m: number, a: Float64Array, turns = 24): number {
  let x = Float64Array.from({ length: m }, (_, i) => 1 + 0.5 * Math.cos(2.399963 * i));
  let radius = 0;
  for (let turn = 0; turn < turns; turn++) {
    const y = new Float64Array(m);
    let before = 0;
    let after = 0;
    for (let i = 0; i < m; i++) {
      let sum = 0;
      for (let j = 0; j < m; j++) sum += a[i * m + j] * x[j];
      y[i] = sum;
      before += x[i] * x[i];
      after += sum * sum;
    }
    if (after === 0) return 0;
    radius = Math.sqrt(after / before);
    const size = 1 / Math.sqrt(after);
    x = y.map((value) => value * size);
  }
  return radius;
}

export interface StepSpectrum {
  /** Eigenvalues of h^T diag(k) h other than the zeros outside of the span of h. */
  readonly values: Float64Array;
  /** [values, m], row i holds z with z h the unit eigenvector of values[i]. */
  readonly combinations: Float64Array;
}

/**
 * Eigenpairs of S = h^T diag(k) h for any signs of k: with G = P^T diag(g) P, rows of g^-1/2 P h are an orthonormal
 * basis in which S is R diag(k) R^T, R = g^1/2 P.
 */
export function stepSpectrum(m: number, gram: ArrayLike<number>, k: ArrayLike<number>): StepSpectrum {
  const g = new Float64Array(m * m);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < m; j++) g[i * m + j] = (gram[i * m + j] + gram[j * m + i]) / 2;
  }
  const { values, vectors } = symmetricEigen(m, g);
  const largest = values.at(-1) ?? 0;
  let first = 0;
  // Below this the basis would be made of rounding errors; such directions are all but absent from S.
  while (first < m && values[first] <= 1e-7 * largest) first++;
  const n = m - first;
  const inner = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = i; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < m; l++) sum += vectors[(first + i) * m + l] * k[l] * vectors[(first + j) * m + l];
      inner[i * n + j] = sum * Math.sqrt(values[first + i] * values[first + j]);
      inner[j * n + i] = inner[i * n + j];
    }
  }
  const small = symmetricEigen(n, inner);
  const combinations = new Float64Array(n * m);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const weight = small.vectors[i * n + j] / Math.sqrt(values[first + j]);
      for (let l = 0; l < m; l++) combinations[i * m + l] += weight * vectors[(first + j) * m + l];
    }
  }
  return { values: small.values, combinations };
}
