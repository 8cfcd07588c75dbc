/** One pass over the rows of all files: what each row's labels are and where it goes. Both passes take this way. */
import { EspalierError } from '../../errors.js';
import type { StoredSplit } from '../cache.js';
import type { FeaturizerOptions } from '../featurizer/options.js';
import { type RowBlockBuilder, unitHash } from '../featurizer/row-block.js';
import {
  checkColumns,
  type DataFormat,
  formatOf,
  Notices,
  openSource,
  type RecordSource,
} from '../readers/index.js';
import { type LabelRule, labelsOf, type Place } from './labels.js';
import { type IngestOptions, ingestDefaults } from './options.js';

export interface WalkedRow {
  readonly labels: readonly string[];
  readonly split: StoredSplit;
  readonly place: Place;
  readonly hash: readonly [number, number];
}

export interface WalkProgress {
  readonly file: string;
  readonly rows: number;
  readonly share: number;
}

/** Rows read, and those left out before featurizing. */
export interface WalkCounts {
  rows: number;
  unlabelled: number;
  /** Of features and labels in their order: the same when the same rows are read again. */
  digest: number;
}

export class Walk {
  readonly notices: Notices;
  readonly #sources: readonly { readonly source: RecordSource; readonly split: StoredSplit | null }[];
  readonly #columns: readonly string[];
  readonly #featureColumns: number;
  readonly #labels: LabelRule;
  readonly #id: number;
  readonly #splitColumn: number;
  readonly #validationBelow: number;
  readonly #testBelow: number;

