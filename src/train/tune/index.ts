/** Searches over settings of training. */
export type { TrialRecord } from './journal.js';
export type { TuneInput } from './options.js';
export type { Rung } from './subsample.js';
export { type TuneEvent, type TuneOptions, type TuneResult, tune } from './tune.js';
