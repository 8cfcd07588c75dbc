/** Batches for output layers as an encoder gives them, with drawn targets. */

/**
 * Hidden vectors of length 1 from what `entry` draws, [batch, inputs], and `targets` labels for each row, by label.
 * @param {{ batch: number, inputs: number, labels: number, targets: number }} shape
 * @param {{ below(n: number): number }} draws
 * @param {() => number} entry never negative, as a relu leaves them
 */
export function reluBatch({ batch, inputs, labels, targets }, draws, entry) {
  const h = Float32Array.from({ length: batch * inputs }, entry);
  for (let j = 0; j < batch; j++) {
    const row = h.subarray(j * inputs, (j + 1) * inputs);
    const size = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
    for (let i = 0; i < inputs; i++) row[i] /= size;
  }
  const pairs = new Set();
  while (pairs.size < targets * batch) pairs.add(draws.below(labels) * batch + (pairs.size % batch));
  const sorted = [...pairs].sort((a, b) => a - b);
  const positives = {
    count: sorted.length,
    label: Uint32Array.from(sorted, (pair) => Math.floor(pair / batch)),
    row: Uint32Array.from(sorted, (pair) => pair % batch),
  };
  return { h, positives };
}
