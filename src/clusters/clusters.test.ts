import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CsrBuilder } from '../data/builder.js';
import type { CsrDataset } from '../data/dataset.js';
import { plantedDataset } from '../data/planted.js';
import { allBackends } from '../kernels/conformance/backends.testing.js';
import { RandomStream } from '../kernels/random.js';
import { referenceKernels } from '../kernels/reference/index.js';
import { type ClusterOptions, clusterLabels, type LabelClusters } from './cluster-labels.js';
import { labelFeatures } from './label-features.js';

const reference = referenceKernels('float32');
const cluster = (dataset: CsrDataset, options: ClusterOptions) =>
  clusterLabels(reference, labelFeatures(dataset), options);

type Row = readonly [features: Record<number, number>, labels: readonly number[]];
function dataset(features: number, labels: number, rows: readonly Row[]): CsrDataset {
  const builder = new CsrBuilder({ features, labels });
  for (const [x, y] of rows) builder.row(Object.keys(x).map(Number), Object.values(x), y);
  return builder.finish();
}

/** `topics` topics with features of their own; label l belongs to topic `topicOf[l]`. */
function topical(topics: number, perTopic: number, seed: number) {
  const random = RandomStream.named(seed, 'topical');
  const topicOf = random.shuffle(Uint32Array.from({ length: topics * perTopic }, (_, l) => l % topics));
  const rows: Row[] = [];
  for (const [label, topic] of topicOf.entries()) {
    for (let r = 0; r < 3; r++) {
      const words = Array.from({ length: 4 }, () => topic * 10 + random.below(10));
      rows.push([Object.fromEntries(words.map((w) => [w, 1 + random.uniform()])), [label]]);
    }
  }
  return { topicOf, data: dataset(topics * 10, topics * perTopic, rows) };
}

const sizes = ({ begin, clusters }: LabelClusters) =>
  Array.from({ length: clusters }, (_, c) => begin[c + 1] - begin[c]);

/** order is a permutation, and clusterOf says what order and begin say. */
function expectSound({ order, begin, clusterOf, clusters }: LabelClusters, labels: number): void {
  expect(Array.from(order).sort((a, b) => a - b)).toEqual(Array.from({ length: labels }, (_, l) => l));
  expect([begin[0], begin[clusters]]).toEqual([0, labels]);
  for (let c = 0; c < clusters; c++) {
    for (let i = begin[c]; i < begin[c + 1]; i++) expect(clusterOf[order[i]]).toBe(c);
  }
}

describe('labelFeatures', () => {
  it('are the normalised sum of the normalised rows of a label', () => {
    const { indptr, indices, values } = labelFeatures(
      dataset(4, 3, [
        [{ 0: 3, 1: 4 }, [0, 2]],
        [{ 1: 2 }, [2]],
        [{ 3: 7 }, [0]],
      ]),
    );
    const vector = (label: number) => {
      const x = [0, 0, 0, 0];
      for (let e = indptr[label]; e < indptr[label + 1]; e++) x[indices[e]] = values[e];
      return x;
    };
    const unit = (x: number[]) => x.map((v) => Math.fround(v / Math.hypot(...x)));
    expect(vector(0)).toEqual(unit([0.6, 0.8, 0, 1]));
    expect(vector(1)).toEqual([0, 0, 0, 0]);
    expect(vector(2)).toEqual(unit([0.6, 1.8, 0, 0]));
  });

  it('leave labels out whose rows are all zero, or cancel, and keep the next label whole', () => {
    const { indptr, indices, values } = labelFeatures(
      dataset(3, 3, [
        [{ 0: 1, 1: -1 }, [0]],
        [{ 0: -1, 1: 1 }, [0]],
        [{ 0: 0 }, [1]],
        [{ 2: 5 }, [2]],
      ]),
    );
    expect(Array.from(indptr)).toEqual([0, 0, 0, 1]);
    expect([Array.from(indices), Array.from(values)]).toEqual([[2], [1]]);
  });
});

