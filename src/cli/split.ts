/** The split of a dataset that a command asks for. */
import { DatasetDirectory, type Split } from '../data/cache.js';
import { EspalierError } from '../errors.js';

export const splitOption = ['--split <name>', 'train, validation, trainAll or test', 'test'] as const;

/** Throws `DATASET_SPLIT` for a split that the dataset has not. */
export async function openSplit(
  op: string,
  path: string,
  split: string,
): Promise<{ readonly directory: DatasetDirectory; readonly split: Split }> {
  const directory = await DatasetDirectory.open(path);
  const known = directory.splits.find((name) => name === split);
  if (known !== undefined) return { directory, split: known };
  throw new EspalierError({
    ...{ code: 'DATASET_SPLIT', kind: 'usage', op },
    problem: `the dataset has no split ${JSON.stringify(split)}`,
    expected: directory.splits.join(', '),
  });
}
