/**
 * Rows that a model remembers: in which direction its output layer sees each of them, and which labels they have. The
 * nearest ones of a question vote for their labels (`votes.ts`).
 */
import type { CsrDataset, CsrDatasetParts } from '../../data/dataset.js';
import { EspalierError } from '../../errors.js';
import { nearestBf16 } from '../../kernels/bf16.js';
import type { Floats } from '../../kernels/face.js';
import type { Classifier } from '../classifier.js';
import { hiddenBatches } from '../hidden.js';
import type { Namesakes } from './namesakes.js';
import { type Postings, postingsOf } from './postings.js';

export interface VoteSettings {
  /** n, rows that vote. */
  readonly nearest: number;
  /** T: a row that is less alike by so much, in cosines, weighs e times less. */
  readonly temperature: number;
  /** w, what the votes of all of them add to a logit. */
  readonly weight: number;
  /** c, what is added to the logit of a label that is called as the question is; below 0 it speaks against it. Default 0. */
  readonly namesake?: number;
  /** v, what the votes of the n nearest rows by cosine of features add to a logit, all of them. Default 0. */
  readonly featureWeight?: number;
  /** Their T. Default 0.3. */
  readonly featureTemperature?: number;
  /**
   * u, what is added to the logits of the n labels, all of them together, that by cosine of features are called most nearly
   * what the question says. Default 0.
   */
  readonly textWeight?: number;
  /** Their T. Default 0.1. */
  readonly textTemperature?: number;
}

/** Where no validation rows decide: what did well on them in the experiments. */
export const defaultVotes: VoteSettings = { nearest: 32, temperature: 0.05, weight: 8 };

/** How votes by features count, as a part of the settings says it; T is that of the experiments where it does not. */
export const featureSettings = ({ featureWeight = 0, featureTemperature = 0.3 }: Partial<VoteSettings>) => ({
  temperature: featureTemperature,
  weight: featureWeight,
});

/** What labels are called counts likewise. */
export const textSettings = ({ textWeight = 0, textTemperature = 0.1 }: Partial<VoteSettings>) => ({
  temperature: textTemperature,
  weight: textWeight,
});

/** What labels are called, as rows of one label each that are found by their features. Plain data. */
export interface LabelTexts {
  readonly examples: CsrDatasetParts;
  readonly postings: Postings;
}

/** Plain data. */
export interface RememberedRows {
  readonly settings: VoteSettings;
  /** The rows themselves. */
  readonly examples: CsrDatasetParts;
  /** d, what the output layer sees. */
  readonly width: number;
  /** [d], what it sees of a row without features: directions are looked at from there. */
  readonly origin: Float64Array;
  /** [rows, d], of length 1, as raw bits of bfloat16; in memory that threads can share. */
  readonly directions: Uint16Array;
  /** Which labels are called exactly as a question is; null where that does not count. */
  readonly names: Namesakes | null;
  /** Null where votes by features weigh nothing. */
  readonly postings: Postings | null;
  /** Null where it weighs nothing which words of a question labels are called by. */
  readonly texts: LabelTexts | null;
}

/** What labels are called, as far as that counts: exactly as the question is, and by words of it. */
export interface Called {
  readonly names?: Namesakes | null;
  /** A row of each label, of what it is called (`rowsOfTexts`). */
  readonly texts?: CsrDataset | null;
}

/** Whether rows vote at all, in either way; else a model keeps none of them. */
export const rowsVote = (settings: VoteSettings): boolean =>
  settings.weight !== 0 || featureSettings(settings).weight !== 0;

/** Rows at a time while directions are found. */
const rowsAtOnce = 256;

