import type {
  BatchNormApplyArgs,
  BatchNormArgs,
  BatchNormBackwardArgs,
  BatchNormShape,
} from '../../face-networks.js';

/** Indices of one channel, in the order of the batch. */
function* channel({ batch, channels, plane }: BatchNormShape, c: number): Generator<number> {
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < plane; i++) yield (b * channels + c) * plane + i;
  }
}

/** Ioffe & Szegedy 2015, algorithm 1, then relu; the running variance takes n / (n - 1). */
export function batchNorm(args: BatchNormArgs): void {
  const { batch, channels, plane, eps, momentum, relu, x, gamma, beta, runningMean, runningVar, y } = args;
  const n = batch * plane;
  if (n === 0) return;
  for (let c = 0; c < channels; c++) {
    let sum = 0;
    for (const i of channel(args, c)) sum += x[i];
    const mean = sum / n;
    let squares = 0;
    for (const i of channel(args, c)) squares += (x[i] - mean) ** 2;
    const variance = squares / n;
    const rstd = 1 / Math.sqrt(variance + eps);
    args.mean[c] = mean;
    args.rstd[c] = rstd;
    runningMean[c] = (1 - momentum) * runningMean[c] + momentum * mean;
    runningVar[c] = (1 - momentum) * runningVar[c] + (momentum * squares) / Math.max(1, n - 1);
    for (const i of channel(args, c)) {
      const value = (x[i] - mean) * rstd * gamma[c] + beta[c];
      y[i] = relu && value < 0 ? 0 : value;
    }
  }
}

export function batchNormApply(args: BatchNormApplyArgs): void {
  const { channels, eps, relu, x, gamma, beta, mean, variance, y } = args;
  for (let c = 0; c < channels; c++) {
    const scale = gamma[c] / Math.sqrt(variance[c] + eps);
    for (const i of channel(args, c)) {
      const value = (x[i] - mean[c]) * scale + beta[c];
      y[i] = relu && value < 0 ? 0 : value;
    }
  }
}

/** dbeta = sum dy; dgamma = sum dy xhat; dx = gamma rstd (dy - dbeta / n - xhat dgamma / n) */
export function batchNormBackward(args: BatchNormBackwardArgs): void {
  const { batch, channels, plane, x, y, gamma, mean, rstd, dy, dx, dgamma, dbeta } = args;
  const n = batch * plane;
  const slope = (i: number) => (y === null || y[i] > 0 ? dy[i] : 0);
  for (let c = 0; n > 0 && c < channels; c++) {
    let sum = 0;
    let sumX = 0;
    for (const i of channel(args, c)) {
      sum += slope(i);
      sumX += slope(i) * (x[i] - mean[c]) * rstd[c];
    }
    dbeta[c] = sum;
    dgamma[c] = sumX;
    if (dx === null) continue;
    for (const i of channel(args, c)) {
      const xhat = (x[i] - mean[c]) * rstd[c];
      dx[i] = gamma[c] * rstd[c] * (slope(i) - sum / n - (xhat * sumX) / n);
    }
  }
}
