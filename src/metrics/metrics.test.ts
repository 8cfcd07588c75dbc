import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { arbitraryDataset, datasetOf, rowRecords } from '../data/arbitrary.testing.js';
import { labelBuckets } from '../data/statistics.js';
import { Ratio, wilson } from './estimate.js';
import { propensities } from './propensities.js';
import { TopKMetrics, type TopKMetricsOptions } from './top-k.js';

const refusal = (code: string) => expect.objectContaining({ code });
const truthOf = (labels: number[][], of: number) =>
  datasetOf(
    labels.map((ids) => ({ features: [], values: [], labels: ids })),
    1,
    of,
  );

/** Rows {0, 2}, {1} and {}; rankings 2 1 0 3, 0 1 2 3 and 0 1 2 3. */
function handReport(options: TopKMetricsOptions) {
  const metrics = new TopKMetrics({ ks: [3, 1], ...options });
  const truth = truthOf([[1], [0, 2], []], 4);
  metrics.add({ k: 4, labels: Uint32Array.of(2, 1, 0, 3, 0, 1, 2, 3) }, truth, [1, 0]);
  metrics.add({ k: 4, labels: Uint32Array.of(0, 1, 2, 3) }, truth, [2]);
  return metrics.report();
}

describe('figures worked out by hand', () => {
  it('P, nDCG and recall; rows without labels count as missed', () => {
    const report = handReport({});
    expect([report.rows, report.rowsWithoutLabels]).toEqual([3, 1]);
    const [one, three] = report.at;
    expect([one.k, three.k]).toEqual([1, 3]);
    expect(one.precision.value).toBeCloseTo(1 / 3, 12);
    expect(three.precision.value).toBeCloseTo((2 / 3 + 1 / 3) / 3, 12);
    expect(one.ndcg.value).toBeCloseTo(1 / 3, 12);
    // (1 + 1/log2 4) / (1 + 1/log2 3) and 1/log2 3
    expect(three.ndcg.value).toBeCloseTo((1.5 / 1.6309297535714573 + 0.6309297535714575) / 3, 12);
    expect(one.recall.value).toBeCloseTo((1 / 2 + 0) / 2, 12);
    expect(three.recall.value).toBe(1);
    expect(one.psp).toBeUndefined();
    expect(one.buckets).toBeUndefined();
  });

  it('rows without labels can be left out; recall does not change', () => {
    const [one] = handReport({ emptyRows: 'skip' }).at;
    expect(one.precision.value).toBe(1 / 2);
    expect(one.ndcg.value).toBe(1 / 2);
    expect(one.recall.value).toBeCloseTo(1 / 4, 12);
  });

  it('PSP is divided by the best attainable', () => {
    const [one, three] = handReport({ propensities: Float64Array.of(0.5, 0.25, 0.8, 1) }).at;
    // Worth 2, 4, 1.25, 1: found 1.25 of the attainable 2 and 0 of 4; then everything.
    expect(one.psp?.value).toBeCloseTo(1.25 / 6, 12);
    expect(three.psp?.value).toBeCloseTo(1, 12);
  });

  it('figures by rarity: precision, recall, and contributions that sum to P@k', () => {
    // Frequencies 9, 5, 1, 0: head 0, torso 1, tail 2 and 3.
    const buckets = labelBuckets(Uint32Array.of(9, 5, 1, 0));
    const [one, three] = handReport({ buckets }).at;
    expect(one.buckets).toEqual({
      head: { precision: 0, recall: 0, contribution: 0 },
      torso: { precision: 0, recall: 0, contribution: 0 },
      tail: { precision: 1, recall: 1, contribution: 1 / 3 },
    });
    expect(three.buckets?.head).toEqual({ precision: 1 / 3, recall: 1, contribution: 1 / 9 });
    expect(three.buckets?.torso).toEqual({ precision: 1 / 3, recall: 1, contribution: 1 / 9 });
  });

  it('propensities (Jain et al. 2016), computed independently', () => {
    expect([...propensities([0, 10, 1000], 1000)]).toEqual([
      expect.closeTo(0.11332486734550759, 12),
      expect.closeTo(0.28151987893010255, 12),
      expect.closeTo(0.8205184443307, 12),
    ]);
    expect(propensities([10], 1000, { A: 0.6, B: 2.6 })[0]).toBeCloseTo(0.26413075914598094, 12);
    expect([...propensities([0, 5], 2)]).toEqual([1, 1]);
    expect(() => propensities([1], 0)).toThrow(refusal('PROPENSITY_OPTIONS'));
    expect(() => propensities([1], 10, { B: 0 })).toThrow(refusal('PROPENSITY_OPTIONS'));
  });
});