describe('clusterLabels', () => {
  it('cuts any number of labels into 2^ceil(log2(L / maxSize)) clusters whose sizes differ by at most one', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 150 }),
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 40 }),
        async (labels, rows, maxSize, leafSize) => {
          const data = plantedDataset({ rows: labels > 0 ? rows : 0, features: 30, labels, seed: rows });
          const result = await cluster(data, { maxSize, leafSize, seed: 1 });
          expectSound(result, labels);
          expect(result.clusters).toBe(2 ** Math.max(0, Math.ceil(Math.log2(labels / maxSize))));
          const all = sizes(result);
          expect(Math.max(...all) - Math.min(...all)).toBeLessThanOrEqual(1);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('spreads labels without rows evenly over the clusters', async () => {
    const { data } = topical(4, 10, 1);
    const labels = 40 + 23;
    const wider = dataset(
      40,
      labels,
      Array.from({ length: data.rows }, (_, r) => [
        Object.fromEntries(
          Array.from(data.indices.subarray(data.indptr[r], data.indptr[r + 1]), (f, i) => [
            f,
            data.values[data.indptr[r] + i],
          ]),
        ),
        // The described labels are the odd ones and the last.
        [Math.min(labels - 1, 1 + 2 * data.labelIds[r])],
      ]),
    );
    const result = await cluster(wider, { maxSize: 8, seed: 1 });
    expectSound(result, labels);
    const described = new Set(wider.labelIds);
    expect(result.withoutFeatures).toBe(labels - described.size);
    const silent = new Uint32Array(result.clusters);
    for (let l = 0; l < labels; l++) if (!described.has(l)) silent[result.clusterOf[l]]++;
    expect(Math.max(...silent) - Math.min(...silent)).toBeLessThanOrEqual(1);
  });

  it.each([1, 2, 3, 4, 5])('finds planted topics: every cluster is nearly pure (seed %i)', async (seed) => {
    const { topicOf, data } = topical(8, 16, seed);
    const result = await cluster(data, { maxSize: 16, seed });
    expect(sizes(result)).toEqual(Array(8).fill(16));
    for (let c = 0; c < 8; c++) {
      const topics = Array.from(
        result.order.subarray(result.begin[c], result.begin[c + 1]),
        (l) => topicOf[l],
      );
      const most = Math.max(...topics.map((t) => topics.filter((other) => other === t).length));
      expect(most / 16).toBeGreaterThan(0.8);
    }
  });

  it('the halves of a cluster are contiguous in the order: splitting on only sorts inside of it', async () => {
    const { data } = topical(8, 16, 7);
    const coarse = await cluster(data, { maxSize: 32, leafSize: 32, seed: 3 });
    const fine = await cluster(data, { maxSize: 32, leafSize: 1, seed: 3 });
    expect(fine.clusterOf).toEqual(coarse.clusterOf);
    expect(fine.order).not.toEqual(coarse.order);
    const finer = await cluster(data, { maxSize: 8, leafSize: 1, seed: 3 });
    expect(finer.order).toEqual(fine.order);
    expect(finer.clusterOf.map((c) => c >> 2)).toEqual(fine.clusterOf);
  });

  it('gives the same clusters on every backend and any number of threads, others for another seed', async () => {
    const features = labelFeatures(plantedDataset({ rows: 2000, features: 300, labels: 700, seed: 5 }));
    const expected = await clusterLabels(reference, features, { maxSize: 20, seed: 4 });
    for (const { kernels, onOneThread } of await allBackends()) {
      for (const k of [kernels, onOneThread]) {
        if (k === undefined || typeof k === 'string') continue;
        const result = await clusterLabels(k, features, { maxSize: 20, seed: 4 });
        expect({ ...result, peakBytes: 0 }).toEqual({ ...expected, peakBytes: 0 });
      }
    }
    const other = await clusterLabels(reference, features, { maxSize: 20, seed: 5 });
    expect(other.order).not.toEqual(expected.order);
  });

  it('does what can be done with no labels, one label, one feature, and equal labels', async () => {
    for (const [features, labels] of [
      [3, 0],
      [3, 1],
      [0, 5],
      [1, 9],
    ]) {
      const rows: Row[] = Array.from(
        { length: labels },
        (_, l): Row => [features === 0 ? ({} as Record<number, number>) : { 0: 1 }, [l]],
      );
      const result = await cluster(dataset(features, labels, rows), { maxSize: 2, leafSize: 1, seed: 1 });
      expectSound(result, labels);
    }
  });

  it.each([
    [{ maxSize: 0 }, /maxSize/],
    [{ leafSize: 1.5 }, /leafSize/],
    [{ minGain: 0 }, /minGain/],
  ])('refuses %j', async (options, message) => {
    await expect(cluster(dataset(1, 1, []), { seed: 1, ...options })).rejects.toThrow(message);
  });
});
