/** A dataset directory from matrices of `scipy.sparse.save_npz`: features in one file, labels in another. */
import { type DatasetInfo, type StoredSplit, storedSplits } from './cache.js';
import type { CsrDataset } from './dataset.js';
import { type ImportXcOptions, storeImported } from './import-xc.js';
import { readNpzPair } from './readers/scipy.js';

export interface NpzPair {
  readonly features: string;
  readonly labels: string;
}

export interface NpzFiles {
  readonly train: NpzPair;
  readonly validation?: NpzPair;
  readonly test?: NpzPair;
  /** Plain text, one label name a line. */
  readonly labelNames?: string;
}

/**
 * Reads pairs of matrices and writes them as a dataset directory.
 *
 * @example await importNpz({ train: { features: 'x.npz', labels: 'y.npz' } }, 'data/mine');
 * @throws `ZIP_FILE`, `NPY_FORMAT`, `NPZ_MATRIX`, `DATASET_*`
 */
export async function importNpz(
  files: NpzFiles,
  path: string,
  options: Omit<ImportXcOptions, 'shape' | 'onProgress'> = {},
): Promise<DatasetInfo> {
  const splits: Partial<Record<StoredSplit, CsrDataset>> = {};
  for (const split of storedSplits) {
    const pair = files[split];
    if (pair !== undefined) splits[split] = await readNpzPair(pair.features, pair.labels);
  }
  return storeImported(splits, path, files.train.features, files.labelNames, options);
}
