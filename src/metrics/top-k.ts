/**
 * Figures of ranked predictions, summed batch by batch: P@k, nDCG@k, recall@k, PSP@k, and by label rarity.
 *
 * All are shares in [0, 1]; published tables print them times 100.
 */
import type { CsrDataset } from '../data/dataset.js';
import { BUCKETS, type Bucket, type LabelBuckets } from '../data/statistics.js';
import { EspalierError } from '../errors.js';
import { noLabel } from '../kernels/no-label.js';
import { type Estimate, Ratio } from './estimate.js';

export interface TopKMetricsOptions {
  /** Cut-offs, each at least 1; default 1, 3, 5. */
  readonly ks?: readonly number[];
  /** [labels] from `propensities`; without them there is no PSP. */
  readonly propensities?: Float64Array;
  /** From `labelBuckets` of the training frequencies; without them there are no figures by rarity. */
  readonly buckets?: LabelBuckets;
  /**
   * Rows that have no label: `zero` counts them as missed in P@k and nDCG@k, as the tables of the Extreme
   * Classification Repository do (default); `skip` leaves them out. Recall and PSP never depend on them.
   */
  readonly emptyRows?: 'zero' | 'skip';
}

/** Ranked labels of some rows; shape [rows, k], best first; 0xFFFFFFFF: nothing. */
export interface Ranking {
  readonly k: number;
  readonly labels: Uint32Array;
}

export interface BucketFigures {
  /** Of the predictions that name labels of the bucket, the share that is right; 0 where there are none. */
  readonly precision: number;
  /** Of the true labels of the bucket, the share that was found. */
  readonly recall: number;
  /** What the bucket adds to P@k: the three contributions sum to it. */
  readonly contribution: number;
}

export interface FiguresAtK {
  readonly k: number;
  readonly precision: Estimate;
  readonly ndcg: Estimate;
  readonly recall: Estimate;
  readonly psp?: Estimate;
  readonly buckets?: Readonly<Record<Bucket, BucketFigures>>;
}

export interface TopKReport {
  readonly rows: number;
  readonly rowsWithoutLabels: number;
  readonly at: readonly FiguresAtK[];
}

interface Sums {
  readonly k: number;
  readonly precision: Ratio;
  readonly ndcg: Ratio;
  readonly recall: Ratio;
  readonly psp: Ratio;
  /** By bucket. */
  readonly hits: Float64Array;
  readonly named: Float64Array;
}

/**
 * @example
 * const metrics = new TopKMetrics({ propensities: propensities(labelFrequencies(train), train.rows) });
 * for (const rowIds of batches) metrics.add(await predict(rowIds), test, rowIds);
 * metrics.report().at[0].precision.value; // P@1
 */
export class TopKMetrics {
  readonly #sums: readonly Sums[];
  readonly #largest: number;
  readonly #options: TopKMetricsOptions;
  #rows = 0;
  #empty = 0;
  /** Rows in P@k and nDCG@k. */
  #counted = 0;
  /** True pairs by bucket. */
  readonly #pairs = new Float64Array(BUCKETS.length);
  /** discount[r] = 1 / log2(r + 2), ideal[r] = the first r of them together. */
  readonly #discount: Float64Array;
  readonly #ideal: Float64Array;
  /** Per rank of the row at work: is it right, and how much it is worth (1 / propensity). */
  readonly #gains: Float64Array;
  /** The largest worths among the true labels of the row, descending. */
  readonly #best: Float64Array;

