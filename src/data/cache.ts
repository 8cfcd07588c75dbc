/**
 * A dataset directory: `dataset.json` (what it is, counts, checksums), `train.bin`, perhaps `validation.bin` and
 * `test.bin`, `labels.jsonl`, and where they exist `labels.texts.jsonl`, `features.jsonl`, `featurizer.json`,
 * `test.rows.jsonl`.
 * It is written aside and renamed, so it is whole or not there.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { EspalierError } from '../errors.js';
import { replaceDirectoryAtomic, withFileErrors, writeFileAtomic } from '../files.js';
import { parsedJson } from '../parsed.js';
import type { CsrDataset } from './dataset.js';
import { readDatasetFile, writeDatasetFile } from './dataset-file.js';
import { Featurizer, featurizerFile } from './featurizer/index.js';
import { parseJsonLines, toJsonLines } from './json-lines.js';
import { concatRows } from './rows.js';

/** What labels mean in words, where that is more than their names. */
export const labelTextsFile = 'labels.texts.jsonl';

/** What is stored. */
export const storedSplits = ['train', 'validation', 'test'] as const;
export type StoredSplit = (typeof storedSplits)[number];
/** What can be loaded: `trainAll` is train, then validation, for the final fit. */
export type Split = StoredSplit | 'trainAll';

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.number().int().nonnegative();
const splitSchema = z.object({ rows: count, nnz: count, positives: count, sha256: digest });
const schema = z.object({
  format: z.literal('espalier-dataset'),
  version: z.literal(1),
  name: z.string(),
  origin: z.string(),
  licence: z.string(),
  features: count,
  labels: count,
  splits: z.object({
    train: splitSchema,
    validation: splitSchema.optional(),
    test: splitSchema.optional(),
  }),
  /** SHA-256 of the other files, by name. */
  files: z.record(z.string(), digest),
});

export type DatasetInfo = z.infer<typeof schema>;

export interface RowText {
  readonly key: string;
  readonly text: string;
}

export interface DatasetContent {
  readonly name: string;
  /** Where the data came from, for people. */
  readonly origin: string;
  readonly licence: string;
  readonly train: CsrDataset;
  readonly validation?: CsrDataset;
  readonly test?: CsrDataset;
  readonly featurizer?: Featurizer;
  /** [labels] What each label means in words that rows use; by default its name. */
  readonly labelTexts?: readonly string[];
  /** One per test row. */
  readonly testRows?: readonly RowText[];
}

/** Writes a dataset directory, replacing one that is there; names come from `train`. */
export async function writeDatasetDirectory(path: string, content: DatasetContent): Promise<DatasetInfo> {
  const { name, origin, licence, train, featurizer, labelTexts, testRows } = content;
  checkAlike(content);
  const texts: Record<string, string> = {};
  if (train.labelNames !== undefined) texts['labels.jsonl'] = toJsonLines(train.labelNames);
  if (labelTexts !== undefined) texts[labelTextsFile] = toJsonLines(labelTexts);
  if (train.featureNames !== undefined) texts['features.jsonl'] = toJsonLines(train.featureNames);
  if (featurizer !== undefined) texts[featurizerFile] = `${JSON.stringify(featurizer)}\n`;
  if (testRows !== undefined) texts['test.rows.jsonl'] = toJsonLines(testRows);
  const splits: Partial<DatasetInfo['splits']> = {};
  const files: Record<string, string> = {};
  let info: DatasetInfo | undefined;
  await replaceDirectoryAtomic(path, async (directory) => {
    for (const split of storedSplits) {
      const dataset = content[split];
      if (dataset === undefined) continue;
      const sha256 = await writeDatasetFile(join(directory, `${split}.bin`), dataset);
      splits[split] = { rows: dataset.rows, nnz: dataset.nnz, positives: dataset.positives, sha256 };
    }
    for (const [file, text] of Object.entries(texts)) {
      await writeDatasetText(directory, file, text, files);
    }
    const { features, labels } = train;
    info = await writeDatasetInfo(directory, { name, origin, licence, features, labels, splits, files });
  });
  return info as DatasetInfo;
}

