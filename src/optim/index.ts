export { Optimizer } from './optimizer.js';
export { type OptimizerSpec, ruleAt } from './rules.js';
export { rateFactor, type ScheduleSpec } from './schedule.js';