/** The definitions, word for word, one row at a time. */
function naive(rows: { truth: number[]; ranked: number[] }[], k: number, p: Float64Array) {
  const mean = (xs: number[]) => xs.reduce((sum, x) => sum + x, 0) / xs.length;
  const sum = (xs: number[]) => xs.reduce((total, x) => total + x, 0);
  const labelled = rows.filter(({ truth }) => truth.length > 0);
  const top = (ranked: number[]) => ranked.slice(0, k);
  const dcg = (right: boolean[]) => sum(right.map((hit, r) => (hit ? 1 / Math.log2(r + 2) : 0)));
  return {
    precision: mean(rows.map(({ truth, ranked }) => top(ranked).filter((l) => truth.includes(l)).length / k)),
    ndcg: mean(
      rows.map(({ truth, ranked }) =>
        truth.length === 0
          ? 0
          : dcg(top(ranked).map((l) => truth.includes(l))) / dcg(top(truth).map(() => true)),
      ),
    ),
    recall: mean(
      labelled.map(({ truth, ranked }) => top(ranked).filter((l) => truth.includes(l)).length / truth.length),
    ),
    psp:
      sum(
        labelled.map(({ truth, ranked }) =>
          sum(
            top(ranked)
              .filter((l) => truth.includes(l))
              .map((l) => 1 / p[l]),
          ),
        ),
      ) /
      sum(
        labelled.map(({ truth }) =>
          sum(
            truth
              .map((l) => 1 / p[l])
              .sort((a, b) => b - a)
              .slice(0, k),
          ),
        ),
      ),
  };
}

describe('laws', () => {
  const LABELS = 9;
  const ranking = fc.shuffledSubarray(
    Array.from({ length: LABELS }, (_, l) => l),
    { minLength: 6, maxLength: 6 },
  );
  const p = Float64Array.from({ length: LABELS }, (_, l) => 1 / (1 + l));
  const labelled = arbitraryDataset(LABELS).filter(({ positives }) => positives > 0);

  it('equal the definitions, however rows are split into batches', () => {
    fc.assert(
      fc.property(
        labelled,
        fc.array(ranking, { minLength: 12, maxLength: 12 }),
        fc.nat(12),
        (truth, all, at) => {
          const rankings = all.slice(0, truth.rows);
          const buckets = labelBuckets(Uint32Array.of(9, 8, 7, 3, 2, 2, 1, 1, 0));
          const metrics = new TopKMetrics({ ks: [1, 2, 5], propensities: p, buckets });
          const ids = Array.from({ length: truth.rows }, (_, i) => i);
          for (const part of [ids.slice(0, at), ids.slice(at)]) {
            const labels = Uint32Array.from(part.flatMap((id) => rankings[id]));
            metrics.add({ k: 6, labels }, truth, part);
          }
          const rows = rowRecords(truth).map((row, i) => ({ truth: [...row.labels], ranked: rankings[i] }));
          for (const figures of metrics.report().at) {
            const wanted = naive(rows, figures.k, p);
            for (const name of ['precision', 'ndcg', 'recall', 'psp'] as const) {
              expect(figures[name]?.value).toBeCloseTo(wanted[name], 10);
            }
            const { head, torso, tail } = figures.buckets ?? expect.fail('no buckets');
            const together = head.contribution + torso.contribution + tail.contribution;
            expect(together).toBeCloseTo(figures.precision.value, 10);
          }
        },
      ),
    );
  });

  it('a ranking with the true labels of largest worth first has nDCG and PSP 1, and intervals hold their value', () => {
    fc.assert(
      fc.property(labelled, (truth) => {
        const rows = rowRecords(truth);
        const ids = rows.map((_, i) => i).filter((i) => rows[i].labels.length > 0);
        const labels = ids.flatMap((i) => {
          const best = [...rows[i].labels].sort((a, b) => p[a] - p[b]);
          return [...best, ...Array<number>(5).fill(0xffffffff)].slice(0, 5);
        });
        const metrics = new TopKMetrics({ propensities: p });
        metrics.add({ k: 5, labels: Uint32Array.from(labels) }, truth, ids);
        for (const { ndcg, psp, precision } of metrics.report().at) {
          expect(ndcg.value).toBeCloseTo(1, 12);
          expect(psp?.value).toBeCloseTo(1, 12);
          expect(precision.low).toBeLessThanOrEqual(precision.value);
          expect(precision.high).toBeGreaterThanOrEqual(precision.value);
        }
      }),
    );
  });
});

