/** Eigenvalues and eigenvectors of small symmetric matrices, in double. */

export interface Eigen {
  /** Ascending. */
  readonly values: Float64Array;
  /** [n, n], row i is the unit eigenvector of values[i]. */
  readonly vectors: Float64Array;
}

/**
 * All eigenpairs of a symmetric matrix [n, n]: Householder reduction to tridiagonal form, then implicit QL with
 * Wilkinson's shift (Golub & Van Loan, Matrix Computations, sections 8.3.1 and 8.3.3). About 9 n^3 operations.
 */
export function symmetricEigen(n: number, matrix: Float64Array): Eigen {
  const a = matrix.slice(0, n * n);
  // Row i of `basis` is the i-th basis vector: A = basis^T T basis.
  const basis = new Float64Array(n * n);
  for (let i = 0; i < n; i++) basis[i * n + i] = 1;
  const diagonal = new Float64Array(n);
  const beside = new Float64Array(n);
  tridiagonalize(n, a, basis);
  for (let i = 0; i < n; i++) {
    diagonal[i] = a[i * n + i];
    if (i + 1 < n) beside[i] = a[(i + 1) * n + i];
  }
  implicitQl(n, diagonal, beside, basis);
  const order = Array.from(diagonal.keys()).sort((i, j) => diagonal[i] - diagonal[j]);
  const vectors = new Float64Array(n * n);
  for (const [to, from] of order.entries()) vectors.set(basis.subarray(from * n, (from + 1) * n), to * n);
  return { values: Float64Array.from(order, (i) => diagonal[i]), vectors };
}

/** a <- H a H for one reflection per column; basis <- H basis. */
function tridiagonalize(n: number, a: Float64Array, basis: Float64Array): void {
  const v = new Float64Array(n);
  const p = new Float64Array(n);
  for (let k = 0; k + 2 < n; k++) {
    let norm = 0;
    for (let i = k + 1; i < n; i++) norm += a[i * n + k] ** 2;
    norm = Math.sqrt(norm);
    const head = a[(k + 1) * n + k];
    const alpha = head > 0 ? -norm : norm;
    v.fill(0, 0, k + 1);
    for (let i = k + 1; i < n; i++) v[i] = a[i * n + k];
    v[k + 1] -= alpha;
    let square = 0;
    for (let i = k + 1; i < n; i++) square += v[i] ** 2;
    if (square === 0) continue;
    const twice = 2 / square;
    // p = twice A v - (twice^2 / 2) (v^T A v) v;  A <- A - v p^T - p v^T
    let inner = 0;
    for (let i = k; i < n; i++) {
      let sum = 0;
      for (let j = k + 1; j < n; j++) sum += a[i * n + j] * v[j];
      p[i] = twice * sum;
      inner += p[i] * v[i];
    }
    for (let i = k; i < n; i++) p[i] -= (twice / 2) * inner * v[i];
    for (let i = k; i < n; i++) {
      for (let j = k; j < n; j++) a[i * n + j] -= v[i] * p[j] + p[i] * v[j];
    }
    reflectRows(n, k + 1, v, twice, basis);
  }
}

/** basis <- (I - twice v v^T) basis, v zero before `from`. */
function reflectRows(n: number, from: number, v: Float64Array, twice: number, basis: Float64Array): void {
  const w = new Float64Array(n);
  for (let i = from; i < n; i++) for (let j = 0; j < n; j++) w[j] += v[i] * basis[i * n + j];
  for (let i = from; i < n; i++) {
    const factor = twice * v[i];
    for (let j = 0; j < n; j++) basis[i * n + j] -= factor * w[j];
  }
}

/** Diagonalises the tridiagonal matrix (d, e) in place; rows of `basis` turn with it. */
function implicitQl(n: number, d: Float64Array, e: Float64Array, basis: Float64Array): void {
  for (let l = 0; l < n; l++) {
    for (let sweep = 0; sweep < 60; sweep++) {
      let m = l;
      for (; m + 1 < n; m++) {
        const size = Math.abs(d[m]) + Math.abs(d[m + 1]);
        if (Math.abs(e[m]) <= 2 ** -53 * size || Math.abs(e[m]) < 1e-300) break;
      }
      if (m === l) break;
      let g = (d[l + 1] - d[l]) / (2 * e[l]);
      let r = Math.hypot(g, 1);
      g = d[m] - d[l] + e[l] / (g + (g >= 0 ? r : -r));
      let s = 1;
      let c = 1;
      let shift = 0;
      let i = m - 1;
      for (; i >= l; i--) {
        const f = s * e[i];
        const b = c * e[i];
        r = Math.hypot(f, g);
        e[i + 1] = r;
        if (r === 0) {
          d[i + 1] -= shift;
          e[m] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - shift;
        r = (d[i] - g) * s + 2 * c * b;
        shift = s * r;
        d[i + 1] = g + shift;
        g = c * r - b;
        turnRows(n, i, c, s, basis);
      }
      if (r === 0 && i >= l) continue;
      d[l] -= shift;
      e[l] = g;
      e[m] = 0;
    }
  }
}

/** Rows i and i + 1 of `basis` by the rotation (c, s). */
function turnRows(n: number, i: number, c: number, s: number, basis: Float64Array): void {
  const at = i * n;
  for (let j = at; j < at + n; j++) {
    const low = basis[j];
    const high = basis[j + n];
    basis[j + n] = s * low + c * high;
    basis[j] = c * low - s * high;
  }
}
