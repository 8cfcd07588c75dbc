/** One rewiring of a layer whose rows of columns, of labels or of groups, evolve: when it is due, and what regrows. */
import type { GrowthSource } from '../../output/layer.js';
import type { Device } from '../../tensor/device.js';
import { type GrowingLayer, growByGradient, growthOf, pruneOf } from './grow.js';
import { defaultPerLabel, type FanInOutputOptions, type PruneRule } from './options.js';
import { rewireProgress } from './rewire.js';
import type { StoredWeights } from './topology.js';

export interface Rewired {
  /** Connections of labels. */
  readonly replaced: number;
  /** The magnitude below which weights went, where one threshold decided. */
  readonly threshold: number | null;
}

export interface EvolvingLayer {
  /** Names refusals. */
  readonly op: string;
  readonly device: Device;
  readonly options: Pick<FanInOutputOptions, 'topology' | 'rewireStream'>;
  regrowAtRandom(rule: PruneRule, progress: number): Promise<Rewired>;
  /** Runs `work` on the layer as growth takes it, and on the magnitudes [rows, fanIn] that pruning judges by. */
  growing<T>(
    work: (layer: Omit<GrowingLayer, 'key' | 'products'>, sizes: StoredWeights) => Promise<T>,
  ): Promise<T>;
}

/** Rewires the layer as its topology says of this step; null where it says nothing. */
export async function rewireLayer(
  layer: EvolvingLayer,
  step: number,
  totalSteps: number,
  growth: GrowthSource | undefined,
): Promise<Rewired | null> {
  const { topology } = layer.options;
  if (step === 0 && topology.start === 'gradient') return grow(layer, 'positives', 'everything', 0, growth);
  const progress = rewireProgress(topology, step, totalSteps);
  if (topology.kind === 'static' || progress === null) return null;
  if (topology.kind === 'set') return layer.regrowAtRandom(topology.prune, progress);
  return grow(layer, topology.sample, topology.prune, progress, growth);
}

async function grow(
  { op, device, options, growing }: EvolvingLayer,
  sample: 'batch' | 'positives',
  rule: PruneRule | 'everything',
  progress: number,
  growth: GrowthSource | undefined,
): Promise<Rewired> {
  const source = growthOf(op, growth);
  const { products, perLabel = defaultPerLabel } = options.topology;
  return growing(async (layer, sizes) => {
    const { labels, fanIn, groups, stays } = layer;
    const rows = groups?.count ?? labels;
    const key = options.rewireStream.reserve(rows * fanIn);
    const prune = device.dry ? { perRow: 0 } : pruneOf(rule, progress, { rows, fanIn, stays, sizes });
    const how = { sample, perLabel };
    const replaced = await growByGradient(device, { ...layer, key, products }, prune, how, source);
    return { replaced, threshold: 'threshold' in prune ? prune.threshold : null };
  });
}
