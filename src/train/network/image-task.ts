/** Image classification: images and classes, softmax cross-entropy, augmentation, accuracy. */
import type { Tape } from '../../autograd/tape.js';
import { BatchPlan, type BatchPlanOptions } from '../../data/batches.js';
import { type Augmentation, ImageBatch, type PixelScale, standardising } from '../../data/image-batches.js';
import { type ImageDataset, pixelMoments } from '../../data/images.js';
import { ImagePrefetcher, sharedImages } from '../../data/prefetch.js';
import { EspalierError } from '../../errors.js';
import type { Floats } from '../../kernels/face.js';
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
  /** So many training batches are made ahead by a thread of their own, in the same order; default 0: none. */
  readonly prefetch?: number;
}

/**
 * @throws EspalierError `SPLIT_MISSING` when a split that was not given is scored
 * @example imageTask({ train, test, batch: 64, seed: 1, model: (device, stream) => new LeNet5(device, { stream }) })
 */
export function imageTask(options: ImageTaskOptions): NetworkTask {
  const { validation, test, batch, seed, prefetch = 0 } = options;
  const train = prefetch > 0 ? sharedImages(options.train) : options.train;
  const sizes = { rows: train.rows, batch: Math.min(batch, train.rows), seed, dropLast: true };
  const order = () => new BatchPlan(sizes);
  const moments = pixelMoments(train);
  const bytes = (set?: ImageDataset) => (set === undefined ? 0 : set.pixels.length + set.labels.length);
  return {
    name: train.name,
    stepsPerEpoch: order().stepsPerEpoch,
    examples: order().stepsPerEpoch * Math.min(batch, train.rows),
    dataBytes: bytes(train) + bytes(validation) + bytes(test) + (train === options.train ? 0 : bytes(train)),
    create: (device, module) =>
      new ImageInstance(
        device,
        module === undefined ? { ...options, train } : { ...options, train, model: () => module },
        sizes,
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
  readonly #sizes: BatchPlanOptions;
  /** Batches made ahead lie here; none without prefetching. */
  readonly #slots: readonly Floats[];
  #ahead: ImagePrefetcher | null = null;
  #waitedBefore = 0;

  constructor(device: Device, options: ImageTaskOptions, sizes: BatchPlanOptions, scale: PixelScale) {
    this.#device = device;
    this.#options = options;
    this.#sizes = sizes;
    this.#order = new BatchPlan(sizes);
    const { channels, height, width } = options.train;
    const shape = [sizes.batch, channels, height, width];
    const slots = Array.from({ length: options.prefetch ?? 0 }, () => device.persistent('data', shape));
    this.#slots = slots.map(({ data }) => data);
    this.#scale = scale;
    this.#evaluationBatch = options.evaluationBatch ?? Math.max(options.batch, 250);
    this.#batch = new ImageBatch(Math.max(options.batch, this.#evaluationBatch));
    this.#ids = new Uint32Array(this.#evaluationBatch);
    this.learner = options.model(device, RandomStream.named(options.seed, 'init'));
  }

  trainLoss(tape: Tape, step: number, dropoutStream: RandomStream): Tensor {
    const { train, augment, seed, smoothing = 0 } = this.#options;
    const context = { tape, training: true, dropoutStream };
    const ahead = this.#prefetcher();
    if (ahead !== null) {
      const { channels, height, width } = train;
      const { batch } = this.#sizes;
      const x = this.#device.temporary('data', [batch, channels, height, width]);
      const { images, labels } = ahead.take(step);
      this.#batch.adopt(images, labels, batch, x.data);
      ahead.give();
      return this.#loss(tape, x, smoothing, context);
    }
    const { stepsPerEpoch } = this.#order;
    const ids = this.#order.rowIds({ epoch: Math.floor(step / stepsPerEpoch), step: step % stepsPerEpoch });
    const how = augment === undefined ? null : { how: augment, seed, draw: step };
    return this.#loss(tape, this.#images(train, ids, how), smoothing, context);
  }

  get waitedMs(): number | null {
    if (this.#slots.length === 0) return null;
    return this.#waitedBefore + (this.#ahead?.waitedMs ?? 0);
  }

  async rest(): Promise<void> {
    const ahead = this.#ahead;
    this.#waitedBefore += ahead?.waitedMs ?? 0;
    this.#ahead = null;
    await ahead?.close();
  }

  /** The thread begins with the first step that wants it. */
  #prefetcher(): ImagePrefetcher | null {
    if (this.#slots.length === 0 || this.#device.dry) return null;
    const { train: dataset, augment, seed } = this.#options;
    this.#ahead ??= ImagePrefetcher.open({
      ...{ dataset, augment, seed, order: this.#sizes, scale: this.#scale, slots: this.#slots },
      kernels: this.#device.kernels.name,
    });
    return this.#ahead;
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
