/** A network and how it trains, as data: what `espalier inspect --memory` reads, and experiments keep beside results. */
import { z } from 'zod';
import type { ImageDataset } from '../../data/images.js';
import { EspalierError } from '../../errors.js';
import type { Kernels } from '../../kernels/face.js';
import type { RandomStream } from '../../kernels/random.js';
import { savedSpec } from '../../methods/block-sparse/options.js';
import { optimizerSpec } from '../../model/spec.js';
import {
  CharacterModel,
  Flatten,
  LeNet5,
  LeNet300100,
  Linear,
  type Module,
  ResMLP,
  Sequential,
  SmallResNet,
  SmallVGG,
} from '../../nn/index.js';
import type { Device } from '../../tensor/device.js';
import { imageTask } from './image-task.js';
import type { NetworkTask } from './task.js';
import { textTask } from './text-task.js';

const size = z.number().int().min(1).max(1_000_000);

const networkModel = z.discriminatedUnion('kind', [
  /** Linear layers with ReLUs between them. */
  z.strictObject({ kind: z.literal('mlp'), hidden: z.array(size).min(1).max(1000) }),
  z.strictObject({ kind: z.literal('lenet-300-100') }),
  z.strictObject({ kind: z.literal('lenet-5') }),
  z.strictObject({ kind: z.literal('resnet'), width: size.default(16), blocks: size.default(1) }),
  z.strictObject({ kind: z.literal('vgg'), widths: z.array(size).min(1).default([32, 64]) }),
  z.strictObject({
    kind: z.literal('resmlp'),
    ...{ patch: size.default(4), dim: size, depth: size, expansion: size.default(4) },
    layerScale: z.number().optional(),
  }),
  z.strictObject({
    kind: z.literal('char-lstm'),
    ...{ hidden: size.default(128), embedding: size.default(32), layers: size.default(1) },
    cell: z.enum(['lstm', 'gru', 'rnn']).default('lstm'),
    dropout: z.number().min(0).lt(1).default(0),
  }),
]);

export const networkSpec = z.strictObject({
  model: networkModel,
  /** Of the images; text has none. */
  image: z
    .strictObject({ channels: size.default(1), height: size.default(28), width: size.default(28) })
    .prefault({}),
  /** Classes of images, or symbols of text. */
  classes: size.default(10),
  /** Symbols of a stream per step, for text. */
  steps: size.default(64),
  batch: size.default(128),
  epochs: z.number().positive().default(1),
  seed: z.number().int().min(0).max(0xffffffff).default(1),
  optimizer: optimizerSpec.prefault({}),
  /** How activations are kept for backward; null: everything, dense, once. */
  saved: savedSpec.nullable().default(null),
});
export type NetworkSpec = z.infer<typeof networkSpec>;

/**
 * Fills defaults and refuses what does not fit.
 * @throws EspalierError `CONFIG_INVALID`
 */
export function parseNetwork(input: unknown, file?: string): NetworkSpec {
  const parsed = networkSpec.safeParse(input);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new EspalierError({
    code: 'CONFIG_INVALID',
    kind: 'usage',
    op: 'network',
    problem: `the setting ${JSON.stringify(issue.path.join('.'))} does not fit`,
    expected: issue.message,
    file,
  });
}

/**
 * The image network of a description on a device.
 * @example networkModule(parseNetwork({ model: { kind: 'lenet-5' } }), device, RandomStream.named(1, 'init'))
 */
export function networkModule({ model, image, classes }: NetworkSpec, device: Device, stream: RandomStream) {
  const { channels, height, width } = image;
  const square = { stream, channels, side: height, classes };
  switch (model.kind) {
    case 'mlp':
      return layered(model.hidden, channels * height * width, classes, device, stream);
    case 'lenet-300-100':
      return new LeNet300100(device, { stream, inputs: channels * height * width, classes });
    case 'lenet-5':
      return new LeNet5(device, square);
    case 'resnet':
      return new SmallResNet(device, { ...square, width: model.width, blocks: model.blocks });
    case 'vgg':
      return new SmallVGG(device, { ...square, widths: model.widths });
    case 'resmlp':
      return new ResMLP(device, { ...model, stream, ...image, classes });
    default:
      throw new EspalierError({
        code: 'CONFIG_INVALID',
        kind: 'usage',
        op: 'network',
        problem: `${model.kind} reads text, not images`,
      });
  }
}

function layered(
  hidden: readonly number[],
  inputs: number,
  classes: number,
  device: Device,
  stream: RandomStream,
): Module {
  const widths = [inputs, ...hidden];
  const layers = hidden.map(
    (width, i) => new Linear(device, widths[i], width, { stream, activation: 'relu' }),
  );
  const head = new Linear(device, widths[widths.length - 1], classes, { stream });
  return new Sequential(new Flatten(), ...layers, head);
}

/** A task of the right shapes with one batch of blank data: enough to plan with, nothing to learn. */
export function blankTask(spec: NetworkSpec): NetworkTask {
  const { model, image, classes, steps, batch, seed } = spec;
  if (model.kind === 'char-lstm') {
    const { cell, ...more } = model;
    const about = { ...more, kind: cell, symbols: classes, batch, carry: batch };
    return textTask({
      ...{ train: new Uint16Array(batch * steps + 1), symbols: classes, batch, steps, seed },
      model: (device, stream) => new CharacterModel(device, { ...about, stream }),
    });
  }
  const { channels, height, width } = image;
  const train: ImageDataset = {
    ...{ name: model.kind, rows: batch, channels, height, width, classes },
    pixels: new Uint8Array(batch * channels * height * width),
    labels: new Uint8Array(batch),
  };
  return imageTask({
    ...{ train, batch, seed },
    model: (device, stream) => networkModule(spec, device, stream),
  });
}

/** What `NetworkTraining` takes, from a description. */
export function networkOptions({ optimizer, epochs, seed }: NetworkSpec, kernels: Kernels) {
  return { kernels, optimizer, epochs, seed };
}
