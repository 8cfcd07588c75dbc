/**
 * Rewiring of labels in groups: a group prunes and regrows its shared inputs, judged by the mean |w| over its rows.
 * Pruning and growth themselves are those of per-label fan-in, on one row of scores per group.
 */
import { widenBf16 } from '../../kernels/bf16.js';
import type { Columns, Floats, Moments } from '../../kernels/face.js';
import type { RandomStream } from '../../kernels/random.js';
import type { PruneRule } from '../dynamic-sparse/options.js';
import { beginRewiring } from '../dynamic-sparse/rewire.js';

export interface GroupedRewireTarget {
  readonly groups: number;
  readonly fanIn: number;
  readonly inputs: number;
  /** [groups + 1] */
  readonly starts: Uint32Array;
  /** [groups, fanIn] */
  readonly columns: Columns;
  /** [slots, fanIn]; a Uint16Array holds bfloat16. */
  readonly weights: Floats | Uint16Array;
  readonly moments: Moments;
}

/** The smallest float32 above 0. */
const least = 2 ** -149;

/** scores[g,k] = mean over the slots of group g of |weights[slot,k]|, at least 2^-149, for groups [from, to). */
export function scoreGroups(target: GroupedRewireTarget, scores: Floats, from: number, to: number): void {
  const { fanIn, starts, weights } = target;
  const sum = new Float64Array(fanIn);
  const row = weights instanceof Uint16Array ? new Float32Array(fanIn) : null;
  for (let g = from; g < to; g++) {
    sum.fill(0);
    for (let slot = starts[g]; slot < starts[g + 1]; slot++) {
      const at = slot * fanIn;
      if (row === null) {
        for (let k = 0; k < fanIn; k++) sum[k] += Math.abs(weights[at + k]);
        continue;
      }
      widenBf16(weights.subarray(at, at + fanIn) as Uint16Array, row);
      for (let k = 0; k < fanIn; k++) sum[k] += Math.abs(row[k]);
    }
    const rows = Math.max(1, starts[g + 1] - starts[g]);
    for (let k = 0; k < fanIn; k++) scores[g * fanIn + k] = Math.max(least, sum[k] / rows);
  }
}

/** A rewiring that is under way: groups in ascending order, every group once. */
export interface GroupedRewiring {
  /** The score below which inputs go, where one threshold decides. */
  readonly threshold: number | null;
  /** Prunes and regrows groups [from, to); returns how many connections, of labels, were replaced. */
  replaceGroups(from: number, to: number): number;
}

/** Decides what goes, from complete scores; nothing has changed yet. */
export function beginGroupedRewiring(
  target: GroupedRewireTarget,
  scores: Floats,
  rule: PruneRule,
  progress: number,
  stream: RandomStream,
): GroupedRewiring {
  const { groups, fanIn, inputs, starts, columns, weights, moments } = target;
  // One row per group: what per-label rewiring takes for weights are the scores.
  const perGroup = { labels: groups, fanIn, inputs, columns, weights: scores, moments: { m: null, v: null } };
  const { threshold, replaceRows } = beginRewiring(perGroup, rule, progress, stream);
  const arrays = [weights, moments.m, moments.v].filter((array) => array !== null);
  const replaceGroups = (from: number, to: number): number => {
    replaceRows(from, to);
    let replaced = 0;
    for (let g = from; g < to; g++) {
      for (let k = 0; k < fanIn; k++) {
        // NOTE: scores that stay are at least 2^-149, so 0 says that the input is new.
        if (scores[g * fanIn + k] !== 0) continue;
        replaced += starts[g + 1] - starts[g];
        for (const array of arrays) {
          for (let slot = starts[g]; slot < starts[g + 1]; slot++) array[slot * fanIn + k] = 0;
        }
      }
    }
    return replaced;
  };
  return { threshold, replaceGroups };
}
