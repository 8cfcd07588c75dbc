/** What training runs tell: read from their directories, while they run and after. */
export { evaluationOf, PredictionDetails } from './details.js';
export { readEvaluations, saveEvaluation } from './evaluation.js';
export { checkRoots, findRuns } from './find.js';
export { modelBytes } from './run.js';
export { RunSet, readRun, readRuns } from './run-set.js';
export type * from './types.js';
