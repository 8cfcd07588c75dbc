/** Convolutional networks for small images, as code. */
import type { RandomStream } from '../kernels/random.js';
import { add, relu } from '../ops/elementwise.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { BatchNorm2d, Conv2d, MaxPool2d } from './image-layers.js';
import { Linear, Sequential } from './layers.js';
import { type ForwardContext, Module } from './module.js';
import { Flatten, GlobalAvgPool } from './network-layers.js';

export interface ImageModelOptions {
  readonly stream: RandomStream;
  /** Default 1. */
  readonly channels?: number;
  /** Side of the square images; default 28. */
  readonly side?: number;
  /** Default 10. */
  readonly classes?: number;
}

/**
 * LeNet-5 in the form of the pruning literature (431,080 weights for 28 x 28): 20 and 50 filters of 5 x 5, each
 * max-pooled by 2, 500 hidden units (LeCun et al. 1998; Han et al. 2015).
 */
export class LeNet5 extends Sequential {
  constructor(device: Device, options: ImageModelOptions) {
    const { stream, channels = 1, side = 28, classes = 10 } = options;
    const last = Math.floor((Math.floor((side - 4) / 2) - 4) / 2);
    super(
      new Conv2d(device, channels, 20, 5, { stream }),
      new MaxPool2d(2),
      new Conv2d(device, 20, 50, 5, { stream }),
      new MaxPool2d(2),
      new Flatten(),
      new Linear(device, 50 * last * last, 500, { stream, activation: 'relu' }),
      new Linear(device, 500, classes, { stream }),
    );
  }
}

/** relu(branch(x) + shortcut(x)): two 3 x 3 convolutions; the shortcut is x, or a 1 x 1 convolution where shapes change. */
export class ResidualBlock extends Module {
  readonly first: Conv2d;
  readonly firstNorm: BatchNorm2d;
  readonly second: Conv2d;
  readonly secondNorm: BatchNorm2d;
  readonly shortcut: Sequential | null;

  constructor(device: Device, inChannels: number, outChannels: number, stride: number, stream: RandomStream) {
    super();
    const plain = { stream, bias: false };
    this.first = new Conv2d(device, inChannels, outChannels, 3, { ...plain, stride, padding: 1 });
    this.firstNorm = new BatchNorm2d(device, outChannels, { activation: 'relu' });
    this.second = new Conv2d(device, outChannels, outChannels, 3, { ...plain, padding: 1 });
    this.secondNorm = new BatchNorm2d(device, outChannels);
    this.shortcut =
      stride === 1 && inChannels === outChannels
        ? null
        : new Sequential(
            new Conv2d(device, inChannels, outChannels, 1, { ...plain, stride }),
            new BatchNorm2d(device, outChannels),
          );
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const { tape } = context;
    const named = (name: 'first' | 'firstNorm' | 'second' | 'secondNorm') => (input: Tensor) =>
      tape.within(name, () => this[name].forward(input, context));
    const inner = tape.pass(named('first')(x), named('firstNorm'));
    const a = tape.pass(tape.pass(inner, named('second')), named('secondNorm'));
    const { shortcut } = this;
    const b = shortcut === null ? x : tape.within('shortcut', () => shortcut.forward(x, context));
    const sum = tape.run(add, { a, b });
    tape.done(a);
    if (b !== x) tape.done(b);
    return tape.pass(sum, (y) => tape.run(relu, { x: y }));
  }
}

/**
 * A residual network for 28 x 28 or 32 x 32 images: three stages of widths w, 2w and 4w, `blocks` blocks each
 * (6 blocks + 2 layers in all; He et al. 2016, section 4.2, with projections where shapes change).
 */
export class SmallResNet extends Sequential {
  constructor(
    device: Device,
    options: ImageModelOptions & { readonly width?: number; readonly blocks?: number },
  ) {
    const { stream, channels = 1, classes = 10, width = 16, blocks = 1 } = options;
    const stages = [0, 1, 2].flatMap((stage) =>
      Array.from({ length: blocks }, (_, i) => {
        const enters = i === 0 && stage > 0;
        const out = width * 2 ** stage;
        return new ResidualBlock(device, enters ? out / 2 : out, out, enters ? 2 : 1, stream);
      }),
    );
    super(
      new Conv2d(device, channels, width, 3, { stream, padding: 1, bias: false }),
      new BatchNorm2d(device, width, { activation: 'relu' }),
      ...stages,
      new GlobalAvgPool(),
      new Linear(device, 4 * width, classes, { stream }),
    );
  }
}

/** A plain network in the manner of VGG (Simonyan & Zisserman 2015): pairs of 3 x 3 convolutions, pooled by 2. */
export class SmallVGG extends Sequential {
  constructor(device: Device, options: ImageModelOptions & { readonly widths?: readonly number[] }) {
    const { stream, channels = 1, side = 28, classes = 10, widths = [32, 64] } = options;
    const layers = widths.flatMap((width, stage) => {
      const before = stage === 0 ? channels : widths[stage - 1];
      return [before, width].flatMap((from) => [
        new Conv2d(device, from, width, 3, { stream, padding: 1, bias: false }),
        new BatchNorm2d(device, width, { activation: 'relu' }),
      ]);
    });
    const pairs = widths.flatMap((_, stage) => [...layers.slice(4 * stage, 4 * stage + 4), new MaxPool2d(2)]);
    const last = widths.reduce((size) => Math.floor(size / 2), side);
    const [first, ...rest] = pairs;
    super(
      first,
      ...rest,
      new Flatten(),
      new Linear(device, (widths.at(-1) ?? channels) * last * last, 128, { stream, activation: 'relu' }),
      new Linear(device, 128, classes, { stream }),
    );
  }
}
