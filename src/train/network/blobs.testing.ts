/** Small images that can be told apart: a bright square in one of four corners, noise elsewhere. */
import type { ImageDataset } from '../../data/images.js';
import { RandomStream } from '../../kernels/random.js';

export function blobs(rows: number, seed = 1, side = 8): ImageDataset {
  const stream = RandomStream.named(seed, 'blobs');
  const pixels = new Uint8Array(rows * side * side);
  const labels = new Uint8Array(rows);
  const half = side / 2;
  for (let row = 0; row < rows; row++) {
    const label = stream.below(4);
    labels[row] = label;
    for (let i = 0; i < side; i++) {
      for (let j = 0; j < side; j++) {
        const bright = Math.floor(i / half) * 2 + Math.floor(j / half) === label;
        pixels[(row * side + i) * side + j] = stream.below(160) + (bright ? 90 : 0);
      }
    }
  }
  return { name: 'blobs', rows, channels: 1, height: side, width: side, classes: 4, pixels, labels };
}
