import type { LayerNormArgs, LayerNormBackwardArgs } from '../face.js';

/**
 * Ba, Kiros & Hinton 2016, per row: mu = mean(x), sigma^2 = mean((x - mu)^2), rstd = 1 / sqrt(sigma^2 + eps),
 * y = (x - mu) rstd gamma + beta.
 */
export function layerNorm(args: LayerNormArgs): void {
  const { rows, dim, eps, x, gamma, beta, y, mean, rstd } = args;
  for (let i = 0; i < rows; i++) {
    const at = i * dim;
    let sum = 0;
    for (let j = 0; j < dim; j++) sum += x[at + j];
    const mu = sum / dim;
    let squares = 0;
    for (let j = 0; j < dim; j++) {
      const centred = x[at + j] - mu;
      squares += centred * centred;
    }
    const r = 1 / Math.sqrt(squares / dim + eps);
    for (let j = 0; j < dim; j++) y[at + j] = (x[at + j] - mu) * r * gamma[j] + beta[j];
    mean[i] = mu;
    rstd[i] = r;
  }
}

/**
 * With xhat = (x - mu) rstd and g = dy gamma:
 * dgamma = sum_rows dy xhat, dbeta = sum_rows dy, dx = rstd (g - mean(g) - xhat mean(g xhat)).
 */
export function layerNormBackward(args: LayerNormBackwardArgs): void {
  const { rows, dim, x, gamma, mean, rstd, dy, dx, dgamma, dbeta } = args;
  const gammaSums = new Float64Array(dim);
  const betaSums = new Float64Array(dim);
  for (let i = 0; i < rows; i++) {
    const at = i * dim;
    const mu = mean[i];
    const r = rstd[i];
    let sumG = 0;
    let sumGX = 0;
    for (let j = 0; j < dim; j++) {
      const xhat = (x[at + j] - mu) * r;
      const d = dy[at + j];
      const g = d * gamma[j];
      sumG += g;
      sumGX += g * xhat;
      gammaSums[j] += d * xhat;
      betaSums[j] += d;
    }
    const meanG = sumG / dim;
    const meanGX = sumGX / dim;
    for (let j = 0; j < dim; j++) {
      const xhat = (x[at + j] - mu) * r;
      dx[at + j] = r * (dy[at + j] * gamma[j] - meanG - xhat * meanGX);
    }
  }
  dgamma.set(gammaSums);
  dbeta.set(betaSums);
}
