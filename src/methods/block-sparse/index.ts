export { type BlockSize, BsrTensor, blockCount, bsrBytes } from '../../tensor/bsr.js';
export { MemoryTimeline } from '../../tensor/timeline.js';
export { memorySvg } from './memory-svg.js';
export { memoryText } from './memory-text.js';
export {
  bf16,
  bsr,
  dense,
  pooled,
  recompute,
  type SavedOptions,
  type SavedOptionsInput,
  savedSpec,
} from './options.js';
export {
  type GradientCosine,
  type PlannedStep,
  SavedActivations,
  type StoredSite,
} from './saved-activations.js';
