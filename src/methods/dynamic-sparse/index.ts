export { AuxiliaryHead, type AuxiliaryHeadOptions, auxiliaryWeight } from './auxiliary.js';
export { FixedFanInOutput } from './fan-in-output.js';
export {
  defaultSet,
  type FanInForm,
  type FanInOutputOptions,
  type PruneRule,
  type Topology,
} from './options.js';
