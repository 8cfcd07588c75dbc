export { type MaskedNetwork, type PhasedMaskOptions, PhasedMasks } from './phased-masks.js';
export { type DsdPhases, densePhases, gradualPhases, oneShotPhases, type Phase } from './phases.js';