  constructor(options: TopKMetricsOptions = {}) {
    const ks = [...new Set(options.ks ?? [1, 3, 5])].sort((a, b) => a - b);
    if (ks.length === 0 || !ks.every((k) => Number.isSafeInteger(k) && k >= 1)) {
      throw refuse('METRIC_K', 'the cut-offs are not positive whole numbers', '1 or more', ks.join(', '));
    }
    this.#options = options;
    this.#largest = ks[ks.length - 1];
    this.#sums = ks.map((k) => ({
      k,
      precision: new Ratio(),
      ndcg: new Ratio(),
      recall: new Ratio(),
      psp: new Ratio(),
      hits: new Float64Array(BUCKETS.length),
      named: new Float64Array(BUCKETS.length),
    }));
    this.#discount = Float64Array.from({ length: this.#largest }, (_, r) => 1 / Math.log2(r + 2));
    this.#ideal = new Float64Array(this.#largest + 1);
    for (let r = 0; r < this.#largest; r++) this.#ideal[r + 1] = this.#ideal[r] + this.#discount[r];
    this.#gains = new Float64Array(this.#largest);
    this.#best = new Float64Array(this.#largest);
  }

  /** Adds rows: row i of `ranking` predicts the labels of row `rowIds[i]` of `truth`. */
  add(ranking: Ranking, truth: CsrDataset, rowIds: ArrayLike<number>): void {
    const { k, labels } = ranking;
    this.#checkSizes(ranking, truth, rowIds);
    for (let i = 0; i < rowIds.length; i++) {
      const begin = truth.labelIndptr[rowIds[i]];
      const end = truth.labelIndptr[rowIds[i] + 1];
      this.#rows++;
      if (begin === end) this.#empty++;
      if (begin !== end || this.#options.emptyRows !== 'skip') this.#counted++;
      this.#gain(labels, i * k, truth.labelIds, begin, end);
      this.#sum(labels, i * k, end - begin);
      const { buckets } = this.#options;
      if (buckets === undefined) continue;
      for (let e = begin; e < end; e++) this.#pairs[buckets.of[truth.labelIds[e]]]++;
    }
  }

  /** The figures of all rows so far; throws `METRIC_NO_ROWS` before the first. */
  report(): TopKReport {
    if (this.#rows === 0) throw refuse('METRIC_NO_ROWS', 'no rows were added', 'at least one', '0');
    return {
      rows: this.#rows,
      rowsWithoutLabels: this.#empty,
      at: this.#sums.map((sums) => ({
        k: sums.k,
        precision: sums.precision.estimate(),
        ndcg: sums.ndcg.estimate(),
        recall: sums.recall.estimate(),
        ...(this.#options.propensities && { psp: sums.psp.estimate() }),
        ...(this.#options.buckets && { buckets: this.#bucketFigures(sums) }),
      })),
    };
  }

  /** Worth of every rank of a row, 0 where it is wrong, and the best attainable worths. */
  #gain(ranked: Uint32Array, at: number, ids: Uint32Array, begin: number, end: number): void {
    const p = this.#options.propensities;
    const [gains, best] = [this.#gains, this.#best];
    for (let r = 0; r < this.#largest; r++) {
      const label = ranked[at + r];
      const right = label !== noLabel && contains(ids, begin, end, label);
      gains[r] = right ? (p === undefined ? 1 : 1 / p[label]) : 0;
      if (!right) continue;
      for (let q = 0; q < r; q++) {
        if (ranked[at + q] === label) {
          throw refuse('METRIC_REPEAT', 'a ranking names a label twice', 'each label once', String(label));
        }
      }
    }
    best.fill(0);
    for (let e = begin; e < end; e++) {
      let worth = p === undefined ? 1 : 1 / p[ids[e]];
      // Insertion into the descending list; what falls off the end is not among the best.
      for (let r = 0; r < best.length && worth > 0; r++) {
        if (worth <= best[r]) continue;
        const smaller = best[r];
        best[r] = worth;
        worth = smaller;
      }
    }
  }

  #sum(ranked: Uint32Array, at: number, positives: number): void {
    const { emptyRows, buckets } = this.#options;
    const counted = positives > 0 || emptyRows !== 'skip';
    let next = 0;
    let [hits, dcg, worth, attainable] = [0, 0, 0, 0];
    for (let r = 0; r < this.#largest; r++) {
      const gain = this.#gains[r];
      if (gain > 0) {
        hits++;
        dcg += this.#discount[r];
        worth += gain;
      }
      attainable += this.#best[r];
      const sums = this.#sums[next];
      if (r + 1 !== sums.k) continue;
      next++;
      if (counted) {
        sums.precision.add(hits / sums.k, 1);
        sums.ndcg.add(positives === 0 ? 0 : dcg / this.#ideal[Math.min(sums.k, positives)], 1);
      }
      if (positives > 0) {
        sums.recall.add(hits / positives, 1);
        sums.psp.add(worth / sums.k, attainable / sums.k);
      }
      if (buckets === undefined || !counted) continue;
      for (let q = 0; q <= r; q++) {
        const label = ranked[at + q];
        if (label === noLabel) continue;
        sums.named[buckets.of[label]]++;
        if (this.#gains[q] > 0) sums.hits[buckets.of[label]]++;
      }
    }
  }

  #bucketFigures({ k, hits, named }: Sums): Record<Bucket, BucketFigures> {
    const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
    const figures = BUCKETS.map((name, b): [Bucket, BucketFigures] => [
      name,
      {
        precision: share(hits[b], named[b]),
        recall: share(hits[b], this.#pairs[b]),
        contribution: share(hits[b], k * this.#counted),
      },
    ]);
    return Object.fromEntries(figures) as Record<Bucket, BucketFigures>;
  }

  #checkSizes({ k, labels }: Ranking, truth: CsrDataset, rowIds: ArrayLike<number>): void {
    const { propensities, buckets } = this.#options;
    if (k < this.#largest) {
      throw refuse(
        'METRIC_K',
        'the rankings are shorter than the largest cut-off',
        `k >= ${this.#largest}`,
        `${k}`,
      );
    }
    if (labels.length < rowIds.length * k) {
      throw refuse('METRIC_ROWS', 'fewer rankings than rows', `${rowIds.length * k} ids`, `${labels.length}`);
    }
    for (const given of [propensities, buckets?.of]) {
      if (given !== undefined && given.length !== truth.labels) {
        throw refuse(
          'METRIC_LABELS',
          'propensities or buckets are of other labels',
          `${truth.labels}`,
          `${given.length}`,
        );
      }
    }
    for (let i = 0; i < rowIds.length; i++) {
      if (rowIds[i] >= truth.rows) {
        throw refuse('METRIC_ROWS', 'no such row', `below ${truth.rows}`, `${rowIds[i]}`);
      }
    }
    for (let e = 0; e < rowIds.length * k; e++) {
      if (labels[e] >= truth.labels && labels[e] !== noLabel) {
        throw refuse(
          'METRIC_LABELS',
          'a ranking names a label that is none',
          `below ${truth.labels}`,
          `${labels[e]}`,
        );
      }
    }
  }
}

/** Whether sorted ids[begin..end) hold `id`. */
function contains(ids: Uint32Array, begin: number, end: number, id: number): boolean {
  while (begin < end) {
    const middle = begin + Math.floor((end - begin) / 2);
    if (ids[middle] === id) return true;
    if (ids[middle] < id) begin = middle + 1;
    else end = middle;
  }
  return false;
}

function refuse(code: string, problem: string, expected: string, received: string): EspalierError {
  return new EspalierError({ code, kind: 'usage', op: 'TopKMetrics', problem, expected, received });
}