describe('intervals', () => {
  it('of shares are those of Wilson', () => {
    const { low, high } = wilson(3, 10);
    expect(low).toBeCloseTo(0.10779126740630099, 12);
    expect(high).toBeCloseTo(0.6032218525388546, 12);
    expect(wilson(0, 10)).toMatchObject({ value: 0, low: 0, high: expect.closeTo(0.27753, 4) });
    expect(wilson(0, 0)).toEqual({ value: 0, low: 0, high: 1 });
  });

  it('of means are normal; of zeros and ones, and of nothing, Wilson', () => {
    const mean = new Ratio();
    for (const x of [0.2, 0.4, 1, 0.6]) mean.add(x, 1);
    expect(mean.estimate()).toEqual({
      value: expect.closeTo(0.55, 12),
      low: expect.closeTo(0.2152724257894012, 9),
      high: expect.closeTo(0.8847275742105989, 9),
    });
    const share = new Ratio();
    for (const x of [1, 0, 0, 1, 1, 0, 0, 0, 0, 0]) share.add(x, 1);
    expect(share.estimate()).toEqual(wilson(3, 10));
    expect(new Ratio().estimate()).toEqual(wilson(0, 0));
  });

  it('of a mean hold the true mean in about 95 of 100 samples', () => {
    // Squares of uniforms from a small congruential generator: mean 1/3.
    let held = 0;
    let word = 1;
    for (let sample = 0; sample < 400; sample++) {
      const mean = new Ratio();
      for (let i = 0; i < 60; i++) {
        word = (Math.imul(word, 1664525) + 1013904223) >>> 0;
        mean.add((word / 2 ** 32) ** 2, 1);
      }
      const { low, high } = mean.estimate();
      if (low <= 1 / 3 && 1 / 3 <= high) held++;
    }
    expect(held).toBeGreaterThan(365);
    expect(held).toBeLessThan(395);
  });
});

describe('TopKMetrics refuses', () => {
  const truth = truthOf([[0]], 3);
  const add = (options: TopKMetricsOptions, k: number, labels: number[], ids = [0]) => {
    new TopKMetrics(options).add({ k, labels: Uint32Array.from(labels) }, truth, ids);
  };
  it.each([
    ['no cut-offs', () => new TopKMetrics({ ks: [] }), 'METRIC_K'],
    ['a cut-off of 0', () => new TopKMetrics({ ks: [0] }), 'METRIC_K'],
    ['short rankings', () => add({ ks: [3] }, 2, [0, 1]), 'METRIC_K'],
    ['missing rankings', () => add({ ks: [1] }, 1, []), 'METRIC_ROWS'],
    ['rows that are not there', () => add({ ks: [1] }, 1, [0], [1]), 'METRIC_ROWS'],
    ['labels that are not there', () => add({ ks: [1] }, 1, [3]), 'METRIC_LABELS'],
    ['a right label named twice', () => add({ ks: [2] }, 2, [0, 0]), 'METRIC_REPEAT'],
    ['propensities of others', () => add({ propensities: Float64Array.of(1) }, 5, [0]), 'METRIC_ROWS'],
    ['a report of nothing', () => new TopKMetrics().report(), 'METRIC_NO_ROWS'],
  ])('%s', (_name, act, code) => {
    expect(act).toThrow(refusal(code));
  });

  it('propensities and buckets of other labels', () => {
    expect(() => add({ ks: [1], propensities: Float64Array.of(1) }, 1, [0])).toThrow(
      refusal('METRIC_LABELS'),
    );
    const buckets = labelBuckets(Uint32Array.of(1));
    expect(() => add({ ks: [1], buckets }, 1, [0])).toThrow(refusal('METRIC_LABELS'));
  });
});
