/** Folders of PNG files as image datasets: one folder per class, or `train` and `test` with one per class in each. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { convertIndexedToRgb, type DecodedPng, decode } from 'fast-png';
import { EspalierError } from '../errors.js';
import { withFileErrors } from '../files.js';
import type { ImageDataset, ImageSplits } from './images.js';
import { bareImage } from './png-guard.js';

export interface PngFolderOptions {
  readonly name?: string;
  /** 1: grey, 3: red, green, blue; default: as the first image has it. Transparency is dropped. */
  readonly channels?: 1 | 3;
  /** Class names in the order of their numbers; default: the folders' names, sorted. */
  readonly classes?: readonly string[];
}

export interface PngImages extends ImageDataset {
  /** Class i is called `classNames[i]`. */
  readonly classNames: readonly string[];
}

/** No image of 256 MiB is packed to more. */
const LARGEST_FILE = 2 ** 28;
/** Labels are bytes. */
const MOST_CLASSES = 256;

/**
 * Reads `directory`/CLASS/*.png, all of one size; images are ordered by class, then by file name.
 * @throws EspalierError `IMAGES_MISSING`, `IMAGES_CLASSES`, `IMAGES_SHAPE`, `PNG_DAMAGED`, `FILE_*`
 * @example const flowers = await readPngFolder('flowers/train'); // { rows, channels, height, width, classNames, ... }
 */
export async function readPngFolder(directory: string, options: PngFolderOptions = {}): Promise<PngImages> {
  const folders = await namesIn(directory, 'folders');
  const classNames = options.classes ?? folders;
  checkClasses(directory, folders, classNames);
  const files: { readonly path: string; readonly label: number }[] = [];
  for (const [label, folder] of classNames.entries()) {
    const names = folders.includes(folder) ? await namesIn(join(directory, folder), 'images') : [];
    for (const name of names) files.push({ path: join(directory, folder, name), label });
  }
  if (files.length === 0) throw missing(directory, 'a folder of PNG files for each class');
  let first: (Size & { readonly channels: number; readonly path: string }) | null = null;
  let pixels = new Uint8Array(0);
  for (const [row, { path }] of files.entries()) {
    const bytes = await withFileErrors('readPngFolder', path, async () => {
      const { size } = await stat(path);
      if (size > LARGEST_FILE)
        throw damaged(
          path,
          `${Math.ceil(size / 2 ** 20)} MiB, where at most ${LARGEST_FILE / 2 ** 20} are read`,
        );
      return readFile(path);
    });
    const image = decoded(bytes, path);
    const channels: number = first?.channels ?? options.channels ?? (image.colour ? 3 : 1);
    if (first === null) {
      first = { path, channels, width: image.width, height: image.height };
      pixels = new Uint8Array(files.length * channels * image.width * image.height);
    }
    if (image.width !== first.width || image.height !== first.height) throw otherSize(path, image, first);
    writePlanes(image, pixels, row * channels * image.width * image.height, channels);
  }
  const { channels, height, width } = first as NonNullable<typeof first>;
  return {
    ...{ name: options.name ?? directory, rows: files.length, channels, height, width },
    ...{ classes: classNames.length, classNames, pixels },
    labels: Uint8Array.from(files, ({ label }) => label),
  };
}

/**
 * Reads `directory`/train/CLASS/*.png and `directory`/test/CLASS/*.png; classes are those of `train`.
 * @throws EspalierError as `readPngFolder`
 */
export async function readPngFolders(
  directory: string,
  options: Omit<PngFolderOptions, 'classes'> = {},
): Promise<ImageSplits & { readonly classNames: readonly string[] }> {
  const name = options.name ?? directory;
  const train = await readPngFolder(join(directory, 'train'), { ...options, name: `${name}/train` });
  const { classNames, channels, height, width } = train;
  const same = { channels: channels as 1 | 3, classes: classNames, name: `${name}/test` };
  const test = await readPngFolder(join(directory, 'test'), same);
  if (test.height !== height || test.width !== width)
    throw otherSize(join(directory, 'test'), test, { ...train, path: join(directory, 'train') });
  return { train, test, classNames };
}

interface Size {
  readonly width: number;
  readonly height: number;
}

/** Interleaved bytes, 1 to 4 a pixel. */
interface Image extends Size {
  readonly perPixel: number;
  readonly colour: boolean;
  readonly data: Uint8Array;
}

