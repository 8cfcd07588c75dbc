/** A dataset directory from matrices of `scipy.sparse.save_npz`: features in one file, labels in another. */
import { basename } from 'node:path';
import { type DatasetInfo, type StoredSplit, storedSplits, writeDatasetDirectory } from './cache.js';
import { CsrDataset } from './dataset.js';
import { type ImportXcOptions, importXcDefaults, readNames } from './import-xc.js';
import { readNpzPair } from './readers/scipy.js';
import { holdOut } from './rows.js';

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
  const { validationShare, seed, name, origin, licence } = { ...importXcDefaults, ...options };
  const splits: Partial<Record<StoredSplit, CsrDataset>> = {};
  for (const split of storedSplits) {
    const pair = files[split];
    if (pair !== undefined) splits[split] = await readNpzPair(pair.features, pair.labels);
  }
  let train = splits.train as CsrDataset;
  if (files.labelNames !== undefined) {
    train = new CsrDataset({ ...train, labelNames: await readNames(files.labelNames, train.labels) });
  }
  if (splits.validation === undefined && validationShare !== 0) {
    const { kept, heldOut } = holdOut(train, { share: validationShare, seed });
    train = kept;
    splits.validation = heldOut;
  }
  return writeDatasetDirectory(path, {
    name: name ?? basename(path),
    origin: origin ?? `imported from ${basename(files.train.features)}`,
    licence: licence ?? 'not stated',
    ...splits,
    train,
  });
}
