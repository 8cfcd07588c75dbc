/**
 * What labels are called, as rows: the words of a label's own text are an example of it, and the only one of a label that
 * no row has. Such rows stand behind those of the data in batches, and no more of them towards the end: what a text that
 * *is* a label says is not what a text that *has* it says, and the data has the last word.
 *
 * Label features, as extreme classification calls them (SiameseXML, Dahiya et al. 2021, trains an encoder of labels by
 * them); here they are examples like any others.
 */
import { EspalierError } from '../errors.js';
import {
  type BatchOrder,
  type BatchPlan,
  type BatchPosition,
  type BatchShape,
  batchShape,
} from './batches.js';
import { CsrBuilder } from './builder.js';
import type { DatasetDirectory } from './cache.js';
import { CsrDataset } from './dataset.js';
import type { Featurizer } from './featurizer/index.js';
import { concatRows } from './rows.js';
import { largestBatch } from './statistics.js';

/** Texts that are featurized at once. */
const blockRows = 4096;

/** Rows that train: those of the data alone, and with the rows of labels behind them. */
export interface TrainingRows {
  readonly rows: CsrDataset;
  /** Default: `rows`, without any of labels. */
  readonly examples?: CsrDataset;
}

/**
 * A row for every label whose text has words that are features, by label; texts are read as the first column of text.
 *
 * @throws EspalierError `LABEL_ROWS` where the dataset has no texts of labels or no columns of text
 * @example const { rows, examples } = withLabelRows(train, await labelRows(directory));
 */
export async function labelRows(directory: DatasetDirectory): Promise<CsrDataset> {
  const featurizer = await directory.featurizer();
  const texts = await directory.labelTexts();
  if (texts === undefined || featurizer === undefined || featurizer.options.text.length === 0) {
    throw new EspalierError({
      code: 'LABEL_ROWS',
      kind: 'usage',
      op: 'labelRows',
      problem:
        texts === undefined ? 'labels of the dataset have no names' : 'features of the dataset are no words',
      expected: 'a dataset of text with names of labels, as `espalier data --from FILE` makes it',
      hint: 'leave labelRows out; where training goes on from a model that has it: --set labelRows=null',
      file: directory.path,
    });
  }
  return rowsOfTexts(featurizer, texts, featurizer.options.text.slice(0, 1), await directory.names());
}

/** A row for every label whose text has words that are features, by label; texts are read as each of `columns`. */
export function rowsOfTexts(
  featurizer: Featurizer,
  texts: readonly string[],
  columns: readonly string[],
  names?: Parameters<CsrBuilder['finish']>[0],
): CsrDataset {
  const builder = new CsrBuilder({ features: featurizer.features, labels: texts.length });
  for (const { label, indptr, indices, values, row } of labelFeatures(featurizer, texts, columns)) {
    const [from, to] = [indptr[row], indptr[row + 1]];
    if (to > from) builder.row(indices.subarray(from, to), values.subarray(from, to), [label]);
  }
  return builder.finish(names);
}

/** What each label is called as features of some columns of text, the others empty: row `row` of a block of many. */
export function* labelFeatures(featurizer: Featurizer, texts: readonly string[], columns: readonly string[]) {
  for (let first = 0; first < texts.length; first += blockRows) {
    // Tags are often words_like_this.
    const some = texts
      .slice(first, first + blockRows)
      .map((text) => Object.fromEntries(columns.map((column) => [column, text.replaceAll('_', ' ')])));
    const block = featurizer.featurize(some);
    for (let row = 0; row < some.length; row++) yield { ...block, label: first + row, row };
  }
}

/** Rows of the data and of labels in one dataset: the first are a view of it, so that nothing is held twice. */
export function withLabelRows(rows: CsrDataset, ofLabels: CsrDataset | null): TrainingRows {
  if (ofLabels === null || ofLabels.rows === 0) return { rows };
  const examples = concatRows(rows, ofLabels);
  const { features, labels, labelNames, featureNames } = rows;
  const view = new CsrDataset({
    ...{ rows: rows.rows, features, labels, labelNames, featureNames },
    indptr: examples.indptr.subarray(0, rows.rows + 1),
    indices: examples.indices.subarray(0, rows.nnz),
    values: examples.values.subarray(0, rows.nnz),
    labelIndptr: examples.labelIndptr.subarray(0, rows.rows + 1),
    labelIds: examples.labelIds.subarray(0, rows.positives),
  });
  return { rows: view, examples };
}

/** The shape that holds `batch` rows of the data and `beside` of labels. */
export function shapeWithLabels(
  { rows, examples = rows }: TrainingRows,
  batch: number,
  beside: number,
): BatchShape {
  const own = batchShape(rows, batch);
  if (beside === 0) return own;
  const most = (indptr: Float64Array) => largestBatch(indptr.subarray(rows.rows), beside);
  return {
    ...own,
    rows: batch + beside,
    nnz: own.nnz + most(examples.indptr),
    positives: own.positives + most(examples.labelIndptr),
  };
}

/** Batches of a plan with rows of labels behind their own, in turn, each once before any comes again. */
export class BatchesWithLabels implements BatchOrder {
  readonly stepsPerEpoch: number;
  readonly #own: BatchPlan;
  readonly #beside: BatchPlan;
  readonly #first: number;
  readonly #until: number;
  readonly #all: Uint32Array;

  /** @param until step from which there are none; @param first row of labels in the dataset */
  constructor(own: BatchPlan, beside: BatchPlan, { first, until }: { first: number; until: number }) {
    this.stepsPerEpoch = own.stepsPerEpoch;
    this.#own = own;
    this.#beside = beside;
    this.#first = first;
    this.#until = until;
    this.#all = new Uint32Array(own.batch + beside.batch);
  }

  rowIds(position: BatchPosition): Uint32Array {
    const own = this.#own.rowIds(position);
    const step = position.epoch * this.stepsPerEpoch + position.step;
    if (step >= this.#until) return own;
    const turn = this.#beside.stepsPerEpoch;
    const others = this.#beside.rowIds({ epoch: Math.floor(step / turn), step: step % turn });
    const all = this.#all.subarray(0, own.length + others.length);
    all.set(own);
    for (let i = 0; i < others.length; i++) all[own.length + i] = this.#first + others[i];
    return all;
  }
}
