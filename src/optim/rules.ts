/**
 * Optimisers as data: what the user asks for (`OptimizerSpec`), and the rule of one step that kernels run
 * (`UpdateRule`). The encoder's optimiser and the output layer's fused update share both.
 */
import { EspalierError, ensure } from '../errors.js';
import type { Moments, UpdateRule } from '../kernels/face.js';
import type { Device } from '../tensor/device.js';

export interface SgdSpec {
  readonly kind: 'sgd';
  readonly rate: number;
  readonly momentum?: number;
  readonly nesterov?: boolean;
  readonly weightDecay?: number;
}

export interface AdamSpec {
  readonly kind: 'adam' | 'adamw';
  readonly rate: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
  readonly weightDecay?: number;
}

export interface AdagradSpec {
  readonly kind: 'adagrad';
  readonly rate: number;
  readonly eps?: number;
  readonly weightDecay?: number;
}

export type OptimizerSpec = SgdSpec | AdamSpec | AdagradSpec;

const common = ['kind', 'rate', 'weightDecay'];
const ofAdam = [...common, 'beta1', 'beta2', 'eps'];
const optionsOf: Record<OptimizerSpec['kind'], readonly string[]> = {
  sgd: [...common, 'momentum', 'nesterov'],
  adam: ofAdam,
  adamw: ofAdam,
  adagrad: [...common, 'eps'],
};

/** Refuses an option that no optimiser of this kind reads: it would change nothing, in silence. */
function checkOptions(spec: OptimizerSpec): void {
  const known = optionsOf[spec.kind] ?? Object.keys(spec);
  const odd = Object.keys(spec).find((key) => !known.includes(key));
  ensure(odd === undefined, () => ({
    code: 'OPTIMIZER_OPTION',
    kind: 'usage',
    op: 'optimizer',
    problem: `${spec.kind} has no option ${JSON.stringify(odd)}`,
    expected: known.join(', '),
    received: `${odd}`,
    hint: spec.kind === 'adam' ? 'decay apart from the gradient is the kind "adamw"' : undefined,
  }));
}

/** How many numbers of state a weight costs. */
export function momentsPerWeight(spec: OptimizerSpec): number {
  if (spec.kind === 'sgd') return (spec.momentum ?? 0) === 0 ? 0 : 1;
  return spec.kind === 'adagrad' ? 1 : 2;
}

/** The rule of step `step` (1-based) at learning rate `rate` (the schedule's value, not the spec's). */
export function ruleAt(spec: OptimizerSpec, rate: number, step: number): UpdateRule {
  const weightDecay = spec.weightDecay ?? 0;
  switch (spec.kind) {
    case 'sgd':
      return {
        kind: 'sgd',
        rate,
        momentum: spec.momentum ?? 0,
        nesterov: spec.nesterov ?? false,
        weightDecay,
      };
    case 'adagrad':
      return { kind: 'adagrad', rate, eps: spec.eps ?? 1e-10, weightDecay };
    case 'adam':
    case 'adamw': {
      const beta1 = spec.beta1 ?? 0.9;
      const beta2 = spec.beta2 ?? 0.999;
      return {
        kind: 'adam',
        rate,
        beta1,
        beta2,
        eps: spec.eps ?? 1e-8,
        weightDecay,
        decoupled: spec.kind === 'adamw',
        correction1: 1 - beta1 ** step,
        correction2: 1 - beta2 ** step,
      };
    }
    default:
      throw new EspalierError({
        code: 'OPTIMIZER_UNKNOWN',
        kind: 'usage',
        op: 'optimizer',
        problem: 'there is no such optimiser',
        expected: 'sgd, adam, adamw or adagrad',
        received: String((spec as { kind: unknown }).kind),
      });
  }
}

/** Zeroed state for `n` weights, tagged as optimiser memory. */
export function makeMoments(device: Device, spec: OptimizerSpec, n: number): Moments {
  checkOptions(spec);
  const buffer = () => device.persistent('optimizer', [n]).data;
  switch (spec.kind) {
    case 'sgd':
      return { m: (spec.momentum ?? 0) === 0 ? null : buffer(), v: null };
    case 'adagrad':
      return { m: null, v: buffer() };
    default:
      return { m: buffer(), v: buffer() };
  }
}
