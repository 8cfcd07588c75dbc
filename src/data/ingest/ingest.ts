/**
 * A dataset directory from a file of rows with columns, in two passes: the first counts labels and terms, the second
 * featurizes and writes. Memory holds label names, the kept vocabulary and a few blocks of rows; counts that do not
 * fit go to files, and rows never gather. Everything is written aside: a dataset is whole or not there.
 */
import { mkdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { EspalierError } from '../../errors.js';
import { replaceDirectoryAtomic } from '../../files.js';
import {
  type DatasetInfo,
  labelTextsFile,
  type StoredSplit,
  storedSplits,
  writeDatasetInfo,
  writeDatasetText,
} from '../cache.js';
import { DatasetWriter } from '../dataset-writer.js';
import {
  type FeatureBlock,
  type Featurizer,
  featurizerFile,
  fitted,
  Moments,
} from '../featurizer/featurizer.js';
import { checkFeaturizerOptions, type FeaturizerOptions } from '../featurizer/options.js';
import { FeaturePool } from '../featurizer/pool.js';
import { RowBlockBuilder } from '../featurizer/row-block.js';
import { toJsonLines } from '../json-lines.js';
import { Duplicates } from './duplicates.js';
import { readLabelTexts } from './label-texts.js';
import { LabelCounts } from './labels.js';
import { longTailSvg } from './long-tail.js';
import { type IngestOptions, type IngestProgress, ingestDefaults } from './options.js';
import { type IngestReport, makeReport } from './report.js';
import { Walk, type WalkedRow } from './walk.js';

/** A block goes to a thread when it holds so much. */
const BLOCK_BYTES = 1 << 20;
const BLOCK_ROWS = 4096;

export interface Ingested {
  readonly info: DatasetInfo;
  readonly report: IngestReport;
  /** Training rows of each label. [labels] */
  readonly frequencies: Uint32Array;
}

/**
 * Makes a dataset directory of `options.from`.
 *
 * @example await ingest({ from: 'posts.csv', text: ['title', 'body'], labels: ['tags'], labelSeparator: ',' }, 'data/posts');
 * @throws `DATA_*` for wrong columns, labels and splits, with what would be right; what the readers throw
 */
export async function ingest(options: IngestOptions, path: string): Promise<Ingested> {
  const { indicators = [], labels, like } = options;
  const { text = [], numeric = [], categorical = [] } = like?.featurizer.options ?? options;
  if (text.length + numeric.length + categorical.length === 0 || labels.length + indicators.length === 0) {
    throw new EspalierError({
      code: 'DATA_COLUMNS',
      kind: 'usage',
      op: 'espalier data',
      problem: 'it takes columns to learn from and a column of labels',
      expected: '--text COLUMN,... and --labels COLUMN (or --numeric, --categorical, --indicators)',
      file: options.from,
    });
  }
  const featurizerOptions =
    like?.featurizer.options ?? checkFeaturizerOptions({ ...options.featurizer, text, numeric, categorical });
  const walk = await Walk.open(options, featurizerOptions);
  const pool = FeaturePool.open(options.threads ?? ingestDefaults.threads);
  try {
    let done: Ingested | undefined;
    await replaceDirectoryAtomic(path, async (directory) => {
      done = await new Ingestion(options, featurizerOptions, walk, pool, directory, path).run();
    });
    return done as Ingested;
  } finally {
    await pool.close();
  }
}

class Ingestion {
  readonly #options: IngestOptions;
  readonly #featurizerOptions: FeaturizerOptions;
  readonly #walk: Walk;
  readonly #pool: FeaturePool;
  readonly #directory: string;
  readonly #path: string;
  readonly #builder: RowBlockBuilder;

  constructor(
    options: IngestOptions,
    featurizer: FeaturizerOptions,
    walk: Walk,
    pool: FeaturePool,
    directory: string,
    path: string,
  ) {
    this.#options = options;
    this.#featurizerOptions = featurizer;
    this.#walk = walk;
    this.#pool = pool;
    this.#directory = directory;
    this.#path = path;
    this.#builder = new RowBlockBuilder(featurizer);
  }

  async run(): Promise<Ingested> {
    const first = await this.#count();
    const { minLabelRows = ingestDefaults.minLabelRows, labelTexts } = this.#options;
    const likelySeparator = first.labels.likelySeparator;
    const { like } = this.#options;
    const labels = first.labels.finish(minLabelRows, like?.labels);
    const { featurizer } = first;
    this.#checkLearnable(first.rows, featurizer, labels.names.length);
    const texts = labelTexts === undefined ? null : await readLabelTexts(labelTexts, labels.names);
    const second = await this.#write(featurizer, labels.ids, labels.rare > 0);
    if (second.rows !== first.rows) throw this.#changed(`${first.rows} rows`, `${second.rows}`);
    if (second.digest !== first.digest) throw this.#changed('the rows', 'other words or labels');
    if (second.splits.train === undefined) throw this.#nothing('no row to train on is left');
    const { name, origin, licence, labelSeparator } = this.#options;
    const report = makeReport({
      ...{ rows: first.rows, unlabelled: first.unlabelled, empty: second.empty, labelless: second.labelless },
      ...{ duplicates: first.duplicates, frequencies: second.frequencies, splits: second.splits },
      features: featurizer.features,
      rareLabels: labels.rare,
      testOnlyLabels: labels.testOnly,
      labelTexts: texts?.found ?? null,
      notices: this.#walk.notices.all,
      likelySeparator: labelSeparator === undefined ? likelySeparator : undefined,
      terms: second.terms,
      like:
        like === undefined
          ? null
          : {
              labels: like.labels.length,
              newLabels: labels.names.length - like.labels.length,
              fittedRows: like.featurizer.facts.documents,
            },
    });
    const files: Record<string, string> = {};
    const write = (file: string, content: string) => writeDatasetText(this.#directory, file, content, files);
    this.#progress({ stage: 'writing', file: this.#path, rows: first.rows, share: 1 });
    await write('labels.jsonl', toJsonLines(labels.names));
    if (texts !== null) await write(labelTextsFile, toJsonLines(texts.texts));
    await write(featurizerFile, `${JSON.stringify(featurizer)}\n`);
    if (this.#featurizerOptions.vocabulary.kind === 'terms')
      await write('features.jsonl', toJsonLines(featurizer.featureNames()));
    await write('report.json', `${JSON.stringify(report, null, 2)}\n`);
    await write('long-tail.svg', longTailSvg(second.frequencies));
    const info = await writeDatasetInfo(this.#directory, {
      name: name ?? basename(this.#path),
      origin: origin ?? `read from ${basename(this.#options.from)}`,
      licence: licence ?? 'not stated',
      features: featurizer.features,
      labels: labels.names.length,
      splits: second.splits,
      files,
    });
    return { info, report, frequencies: second.frequencies };
  }

  /** First pass: labels, terms, means and equal rows. */
  async #count() {
    const spill = join(this.#directory, 'spill');
    await mkdir(spill);
    const labels = new LabelCounts();
    const duplicates = new Duplicates();
    const moments = new Moments(this.#featurizerOptions.numeric.length);
    const builder = this.#builder;
    // The vocabulary of an earlier dataset is not learnt again: this pass sees labels and equal rows alone.
    const { like } = this.#options;
    if (like === undefined)
      await this.#pool.beginCounting(
        this.#featurizerOptions,
        this.#options.memory ?? ingestDefaults.memory,
        spill,
      );
    const hand = async () => {
      const block = builder.take();
      if (like !== undefined) return;
      moments.add(block);
      await this.#pool.count(block);
    };
    const take = ({ labels: names, split, hash }: WalkedRow) => {
      const isTest = split === 'test';
      labels.add(names, isTest);
      duplicates.add(hash, isTest);
      if (isTest) builder.dropLast();
    };
    const between = async () => {
      if (isFull(builder)) await hand();
    };
    const counts = await this.#walk.rows(builder, take, between, (at) =>
      this.#progress({ stage: 'counting', ...at }),
    );
    await hand();
    const featurizer =
      like?.featurizer ?? fitted(this.#featurizerOptions, await this.#pool.counts(), moments);
    await rm(spill, { recursive: true });
    return { ...counts, labels, duplicates: duplicates.result, featurizer };
  }

  /** Second pass: features into files. */
  async #write(featurizer: Featurizer, ids: ReadonlyMap<string, number>, hasRare: boolean) {
    await this.#pool.load(featurizer);
    const writers = new Map<StoredSplit, DatasetWriter>();
    for (const split of storedSplits)
      writers.set(split, await DatasetWriter.open(join(this.#directory, `${split}.bin`)));
    const frequencies = new Uint32Array(ids.size);
    const { notices } = this.#walk;
    const counts = { empty: 0, labelless: 0 };
    const terms = { read: 0, unknown: 0 };
    const builder = this.#builder;
    /** Rows in the builder, then of each block under way. */
    let rows: {
      readonly labels: number[];
      readonly split: StoredSplit;
      readonly place: WalkedRow['place'];
    }[] = [];
    const underway: { readonly features: Promise<FeatureBlock>; readonly rows: typeof rows }[] = [];
    const settle = async () => {
      const head = underway.shift();
      if (head === undefined) return;
      const { indptr, indices, values, terms: read, unknownTerms } = await head.features;
      terms.read += read;
      terms.unknown += unknownTerms;
      for (const [r, { labels, split, place }] of head.rows.entries()) {
        const [begin, end] = [indptr[r], indptr[r + 1]];
        if (begin === end) {
          counts.empty++;
          notices.add('rows without any known word or value were left out', place);
          continue;
        }
        writers.get(split)?.row(indices, values, begin, end, labels);
        if (split === 'train') for (const label of labels) frequencies[label]++;
      }
      for (const writer of writers.values()) await writer.drain();
    };
    const hand = async () => {
      const features = this.#pool.featurize(builder.take());
      // A failure is thrown where the block is settled.
      features.catch(() => {});
      underway.push({ features, rows });
      rows = [];
      if (underway.length >= this.#pool.depth) await settle();
    };
    const take = ({ labels: names, split, place }: WalkedRow) => {
      const labels: number[] = [];
      for (const name of names) {
        const id = ids.get(name);
        if (id !== undefined) labels.push(id);
        else if (split === 'test' && !hasRare)
          notices.add('labels that only test rows have were left out', place);
        else notices.add('labels of too few training rows were left out', place);
      }
      if (labels.length === 0) {
        counts.labelless++;
        notices.add('rows whose labels were all left out were left out too', place);
        builder.dropLast();
        return;
      }
      rows.push({ labels: labels.sort((a, b) => a - b), split, place });
    };
    try {
      const between = async () => {
        if (isFull(builder)) await hand();
      };
      const { rows: walked, digest } = await this.#walk.rows(builder, take, between, (at) =>
        this.#progress({ stage: 'featurizing', ...at }),
      );
      await hand();
      while (underway.length > 0) await settle();
      const splits: Partial<DatasetInfo['splits']> = {};
      for (const [split, writer] of writers) {
        if (writer.rows === 0) continue;
        const { rows: n, nnz, positives } = writer;
        const sha256 = await writer.finish({ features: featurizer.features, labels: ids.size });
        splits[split] = { rows: n, nnz, positives, sha256 };
      }
      return { ...counts, rows: walked, digest, frequencies, splits, terms };
    } finally {
      for (const writer of writers.values()) await writer.discard();
    }
  }

  #checkLearnable(rows: number, featurizer: Featurizer, labels: number): void {
    if (rows === 0) throw this.#nothing('there are no rows');
    if (labels === 0) throw this.#nothing(`none of ${rows} rows has a label that can be learnt`);
    if (featurizer.features === 0)
      throw this.#nothing(`no word stands in enough of ${rows} rows to be learnt`);
  }

  #nothing(problem: string): EspalierError {
    const [notice] = this.#walk.notices.all;
    return new EspalierError({
      code: 'DATA_NO_ROWS',
      kind: 'data',
      op: 'espalier data',
      problem,
      received:
        notice === undefined
          ? undefined
          : `${notice.count} ${notice.what}, the first at line ${notice.first.line}`,
      hint: 'check --labels and --text, and for few rows the settings vocabulary.minDocuments=1 and --min-label-rows',
      file: this.#options.from,
    });
  }

  #changed(before: string, after: string): EspalierError {
    return new EspalierError({
      code: 'DATA_CHANGED',
      kind: 'data',
      op: 'espalier data',
      problem: 'the file changed while it was read',
      expected: `${before} of the first pass`,
      received: after,
      hint: 'run it again when nothing writes to the file',
      file: this.#options.from,
    });
  }

  #progress(progress: IngestProgress): void {
    this.#options.onProgress?.(progress);
  }
}

function isFull(builder: RowBlockBuilder): boolean {
  return builder.byteLength >= BLOCK_BYTES || builder.rows >= BLOCK_ROWS;
}
