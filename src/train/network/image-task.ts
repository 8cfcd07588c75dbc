/** Image classification: images and classes, softmax cross-entropy, augmentation, accuracy. */
import type { Tape } from '../../autograd/tape.js';
import { BatchPlan } from '../../data/batches.js';
import { type Augmentation, ImageBatch, type PixelScale, standardising } from '../../data/image-batches.js';
import { type ImageDataset, pixelMoments } from '../../data/images.js';
import { EspalierError } from '../../errors.js';
import { RandomStream } from '../../kernels/random.js';
import type { ForwardContext, Module } from '../../nn/module.js';
import { softmaxCrossEntropy } from '../../ops/softmax-cross-entropy.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { NetworkTask, Split, TaskInstance } from './task.js';

export interface ImageTaskOptions {
  readonly train: ImageDataset;
  readonly validation?: ImageDataset;
  readonly test?: ImageDataset;
  readonly batch: number;
  readonly seed: number;
  /** Makes the network: images [B, C, H, W] -> logits [B, classes]. */
  readonly model: (device: Device, stream: RandomStream) => Module;
  readonly augment?: Augmentation;
  /** Label smoothing in training; default 0. */
  readonly smoothing?: number;
  readonly evaluationBatch?: number;
}

/**
 * @throws EspalierError `SPLIT_MISSING` when a split that was not given is scored
 * @example imageTask({ train, test, batch: 64, seed: 1, model: (device, stream) => new LeNet5(device, { stream }) })
 */
export function imageTask(options: ImageTaskOptions): NetworkTask {
  const { train, validation, test, batch, seed } = options;
  const order = () =>
    new BatchPlan({ rows: train.rows, batch: Math.min(batch, train.rows), seed, dropLast: true });
  const moments = pixelMoments(train);
  const bytes = (set?: ImageDataset) => (set === undefined ? 0 : set.pixels.length + set.labels.length);
  return {
    name: train.name,
    stepsPerEpoch: order().stepsPerEpoch,
    examples: order().stepsPerEpoch * Math.min(batch, train.rows),
    dataBytes: bytes(train) + bytes(validation) + bytes(test),
    create: (device, module) =>
      new ImageInstance(
        device,
        module === undefined ? options : { ...options, model: () => module },
        order(),
        standardising(moments, device.precision),
      ),
  };
}

class ImageInstance implements TaskInstance {
  readonly learner: Module;
  readonly totals = new Float64Array(2);
  predictions = 0;
  readonly #device: Device;
  readonly #options: ImageTaskOptions;
  readonly #order: BatchPlan;
  readonly #scale: PixelScale;
  readonly #batch: ImageBatch;
  readonly #evaluationBatch: number;
  readonly #ids: Uint32Array;

  constructor(device: Device, options: ImageTaskOptions, order: BatchPlan, scale: PixelScale) {
    this.#device = device;
    this.#options = options;
    this.#order = order;
    this.#scale = scale;
    this.#evaluationBatch = options.evaluationBatch ?? Math.max(options.batch, 250);
    this.#batch = new ImageBatch(Math.max(options.batch, this.#evaluationBatch));
    this.#ids = new Uint32Array(this.#evaluationBatch);
    this.learner = options.model(device, RandomStream.named(options.seed, 'init'));
  }

  trainLoss(tape: Tape, step: number, dropoutStream: RandomStream): Tensor {
    const { train, augment, seed, smoothing = 0 } = this.#options;
    const { stepsPerEpoch } = this.#order;
    const ids = this.#order.rowIds({ epoch: Math.floor(step / stepsPerEpoch), step: step % stepsPerEpoch });
    const how = augment === undefined ? null : { how: augment, seed, draw: step };
    const x = this.#images(train, ids, how);
    return this.#loss(tape, x, smoothing, { tape, training: true, dropoutStream });
  }

  pieces(split: Split): number {
    return Math.ceil(this.#set(split).rows / this.#evaluationBatch);
  }

  score(tape: Tape, split: Split, piece: number): void {
    const set = this.#set(split);
    const first = piece * this.#evaluationBatch;
    const ids = this.#ids.subarray(0, Math.min(this.#evaluationBatch, set.rows - first));
    for (let i = 0; i < ids.length; i++) ids[i] = first + i;
    const x = this.#images(set, ids, null);
    const dropoutStream = RandomStream.named(0, 'unused');
    this.#loss(tape, x, 0, { tape, training: false, dropoutStream });
  }

  #images(set: ImageDataset, ids: Uint32Array, augment: Parameters<ImageBatch['fill']>[5]): Tensor {
    const x = this.#device.temporary('data', [ids.length, set.channels, set.height, set.width]);
    this.#batch.fill(this.#device.kernels, set, ids, this.#scale, x.data, augment);
    return x;
  }

  /** Nobody else reads the images or the logits: they are given up as soon as may be. */
  #loss(tape: Tape, x: Tensor, smoothing: number, context: ForwardContext): Tensor {
    this.predictions = this.#batch.rows;
    const about = { labels: this.#batch.labels, smoothing, totals: this.totals };
    const logits = tape.pass(x, (images) => this.learner.forward(images, context));
    return tape.pass(logits, (z) => tape.run(softmaxCrossEntropy, { z, ...about }));
  }

  #set(split: Split): ImageDataset {
    const set = this.#options[split];
    if (set !== undefined) return set;
    throw new EspalierError({
      code: 'SPLIT_MISSING',
      kind: 'usage',
      op: 'imageTask',
      problem: `the task has no ${split} images`,
      hint: `pass ${split} to imageTask`,
    });
  }
}