  private constructor(options: IngestOptions, featurizer: FeaturizerOptions) {
    const {
      from,
      validation,
      test,
      labels,
      labelSeparator,
      indicators = [],
      id,
      splitColumn,
      maxBadRows,
    } = options;
    this.notices = new Notices(maxBadRows ?? ingestDefaults.maxBadRows);
    const open = (file: string) =>
      openSource(file, tabular(options.format ?? formatOf(file), file), this.notices, csvOptions(options));
    this.#sources = [
      { source: open(from), split: null },
      ...(validation === undefined ? [] : [{ source: open(validation), split: 'validation' as const }]),
      ...(test === undefined ? [] : [{ source: open(test), split: 'test' as const }]),
    ];
    const features = [...featurizer.text, ...featurizer.categorical, ...featurizer.numeric];
    this.#featureColumns = features.length;
    this.#columns = [
      ...features,
      ...labels,
      ...indicators,
      ...(id === undefined ? [] : [id]),
      ...(splitColumn === undefined ? [] : [splitColumn]),
    ];
    const first = features.length;
    this.#labels = {
      columns: labels.map((_, l) => first + l),
      separator: labelSeparator,
      indicators: indicators.map((label, i) => ({ label, place: first + labels.length + i })),
    };
    const behind = first + labels.length + indicators.length;
    this.#id = id === undefined ? -1 : behind;
    this.#splitColumn = splitColumn === undefined ? -1 : behind + (id === undefined ? 0 : 1);
    const testShare = test === undefined ? (options.testShare ?? ingestDefaults.testShare) : 0;
    const validationShare =
      validation === undefined ? (options.validationShare ?? ingestDefaults.validationShare) : 0;
    if (!(testShare >= 0 && validationShare >= 0 && testShare + validationShare < 1)) {
      throw new EspalierError({
        code: 'DATA_SHARES',
        kind: 'usage',
        op: 'espalier data',
        problem: 'the shares of validation and test leave no rows to train on',
        expected: 'shares from 0 that stay below 1 together',
        received: `${validationShare} and ${testShare}`,
      });
    }
    this.#testBelow = testShare;
    this.#validationBelow = testShare + validationShare;
  }

  /** Opens all files and checks that they have the columns; throws `DATA_COLUMN`. */
  static async open(options: IngestOptions, featurizer: FeaturizerOptions): Promise<Walk> {
    const walk = new Walk(options, featurizer);
    for (const { source } of walk.#sources) checkColumns(source.file, walk.#columns, await source.columns());
    return walk;
  }

  /**
   * Hands every row that has labels to `take`, after its features went to `builder`. `between` is awaited after each
   * batch: the time to hand blocks on.
   */
  async rows(
    builder: RowBlockBuilder,
    take: (row: WalkedRow) => void,
    between: () => Promise<void>,
    onProgress: (progress: WalkProgress) => void = () => {},
  ): Promise<WalkCounts> {
    this.notices.clear();
    const counts: WalkCounts = { rows: 0, unlabelled: 0, digest: 0 };
    for (const { source, split } of this.#sources) {
      const { file } = source;
      const batches = source.batches(this.#columns, ({ bytes, totalBytes }) =>
        onProgress({ file, rows: counts.rows, share: totalBytes === 0 ? 1 : bytes / totalBytes }),
      );
      for await (const { rows, lines } of batches) {
        for (let r = 0; r < rows.length; r++) {
          counts.rows++;
          this.#row(rows[r], { file, line: lines[r] }, split, builder, take, counts);
        }
        await between();
      }
    }
    return counts;
  }

  #row(
    values: readonly unknown[],
    place: Place,
    fixed: StoredSplit | null,
    builder: RowBlockBuilder,
    take: (row: WalkedRow) => void,
    counts: WalkCounts,
  ): void {
    const before = builder.rows;
    try {
      const labels = labelsOf(values, this.#labels, place);
      if (labels.length === 0) {
        counts.unlabelled++;
        this.notices.add('rows without labels were left out', place);
        return;
      }
      const unreadable = builder.unreadable;
      builder.addValues(
        this.#featureColumns === values.length ? values : values.slice(0, this.#featureColumns),
      );
      if (builder.unreadable > unreadable) {
        this.notices.add(
          'values of numeric columns are no numbers, read as missing',
          place,
          builder.unreadable - unreadable,
        );
      }
      const hash = builder.hashLast();
      counts.digest = Math.imul(counts.digest ^ hash[0] ^ labelHash(labels), 0x01000193);
      take({ labels, split: fixed ?? this.#split(values, hash, place), place, hash });
    } catch (error) {
      if (!(error instanceof EspalierError) || error.facts.kind !== 'data') throw error;
      if (builder.rows > before) builder.dropLast();
      const { file, line } = place;
      this.notices.badRow(
        error.facts.file === undefined ? new EspalierError({ ...error.facts, file, line }) : error,
      );
    }
  }

  #split(values: readonly unknown[], [hash]: readonly [number, number], place: Place): StoredSplit {
    if (this.#splitColumn >= 0) return splitNamed(values[this.#splitColumn], place);
    const at = this.#id >= 0 ? unitHash(String(values[this.#id] ?? '')) : hash / 2 ** 32;
    return at < this.#testBelow ? 'test' : at < this.#validationBelow ? 'validation' : 'train';
  }
}

/** FNV-1a over the characters of all labels. */
function labelHash(labels: readonly string[]): number {
  let hash = 0x811c9dc5;
  for (const label of labels) {
    for (let i = 0; i < label.length; i++) hash = Math.imul(hash ^ label.charCodeAt(i), 0x01000193);
    hash = Math.imul(hash ^ 0x1ff, 0x01000193);
  }
  return hash;
}

const NAMES: Readonly<Record<string, StoredSplit>> = {
  train: 'train',
  training: 'train',
  validation: 'validation',
  valid: 'validation',
  val: 'validation',
  dev: 'validation',
  test: 'test',
  testing: 'test',
};

function splitNamed(value: unknown, { file, line }: Place): StoredSplit {
  const name = String(value ?? '')
    .trim()
    .toLowerCase();
  const split = Object.hasOwn(NAMES, name) ? NAMES[name] : undefined;
  if (split !== undefined) return split;
  throw new EspalierError({
    code: 'DATA_SPLIT',
    kind: 'data',
    op: 'espalier data',
    problem: 'the split column says something else',
    expected: Object.keys(NAMES).join(', '),
    received: JSON.stringify(value ?? null).slice(0, 60),
    file,
    line,
  });
}

/** The format, where it has columns; throws `DATA_FORMAT` where it has none. */
export function tabular(format: DataFormat, file: string): Exclude<DataFormat, 'xc' | 'npz'> {
  if (format !== 'xc' && format !== 'npz') return format;
  throw new EspalierError({
    code: 'DATA_FORMAT',
    kind: 'usage',
    op: 'espalier data',
    problem: 'the file holds numbered features, which have no columns of text',
    expected: 'JSON Lines, CSV, TSV or Parquet',
    received: format,
    hint: 'name the format where the file name misleads: --format jsonl',
    file,
  });
}

function csvOptions({ delimiter, quotes, columns }: IngestOptions) {
  return { ...(delimiter === undefined ? {} : { delimiter }), quotes, columns };
}
