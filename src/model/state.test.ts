/** Weights in half of the bytes: each number is the nearest of bfloat16, everything else stays, and no list of them is made. */
import { describe, expect, it } from 'vitest';
import { nearestBf16 } from '../kernels/bf16.js';
import { RandomStream } from '../kernels/random.js';
import { bfloat16ToNumber } from '../store/dtypes.js';
import { halved } from './state.js';

describe('halved arrays', () => {
  it('are matrices of float32 rounded to the nearest; vectors, columns and weights that are short already stay', () => {
    const random = RandomStream.named(1, 'halved');
    const data = Float32Array.from(
      { length: 600 },
      () => 2 ** (20 * random.uniform() - 10) * (random.uniform() - 0.5),
    );
    const others = [
      { name: 'bias', shape: [3], data: Float32Array.of(1.001, 2, 3) },
      { name: 'columns', shape: [2, 2], data: Uint16Array.of(1, 2, 3, 4) },
      { name: 'exact', shape: [1, 2], data: Float64Array.of(0.1, 0.2) },
    ];
    const [first, ...rest] = halved([{ name: 'w', shape: [30, 20], data }, ...others]);
    expect(first).toMatchObject({ name: 'w', shape: [30, 20], dtype: 'BF16' });
    for (const [i, bits] of (first.data as Uint16Array).entries()) {
      expect(bits).toBe(nearestBf16(data[i]));
      expect(Math.abs(bfloat16ToNumber(bits) - data[i])).toBeLessThanOrEqual(2 ** -8 * Math.abs(data[i]));
    }
    expect(rest).toEqual(others);
  });

  it('take no place on the heap, however large: a list of numbers would take eight bytes of each and more', () => {
    const data = new Float32Array(1 << 23).fill(0.3);
    const before = process.memoryUsage().heapUsed;
    halved([{ name: 'w', shape: [data.length, 1], data }]);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(1 << 25);
  });
});
