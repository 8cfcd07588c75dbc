/** The targets of softmax: every row's positives share a mass of one. */
import type { Floats, Positives } from '../kernels/face.js';

/** norms[1, b] = 1 / positives of row b, 0 of a row that has none and asks for nothing; norms: [2, batch]. */
export function shareTargets(positives: Positives, norms: Floats, batch: number): void {
  const shares = norms.subarray(batch, 2 * batch);
  shares.fill(0);
  for (let i = 0; i < positives.count; i++) shares[positives.row[i]]++;
  for (let b = 0; b < batch; b++) shares[b] = shares[b] === 0 ? 0 : 1 / shares[b];
}
