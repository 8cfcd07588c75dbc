import { ensure } from '../../../errors.js';
import type { SoftmaxCrossEntropyArgs } from '../../face-networks.js';

/**
 * p = softmax(z); loss = log sum_j e^(z_j) - (1 - s) z_label - s mean(z);
 * dz = gradScale (p - (1 - s) 1[label] - s / classes).
 */
export function softmaxCrossEntropy(args: SoftmaxCrossEntropyArgs): void {
  const { rows, classes, z, labels, smoothing, gradScale, dz, losses, totals } = args;
  for (let i = 0; i < rows; i++) {
    ensure(labels[i] < classes, () => ({
      code: 'KERNEL_INDEX_RANGE',
      kind: 'data',
      op: 'softmaxCrossEntropy',
      problem: 'an index points outside of its array',
      expected: `labels below ${classes}`,
      received: `${labels[i]} in row ${i}`,
      hint: 'every label must be below `classes`',
    }));
  }
  totals.fill(0, 0, 2);
  for (let i = 0; i < rows; i++) {
    const at = i * classes;
    const label = labels[i];
    let most = z[at];
    let first = 0;
    for (let j = 1; j < classes; j++) {
      if (z[at + j] > most) first = j;
      most = Math.max(most, z[at + j]);
    }
    if (first === label && z[at + label] === most) totals[1]++;
    let total = 0;
    let sizes = 0;
    for (let j = 0; j < classes; j++) {
      total += Math.exp(z[at + j] - most);
      sizes += z[at + j] - most;
    }
    let loss = Math.log(total) - (1 - smoothing) * (z[at + label] - most);
    if (smoothing !== 0) loss -= (smoothing * sizes) / classes;
    losses[i] = loss;
    totals[0] += loss;
    if (dz === null) continue;
    for (let j = 0; j < classes; j++) {
      const target = (j === label ? 1 - smoothing : 0) + smoothing / classes;
      dz[at + j] = gradScale * (Math.exp(z[at + j] - most) / total - target);
    }
  }
}
