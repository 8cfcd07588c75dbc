/** Batches of images: which ones, how they are shifted and flipped, and their way into float buffers. */
import { EspalierError } from '../errors.js';
import type { Floats, Kernels } from '../kernels/face.js';
import { RandomStream } from '../kernels/random.js';
import type { ImageDataset } from './images.js';

export interface Augmentation {
  /** Pads by so many pixels of 0 on every side and crops at a random place; default 0. */
  readonly padCrop?: number;
  /** Flips from left to right with probability 1/2; default false. */
  readonly flip?: boolean;
}

/** pixel * scale + shift, per channel: what makes bytes the network's input. */
export interface PixelScale {
  readonly scale: Floats;
  readonly shift: Floats;
}

/** Buffers of one batch, made once; labels beside the images. */
export class ImageBatch {
  readonly capacity: number;
  readonly labels: Uint32Array;
  readonly #moves: Int32Array;
  /** Images of the last fill. */
  rows = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.labels = new Uint32Array(capacity);
    this.#moves = new Int32Array(3 * capacity);
  }

  /**
   * Writes the images `ids`, scaled and augmented, to `out` [ids.length, C, H, W] and their labels to `labels`. The
   * draws depend on the seed and `draw` (the number of the step, say) alone.
   */
  fill(
    kernels: Kernels,
    dataset: ImageDataset,
    ids: Uint32Array,
    { scale, shift }: PixelScale,
    out: Floats,
    augment: { readonly how: Augmentation; readonly seed: number; readonly draw: number } | null = null,
  ): void {
    if (ids.length > this.capacity) {
      throw new EspalierError({
        code: 'BATCH_SHAPE',
        kind: 'usage',
        op: 'imageBatch',
        problem: 'more images than the batch holds',
        expected: `at most ${this.capacity}`,
        received: `${ids.length}`,
      });
    }
    const { rows, channels, height, width, pixels } = dataset;
    const moves = augment === null ? null : this.#draw(ids.length, augment);
    const shape = { batch: ids.length, rows, channels, height, width };
    kernels.loadImages({ ...shape, pixels, ids, moves, scale, shift, out });
    for (let i = 0; i < ids.length; i++) this.labels[i] = dataset.labels[ids[i]];
    this.rows = ids.length;
  }

  /** Takes images that were made elsewhere by `fill`, and their labels. */
  adopt(images: Floats, labels: Uint32Array, rows: number, out: Floats): void {
    out.set(images.subarray(0, out.length));
    this.labels.set(labels.subarray(0, rows));
    this.rows = rows;
  }

  #draw(
    count: number,
    { how, seed, draw }: { how: Augmentation; seed: number; draw: number },
  ): Int32Array | null {
    const { padCrop = 0, flip = false } = how;
    if (padCrop === 0 && !flip) return null;
    const stream = RandomStream.named(seed, `augment/${draw}`);
    const place = () => (padCrop === 0 ? 0 : stream.below(2 * padCrop + 1) - padCrop);
    for (let i = 0; i < count; i++) this.#moves.set([place(), place(), flip ? stream.below(2) : 0], 3 * i);
    return this.#moves;
  }
}

/** The scale that brings pixels to mean 0 and deviation 1, given those of pixels in [0, 1]. */
export function standardising(
  { mean, deviation }: { readonly mean: Float64Array; readonly deviation: Float64Array },
  precision: 'float32' | 'float64',
): PixelScale {
  const as = (values: Float64Array) => (precision === 'float64' ? values : Float32Array.from(values));
  const safe = deviation.map((d) => (d > 0 ? d : 1));
  return { scale: as(safe.map((d) => 1 / (255 * d))), shift: as(mean.map((m, c) => -m / safe[c])) };
}
