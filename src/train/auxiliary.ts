/** The auxiliary objective of a run: clusters of the labels that train, and the head that predicts them. */
import { clusterLabels } from '../clusters/cluster-labels.js';
import { labelFeatures } from '../clusters/label-features.js';
import type { CsrDataset } from '../data/dataset.js';
import { ensure } from '../errors.js';
import type { Kernels } from '../kernels/face.js';
import { RandomStream } from '../kernels/random.js';
import { AuxiliaryHead } from '../methods/dynamic-sparse/auxiliary.js';
import { logits } from '../model/classifier.js';
import type { OptimizerSpec } from '../optim/rules.js';
import type { Device } from '../tensor/device.js';
import type { TrainConfig } from './config.js';
import type { TrainEvent } from './events.js';

/** What of the auxiliary objective decides memory. */
export interface AuxiliaryShape {
  readonly clusters: number;
  /** Most bytes held while the clusters were made, before the model exists. */
  readonly clusteringBytes: number;
  readonly optimizer: OptimizerSpec;
}

export interface ClusterTargets {
  readonly shape: AuxiliaryShape;
  readonly clusterOf: Uint32Array;
  /** [clusters], share of rows with a label of the cluster. */
  readonly shares: Float64Array;
  readonly event: Extract<TrainEvent, { event: 'clusters' }>;
}

/** The clusters that `config.auxiliary` asks for, or null; the same for the same rows and seed. */
async function clusterTargets(
  config: TrainConfig,
  kernels: Kernels,
  rows: CsrDataset,
): Promise<ClusterTargets | null> {
  const { auxiliary, outputOptimizer, seed } = config;
  if (auxiliary === null) return null;
  const { maxClusterSize: maxSize } = auxiliary;
  ensure(rows.labels > maxSize, () => ({
    code: 'AUXILIARY_ONE_CLUSTER',
    kind: 'usage',
    op: 'train',
    problem: 'all labels would fall into one cluster, which there is nothing to learn from',
    expected: `auxiliary.maxClusterSize below ${rows.labels}, the number of labels`,
    received: `${maxSize}`,
    hint: 'lower auxiliary.maxClusterSize, or leave auxiliary out: few labels do not need it',
  }));
  const start = performance.now();
  const features = labelFeatures(rows);
  const made = await clusterLabels(kernels, features, { maxSize, leafSize: maxSize, seed });
  const { clusters, clusterOf, similarity, withoutFeatures } = made;
  const held = [features.indptr, features.indices, features.values].reduce((sum, a) => sum + a.byteLength, 0);
  return {
    shape: {
      clusters,
      clusteringBytes: Math.max(features.peakBytes, held + made.peakBytes),
      optimizer: { ...outputOptimizer, rate: auxiliary.rate ?? outputOptimizer.rate },
    },
    clusterOf,
    shares: clusterShares(rows, clusterOf, clusters),
    event: {
      event: 'clusters',
      clusters,
      largest: Math.ceil(rows.labels / clusters),
      similarity,
      withoutFeatures,
      seconds: (performance.now() - start) / 1000,
    },
  };
}

/** The order of the labels in which groups of `model.output.order: clusters` are cut; null for other models. */
async function labelOrder(
  { model: { output }, seed }: TrainConfig,
  kernels: Kernels,
  rows: CsrDataset,
): Promise<{ readonly order: Uint32Array; readonly clusteringBytes: number } | null> {
  if (output.kind !== 'grouped' || output.order !== 'clusters') return null;
  const features = labelFeatures(rows);
  const { order, peakBytes } = await clusterLabels(kernels, features, {
    maxSize: output.group,
    leafSize: Math.min(8, output.group),
    seed,
  });
  const held = [features.indptr, features.indices, features.values].reduce((sum, a) => sum + a.byteLength, 0);
  return { order, clusteringBytes: Math.max(features.peakBytes, held + peakBytes) };
}

export interface Clusters {
  readonly targets: ClusterTargets | null;
  /** For groups by clusters. */
  readonly order: Uint32Array | undefined;
  /** Most bytes held while they were made. */
  readonly clusteringBytes: number;
}

/** All that a run's settings want of clusters, made one after the other. */
export async function clustersOf(config: TrainConfig, kernels: Kernels, rows: CsrDataset): Promise<Clusters> {
  const targets = await clusterTargets(config, kernels, rows);
  const groups = await labelOrder(config, kernels, rows);
  const clusteringBytes = Math.max(targets?.shape.clusteringBytes ?? 0, groups?.clusteringBytes ?? 0);
  return { targets, order: groups?.order, clusteringBytes };
}

/** `clustersOf` for configs that differ in their output layers alone: made once for all that want the same. */
export function clustersOnce(kernels: Kernels, rows: CsrDataset): (config: TrainConfig) => Promise<Clusters> {
  const made = new Map<number, Promise<Clusters>>();
  return (config) => {
    const { output } = config.model;
    const group = output.kind === 'grouped' && output.order === 'clusters' ? output.group : 0;
    const known = made.get(group) ?? clustersOf(config, kernels, rows);
    made.set(group, known);
    return known;
  };
}

/** The head of a run; on a dry device from the shape alone. */
export function auxiliaryHead(
  device: Device,
  inputs: number,
  run: { readonly labels: number; readonly batchPositives: number; readonly seed: number },
  shape: AuxiliaryShape,
  targets?: ClusterTargets & { readonly biasStart: 'frequency' | 'zero' },
): AuxiliaryHead {
  return new AuxiliaryHead(device, {
    inputs,
    clusters: shape.clusters,
    labels: run.labels,
    clusterOf: targets?.clusterOf,
    positives: run.batchPositives,
    optimizer: shape.optimizer,
    // A stream of its own: with or without a head, everything else draws the same.
    stream: RandomStream.named(run.seed, 'auxiliary'),
    initialBias: targets?.biasStart === 'frequency' ? logits(targets.shares) : 0,
  });
}

function clusterShares(
  { rows, labelIndptr, labelIds }: CsrDataset,
  clusterOf: Uint32Array,
  clusters: number,
) {
  const shares = new Float64Array(clusters);
  const seenBy = new Float64Array(clusters);
  for (let row = 0; row < rows; row++) {
    for (let e = labelIndptr[row]; e < labelIndptr[row + 1]; e++) {
      const cluster = clusterOf[labelIds[e]];
      if (seenBy[cluster] === row + 1) continue;
      seenBy[cluster] = row + 1;
      shares[cluster]++;
    }
  }
  return shares.map((count) => count / Math.max(1, rows));
}
