/**
 * Espalier: trains sparse and very-large-output neural networks on the machine you have.
 *
 * @example
 * import { train, load } from 'espalier';
 * await train({ data: 'data/wn', out: 'runs/wn' });
 * const model = await load('runs/wn');
 * const { predictions } = await model.predict('small domesticated carnivore', { k: 5 });
 */
import { DatasetDirectory } from './data/cache.js';
import { selectKernels } from './kernels/index.js';
import { Model } from './model/model.js';
import { type RememberOptions, type RememberReport, remember as rememberRows } from './train/remember.js';

export * as autograd from './autograd/index.js';
export * as clusters from './clusters/index.js';
export * as data from './data/index.js';
export { type ErrorFacts, type ErrorKind, EspalierError } from './errors.js';
export * as kernels from './kernels/index.js';
export * as blockSparse from './methods/block-sparse/index.js';
export * as denseSparseDense from './methods/dense-sparse-dense/index.js';
export * as dynamicSparse from './methods/dynamic-sparse/index.js';
export * as factored from './methods/factored/index.js';
export * as gates from './methods/gates/index.js';
export * as grouped from './methods/grouped/index.js';
export * as masks from './methods/masks/index.js';
export * as metrics from './metrics/index.js';
export type {
  Explanation,
  FeatureContribution,
  LabelFacts,
  UnitContribution,
} from './model/explain.js';
export type { ModelInput } from './model/input.js';
export { type Answer, type DescribedLabel, Model, type PredictOptions } from './model/model.js';
export type { LoadedModel } from './model/model-io.js';
export { type Prediction, predictRows, predictTexts } from './model/predict.js';
export * as sparse from './model/sparse/index.js';
export * as nn from './nn/index.js';
export * as ops from './ops/index.js';
export * as optim from './optim/index.js';
export * as output from './output/index.js';
export * as pictures from './pictures/index.js';
export { Device } from './tensor/device.js';
export { Tensor } from './tensor/tensor.js';
export type { TrainConfig, TrainConfigInput } from './train/config.js';
export { type EvaluationReport, evaluateModel as evaluate } from './train/evaluate.js';
export type { TrainEvent } from './train/events.js';
export * as network from './train/network/index.js';
export { type TrainOptions, type TrainResult, train } from './train/train.js';
export {
  type Rung,
  type TrialRecord,
  type TuneEvent,
  type TuneInput,
  type TuneOptions,
  type TuneResult,
  tune,
} from './train/tune/index.js';
export { version } from './version.js';
export type { RememberOptions, RememberReport };

/**
 * Loads a run directory or model directory with the best kernels of this machine.
 * @example const { predictions } = await (await load('runs/wn')).predict('small domesticated carnivore');
 */
export function load(path: string): Promise<Model> {
  return Model.load(path, selectKernels());
}

/**
 * Lets the model of a run or model directory remember the rows of a dataset directory, whose labels then count where a question
 * is like them; nothing is trained. Throws `REMEMBER_*`, `REMEMBERED_ROWS`, and what loading and saving throw.
 * @example const { model, validation } = await remember('runs/wn', 'data/wn', { out: 'runs/wn-rows' });
 */
export async function remember(
  model: string,
  data: string,
  options: RememberOptions,
): Promise<RememberReport> {
  return rememberRows(model, await DatasetDirectory.open(data), options, selectKernels());
}
