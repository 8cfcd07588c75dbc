/** Networks whose zeros are neither stored nor multiplied: export, files, inference, comparison. */
import type { Kernels } from '../../kernels/face.js';
import { Device } from '../../tensor/device.js';
import { programOf } from './convert.js';
import { chooseForms } from './measure.js';
import { SparseNetwork } from './network.js';

export { programOf } from './convert.js';
export { loadSparse, saveSparse } from './files.js';
export { chooseForms, compareLatency, type Latency } from './measure.js';
export { type Form, type Forms, SparseNetwork, WeightedLayer } from './network.js';
export {
  type Conv2dStep,
  type LinearStep,
  matrixOf,
  type Program,
  type Step,
  type StepWeights,
  type WeightedStep,
  weightedSteps,
} from './program.js';

export interface SparseOptions {
  /** Of one example, e.g. [1, 28, 28]. */
  readonly input: readonly number[];
  /** `measure`: each layer takes the form that is faster here; default `sparse`. */
  readonly forms?: 'sparse' | 'measure';
}

/**
 * A trained network in its sparse form.
 * @throws EspalierError `EXPORT_UNSUPPORTED`, `EXPORT_UNFINISHED`
 * @example const small = sparseNetwork(selectKernels(), learner, { input: [1, 28, 28], forms: 'measure' });
 */
export function sparseNetwork(kernels: Kernels, learner: object, options: SparseOptions): SparseNetwork {
  const network = new SparseNetwork(kernels, programOf(learner, options.input));
  if (options.forms === 'measure') chooseForms(network, new Device(kernels));
  return network;
}
