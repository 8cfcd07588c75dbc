/** The arrays of a classifier by name: what models and checkpoints store. */
import { nearestBf16, widenBf16 } from '../kernels/bf16.js';
import type { Optimizer } from '../optim/optimizer.js';
import type { NamedArray } from '../output/layer.js';
import type { StoredArray } from '../store/index.js';
import type { Classifier } from './classifier.js';

/** Weights and connections: `encoder.*`, `intermediate.*` and `output.*`. */
export function modelArrays(classifier: Classifier): NamedArray[] {
  const parameters = [...classifier.namedParameters()].map(([name, { shape, data }]) => ({
    name,
    shape,
    data,
  }));
  return [...parameters, ...prefixed('output.', classifier.output.state().model)];
}

/** Rounds matrices of float32 to bfloat16, in place: what `halved` then stores is what the classifier answers with. */
export function roundToBf16(classifier: Classifier): void {
  for (const { shape, data } of modelArrays(classifier)) {
    if (!(data instanceof Float32Array) || shape.length < 2) continue;
    const some = 1 << 16;
    for (let at = 0; at < data.length; at += some) {
      const part = data.subarray(at, at + some);
      widenBf16(Uint16Array.from(part, nearestBf16), part);
    }
  }
  classifier.output.loaded();
}

/** The arrays with matrices of float32 as bfloat16, each rounded to the nearest: half of the bytes. */
export function halved(arrays: readonly NamedArray[]): StoredArray[] {
  return arrays.map(({ name, shape, data }) =>
    data instanceof Float32Array && shape.length >= 2
      ? { name, shape, data: Uint16Array.from(data, nearestBf16), dtype: 'BF16' }
      : { name, shape, data },
  );
}

/** Moments of both optimisers: `optimizer.encoder.*`, `optimizer.intermediate.*` and `optimizer.output.*`. */
export function optimizerArrays(classifier: Classifier, optimizer: Optimizer): NamedArray[] {
  const parameters = [...optimizer.state()].map(([name, data]) => ({
    name: `optimizer.${name}`,
    shape: [data.length],
    data,
  }));
  return [...parameters, ...prefixed('optimizer.output.', classifier.output.state().optimizer)];
}

/** The arrays under longer names. */
export function prefixed(prefix: string, arrays: readonly NamedArray[]): NamedArray[] {
  return arrays.map((array) => ({ ...array, name: prefix + array.name }));
}
