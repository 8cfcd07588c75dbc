import type { Floats } from '../face.js';
import { normalCdf, normalDensity } from './erf.js';

/** y = max(x, 0); NaN stays NaN. */
export function relu(n: number, x: Floats, y: Floats): void {
  for (let i = 0; i < n; i++) y[i] = Math.max(x[i], 0);
}

/** dx = y > 0 ? dy : 0 */
export function reluBackward(n: number, y: Floats, dy: Floats, dx: Floats): void {
  for (let i = 0; i < n; i++) dx[i] = y[i] > 0 ? dy[i] : 0;
}

/** y = x Phi(x) (Hendrycks & Gimpel 2016, the exact form); the limit at -Infinity is 0. */
export function gelu(n: number, x: Floats, y: Floats): void {
  for (let i = 0; i < n; i++) y[i] = x[i] === -Infinity ? 0 : x[i] * normalCdf(x[i]);
}

/** dx = dy (Phi(x) + x phi(x)) */
export function geluBackward(n: number, x: Floats, dy: Floats, dx: Floats): void {
  for (let i = 0; i < n; i++) {
    const slope =
      Math.abs(x[i]) === Infinity ? Number(x[i] > 0) : normalCdf(x[i]) + x[i] * normalDensity(x[i]);
    dx[i] = dy[i] * slope;
  }
}

export function add(n: number, a: Floats, b: Floats, alpha: number, out: Floats): void {
  for (let i = 0; i < n; i++) out[i] = a[i] + alpha * b[i];
}

export function multiply(n: number, a: Floats, b: Floats, out: Floats): void {
  for (let i = 0; i < n; i++) out[i] = a[i] * b[i];
}

export function scale(n: number, alpha: number, x: Floats, out: Floats): void {
  for (let i = 0; i < n; i++) out[i] = alpha * x[i];
}

/** out_j = (accumulate ? out_j : 0) + sum_i x_ij */
export function columnSum(rows: number, cols: number, x: Floats, out: Floats, accumulate: boolean): void {
  const sums = new Float64Array(cols);
  if (accumulate) for (let j = 0; j < cols; j++) sums[j] = out[j];
  for (let i = 0; i < rows; i++) {
    const at = i * cols;
    for (let j = 0; j < cols; j++) sums[j] += x[at + j];
  }
  out.set(sums);
}

export function sum(n: number, x: Floats): number {
  let total = 0;
  for (let i = 0; i < n; i++) total += x[i];
  return total;
}

export function sumSquares(n: number, x: Floats): number {
  let total = 0;
  for (let i = 0; i < n; i++) total += x[i] * x[i];
  return total;
}
