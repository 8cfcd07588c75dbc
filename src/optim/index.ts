export { Optimizer } from './optimizer.js';
export type { Participant, ParticipantEvent, ParticipantState } from './participant.js';
export { type OptimizerSpec, ruleAt } from './rules.js';
export { rateFactor, type ScheduleSpec } from './schedule.js';
