/** A tensor that is learnt: it outlives steps and owns its gradient. */
import type { Floats, Moments, UpdateRule } from '../kernels/face.js';
import type { Device } from '../tensor/device.js';
import { type RowGradient, type Shape, Tensor } from '../tensor/tensor.js';

/**
 * How a parameter's numbers come from stored ones: a mask, gates. Operations read the parameter's data as ever; the
 * optimiser hands it the gradient of that data.
 */
export interface Parametrization {
  /** e.g. `mask` or `gates` */
  readonly kind: string;
  /** Writes what the next forward pass of step `step` reads. */
  prepare(step: number): void;
  /** Makes exactly 0 what of `grad` is of no stored number, before anything is measured of it; absent: all of it counts. */
  maskGradient?(): void;
  /** One optimiser step on what is stored, from the gradient in `grad`. */
  update(rule: UpdateRule, moments: Moments, gradScale: number): void;
  /** The stored arrays beside the parameter's data, by short names; shared, not copied. */
  state(): Iterable<readonly [string, Floats | Uint32Array]>;
}

export interface ParameterOptions {
  /** The gradient comes as rows (embedding tables): no dense gradient is ever allocated. */
  readonly sparseGradient?: boolean;
}

export class Parameter extends Tensor {
  readonly sparseGradient: boolean;
  /** Dense gradient, same shape; null for sparse ones. */
  readonly grad: Tensor | null;
  /** Sparse gradient of the last backward pass; valid until the next step. */
  rowGradient: RowGradient | null = null;
  /** null: the data is what is stored. */
  parametrization: Parametrization | null = null;
  /** Whether `grad` holds something since zeroGrad: the first contribution overwrites, later ones add. */
  hasGradient = false;

  constructor(device: Device, shape: Shape, options: ParameterOptions = {}) {
    const home = device.persistent('weights', shape);
    super(shape, home.dtype, home.raw, 'weights', null);
    this.requiresGrad = true;
    this.sparseGradient = options.sparseGradient ?? false;
    this.grad = this.sparseGradient ? null : device.persistent('gradients', shape);
  }

  zeroGrad(): void {
    this.hasGradient = false;
    this.rowGradient = null;
  }
}