/** By code points, the same on every machine; names that begin with a dot are nobody's images. */
async function namesIn(directory: string, what: 'folders' | 'images'): Promise<string[]> {
  const entries = await withFileErrors('readPngFolder', directory, () =>
    readdir(directory, { withFileTypes: true }),
  );
  const wanted = entries.filter((entry) => {
    if (entry.name.startsWith('.')) return false;
    return what === 'folders' ? entry.isDirectory() : /\.png$/i.test(entry.name) && !entry.isDirectory();
  });
  return wanted.map(({ name }) => name).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

function decoded(bytes: Uint8Array, path: string): Image {
  try {
    const png = decode(bareImage(bytes), { checkCrc: true });
    const { width, height } = png;
    if (png.palette !== undefined) {
      const data = convertIndexedToRgb(png);
      return { width, height, perPixel: data.length / (width * height), colour: true, data };
    }
    return { width, height, perPixel: png.channels, colour: png.channels > 2, data: asBytes(png) };
  } catch (cause) {
    throw damaged(path, (cause as Error).message, cause);
  }
}

function damaged(path: string, what: string, cause?: unknown): EspalierError {
  return new EspalierError({
    code: 'PNG_DAMAGED',
    kind: 'data',
    op: 'readPngFolder',
    problem: `this is not a sound PNG file: ${what}`,
    hint: 'make the file anew, or take it out of the folder',
    file: path,
    cause,
  });
}

/** Samples of 16 bits by their upper byte; samples of 1, 2 and 4 bits, packed row by row, stretched to 0 ... 255. */
function asBytes({ width, height, depth, channels, data }: DecodedPng): Uint8Array {
  const samples = width * height * channels;
  if (depth === 16) return Uint8Array.from(data, (v) => v >>> 8);
  if (depth === 8) return data as Uint8Array;
  const bytes = new Uint8Array(samples);
  const [pitch, most] = [Math.ceil((width * depth) / 8), 2 ** depth - 1];
  for (let i = 0; i < samples; i++) {
    const bit = (i % width) * depth;
    const byte = data[Math.floor(i / width) * pitch + (bit >>> 3)];
    bytes[i] = (((byte >>> (8 - depth - (bit & 7))) & most) * 255) / most;
  }
  return bytes;
}

/** Planes of one image at `at`; colours become grey by their luma (ITU-R BT.601), grey becomes three equal colours. */
function writePlanes({ perPixel, data }: Image, pixels: Uint8Array, at: number, channels: number): void {
  const plane = data.length / perPixel;
  const colours = perPixel > 2 ? 3 : 1;
  for (let p = 0; p < plane; p++) {
    const from = p * perPixel;
    if (channels === 3)
      for (let c = 0; c < 3; c++) pixels[at + c * plane + p] = data[from + (colours === 3 ? c : 0)];
    else if (colours === 1) pixels[at + p] = data[from];
    else pixels[at + p] = Math.round(0.299 * data[from] + 0.587 * data[from + 1] + 0.114 * data[from + 2]);
  }
}

function checkClasses(directory: string, folders: readonly string[], classes: readonly string[]): void {
  const unknown = folders.find((folder) => !classes.includes(folder));
  if (unknown === undefined && classes.length <= MOST_CLASSES) return;
  throw new EspalierError({
    code: 'IMAGES_CLASSES',
    kind: 'data',
    op: 'readPngFolder',
    problem: unknown === undefined ? 'there are too many classes' : 'a folder is of no known class',
    expected: unknown === undefined ? `at most ${MOST_CLASSES} folders` : classes.join(', '),
    received: unknown ?? `${classes.length} folders`,
    file: directory,
  });
}

function otherSize(path: string, { width, height }: Size, first: Size & { readonly path: string }) {
  return new EspalierError({
    code: 'IMAGES_SHAPE',
    kind: 'data',
    op: 'readPngFolder',
    problem: 'the images are not all of one size',
    expected: `${first.width} x ${first.height} pixels, as in ${first.path}`,
    received: `${width} x ${height}`,
    hint: 'scale the images to one size first',
    file: path,
  });
}

function missing(directory: string, expected: string): EspalierError {
  return new EspalierError({
    code: 'IMAGES_MISSING',
    kind: 'data',
    op: 'readPngFolder',
    problem: 'there are no PNG images here',
    expected,
    file: directory,
  });
}
