/** Small images that can be told apart: a bright quarter in noise. */
import { generator } from './report.mjs';

export function blobs(/** @type {number} */ rows, /** @type {number} */ seed) {
  const random = generator(seed);
  const below = (/** @type {number} */ n) => Math.floor(n * random());
  const labels = Uint8Array.from({ length: rows }, () => below(4));
  const pixels = Uint8Array.from({ length: 64 * rows }, (_, p) => {
    const [i, j] = [(p >> 3) & 7, p & 7];
    return below(160) + (2 * (i >> 2) + (j >> 2) === labels[p >> 6] ? 90 : 0);
  });
  return { name: 'blobs', rows, channels: 1, height: 8, width: 8, classes: 4, pixels, labels };
}
