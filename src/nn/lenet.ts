/** LeNet-300-100 (LeCun et al. 1998), as the pruning literature uses it: two hidden layers of ReLUs. */
import type { RandomStream } from '../kernels/random.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { Linear } from './layers.js';
import { type ForwardContext, Module } from './module.js';
import { Flatten } from './network-layers.js';

/** [B, ...] of `inputs` numbers -> logits [B, classes]. */
export class LeNet300100 extends Module {
  readonly flatten = new Flatten();
  readonly first: Linear;
  readonly second: Linear;
  readonly head: Linear;

  constructor(
    device: Device,
    options: { readonly stream: RandomStream; readonly inputs?: number; readonly classes?: number },
  ) {
    super();
    const { stream, inputs = 784, classes = 10 } = options;
    this.first = new Linear(device, inputs, 300, { stream, activation: 'relu' });
    this.second = new Linear(device, 300, 100, { stream, activation: 'relu' });
    this.head = new Linear(device, 100, classes, { stream });
  }

  forward(images: Tensor, context: ForwardContext): Tensor {
    const { tape } = context;
    const step = (name: 'first' | 'second' | 'head') => (x: Tensor) =>
      tape.within(name, () => this[name].forward(x, context));
    const x = tape.pass(this.flatten.forward(images, context), step('first'));
    return tape.pass(tape.pass(x, step('second')), step('head'));
  }
}
