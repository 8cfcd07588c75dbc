/** Layers of networks on dense inputs: scale and shift, shapes, residual branches. */
import { Parameter } from '../autograd/parameter.js';
import { affine } from '../ops/affine.js';
import { add } from '../ops/elementwise.js';
import { meanLast, swapAxes } from '../ops/shapes.js';
import type { Device } from '../tensor/device.js';
import { type Shape, sizeOf, type Tensor } from '../tensor/tensor.js';
import { type ForwardContext, Module } from './module.js';

/** y = x * weight + bias along the last dimension, [..., dim] -> [..., dim] (Touvron et al. 2021, eq. 1). */
export class Affine extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  constructor(
    device: Device,
    dim: number,
    options: { /** Start of the weight; default 1. */ readonly start?: number; readonly bias?: boolean } = {},
  ) {
    super();
    this.weight = new Parameter(device, [dim]);
    if (!device.dry) this.weight.data.fill(options.start ?? 1);
    this.bias = options.bias === false ? null : new Parameter(device, [dim]);
  }

  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    return tape.run(affine, { x, gamma: this.weight, beta: this.bias });
  }
}

/** [B, ...] -> [B, product of the rest], without a copy. */
export class Flatten extends Module {
  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    return tape.reshape(x, [x.shape[0], sizeOf(x.shape.slice(1))]);
  }
}

/** [B, ...] -> [B, ...shape], without a copy. */
export class Reshape extends Module {
  readonly shape: Shape;

  constructor(...shape: number[]) {
    super();
    this.shape = shape;
  }

  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    return tape.reshape(x, [x.shape[0], ...this.shape]);
  }
}

/** x + branch(x). */
export class Residual extends Module {
  readonly branch: Module;

  constructor(branch: Module) {
    super();
    this.branch = branch;
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const { tape } = context;
    const y = tape.within('branch', () => this.branch.forward(x, context));
    const sum = tape.run(add, { a: y, b: x });
    if (y !== x) tape.done(y);
    return sum;
  }
}

/** Runs `inner` with the last two dimensions exchanged: a layer along the other of them. */
export class Transposed extends Module {
  readonly inner: Module;

  constructor(inner: Module) {
    super();
    this.inner = inner;
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const { tape } = context;
    const inner = (turned: Tensor) => tape.within('inner', () => this.inner.forward(turned, context));
    const y = tape.pass(tape.run(swapAxes, { x, axis: -2 }), inner);
    return tape.pass(y, (turned) => tape.run(swapAxes, { x: turned, axis: -2 }));
  }
}

/** [B, C, H, W] -> [B, C]: the mean of each plane. */
export class GlobalAvgPool extends Module {
  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    const planes = tape.reshape(x, [x.shape[0], x.shape[1], sizeOf(x.shape.slice(2))]);
    return tape.pass(planes, (all) => tape.run(meanLast, { x: all }));
  }
}