/** Writes `dataset.json`: the last file of a directory at work. */
export async function writeDatasetInfo(
  directory: string,
  facts: Omit<DatasetInfo, 'format' | 'version' | 'splits'> & {
    readonly splits: Partial<DatasetInfo['splits']>;
  },
): Promise<DatasetInfo> {
  const info = schema.parse({ format: 'espalier-dataset', version: 1, ...facts });
  await writeFileAtomic(join(directory, 'dataset.json'), `${JSON.stringify(info, null, 2)}\n`);
  return info;
}

/** Writes a text beside a dataset and notes its checksum in `files`. */
export async function writeDatasetText(
  directory: string,
  file: string,
  text: string,
  files: Record<string, string>,
): Promise<void> {
  await writeFileAtomic(join(directory, file), text);
  files[file] = sha256(text);
}

/** A dataset directory, opened: files are read, and checked against their checksums, when asked for. */
export class DatasetDirectory {
  readonly path: string;
  readonly info: DatasetInfo;
  #names: { labelNames?: string[]; featureNames?: string[] } | undefined;

  private constructor(path: string, info: DatasetInfo) {
    this.path = path;
    this.info = info;
  }

  /** Throws `DATASET_MISSING` where `path` is no dataset directory, `DATASET_INFO` where its description is damaged. */
  static async open(path: string): Promise<DatasetDirectory> {
    const file = join(path, 'dataset.json');
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (cause) {
      throw new EspalierError({
        code: 'DATASET_MISSING',
        kind: 'usage',
        op: 'DatasetDirectory.open',
        problem: 'there is no readable dataset here',
        expected: 'a directory with dataset.json',
        hint: 'make one with `espalier data <name or file> --out <directory>`',
        file,
        cause,
      });
    }
    const refuse = (detail: string) =>
      new EspalierError({
        code: 'DATASET_INFO',
        kind: 'data',
        op: 'DatasetDirectory.open',
        problem: `the description of the dataset is damaged, or of a newer version: ${detail}`,
        hint: 'make the dataset directory again from its source',
        file,
      });
    return new DatasetDirectory(path, parsedJson(schema, text, refuse));
  }

  /** Identity of the content, for checkpoints and result tables; hex. */
  get fingerprint(): string {
    const { splits, files } = this.info;
    const texts = files[labelTextsFile];
    return sha256(
      JSON.stringify([
        storedSplits.map((split) => splits[split]?.sha256),
        files['labels.jsonl'],
        ...(texts === undefined ? [] : [texts]),
      ]),
    );
  }

  /** Splits that can be loaded. */
  get splits(): Split[] {
    return [...storedSplits.filter((split) => this.info.splits[split] !== undefined), 'trainAll'];
  }

  /** Rows of a split, or 0 where there is none. */
  rows(split: Split): number {
    const { train, validation } = this.info.splits;
    if (split === 'trainAll') return train.rows + (validation?.rows ?? 0);
    return this.info.splits[split]?.rows ?? 0;
  }

  async load(split: Split): Promise<CsrDataset> {
    if (split === 'trainAll') {
      const train = await this.load('train');
      return this.info.splits.validation === undefined
        ? train
        : concatRows(train, await this.load('validation'));
    }
    const stored = this.info.splits[split];
    if (stored === undefined) {
      throw new EspalierError({
        code: 'DATASET_SPLIT',
        kind: 'usage',
        op: 'DatasetDirectory.load',
        problem: `the dataset has no split ${JSON.stringify(split)}`,
        expected: this.splits.join(', '),
        file: this.path,
      });
    }
    const file = join(this.path, `${split}.bin`);
    const dataset = await readDatasetFile(file, await this.names(), stored.sha256);
    const { features, labels } = this.info;
    if (dataset.features !== features || dataset.labels !== labels) {
      throw this.#damaged(`${split}.bin`, `${features} features and ${labels} labels, as in dataset.json`);
    }
    return dataset;
  }

