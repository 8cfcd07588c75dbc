/** Label clusters: recursive balanced spherical 2-means over label features. */
import { ensure } from '../errors.js';
import type { Kernels } from '../kernels/face.js';
import { RandomStream } from '../kernels/random.js';
import type { LabelFeatures } from './label-features.js';

export interface ClusterOptions {
  /** Most labels of a cluster: there are 2^ceil(log2(labels / maxSize)) clusters; default 100. */
  readonly maxSize?: number;
  /** Halves of clusters are split on, for the order alone, down to this many labels; default 8, or maxSize if smaller. */
  readonly leafSize?: number;
  readonly seed: number;
  /** A split ends when an iteration raises the mean similarity by less; default 1e-4. */
  readonly minGain?: number;
}

export interface LabelClusters {
  /** C, a power of two. */
  readonly clusters: number;
  /** [labels], each < C; neighbouring clusters come from one split. */
  readonly clusterOf: Uint32Array;
  /** [C + 1], the labels of cluster c are order[begin[c]] to order[begin[c + 1]]. */
  readonly begin: Uint32Array;
  /**
   * [labels], a permutation in which every cluster, and every half inside of it, is contiguous: labels that stand
   * together are alike. Labels without features end their leaf.
   */
  readonly order: Uint32Array;
  /** Mean cosine between a label and the centre of its leaf, over what the last level split; null: no split. */
  readonly similarity: number | null;
  /** Labels that no training row describes: spread evenly. */
  readonly withoutFeatures: number;
  /** Bytes of the result and of the working arrays, the label features not counted. */
  readonly peakBytes: number;
}

/** How often to halve until no part has more than `size` labels. */
const levelsFor = (labels: number, size: number): number => {
  let levels = 0;
  while (labels > size * 2 ** levels) levels++;
  return levels;
};

/**
 * Splits all labels into two halves of equal size, and each half again, until no cluster has more than `maxSize`
 * labels. A split is balanced spherical 2-means from two random labels (Prabhu et al. 2018, section 3.2; Ullah et
 * al. 2024). Sizes differ by at most one at every level. The result depends on the features and the seed alone:
 * not on the backend, not on the number of threads.
 *
 * @throws EspalierError `CLUSTER_OPTIONS` for sizes below 1
 * @example const { order } = await clusterLabels(kernels, labelFeatures(dataset), { maxSize: 64, seed: 1 });
 */
export async function clusterLabels(
  kernels: Kernels,
  features: LabelFeatures,
  options: ClusterOptions,
): Promise<LabelClusters> {
  const { labels, indptr } = features;
  const { maxSize = 100, leafSize = Math.min(8, maxSize), minGain = 1e-4 } = options;
  checkOptions(maxSize, leafSize, minGain);
  const described = Uint32Array.from(labelsWhere(labels, (l) => indptr[l + 1] > indptr[l]));
  const silent = Uint32Array.from(labelsWhere(labels, (l) => indptr[l + 1] === indptr[l]));
  const clusterLevels = levelsFor(labels, maxSize);
  const levels = Math.max(clusterLevels, levelsFor(labels, leafSize));
  const split = makeSplitter(kernels, features, described, minGain);
  const stream = RandomStream.named(options.seed, 'clusters');

  let nodes: Nodes = { described: [described.length], silent: [silent.length] };
  let clusterSizes = [labels];
  let similarity: number | null = null;
  for (let level = 0; level < levels; level++) {
    similarity = split.level(nodes.described, stream);
    nodes = halves(nodes);
    if (level + 1 === clusterLevels) clusterSizes = nodes.described.map((n, i) => n + nodes.silent[i]);
    // Signals and timers get their turn between levels.
    await new Promise((resolve) => setImmediate(resolve));
  }

  const order = interleave(described, silent, nodes);
  const begin = new Uint32Array(clusterSizes.length + 1);
  for (const [c, size] of clusterSizes.entries()) begin[c + 1] = begin[c] + size;
  const clusterOf = new Uint32Array(labels);
  for (let c = 0; c < clusterSizes.length; c++) {
    for (let i = begin[c]; i < begin[c + 1]; i++) clusterOf[order[i]] = c;
  }
  const bytes = [order, begin, clusterOf, described, silent].reduce(
    (sum, a) => sum + a.byteLength,
    split.bytes,
  );
  return {
    clusters: clusterSizes.length,
    clusterOf,
    begin,
    order,
    similarity,
    withoutFeatures: silent.length,
    peakBytes: bytes,
  };
}

