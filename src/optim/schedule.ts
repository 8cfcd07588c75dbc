/** Learning-rate schedules: a factor in [0, 1] of the base rate as a function of training progress. */

export interface ScheduleSpec {
  readonly kind: 'constant' | 'cosine' | 'linear';
  /** Share of all steps in which the rate rises linearly from 0. */
  readonly warmup?: number;
  /** The factor at the end. */
  readonly floor?: number;
}

/** The factor at step `step` (0-based) of `total`. */
export function rateFactor(spec: ScheduleSpec, step: number, total: number): number {
  const warmupSteps = Math.round((spec.warmup ?? 0) * total);
  if (step < warmupSteps) return (step + 1) / warmupSteps;
  if (spec.kind === 'constant') return 1;
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, total - warmupSteps));
  const floor = spec.floor ?? 0;
  const shape = spec.kind === 'cosine' ? 0.5 * (1 + Math.cos(Math.PI * progress)) : 1 - progress;
  return floor + (1 - floor) * shape;
}
