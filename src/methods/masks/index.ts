export { countBits, FixedMask, largestMagnitudes } from './mask.js';
export { type Chosen, chooseWeights, type Selection } from './select.js';
