/** The arrays of a classifier by name: what models and checkpoints store. */
import type { Optimizer } from '../optim/optimizer.js';
import type { NamedArray } from '../output/layer.js';
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
