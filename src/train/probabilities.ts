/**
 * Calibration on validation rows: of the best labels of each row, which were right at which score. Everything that is
 * chosen is chosen across halves of the rows, and what is reported was measured on rows that the scaling did not see.
 */
import type { CsrDataset } from '../data/dataset.js';
import { BUCKETS, labelBuckets } from '../data/statistics.js';
import { noLabel } from '../kernels/no-label.js';
import { type Reliability, ReliabilityBins } from '../metrics/reliability.js';
import { Calibration, type CalibrationState } from '../model/calibration.js';
import { fitScaling, logLoss, type Scaling, sigmoid } from '../model/platt.js';
import type { TopK } from '../output/layer.js';

/** Pairs of validation rows and their best labels. */
export interface ScoredPairs {
  readonly scores: number[];
  readonly labels: number[];
  /** 1: the row has the label. */
  readonly right: number[];
  /** Number of the row, for halves. */
  readonly row: number[];
}

/** Collects pairs as rankings come. */
export class PairCollector {
  readonly pairs: ScoredPairs = { scores: [], labels: [], right: [], row: [] };
  readonly #perRow: number;
  rows = 0;

  constructor(perRow: number) {
    this.#perRow = perRow;
  }

  add({ k, labels, scores }: TopK, truth: CsrDataset, rowIds: ArrayLike<number>): void {
    for (let r = 0; r < rowIds.length; r++) {
      const own = truth.labelIds.subarray(truth.labelIndptr[rowIds[r]], truth.labelIndptr[rowIds[r] + 1]);
      for (let i = r * k; i < r * k + Math.min(k, this.#perRow); i++) {
        if (labels[i] === noLabel) break;
        this.pairs.scores.push(scores[i]);
        this.pairs.labels.push(labels[i]);
        this.pairs.right.push(own.includes(labels[i]) ? 1 : 0);
        this.pairs.row.push(this.rows);
      }
      this.rows++;
    }
  }
}

export interface CalibrationOptions {
  readonly perRow: number;
  /** Right predictions from which a label gets a scaling of its own. */
  readonly leastRight: number;
  /** Whether sigmoid(score) is what the loss was trained to be. */
  readonly isLogit: boolean;
}

/** Of a bucket, so many predictions that were right and so many that were not, else it has no scaling of its own. */
const leastOfBucket = 50;
/** What a narrower scaling believes of the wider one, in pairs. */
const priorPairs = 50;
const targets = [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99];
/** Predictions above a threshold, else their precision says little. */
const leastAbove = 20;

type Fitted = Pick<CalibrationState, 'method' | 'all' | 'buckets' | 'labels'>;

/**
 * The calibration of scored pairs; null where right and wrong ones are too few to say anything (20 of each).
 *
 * @param frequencies [labels], of the rows that trained
 */
export function calibrate(
  { pairs, rows }: Pick<PairCollector, 'pairs' | 'rows'>,
  frequencies: Uint32Array,
  options: CalibrationOptions,
): CalibrationState | null {
  const right = pairs.right.reduce((sum, one) => sum + one, 0);
  if (Math.min(right, pairs.right.length - right) < 20) return null;
  const { of } = labelBuckets(frequencies);
  const whole = fitAll(pairs, of, options);
  const state: CalibrationState = {
    format: 'espalier-calibration',
    version: 1,
    ...{ rows, perRow: options.perRow, right, ...whole, leastRight: options.leastRight },
    order: 'score',
    bucketOf: Buffer.from(of).toString('base64'),
    thresholds: [],
    ece: { before: 0, after: 0 },
  };
  const before = new ReliabilityBins();
  const after = new ReliabilityBins();
  const probability = new Float64Array(pairs.scores.length);
  for (const half of [0, 1]) {
    const some = select(pairs, (i) => pairs.row[i] % 2 !== half);
    // Numbered anew: what is chosen within is chosen across halves of these.
    const other = fitAll({ ...some, row: some.row.map((row) => row >> 1) }, of, options);
    const read = Calibration.of({ ...state, ...other });
    for (let i = 0; i < pairs.scores.length; i++) {
      if (pairs.row[i] % 2 !== half) continue;
      probability[i] = read.probability(pairs.labels[i], pairs.scores[i]);
      before.add(sigmoid(pairs.scores[i]), pairs.right[i] === 1);
      after.add(probability[i], pairs.right[i] === 1);
    }
  }
  const order = isBetterFirst(pairs, probability) ? 'probability' : 'score';
  const ece = { before: before.report().ece, after: after.report().ece };
  return { ...state, order, thresholds: thresholdsOf(pairs, of, Calibration.of(state)), ece };
}

/** Cut-offs at which the two orders of a row are compared. */
const cutOffs = [1, 3, 5];

/**
 * Whether the labels of a row ordered by probability have right ones nearer to the front than by score, by more than
 * chance does: the difference of their precision at 1, 3 and 5, summed over rows, is above its standard deviation under
 * signs drawn at random, the root of the sum of its squares.
 */
function isBetterFirst({ scores, right, row }: ScoredPairs, probability: ArrayLike<number>): boolean {
  let [sum, squares] = [0, 0];
  for (let from = 0, to = 0; from < scores.length; from = to) {
    while (to < scores.length && row[to] === row[from]) to++;
    const byScore = Array.from({ length: to - from }, (_, i) => from + i).sort(
      (i, j) => scores[j] - scores[i],
    );
    const likeliest = byScore.toSorted((i, j) => probability[j] - probability[i]);
    const precision = (order: readonly number[]) =>
      cutOffs.reduce((all, k) => all + order.slice(0, k).reduce((n, i) => n + right[i], 0) / k, 0);
    const difference = precision(likeliest) - precision(byScore);
    sum += difference;
    squares += difference * difference;
  }
  return sum > Math.sqrt(squares);
}

/** Reliability of the pairs by the raw sigmoid, and by a calibration. */
export function reliabilityOf(
  { scores, labels, right }: ScoredPairs,
  calibration: CalibrationState | null,
): { readonly raw: Reliability; readonly calibrated: Reliability | null } {
  const raw = new ReliabilityBins();
  const own = new ReliabilityBins();
  const read = calibration === null ? null : Calibration.of(calibration);
  for (let i = 0; i < scores.length; i++) {
    raw.add(sigmoid(scores[i]), right[i] === 1);
    if (read !== null) own.add(read.probability(labels[i], scores[i]), right[i] === 1);
  }
  return { raw: raw.report(), calibrated: read === null ? null : own.report() };
}

function fitAll(
  pairs: ScoredPairs,
  bucketOf: Uint8Array,
  { leastRight, isLogit }: CalibrationOptions,
): Fitted {
  const { method, all } = fitWhole(pairs, isLogit);
  const buckets = { head: null, torso: null, tail: null } as Record<(typeof BUCKETS)[number], Scaling | null>;
  for (const [b, name] of BUCKETS.entries()) {
    const own = select(pairs, (i) => bucketOf[pairs.labels[i]] === b);
    if (fewestOf(own) < leastOfBucket) continue;
    const fitted = (some: ScoredPairs) =>
      fitScaling(some, { prior: { scaling: all, pairs: priorPairs } }) ?? all;
    if (acrossHalves(own, fitted) < acrossHalves(own, () => all)) buckets[name] = fitted(own);
  }
  const byLabel = new Map<number, number[]>();
  for (const [i, label] of pairs.labels.entries()) {
    const own = byLabel.get(label);
    if (own === undefined) byLabel.set(label, [i]);
    else own.push(i);
  }
  const labels: CalibrationState['labels'] = [];
  for (const [label, places] of [...byLabel].sort(([a], [b]) => a - b)) {
    if (places.length < leastRight) continue;
    const own = take(pairs, places);
    if (own.right.reduce((sum, one) => sum + one, 0) < leastRight) continue;
    const wider = buckets[BUCKETS[bucketOf[label]]] ?? all;
    const fitted = (some: ScoredPairs) =>
      fitScaling(some, { prior: { scaling: wider, pairs: priorPairs } }) ?? wider;
    if (acrossHalves(own, fitted) < acrossHalves(own, () => wider)) labels.push({ label, ...fitted(own) });
  }
  return { method, all, buckets, labels };
}

function fitWhole(
  pairs: ScoredPairs,
  isLogit: boolean,
): { method: CalibrationState['method']; all: Scaling } {
  const none: Scaling = { slope: 1, offset: 0 };
  const ways: [CalibrationState['method'], (some: ScoredPairs) => Scaling][] = [
    ['platt', (some) => fitScaling(some) ?? none],
  ];
  // A margin of 0 is no even chance: only logits have a temperature.
  if (isLogit) {
    ways.unshift(
      ['none', () => none],
      ['temperature', (some) => fitScaling(some, { offset: false }) ?? none],
    );
  }
  let best = ways[0];
  let least = Number.POSITIVE_INFINITY;
  for (const way of ways) {
    const loss = acrossHalves(pairs, way[1]);
    if (!(loss < least)) continue;
    [best, least] = [way, loss];
  }
  return { method: best[0], all: best[1](pairs) };
}

/** Mean log loss of each half of the rows under what was fitted to the other. */
function acrossHalves(pairs: ScoredPairs, fitted: (some: ScoredPairs) => Scaling): number {
  const halves = [0, 1].map((half) => select(pairs, (i) => pairs.row[i] % 2 === half));
  const [even, odd] = halves;
  const sum =
    logLoss(fitted(odd), even) * even.scores.length + logLoss(fitted(even), odd) * odd.scores.length;
  return sum / Math.max(1, pairs.scores.length);
}

const fewestOf = ({ right }: ScoredPairs): number => {
  const positives = right.reduce((sum, one) => sum + one, 0);
  return Math.min(positives, right.length - positives);
};

const select = (pairs: ScoredPairs, isWanted: (i: number) => boolean): ScoredPairs =>
  take(pairs, Array.from(pairs.scores.keys()).filter(isWanted));

const take = ({ scores, labels, right, row }: ScoredPairs, places: readonly number[]): ScoredPairs => ({
  scores: places.map((i) => scores[i]),
  labels: places.map((i) => labels[i]),
  right: places.map((i) => right[i]),
  row: places.map((i) => row[i]),
});

function thresholdsOf(
  pairs: ScoredPairs,
  bucketOf: Uint8Array,
  calibration: Calibration,
): CalibrationState['thresholds'] {
  const probability = pairs.scores.map((score, i) => calibration.probability(pairs.labels[i], score));
  const order = Array.from(probability.keys()).sort((a, b) => probability[b] - probability[a]);
  const cut = (precision: number, isWanted: (i: number) => boolean): number | null => {
    let [seen, right] = [0, 0];
    let least: number | null = null;
    for (const i of order) {
      if (!isWanted(i)) continue;
      seen++;
      right += pairs.right[i];
      if (seen >= leastAbove && right >= precision * seen) least = probability[i];
    }
    return least;
  };
  return targets.map((precision) => {
    const [head, torso, tail] = [0, 1, 2].map((b) => cut(precision, (i) => bucketOf[pairs.labels[i]] === b));
    return { precision, all: cut(precision, () => true), head, torso, tail };
  });
}