  /** Names of labels and features, where the directory has them. */
  async names(): Promise<{ labelNames?: string[]; featureNames?: string[] }> {
    this.#names ??= {
      labelNames: await this.#strings('labels.jsonl', this.info.labels),
      featureNames: await this.#strings('features.jsonl', this.info.features),
    };
    return this.#names;
  }

  /** What each label means in words, or its name where that is all there is; undefined where there is neither. */
  async labelTexts(): Promise<string[] | undefined> {
    return (await this.#strings(labelTextsFile, this.info.labels)) ?? (await this.names()).labelNames;
  }

  /** What turns text into features of this dataset, or undefined where it came as numbers. */
  async featurizer(): Promise<Featurizer | undefined> {
    const text = await this.#text(featurizerFile);
    return text === undefined ? undefined : Featurizer.parse(text, join(this.path, featurizerFile));
  }

  /** Readable rows of the test split, where the directory has them. */
  async testRows(): Promise<RowText[] | undefined> {
    const text = await this.#text('test.rows.jsonl');
    if (text === undefined) return undefined;
    const rows = parseJsonLines(text, join(this.path, 'test.rows.jsonl'));
    if (rows.length !== this.rows('test'))
      throw this.#damaged('test.rows.jsonl', `${this.rows('test')} lines`);
    return rows as RowText[];
  }

  async #strings(name: string, wanted: number): Promise<string[] | undefined> {
    const text = await this.#text(name);
    if (text === undefined) return undefined;
    const strings = parseJsonLines(text, join(this.path, name));
    if (strings.length !== wanted || !strings.every((s) => typeof s === 'string')) {
      throw this.#damaged(name, `${wanted} lines, each a JSON string`);
    }
    return strings as string[];
  }

  async #text(name: string): Promise<string | undefined> {
    const wanted = this.info.files[name];
    if (wanted === undefined) return undefined;
    const file = join(this.path, name);
    const text = await withFileErrors('DatasetDirectory', file, () => readFile(file, 'utf8'));
    if (sha256(text) !== wanted) throw this.#damaged(name, `SHA-256 ${wanted}`);
    return text;
  }

  #damaged(name: string, expected: string): EspalierError {
    return new EspalierError({
      code: 'DATASET_DAMAGED',
      kind: 'data',
      op: 'DatasetDirectory',
      problem: 'a file of the dataset does not belong to it, or was changed',
      expected,
      hint: 'make the dataset directory again from its source',
      file: join(this.path, name),
    });
  }
}

function checkAlike({ train, validation, test, featurizer, labelTexts, testRows }: DatasetContent): void {
  const wrong = (problem: string, expected: number, received: number) =>
    new EspalierError({
      code: 'DATASET_CONTENT',
      kind: 'usage',
      op: 'writeDatasetDirectory',
      problem,
      expected: String(expected),
      received: String(received),
    });
  for (const other of [validation, test]) {
    if (other === undefined) continue;
    if (other.features !== train.features) {
      throw wrong('the splits differ in features', train.features, other.features);
    }
    if (other.labels !== train.labels) throw wrong('the splits differ in labels', train.labels, other.labels);
  }
  if (featurizer !== undefined && featurizer.features !== train.features) {
    throw wrong('the featurizer is of another dataset', train.features, featurizer.features);
  }
  if (labelTexts !== undefined && labelTexts.length !== train.labels) {
    throw wrong('there must be one text for each label', train.labels, labelTexts.length);
  }
  if (testRows !== undefined && testRows.length !== (test?.rows ?? 0)) {
    throw wrong('there must be one text for each test row', test?.rows ?? 0, testRows.length);
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}
