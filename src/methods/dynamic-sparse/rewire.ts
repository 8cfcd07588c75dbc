/**
 * One rewiring: prune weights by magnitude, regrow as many at free columns of the same row. Regrown weights
 * start at 0 and their optimiser state is cleared.
 */
import type { Columns, Moments } from '../../kernels/face.js';
import type { RandomStream } from '../../kernels/random.js';
import type { PruneRule, Topology } from './options.js';
import {
  drawFree,
  magnitudesOf,
  RowMarks,
  type StoredWeights,
  selectMagnitude,
  smallestSlots,
} from './topology.js';

export interface RewireTarget {
  readonly labels: number;
  readonly fanIn: number;
  readonly inputs: number;
  readonly columns: Columns;
  readonly weights: StoredWeights;
  readonly moments: Moments;
  /** Columns [0, shared) of every row stay, and are the last inputs; default 0. */
  readonly shared?: number;
}

const finalThreshold = 1e-4;

/** Progress through the rewiring period in [0, 1], or null when step `step` (1-based) does not rewire. */
export function rewireProgress(topology: Topology, step: number, totalSteps: number): number | null {
  if (topology.kind === 'static' || step === 0 || step % topology.every !== 0) return null;
  const last = topology.until * totalSteps;
  return step < last ? step / last : null;
}

/** 1 at the start of rewiring, 0 at its end. */
const cosine = (progress: number): number => 0.5 * (1 + Math.cos(Math.PI * progress));

/** The fraction, or the threshold, at this progress. */
export function annealed(rule: PruneRule, progress: number): number {
  if (rule.mode === 'threshold') return finalThreshold + (rule.tau - finalThreshold) * cosine(progress);
  return rule.fraction * (rule.anneal === 'cosine' ? cosine(progress) : 1);
}

/** A rewiring that is under way: rows in ascending order, every row once. */
export interface Rewiring {
  /** The magnitude below which weights go, where one threshold decides. */
  readonly threshold: number | null;
  /** Prunes and regrows rows [from, to); returns how many connections were replaced. */
  replaceRows(from: number, to: number): number;
}

/** Decides what goes, from the weights as they are now; nothing has changed yet. */
export function beginRewiring(
  target: RewireTarget,
  rule: PruneRule,
  progress: number,
  stream: RandomStream,
): Rewiring {
  const { labels, fanIn, weights, shared = 0 } = target;
  const own = fanIn - shared;
  const amount = annealed(rule, progress);
  const sizeOf = magnitudesOf(weights);
  if (rule.mode === 'threshold') {
    return rewiring(target, stream, amount, (slot) => sizeOf(slot) < amount);
  }
  if (rule.scope === 'layer') {
    const { threshold, ties } = selectMagnitude(weights, Math.floor(amount * labels * own), {
      fanIn,
      shared,
    });
    let left = ties;
    return rewiring(target, stream, threshold, (slot) => {
      // NOTE: rounded as selectMagnitude rounds, or float64 weights would miss their count.
      const w = Math.fround(sizeOf(slot));
      return w < threshold || (w === threshold && left-- > 0);
    });
  }
  const perRow = Math.floor(amount * own);
  const order = new Uint32Array(own);
  const goes = new Uint8Array(own);
  return rewiring(target, stream, null, (slot) => {
    const k = (slot % fanIn) - shared;
    if (k === 0) {
      smallestSlots(sizeOf, slot, own, perRow, order);
      goes.fill(0);
      for (let i = 0; i < perRow; i++) goes[order[i]] = 1;
    }
    return goes[k] === 1;
  });
}

/** The whole layer at once. */
export function rewire(
  target: RewireTarget,
  rule: PruneRule,
  progress: number,
  stream: RandomStream,
): { replaced: number; threshold: number | null } {
  const { threshold, replaceRows } = beginRewiring(target, rule, progress, stream);
  return { replaced: replaceRows(0, target.labels), threshold };
}

/** `goes` is asked about every slot that may go, in ascending order, once; the chosen ones are regrown in place. */
function rewiring(
  target: RewireTarget,
  stream: RandomStream,
  threshold: number | null,
  goes: (slot: number) => boolean,
): Rewiring {
  const { fanIn, inputs, columns, weights, moments, shared = 0 } = target;
  const marks = new RowMarks(inputs);
  const pruned = new Uint32Array(fanIn);
  const replaceRow = (base: number): number => {
    marks.nextRow();
    let count = 0;
    for (let k = shared; k < fanIn; k++) {
      if (goes(base + k)) pruned[count++] = base + k;
      else marks.use(columns[base + k]);
    }
    for (let i = 0; i < count; i++) {
      const slot = pruned[i];
      const column = drawFree(marks, inputs - shared, fanIn - shared - count + i, stream);
      marks.use(column);
      columns[slot] = column;
      weights[slot] = 0;
      if (moments.m !== null) moments.m[slot] = 0;
      if (moments.v !== null) moments.v[slot] = 0;
    }
    return count;
  };
  const replaceRows = (from: number, to: number): number => {
    let replaced = 0;
    for (let row = from; row < to; row++) replaced += replaceRow(row * fanIn);
    return replaced;
  };
  return { threshold, replaceRows };
}
