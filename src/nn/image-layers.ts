/** Layers of convolutional networks on images [B, C, H, W]. */
import { Parameter } from '../autograd/parameter.js';
import type { Activation } from '../kernels/face.js';
import type { RandomStream } from '../kernels/random.js';
import { batchNorm } from '../ops/batch-norm.js';
import { conv2d } from '../ops/conv2d.js';
import { avgPool2d, maxPool2d } from '../ops/pool.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { initUniform } from './layers.js';
import { type ForwardContext, Module } from './module.js';

export interface Conv2dOptions {
  readonly stream: RandomStream;
  /** Default 1. */
  readonly stride?: number;
  /** Zeros on every side; default 0. */
  readonly padding?: number;
  /** Default 1. */
  readonly groups?: number;
  readonly bias?: boolean;
  readonly activation?: Activation;
  /** Half-width of the uniform start; by default sqrt(6 / fan-in) (He et al. 2015), and the bias starts at 0. */
  readonly bound?: number;
}

/** y = act(conv(x, weight) + bias), weight [out, in / groups, kernel, kernel]. */
export class Conv2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly stride: number;
  readonly padding: number;
  readonly groups: number;
  readonly activation: Activation;

  constructor(
    device: Device,
    inChannels: number,
    outChannels: number,
    kernel: number,
    options: Conv2dOptions,
  ) {
    super();
    const { stream, stride = 1, padding = 0, groups = 1 } = options;
    const fanIn = (inChannels / groups) * kernel * kernel;
    const bound = options.bound ?? Math.sqrt(6 / fanIn);
    this.weight = new Parameter(device, [outChannels, inChannels / groups, kernel, kernel]);
    initUniform(device, this.weight, stream, -bound, bound);
    this.bias = options.bias === false ? null : new Parameter(device, [outChannels]);
    this.stride = stride;
    this.padding = padding;
    this.groups = groups;
    this.activation = options.activation ?? 'none';
  }

  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    const { weight, bias, stride, padding, groups, activation } = this;
    return tape.run(conv2d, { x, weight, bias, stride, padding, groups, activation });
  }
}

/** Normalises each channel by the moments of the batch, in evaluation by running ones; then relu, if asked for. */
export class BatchNorm2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly runningMean: Tensor;
  readonly runningVar: Tensor;
  readonly eps: number;
  readonly momentum: number;
  readonly activation: Activation;

  constructor(
    device: Device,
    channels: number,
    options: { readonly eps?: number; readonly momentum?: number; readonly activation?: Activation } = {},
  ) {
    super();
    this.weight = new Parameter(device, [channels]);
    this.bias = new Parameter(device, [channels]);
    this.runningMean = device.persistent('weights', [channels]);
    this.runningVar = device.persistent('weights', [channels]);
    if (!device.dry) {
      this.weight.data.fill(1);
      this.runningVar.data.fill(1);
    }
    this.eps = options.eps ?? 1e-5;
    this.momentum = options.momentum ?? 0.1;
    this.activation = options.activation ?? 'none';
  }

  forward(x: Tensor, { tape, training }: ForwardContext): Tensor {
    const { weight: gamma, bias: beta, runningMean, runningVar, eps, momentum, activation } = this;
    return tape.run(batchNorm, {
      ...{ x, gamma, beta, runningMean, runningVar },
      ...{ eps, momentum, training, activation },
    });
  }
}

/** Square windows; by default side by side. */
abstract class Pool2d extends Module {
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;

  constructor(kernel: number, options: { readonly stride?: number; readonly padding?: number } = {}) {
    super();
    this.kernel = kernel;
    this.stride = options.stride ?? kernel;
    this.padding = options.padding ?? 0;
  }
}

export class MaxPool2d extends Pool2d {
  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    return tape.run(maxPool2d, { x, kernel: this.kernel, stride: this.stride, padding: this.padding });
  }
}

export class AvgPool2d extends Pool2d {
  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    return tape.run(avgPool2d, { x, kernel: this.kernel, stride: this.stride, padding: this.padding });
  }
}
