/**
 * Growth by gradients: what a rewiring of kind `rigl` prunes, and the evidence it grows by.
 *
 * The dense gradient of a label's weights over all N examples is sum_b G_b h_b. Its positives are few and known, so
 * with `positives` they are all encoded anew, label by label; its negatives are many and alike, so a batch of B stands
 * for them. A pair of the evidence weighs B/N of a pair of the batch, times what the cap per label left out.
 */
import { EspalierError } from '../../errors.js';
import type { FanInRegrowArgs, Floats, GrowthEvidence, Positives } from '../../kernels/face.js';
import type { GrowthSource } from '../../output/layer.js';
import { growthLogSums } from '../../output/log-sums.js';
import { breathe } from '../../output/slabs.js';
import { shareTargets } from '../../output/softmax.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { PruneRule } from './options.js';
import { annealed } from './rewire.js';
import { type StoredWeights, selectMagnitude } from './topology.js';

type RegrowParts = Pick<
  FanInRegrowArgs,
  | 'inputs'
  | 'labels'
  | 'loss'
  | 'fanIn'
  | 'columns'
  | 'weights'
  | 'bf16'
  | 'bias'
  | 'weightMoments'
  | 'key'
  | 'groups'
  | 'scores'
  | 'products'
  | 'stays'
>;

/** A layer that grows: labels, or slots of labels in groups, each with a row of columns or a share in one. */
export interface GrowingLayer extends RegrowParts {
  /** [labels], the label of every slot, where slots are in another order. */
  readonly labelOf?: Uint32Array;
  /** Positives as its kernels number them, with what must live as long. */
  placed(positives: Positives, batch: number): { positives: Positives };
  /** See `PlannableOutput.logSums`; softmax only. */
  logSums(h: Tensor, norms: Floats): Promise<void>;
}

interface GrowingRows {
  readonly rows: number;
  readonly fanIn: number;
  readonly stays?: number;
  readonly sizes: StoredWeights;
}

/**
 * What goes at this progress, by magnitudes [rows, fanIn] of slots that do not stay; everything where a run starts from the
 * gradient.
 */
export function pruneOf(
  rule: PruneRule | 'everything',
  progress: number,
  { rows, fanIn, stays = 0, sizes }: GrowingRows,
): FanInRegrowArgs['prune'] {
  const own = fanIn - stays;
  if (rule === 'everything') return { perRow: own };
  const amount = annealed(rule, progress);
  if (rule.mode === 'threshold') return { threshold: amount, ties: 0 };
  if (rule.scope === 'label') return { perRow: Math.floor(amount * own) };
  return selectMagnitude(sizes, Math.floor(amount * rows * own), { fanIn, shared: stays });
}

/** Refuses to grow by gradients that nobody can give. */
export function growthOf(op: string, growth: GrowthSource | undefined): GrowthSource {
  if (growth !== undefined) return growth;
  throw new EspalierError({
    code: 'GROWTH_SOURCE_MISSING',
    kind: 'usage',
    op,
    problem: 'growth by gradients needs examples to take them of',
    expected: 'a GrowthSource as third argument',
    received: 'none',
    hint: 'pass one, as the training loop does, or use topology { kind: "set" }',
  });
}

/** One rewiring of the whole layer; the step arena must be empty, and is left so. Returns the connections replaced. */
export async function growByGradient(
  device: Device,
  { labelOf, placed, logSums, ...layer }: GrowingLayer,
  prune: FanInRegrowArgs['prune'],
  how: { readonly sample: 'batch' | 'positives'; readonly perLabel: number },
  growth: GrowthSource,
): Promise<number> {
  const { inputs, labels, fanIn, loss, groups = null } = layer;
  const units = groups?.count ?? labels;
  const ofRows = how.sample === 'positives';
  const sums =
    loss === 'softmax' ? await (growth.logSums?.() ?? growthLogSums(device, growth, logSums, ofRows)) : null;
  const { h, positives, targets = positives } = growth.batch();
  const batch = h.shape[0];
  const norms = sums === null ? null : device.temporary('workspace', [2, batch]);
  if (norms !== null && sums !== null && !device.dry) {
    norms.data.set(sums.batch);
    shareTargets(targets, norms.data, batch);
  }
  const own = placed(positives, batch).positives;
  const workspace = device.temporary('workspace', [
    device.kernels.fanInRegrowWorkspace({ batch, inputs, fanIn }),
  ]);
  const starts = groups?.starts ?? null;
  const sampler = ofRows
    ? new EvidenceSampler(how.perLabel, batch, growth, { units, starts, labelOf })
    : null;
  const slab = Math.max(1, Math.floor((slabLabels(batch, inputs) * units) / Math.max(1, labels)));
  let replaced = 0;
  let ties = 'ties' in prune ? prune.ties : 0;
  let begin = 0;
  do {
    const sample = sampler?.from(begin, device) ?? null;
    const known = sample === null || sums === null ? null : normsOf(device, sample, sums.rows, growth);
    const end = device.dry ? units : (sample?.end ?? Math.min(units, begin + slab));
    const done = device.kernels.fanInRegrow({
      ...layer,
      batch,
      begin,
      end,
      h: h.data,
      positives: own,
      norms: norms?.data ?? null,
      evidence: sample && { ...sample.evidence, norms: known?.data ?? null },
      prune: 'ties' in prune ? { ...prune, ties } : prune,
      workspace: workspace.data,
    });
    if (!device.dry) {
      replaced += done.replaced;
      ties = Math.max(0, ties - done.ties);
    }
    if (known !== null) device.release(known);
    if (sample !== null) device.release(sample.h);
    begin = end;
    await breathe();
  } while (begin < units);
  device.arena.reset();
  return replaced;
}

