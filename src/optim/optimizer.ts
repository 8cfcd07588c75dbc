/** Applies an optimiser to named parameters, dense or row-sparse. */
import type { Parameter } from '../autograd/parameter.js';
import type { Floats, Moments } from '../kernels/face.js';
import type { Device } from '../tensor/device.js';
import { makeMoments, type OptimizerSpec, ruleAt } from './rules.js';

interface Slot {
  readonly name: string;
  readonly parameter: Parameter;
  readonly moments: Moments;
}

export class Optimizer {
  readonly spec: OptimizerSpec;
  readonly #device: Device;
  readonly #slots: Slot[];
  #steps = 0;

  constructor(device: Device, parameters: Iterable<[string, Parameter]>, spec: OptimizerSpec) {
    this.#device = device;
    this.spec = spec;
    this.#slots = [...parameters].map(([name, parameter]) => ({
      name,
      parameter,
      moments: makeMoments(device, spec, parameter.size),
    }));
  }

  /** Steps taken so far: Adam's bias correction depends on it. */
  get steps(): number {
    return this.#steps;
  }

  set steps(value: number) {
    this.#steps = value;
  }

  /**
   * Norm of all gradients together, or of those whose name begins so; NaN or infinite when some gradient is. Gradients
   * of weights that a mask keeps at 0 are 0 from here on.
   */
  gradientNorm(prefix = ''): number {
    const { kernels } = this.#device;
    let squares = 0;
    for (const { name, parameter } of this.#slots) {
      if (!parameter.hasGradient || !name.startsWith(prefix)) continue;
      parameter.parametrization?.maskGradient?.();
      const rows = parameter.rowGradient;
      if (rows !== null) squares += kernels.sumSquares(rows.count * parameter.shape[1], rows.values.data);
      else if (parameter.grad !== null) squares += kernels.sumSquares(parameter.size, parameter.grad.data);
    }
    return Math.sqrt(squares);
  }

  /**
   * One step at learning rate `rate`; gradients are multiplied by `gradScale` first (clipping).
   * Rows of a sparse gradient move alone: rows that the batch did not touch keep weights and moments.
   */
  step(rate: number, gradScale = 1): void {
    this.#steps++;
    const rule = ruleAt(this.spec, rate, this.#steps);
    const { kernels } = this.#device;
    for (const { parameter, moments } of this.#slots) {
      if (!parameter.hasGradient) continue;
      const rows = parameter.rowGradient;
      if (parameter.parametrization !== null) {
        parameter.parametrization.update(rule, moments, gradScale);
      } else if (rows !== null) {
        kernels.updateRows({
          rule,
          count: rows.count,
          dim: parameter.shape[1],
          rows: rows.rows,
          w: parameter.data,
          g: rows.values.data,
          ...moments,
          gradScale,
        });
      } else if (parameter.grad !== null) {
        kernels.update({
          rule,
          n: parameter.size,
          w: parameter.data,
          g: parameter.grad.data,
          ...moments,
          gradScale,
        });
      }
    }
  }

  /** The moments of a parameter of this optimiser, shared; empty ones for any other. */
  momentsOf(parameter: Parameter): Moments {
    return this.#slots.find((slot) => slot.parameter === parameter)?.moments ?? { m: null, v: null };
  }

  /** The state arrays by name, for checkpoints; shared, not copied. */
  *state(): Generator<[string, Floats]> {
    for (const { name, moments } of this.#slots) {
      if (moments.m !== null) yield [`${name}.m`, moments.m];
      if (moments.v !== null) yield [`${name}.v`, moments.v];
    }
  }
}
