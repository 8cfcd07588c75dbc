/**
 * Growth by gradients: what a rewiring of kind `rigl` prunes, and the evidence it grows by.
 *
 * The dense gradient of a label's weights over all N examples is sum_b G_b h_b. Its positives are few and known, so
 * with `positives` they are all encoded anew, label by label; its negatives are many and alike, so a batch of B stands
 * for them. A pair of the evidence weighs B/N of a pair of the batch, times what the cap per label left out.
 */
import type { FanInRegrowArgs, GrowthEvidence } from '../../kernels/face.js';
import type { GrowthSource } from '../../output/layer.js';
import { breathe } from '../../output/slabs.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { PruneRule } from './options.js';
import { annealed } from './rewire.js';
import { selectMagnitude } from './topology.js';

type Layer = Pick<
  FanInRegrowArgs,
  'inputs' | 'labels' | 'loss' | 'fanIn' | 'columns' | 'weights' | 'bias' | 'weightMoments' | 'key'
>;

/** What goes at this progress; everything where a run starts from the gradient. */
export function pruneOf(
  rule: PruneRule | 'everything',
  progress: number,
  { labels, fanIn, weights }: Pick<Layer, 'labels' | 'fanIn' | 'weights'>,
): FanInRegrowArgs['prune'] {
  if (rule === 'everything') return { perRow: fanIn };
  const amount = annealed(rule, progress);
  if (rule.mode === 'threshold') return { threshold: amount, ties: 0 };
  if (rule.scope === 'label') return { perRow: Math.floor(amount * fanIn) };
  return selectMagnitude(weights, Math.floor(amount * labels * fanIn));
}

/** One rewiring of the whole layer; the step arena must be empty, and is left so. Returns the connections replaced. */
export async function growByGradient(
  device: Device,
  layer: Layer,
  prune: FanInRegrowArgs['prune'],
  how: { readonly sample: 'batch' | 'positives'; readonly perLabel: number },
  growth: GrowthSource,
): Promise<number> {
  const { inputs, labels, fanIn } = layer;
  const { h, positives } = growth.batch();
  const batch = h.shape[0];
  const workspace = device.temporary('workspace', [
    device.kernels.fanInRegrowWorkspace({ batch, inputs, fanIn }),
  ]);
  const sampler = how.sample === 'positives' ? new EvidenceSampler(how.perLabel, batch, growth) : null;
  let replaced = 0;
  let ties = 'ties' in prune ? prune.ties : 0;
  let begin = 0;
  do {
    const sample = sampler?.from(begin, labels, device) ?? null;
    const end = device.dry ? labels : (sample?.end ?? Math.min(labels, begin + slabLabels(batch, inputs)));
    const done = device.kernels.fanInRegrow({
      ...layer,
      batch,
      begin,
      end,
      h: h.data,
      positives,
      evidence: sample?.evidence ?? null,
      prune: 'ties' in prune ? { ...prune, ties } : prune,
      workspace: workspace.data,
    });
    if (!device.dry) {
      replaced += done.replaced;
      ties = Math.max(0, ties - done.ties);
    }
    if (sample !== null) device.release(sample.h);
    begin = end;
    await breathe();
  } while (begin < labels);
  device.arena.reset();
  return replaced;
}

/** About 30 ms of work of a fast backend. */
const slabLabels = (batch: number, inputs: number): number =>
  Math.max(64, Math.floor(3e9 / (2 * Math.max(1, batch) * inputs)));

/** Walks the labels and hands out their positives, as many labels at a time as the rows of one encoding allow. */
class EvidenceSampler {
  readonly #perLabel: number;
  readonly #growth: GrowthSource;
  readonly #share: number;

  constructor(perLabel: number, batch: number, growth: GrowthSource) {
    this.#perLabel = Math.min(perLabel, growth.evidenceRows);
    this.#growth = growth;
    this.#share = batch / Math.max(1, growth.examples);
  }

  from(
    begin: number,
    labels: number,
    device: Device,
  ): { readonly end: number; readonly evidence: GrowthEvidence; readonly h: Tensor } {
    const { evidenceRows } = this.#growth;
    const pairs = { label: [] as number[], row: [] as number[], weight: [] as number[] };
    const place = new Map<number, number>();
    let end = begin;
    for (; end < labels && !device.dry && place.size + this.#perLabel <= evidenceRows; end++) {
      const rows = this.#growth.rowsOf(end);
      const taken = Math.min(rows.length, this.#perLabel);
      for (let i = 0; i < taken; i++) {
        // Evenly spaced: the same rows whenever the label is looked at.
        const row = rows[Math.floor((i * rows.length) / taken)];
        let at = place.get(row);
        if (at === undefined) {
          at = place.size;
          place.set(row, at);
        }
        pairs.label.push(end);
        pairs.row.push(at);
        pairs.weight.push((this.#share * rows.length) / taken);
      }
    }
    const h = this.#growth.hidden(Uint32Array.from(place.keys()));
    const evidence = {
      count: pairs.label.length,
      label: Uint32Array.from(pairs.label),
      row: Uint32Array.from(pairs.row),
      weight:
        device.precision === 'float32' ? Float32Array.from(pairs.weight) : Float64Array.from(pairs.weight),
      rows: place.size,
      h: h.data,
    };
    return { end, evidence, h };
  }
}
