export {
  type GatedNetwork,
  type GateShare,
  GateTraining,
  type GateTrainingOptions,
} from './gate-training.js';
export { Gated, type GateOptions } from './gated.js';
