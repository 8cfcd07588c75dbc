/** A tensor that is learnt: it outlives steps and owns its gradient. */
import type { Device } from '../tensor/device.js';
import { type RowGradient, type Shape, Tensor } from '../tensor/tensor.js';

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
