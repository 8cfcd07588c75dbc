/** Labelled images in memory as bytes, and the parts of a dataset that training works with. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { EspalierError } from '../errors.js';
import { RandomStream } from '../kernels/random.js';
import { type IdxArray, readIdx } from './idx.js';

/** Images as bytes, row-major, channel by channel. */
export interface ImageDataset {
  readonly name: string;
  readonly rows: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly classes: number;
  /** [rows, channels, height, width] */
  readonly pixels: Uint8Array;
  /** [rows], each < classes */
  readonly labels: Uint8Array;
}

export interface ImageSplits {
  readonly train: ImageDataset;
  readonly test: ImageDataset;
}

const PARTS = { train: 'train', test: 't10k' } as const;

/**
 * Reads a directory of the four IDX files of MNIST and its kin, gzipped or not.
 * @throws EspalierError `IMAGES_MISSING`, `IMAGES_SHAPE`, `IDX_*`
 * @example const { train, test } = await readMnist('data/fashion-mnist');
 */
export async function readMnist(directory: string, name = 'mnist'): Promise<ImageSplits> {
  const part = async (prefix: string): Promise<[IdxArray, IdxArray]> => [
    await readIdx(find(directory, `${prefix}-images-idx3-ubyte`)),
    await readIdx(find(directory, `${prefix}-labels-idx1-ubyte`)),
  ];
  const [train, test] = [await part(PARTS.train), await part(PARTS.test)];
  const classes = 1 + Math.max(largest(train[1].data), largest(test[1].data));
  return {
    train: imageDataset(`${name}/train`, ...train, classes),
    test: imageDataset(`${name}/test`, ...test, classes),
  };
}

/** A dataset of grey images [rows, height, width] or [rows, channels, height, width] and their labels [rows]. */
export function imageDataset(
  name: string,
  images: IdxArray,
  labels: IdxArray,
  classes: number,
): ImageDataset {
  const [rows, ...rest] = images.shape;
  const [channels, height, width] = rest.length === 2 ? [1, ...rest] : rest;
  const fits =
    (rest.length === 2 || rest.length === 3) && labels.shape.length === 1 && labels.shape[0] === rows;
  if (!fits || largest(labels.data) >= classes) {
    throw new EspalierError({
      code: 'IMAGES_SHAPE',
      kind: 'data',
      op: 'imageDataset',
      problem: 'images and labels do not belong together',
      expected: `images [rows, height, width] or [rows, channels, height, width], as many labels, below ${classes}`,
      received: `images [${images.shape.join(', ')}], labels [${labels.shape.join(', ')}] up to ${largest(labels.data)}`,
    });
  }
  return { name, rows, channels, height, width, classes, pixels: images.data, labels: labels.data };
}

/** The images named by `ids`, in that order, as a dataset of their own. */
export function selectImages(
  dataset: ImageDataset,
  ids: ArrayLike<number>,
  name = dataset.name,
): ImageDataset {
  const size = dataset.channels * dataset.height * dataset.width;
  const pixels = new Uint8Array(ids.length * size);
  const labels = new Uint8Array(ids.length);
  for (let i = 0; i < ids.length; i++) {
    pixels.set(dataset.pixels.subarray(ids[i] * size, (ids[i] + 1) * size), i * size);
    labels[i] = dataset.labels[ids[i]];
  }
  return { ...dataset, name, rows: ids.length, pixels, labels };
}

/**
 * Sets `count` images aside for validation, drawn without replacement by the seed alone; both parts keep their order.
 * @throws EspalierError `VALIDATION_SIZE`
 */
export function holdOutImages(
  dataset: ImageDataset,
  count: number,
  seed: number,
): { readonly train: ImageDataset; readonly validation: ImageDataset } {
  if (!Number.isSafeInteger(count) || count < 0 || count >= dataset.rows) {
    throw new EspalierError({
      code: 'VALIDATION_SIZE',
      kind: 'usage',
      op: 'holdOutImages',
      problem: 'so many images cannot be set aside',
      expected: `0 to ${dataset.rows - 1}`,
      received: `${count}`,
    });
  }
  const order = RandomStream.named(seed, 'validation').shuffle(
    Uint32Array.from({ length: dataset.rows }, (_, i) => i),
  );
  const held = order.slice(0, count).sort();
  const rest = order.slice(count).sort();
  return {
    train: selectImages(dataset, rest),
    validation: selectImages(dataset, held, `${dataset.name}/validation`),
  };
}

/** Mean and standard deviation of each channel, of pixels in [0, 1]. */
export function pixelMoments(dataset: ImageDataset): {
  readonly mean: Float64Array;
  readonly deviation: Float64Array;
} {
  const { rows, channels, height, width, pixels } = dataset;
  const plane = height * width;
  const counts = Array.from({ length: channels }, () => new Float64Array(256));
  for (let i = 0; i < rows * channels; i++) {
    const histogram = counts[i % channels];
    for (let p = i * plane; p < (i + 1) * plane; p++) histogram[pixels[p]]++;
  }
  const n = Math.max(1, rows * plane);
  const mean = Float64Array.from(counts, (h) => h.reduce((sum, count, v) => sum + count * v, 0) / n / 255);
  const deviation = Float64Array.from(counts, (h, c) =>
    Math.sqrt(h.reduce((sum, count, v) => sum + count * (v / 255 - mean[c]) ** 2, 0) / n),
  );
  return { mean, deviation };
}

function find(directory: string, name: string): string {
  const paths = [join(directory, name), join(directory, `${name}.gz`)];
  const path = paths.find((candidate) => existsSync(candidate));
  if (path !== undefined) return path;
  throw new EspalierError({
    code: 'IMAGES_MISSING',
    kind: 'data',
    op: 'readMnist',
    problem: 'the directory lacks a file of the dataset',
    expected: `${name} or ${name}.gz`,
    file: directory,
  });
}

function largest(bytes: Uint8Array): number {
  let most = 0;
  for (const byte of bytes) if (byte > most) most = byte;
  return most;
}
