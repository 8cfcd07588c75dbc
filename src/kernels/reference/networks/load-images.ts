import { ensure } from '../../../errors.js';
import type { LoadImagesArgs } from '../../face-networks.js';

export function loadImages(args: LoadImagesArgs): void {
  const { batch, rows, channels, height, width, pixels, ids, moves, scale, shift, out } = args;
  let to = 0;
  for (let b = 0; b < batch; b++) {
    ensure(ids[b] < rows, () => ({
      code: 'KERNEL_INDEX_RANGE',
      kind: 'data',
      op: 'loadImages',
      problem: 'an index points outside of its array',
      expected: `ids below ${rows}`,
      received: `${ids[b]}`,
      hint: 'every id must name an image',
    }));
    const [down, right, flip] = moves === null ? [0, 0, 0] : moves.subarray(3 * b, 3 * b + 3);
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < height; i++) {
        for (let j = 0; j < width; j++) {
          const row = i + down;
          const column = (flip ? width - 1 - j : j) + right;
          const inside = row >= 0 && row < height && column >= 0 && column < width;
          const at = ((ids[b] * channels + c) * height + row) * width + column;
          out[to++] = scale[c] * (inside ? pixels[at] : 0) + shift[c];
        }
      }
    }
  }
}
