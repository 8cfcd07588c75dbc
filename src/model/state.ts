/** The arrays of a classifier by name: what models and checkpoints store. */
import type { Optimizer } from '../optim/optimizer.js';
import type { NamedArray } from '../output/layer.js';
import type { Classifier } from './classifier.js';

/** Weights and connections: `encoder.*` and `output.*`. */
export function modelArrays(classifier: Classifier): NamedArray[] {
  const encoder = [...classifier.encoder.namedParameters('encoder.')].map(([name, { shape, data }]) => ({
    name,
    shape,
    data,
  }));
  return [...encoder, ...prefixed('output.', classifier.output.state().model)];
}

/** Moments of both optimisers: `optimizer.encoder.*` and `optimizer.output.*`. */
export function optimizerArrays(classifier: Classifier, optimizer: Optimizer): NamedArray[] {
  const encoder = [...optimizer.state()].map(([name, data]) => ({
    name: `optimizer.encoder.${name}`,
    shape: [data.length],
    data,
  }));
  return [...encoder, ...prefixed('optimizer.output.', classifier.output.state().optimizer)];
}

function prefixed(prefix: string, arrays: readonly NamedArray[]): NamedArray[] {
  return arrays.map((array) => ({ ...array, name: prefix + array.name }));
}
