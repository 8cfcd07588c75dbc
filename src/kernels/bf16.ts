/**
 * Numbers in bfloat16: the upper half of a float32, 8 bits of precision, the same range. JavaScript has no array of
 * them: a Uint16Array holds the raw bits.
 */
import type { Floats, RandomKey } from './face.js';
import { philoxBlock, RandomStream } from './random.js';

const probe = new Float32Array(1);
const bits = new Uint32Array(probe.buffer);

/** to[at + i] = from[i] */
export function widenBf16(from: Uint16Array, to: Floats, at = 0): void {
  if (to instanceof Float32Array) {
    const words = new Uint32Array(to.buffer, to.byteOffset, to.length);
    for (let i = 0; i < from.length; i++) words[at + i] = from[i] << 16;
    return;
  }
  for (let i = 0; i < from.length; i++) {
    bits[0] = from[i] << 16;
    to[at + i] = probe[0];
  }
}

/** The bits of the nearest bfloat16, ties to even. */
export function nearestBf16(x: number): number {
  probe[0] = x;
  const word = bits[0];
  if ((word & 0x7f800000) === 0x7f800000) return keepNaN(word);
  return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}

/** The bits of a neighbour of x in bfloat16: of the one further from 0 for cut-off / 2^16 of the draws below 2^16. */
export function stochasticBf16(x: number, draw: number): number {
  probe[0] = x;
  const word = bits[0];
  if ((word & 0x7f800000) === 0x7f800000) return keepNaN(word);
  return (word + draw) >>> 16;
}

const keepNaN = (word: number): number => ((word & 0x7fffff) !== 0 ? word | 0x400000 : word) >>> 16;

/** Weights [from, to) rounded as kernels round them: see `Bf16Weights`. */
export function roundWeights(
  weights: Floats,
  { key0, key1, counter }: RandomKey,
  from: number,
  to: number,
  out: Uint16Array,
): void {
  const words = new Uint32Array(4);
  for (let i = from; i < to; i++) {
    if (i === from || i % 8 === 0) philoxBlock(key0, key1, counter + Math.floor(i / 8), words);
    const word = words[(i >>> 1) & 3];
    out[i] = stochasticBf16(weights[i], i % 2 === 0 ? word & 0xffff : word >>> 16);
  }
}

// NOTE: one key for all layers and runs, counted by steps: what is rounded how depends on step and place alone, so
// that a layer which continues from its state needs no more than its arrays and its number of steps.
const { key0, key1 } = RandomStream.named(0, 'bf16').state();

/** The draws of a layer's step (1-based): room for 2^31 weights before they meet those of the next step. */
export function roundingOfStep(step: number): RandomKey {
  return { key0, key1, counter: step * 2 ** 28 };
}
