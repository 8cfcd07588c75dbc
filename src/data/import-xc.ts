/** A dataset directory from files of the Extreme Classification Repository. */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { EspalierError } from '../errors.js';
import { withFileErrors } from '../files.js';
import { type DatasetInfo, type StoredSplit, storedSplits, writeDatasetDirectory } from './cache.js';
import { CsrDataset } from './dataset.js';
import { holdOut } from './rows.js';
import { type ReadXcOptions, readXc, type XcProgress } from './xc.js';

export interface XcFiles {
  readonly train: string;
  readonly validation?: string;
  readonly test?: string;
  /** Plain text, one label name a line, as the repository's `Y.txt`. */
  readonly labelNames?: string;
}

export interface ImportXcOptions {
  readonly name?: string;
  readonly origin?: string;
  readonly licence?: string;
  /** Share of the training rows that becomes the validation split where there is no file for it; 0: none. */
  readonly validationShare?: number;
  readonly seed?: number;
  readonly shape?: ReadXcOptions['shape'];
  readonly onProgress?: (file: string, progress: XcProgress) => void;
}

export const importXcDefaults = { validationShare: 0.1, seed: 1 } as const;

/**
 * Reads XC files and writes them as a dataset directory.
 *
 * @example await importXc({ train: 'train.txt', test: 'test.txt' }, 'data/bibtex');
 */
export async function importXc(
  files: XcFiles,
  path: string,
  options: ImportXcOptions = {},
): Promise<DatasetInfo> {
  const { onProgress, shape } = options;
  const splits: Partial<Record<StoredSplit, CsrDataset>> = {};
  for (const split of storedSplits) {
    const file = files[split];
    if (file === undefined) continue;
    splits[split] = await readXc(file, { shape, onProgress: (progress) => onProgress?.(file, progress) });
  }
  return storeImported(splits, path, files.train, files.labelNames, options);
}

/** Names the labels, sets validation rows aside where there are none, and writes what was read from `from`. */
export async function storeImported(
  splits: Partial<Record<StoredSplit, CsrDataset>>,
  path: string,
  from: string,
  labelNames: string | undefined,
  options: Omit<ImportXcOptions, 'shape' | 'onProgress'>,
): Promise<DatasetInfo> {
  const { validationShare, seed, name, origin, licence } = { ...importXcDefaults, ...options };
  let train = splits.train as CsrDataset;
  let { validation } = splits;
  if (labelNames !== undefined) {
    train = new CsrDataset({ ...train, labelNames: await readNames(labelNames, train.labels) });
  }
  if (validation === undefined && validationShare !== 0) {
    const { kept, heldOut } = holdOut(train, { share: validationShare, seed });
    train = kept;
    validation = heldOut;
  }
  return writeDatasetDirectory(path, {
    name: name ?? basename(path),
    origin: origin ?? `imported from ${basename(from)}`,
    licence: licence ?? 'not stated',
    ...{ train, validation, test: splits.test },
  });
}

async function readNames(file: string, labels: number): Promise<string[]> {
  const text = await withFileErrors('importXc', file, () => readFile(file, 'utf8'));
  const names = text.split(/\r?\n/);
  if (names[names.length - 1] === '') names.pop();
  if (names.length === labels) return names;
  throw new EspalierError({
    code: 'XC_LABEL_NAMES',
    kind: 'data',
    op: 'importXc',
    problem: 'the label names do not match the labels',
    expected: `${labels} lines, one for each label of the training data`,
    received: `${names.length}`,
    file,
  });
}
