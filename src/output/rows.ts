/** Rows of weights, one per label, with biases and moments: drawn, moved when labels come and go, and named. */
import { nearestBf16 } from '../kernels/bf16.js';
import type { Floats, Moments, RandomKey } from '../kernels/face.js';
import type { Device } from '../tensor/device.js';
import type { NamedArray } from './layer.js';

export interface LabelRows {
  /** Weights per label. */
  readonly width: number;
  /** [L, width]; empty where `short` is not null. */
  readonly weights: Floats;
  /** The weights as raw bits of bfloat16, where they are stored so. */
  readonly short: Uint16Array | null;
  /** [L] */
  readonly bias: Floats;
  readonly weightMoments: Moments;
  readonly biasMoments: Moments;
}

/** Weights of rows [from, to), uniform within +-bound; one draw each from `key` on. */
export function drawRows(
  device: Device,
  { short, weights, width }: Pick<LabelRows, 'short' | 'weights' | 'width'>,
  key: RandomKey,
  from: number,
  to: number,
  bound: number,
): void {
  const uniform = { ...key, low: -bound, high: bound };
  if (short === null) {
    const out = weights.subarray(from * width, to * width);
    device.kernels.uniform({ ...uniform, n: out.length, out });
    return;
  }
  if (device.dry) return;
  const some = 1 << 16;
  const out = weights instanceof Float32Array ? new Float32Array(some) : new Float64Array(some);
  for (let at = from * width; at < to * width; at += some) {
    const n = Math.min(some, to * width - at);
    device.kernels.uniform({ ...uniform, counter: key.counter + (at - from * width) / 4, n, out });
    for (let i = 0; i < n; i++) short[at + i] = nearestBf16(out[i]);
  }
}

/** Moves arrays to another set of labels: row j of the new from row map[j] of the old, 0 where that is -1. */
export function rowMover(device: Device, map: Int32Array) {
  const moved = <T extends Floats | Uint16Array>(old: T, tag: 'weights' | 'optimizer', per: number): T => {
    const dtype = old instanceof Uint16Array ? 'uint16' : device.precision;
    const next = device.allocator.allocate(tag, dtype, map.length * per) as T;
    for (let j = 0; j < map.length; j++) {
      if (map[j] >= 0 && !device.dry) next.set(old.subarray(map[j] * per, (map[j] + 1) * per), j * per);
    }
    device.allocator.release(tag, old);
    return next;
  };
  const movedMoments = ({ m, v }: Moments, per: number): Moments => ({
    m: m === null ? null : moved(m, 'optimizer', per),
    v: v === null ? null : moved(v, 'optimizer', per),
  });
  return { moved, movedMoments };
}

/** The arrays by name, as models and checkpoints keep them. */
export function rowsState(
  labels: number,
  { width, weights, short, bias, weightMoments, biasMoments }: LabelRows,
): { readonly model: NamedArray[]; readonly optimizer: NamedArray[] } {
  const matrix = [labels, width];
  const vector = [labels];
  const optimizer: NamedArray[] = [];
  const put = (name: string, shape: number[], data: Floats | null) => {
    if (data !== null) optimizer.push({ name, shape, data });
  };
  put('weights.m', matrix, weightMoments.m);
  put('weights.v', matrix, weightMoments.v);
  put('bias.m', vector, biasMoments.m);
  put('bias.v', vector, biasMoments.v);
  return {
    model: [
      short === null
        ? { name: 'weights', shape: matrix, data: weights }
        : { name: 'weights', shape: matrix, data: short, dtype: 'BF16' },
      { name: 'bias', shape: vector, data: bias },
    ],
    optimizer,
  };
}
