export { GroupedFanInOutput } from './grouped-output.js';
export type { GroupedOutputOptions, GroupedTopology, GroupOrder } from './options.js';
