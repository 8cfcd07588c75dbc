import type { AffineArgs, AffineBackwardArgs } from '../../face-networks.js';

/** y_ij = x_ij gamma_j + beta_j */
export function affine({ rows, dim, x, gamma, beta, y }: AffineArgs): void {
  for (let i = 0; i < rows * dim; i++) {
    const j = i % dim;
    y[i] = beta === null ? x[i] * gamma[j] : x[i] * gamma[j] + beta[j];
  }
}

/** dgamma_j = sum_i dy_ij x_ij; dbeta_j = sum_i dy_ij; dx_ij = dy_ij gamma_j */
export function affineBackward({ rows, dim, x, gamma, dy, dx, dgamma, dbeta }: AffineBackwardArgs): void {
  const gammaSums = new Float64Array(dim);
  const betaSums = new Float64Array(dim);
  for (let i = 0; i < rows * dim; i++) {
    gammaSums[i % dim] += dy[i] * x[i];
    betaSums[i % dim] += dy[i];
  }
  dgamma?.set(gammaSums);
  dbeta?.set(betaSums);
  if (dx !== null) for (let i = 0; i < rows * dim; i++) dx[i] = dy[i] * gamma[i % dim];
}