/** What `classifier` sees of rows. Empties the step arena. Throws `REMEMBERED_ROWS` for rows that say nothing. */
export function rememberRows(
  classifier: Classifier,
  examples: CsrDataset,
  settings: VoteSettings,
  { names = null, texts = null }: Called = {},
  onProgress?: (done: number, rows: number) => void,
): RememberedRows {
  if (rowsVote(settings) || examples.rows > 0) checkRows(examples);
  const { rows } = examples;
  const { inputs: width } = classifier.output;
  const origin = originOf(classifier);
  const directions = new Uint16Array(new SharedArrayBuffer(2 * rows * width));
  const unit = new Float64Array(width);
  for (const { h, rowIds, done } of hiddenBatches(classifier, examples, rowsAtOnce)) {
    for (const [r, row] of rowIds.entries()) {
      directionOf(h.data, r * width, origin, unit);
      for (let j = 0; j < width; j++) directions[row * width + j] = nearestBf16(unit[j]);
    }
    onProgress?.(done, rows);
  }
  const postings = featureSettings(settings).weight === 0 ? null : postingsOf(examples);
  const called =
    texts === null || textSettings(settings).weight === 0
      ? null
      : { examples: texts, postings: postingsOf(texts) };
  return { settings, examples, width, origin, directions, names, postings, texts: called };
}

/**
 * unit = (h - origin) / |h - origin| of the row of h at `at`, all zeros where the two are one but for rounding: of a row
 * without a feature that the model knows there is no direction. Returns whether there is one.
 */
export function directionOf(h: Floats, at: number, origin: Float64Array, unit: Float64Array): boolean {
  let [squares, size] = [0, 0];
  for (let j = 0; j < unit.length; j++) {
    unit[j] = h[at + j] - origin[j];
    squares += unit[j] ** 2;
    size += h[at + j] ** 2 + origin[j] ** 2;
  }
  const found = squares > 1e-10 * size;
  const scale = found ? 1 / Math.sqrt(squares) : 0;
  for (let j = 0; j < unit.length; j++) unit[j] *= scale;
  return found;
}

function originOf(classifier: Classifier): Float64Array {
  classifier.device.arena.reset();
  const { features: width } = classifier.shape;
  const none = { indptr: new Int32Array(2), indices: new Uint32Array(0), values: new Float32Array(0) };
  const h = classifier.infer({ rows: 1, nnz: 0, width, ...none });
  return Float64Array.from(h.data.subarray(0, classifier.output.inputs));
}

/** A row that votes has a direction and labels: without features or labels it would take room for nothing. */
function checkRows({ rows, indptr, labelIndptr }: CsrDataset): void {
  let problem = rows === 0 ? 'there are no rows to remember' : null;
  for (let row = 0; row < rows && problem === null; row++) {
    if (indptr[row] === indptr[row + 1]) problem = `row ${row} has no features`;
    else if (labelIndptr[row] === labelIndptr[row + 1]) problem = `row ${row} has no labels`;
  }
  if (problem === null) return;
  throw new EspalierError({
    code: 'REMEMBERED_ROWS',
    kind: 'data',
    op: 'rememberRows',
    problem,
    expected: 'rows with features and labels',
  });
}

/** The same with all that is large in memory that threads can share. */
export function sharedRows({ examples, postings, texts, ...rest }: RememberedRows): RememberedRows {
  return {
    ...rest,
    examples: sharedExamples(examples),
    postings: postings && sharedPostings(postings),
    texts: texts && { examples: sharedExamples(texts.examples), postings: sharedPostings(texts.postings) },
  };
}

function sharedExamples(from: CsrDatasetParts): CsrDatasetParts {
  const { rows, features, labels, indptr, indices, values, labelIndptr, labelIds } = from;
  return {
    ...{ rows, features, labels, indptr: shared(indptr), indices: shared(indices), values: shared(values) },
    ...{ labelIndptr: shared(labelIndptr), labelIds: shared(labelIds) },
  };
}

const sharedPostings = ({ rows, begin, rowOf, values }: Postings): Postings => ({
  ...{ rows, begin: shared(begin), rowOf: shared(rowOf), values: shared(values) },
});

function shared<A extends Float64Array | Float32Array | Uint32Array>(from: A): A {
  const kind = from.constructor as new (buffer: SharedArrayBuffer) => A;
  const copy = new kind(new SharedArrayBuffer(from.byteLength));
  copy.set(from);
  return copy;
}