function* labelsWhere(labels: number, holds: (label: number) => boolean): Generator<number> {
  for (let label = 0; label < labels; label++) if (holds(label)) yield label;
}

/** Sizes of the nodes of one level, left to right. */
interface Nodes {
  readonly described: readonly number[];
  readonly silent: readonly number[];
}

/** The next level: every node in halves that differ by at most one label, and so do their described labels. */
function halves({ described, silent }: Nodes): Nodes {
  const next = { described: [] as number[], silent: [] as number[] };
  for (const [i, n] of described.entries()) {
    const leftDescribed = Math.ceil(n / 2);
    const left = Math.ceil((n + silent[i]) / 2);
    // NOTE: never negative, and within one of half of the silent labels, whatever the parities.
    const leftSilent = left - leftDescribed;
    next.described.push(leftDescribed, n - leftDescribed);
    next.silent.push(leftSilent, silent[i] - leftSilent);
  }
  return next;
}

/** Leaf by leaf, described labels first. */
function interleave(described: Uint32Array, silent: Uint32Array, leaves: Nodes): Uint32Array {
  const order = new Uint32Array(described.length + silent.length);
  let [at, d, s] = [0, 0, 0];
  for (const [leaf, n] of leaves.described.entries()) {
    order.set(described.subarray(d, d + n), at);
    order.set(silent.subarray(s, s + leaves.silent[leaf]), at + n);
    d += n;
    s += leaves.silent[leaf];
    at = d + s;
  }
  return order;
}

/** The buffers of the kernel, made once, and the splitting of one level of `order` in place. */
function makeSplitter(kernels: Kernels, csr: LabelFeatures, order: Uint32Array, minGain: number) {
  const { labels, features } = csr;
  const rows = order.length;
  // One pair of sums per thread, unless they would outweigh the label features themselves.
  const pair = 2 * Math.max(1, features);
  const pairs = Math.max(1, Math.min(kernels.threads, Math.ceil(csr.indices.length / pair)));
  const sums = new Float64Array(pair * pairs);
  const scores = new Float64Array(3 * rows);
  const sides = new Uint32Array(rows);
  const level = (sizes: readonly number[], stream: RandomStream): number | null => {
    const segments = sizes.length;
    const bounds = new Int32Array(segments + 1);
    const starts = new Uint32Array(2 * segments);
    for (const [i, n] of sizes.entries()) {
      bounds[i + 1] = bounds[i] + n;
      if (n < 2) continue;
      starts[2 * i] = stream.below(n);
      // A different one: the draw passes over the first.
      const second = stream.below(n - 1);
      starts[2 * i + 1] = second < starts[2 * i] ? second : second + 1;
    }
    const similarity = new Float64Array(segments);
    kernels.balancedSplit({
      rows: labels,
      features,
      indptr: csr.indptr,
      indices: csr.indices,
      values: csr.values,
      segments,
      order,
      bounds,
      starts,
      minGain,
      sums,
      scores,
      sides,
      similarity,
    });
    let total = 0;
    let weight = 0;
    for (const [i, n] of sizes.entries()) {
      if (n < 2) continue;
      total += n * similarity[i];
      weight += n;
    }
    return weight === 0 ? null : total / weight;
  };
  return { level, bytes: sums.byteLength + scores.byteLength + sides.byteLength };
}

function checkOptions(maxSize: number, leafSize: number, minGain: number): void {
  const check = (holds: boolean, what: string, expected: string, received: number) =>
    ensure(holds, () => ({
      code: 'CLUSTER_OPTIONS',
      kind: 'usage',
      op: 'clusterLabels',
      problem: `${what} is out of range`,
      expected,
      received: `${received}`,
    }));
  const count = 'a positive whole number of labels';
  check(Number.isInteger(maxSize) && maxSize >= 1, 'maxSize', count, maxSize);
  check(Number.isInteger(leafSize) && leafSize >= 1, 'leafSize', count, leafSize);
  check(minGain > 0 && minGain < Infinity, 'minGain', 'a positive gain in similarity', minGain);
}
