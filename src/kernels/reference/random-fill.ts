import type { DropoutArgs, UniformArgs } from '../face.js';
import { philoxBlock } from '../random.js';

const TO_UNIT = 2 ** -24;

/** out_i = low + (high - low) u_i, u_i = (word_i >>> 8) 2^-24, word_i = word i mod 4 of block counter + floor(i/4). */
export function uniform(args: UniformArgs): void {
  const { n, low, high, key0, key1, counter, out } = args;
  const words = new Uint32Array(4);
  const width = high - low;
  for (let first = 0; first < n; first += 4) {
    philoxBlock(key0, key1, counter + first / 4, words);
    const count = Math.min(4, n - first);
    for (let i = 0; i < count; i++) out[first + i] = low + width * ((words[i] >>> 8) * TO_UNIT);
  }
}

/** y_i = u_i < p ? 0 : x_i / (1 - p) */
export function dropout(args: DropoutArgs): void {
  const { n, p, key0, key1, counter, x, y } = args;
  const words = new Uint32Array(4);
  const keep = 1 - p;
  for (let first = 0; first < n; first += 4) {
    philoxBlock(key0, key1, counter + first / 4, words);
    const count = Math.min(4, n - first);
    for (let i = 0; i < count; i++) {
      y[first + i] = (words[i] >>> 8) * TO_UNIT < p ? 0 : x[first + i] / keep;
    }
  }
}
