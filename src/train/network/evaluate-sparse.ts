/** An exported network on images: its answers with zeros left out against those with every zero multiplied. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ImageBatch, standardising } from '../../data/image-batches.js';
import { type ImageDataset, type ImageSplits, pixelMoments, readMnist } from '../../data/images.js';
import { readPngFolders } from '../../data/png-folders.js';
import { EspalierError } from '../../errors.js';
import type { Floats, Kernels } from '../../kernels/face.js';
import { loadSparse } from '../../model/sparse/files.js';
import type { Form, SparseNetwork } from '../../model/sparse/network.js';
import { matrixOf, weightedSteps } from '../../model/sparse/program.js';
import { sizeOf } from '../../tensor/tensor.js';

export interface SparseEvaluation {
  readonly images: number;
  /** Share of right answers. */
  readonly accuracy: number;
  /** The same weights in dense form. */
  readonly denseAccuracy: number;
  /** Images on which the two disagree. */
  readonly differ: number;
  readonly weights: { readonly left: number; readonly of: number };
}

const BATCH = 250;

/** The four IDX files of MNIST and its kin, or `train` and `test` with a folder of PNG files per class. */
export async function readImageDirectory(directory: string): Promise<ImageSplits> {
  return existsSync(join(directory, 'train')) ? readPngFolders(directory) : readMnist(directory, directory);
}

/**
 * Scores a file of `saveSparse` on a split of a directory of images. Bytes become inputs as the file says; where it does
 * not, by the moments of the training images.
 * @throws EspalierError `INPUT_SHAPE`, `SPARSE_FILE`, `IMAGES_*`
 */
export async function evaluateSparse(
  path: string,
  directory: string,
  split: 'train' | 'test',
  kernels: Kernels,
): Promise<SparseEvaluation> {
  const network = await loadSparse(path, kernels);
  const splits = await readImageDirectory(directory);
  const set = splits[split];
  const { input, pixels, steps, weights } = network.program;
  if (input.join() !== [set.channels, set.height, set.width].join()) {
    throw new EspalierError({
      code: 'INPUT_SHAPE',
      kind: 'usage',
      op: 'evaluate',
      problem: 'the network takes other inputs than these images',
      expected: input.join(' x ') || 'symbols of text',
      received: `${set.channels} x ${set.height} x ${set.width}`,
      file: path,
    });
  }
  const scale = pixels ?? standardising(pixelMoments(splits.train), kernels.precision);
  const forms = network.weighted().map((layer) => ({ ...layer.forms }));
  const own = answers(network, set, scale, kernels);
  setForms(network, () => ({ few: 'dense', many: 'dense' }));
  const dense = answers(network, set, scale, kernels);
  setForms(network, (i) => forms[i]);
  const right = (given: Uint32Array) => given.filter((answer, i) => answer === set.labels[i]).length;
  return {
    images: set.rows,
    accuracy: right(own) / set.rows,
    denseAccuracy: right(dense) / set.rows,
    differ: own.filter((answer, i) => answer !== dense[i]).length,
    weights: weightedSteps(steps).reduce(
      (sum, step) => {
        const [rows, cols] = matrixOf(step);
        return {
          left: sum.left + (weights.get(step.name)?.weight.values.length ?? 0),
          of: sum.of + rows * cols,
        };
      },
      { left: 0, of: 0 },
    ),
  };
}

function setForms(
  network: SparseNetwork,
  of: (layer: number) => { readonly few: Form; readonly many: Form },
) {
  for (const [i, { forms }] of network.weighted().entries()) Object.assign(forms, of(i));
}

/** The class of each image. */
function answers(
  network: SparseNetwork,
  set: ImageDataset,
  scale: { readonly scale: Floats; readonly shift: Floats },
  kernels: Kernels,
): Uint32Array {
  const batch = new ImageBatch(BATCH);
  const size = sizeOf(network.program.input);
  const room: Floats =
    kernels.precision === 'float64' ? new Float64Array(BATCH * size) : new Float32Array(BATCH * size);
  const given = new Uint32Array(set.rows);
  for (let first = 0; first < set.rows; first += BATCH) {
    const rows = Math.min(BATCH, set.rows - first);
    const ids = Uint32Array.from({ length: rows }, (_, i) => first + i);
    const x = room.subarray(0, rows * size) as Floats;
    batch.fill(kernels, set, ids, scale, x);
    const logits = network.logits(x, rows);
    const classes = logits.length / rows;
    for (let i = 0; i < rows; i++) {
      let best = 0;
      for (let c = 1; c < classes; c++) if (logits[i * classes + c] > logits[i * classes + best]) best = c;
      given[first + i] = best;
    }
  }
  return given;
}
