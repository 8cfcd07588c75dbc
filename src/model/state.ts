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
    if (data instanceof Float32Array && shape.length >= 2) widenBf16(nearestBits(data), data);
  }
  classifier.output.loaded();
}

/** The arrays with matrices of float32 as bfloat16, each rounded to the nearest: half of the bytes. */
export function halved(arrays: readonly NamedArray[]): StoredArray[] {
  return arrays.map(({ name, shape, data }) =>
    data instanceof Float32Array && shape.length >= 2
      ? { name, shape, data: nearestBits(data), dtype: 'BF16' }
      : { name, shape, data },
  );
}

// NOTE: Uint16Array.from with a function makes a list of all numbers first, which a large layer has no room for.
function nearestBits(from: Float32Array): Uint16Array {
  const bits = new Uint16Array(from.length);
  for (let i = 0; i < bits.length; i++) bits[i] = nearestBf16(from[i]);
  return bits;
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
