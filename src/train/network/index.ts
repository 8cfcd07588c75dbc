export { type Compared, trainWithControl } from './control.js';
export { type ImageTaskOptions, imageTask } from './image-task.js';
export {
  type NetworkOptions,
  type NetworkParts,
  NetworkTraining,
  type Score,
  scoreModule,
} from './network.js';
export {
  type NetworkEvent,
  networkArrays,
  type RunOptions,
  restoreNetwork,
  runNetwork,
  saveNetwork,
} from './run.js';
export { type NetworkSpec, networkModule, networkSpec, parseNetwork } from './spec.js';
export type { Learner, NetworkTask, Split, TaskInstance } from './task.js';
export { type TextTaskOptions, textTask } from './text-task.js';