/** Of softmax, [2, rows]: log Z of the rows of the evidence, and the share that one of their labels has. */
function normsOf(
  device: Device,
  { h, rows }: { readonly h: Tensor; readonly rows: Uint32Array },
  known: Float64Array | null,
  growth: GrowthSource,
): Tensor {
  const count = h.shape[0];
  const norms = device.temporary('workspace', [2, count]);
  for (let i = 0; i < count && known !== null && !device.dry; i++) {
    norms.data[i] = known[rows[i]];
    norms.data[count + i] = 1 / Math.max(1, growth.labelsOf(rows[i]));
  }
  return norms;
}

/** About 30 ms of work of a fast backend. */
const slabLabels = (batch: number, inputs: number): number =>
  Math.max(64, Math.floor(3e9 / (2 * Math.max(1, batch) * inputs)));

interface Units {
  /** Labels, or groups of them. */
  readonly units: number;
  /** [units + 1] slots of groups; null: unit u is label u. */
  readonly starts: Uint32Array | null;
  readonly labelOf: Uint32Array | undefined;
}

/** Walks the labels and hands out their positives, as many units at a time as the rows of one encoding allow. */
class EvidenceSampler {
  readonly #perLabel: number;
  readonly #growth: GrowthSource;
  readonly #share: number;
  readonly #units: Units;

  constructor(perLabel: number, batch: number, growth: GrowthSource, units: Units) {
    this.#perLabel = Math.min(perLabel, growth.evidenceRows);
    this.#growth = growth;
    this.#share = batch / Math.max(1, growth.examples);
    this.#units = units;
  }

  /** Units from `begin` to `end`; `rows` are those of the training set that `h` encodes. */
  from(
    begin: number,
    device: Device,
  ): {
    readonly end: number;
    readonly evidence: GrowthEvidence;
    readonly h: Tensor;
    readonly rows: Uint32Array;
  } {
    const { evidenceRows } = this.#growth;
    const { units, starts, labelOf } = this.#units;
    const pairs = { label: [] as number[], row: [] as number[], weight: [] as number[] };
    const place = new Map<number, number>();
    let end = begin;
    for (; end < units && !device.dry; end++) {
      const [from, to] = starts === null ? [end, end + 1] : [starts[end], starts[end + 1]];
      // A group is looked at as a whole: a large one with fewer positives of each label.
      const perLabel = Math.min(this.#perLabel, Math.floor(evidenceRows / Math.max(1, to - from)));
      if (place.size > 0 && place.size + perLabel * (to - from) > evidenceRows) break;
      for (let slot = from; slot < to; slot++) {
        const rows = this.#growth.rowsOf(labelOf === undefined ? slot : labelOf[slot]);
        const taken = Math.min(rows.length, perLabel);
        for (let i = 0; i < taken; i++) {
          // Evenly spaced: the same rows whenever the label is looked at.
          const row = rows[Math.floor((i * rows.length) / taken)];
          let at = place.get(row);
          if (at === undefined) {
            at = place.size;
            place.set(row, at);
          }
          pairs.label.push(slot);
          pairs.row.push(at);
          pairs.weight.push((this.#share * rows.length) / taken);
        }
      }
    }
    const rows = Uint32Array.from(place.keys());
    const h = this.#growth.hidden(rows);
    const evidence = {
      count: pairs.label.length,
      label: Uint32Array.from(pairs.label),
      row: Uint32Array.from(pairs.row),
      weight:
        device.precision === 'float32' ? Float32Array.from(pairs.weight) : Float64Array.from(pairs.weight),
      rows: place.size,
      h: h.data,
    };
    return { end, evidence, h, rows };
  }
}
