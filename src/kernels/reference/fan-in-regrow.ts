import type { FanInRegrowArgs, FanInRegrown, Floats } from '../face.js';
import { philoxBlock } from '../random.js';
import { LabelLosses } from './loss.js';

/**
 * Prune and grow by the dense gradient (RigL, Evci et al. 2020), label by label:
 *   G_b = dloss/dz at z_b,   g_j = sum_b G_b h[b, j] (+ sum over evidence e of weight_e dloss/dz(z_e) h_e[j])
 *   the free columns with the largest |g_j| above 0 grow, the smaller column first of equals
 */
export function fanInRegrow(args: FanInRegrowArgs): FanInRegrown {
  const { batch, inputs, begin, end, h, positives, loss, fanIn, columns, weights, weightMoments } = args;
  const losses = new LabelLosses({ loss, norms: null, positives, batch, begin, end });
  const logits = new Float64Array(batch);
  const gradient = new Float64Array(inputs);
  const doomed = new Doomed(args);
  let replaced = 0;
  for (let label = begin; label < end; label++) {
    for (let b = 0; b < batch; b++) logits[b] = logit(args, label, h, b);
    losses.of(label, logits, 1);
    if (args.evidence !== null) dropPositives(args, label, logits);
    gradient.fill(0);
    for (let b = 0; b < batch; b++) addRow(gradient, logits[b], h, b);
    addEvidence(args, label, gradient);

    const going = doomed.of(label);
    const stays = new Set<number>();
    for (let k = 0; k < fanIn; k++) if (!going.includes(k)) stays.add(columns[label * fanIn + k]);
    const grown = largest(gradient, stays, going.length);
    fillAtRandom(args, label, stays, grown, going.length);

    const back = new Set(grown);
    const empty = going.filter((k) => !back.delete(columns[label * fanIn + k]));
    for (const column of grown) {
      if (!back.has(column)) continue;
      const slot = label * fanIn + (empty.shift() as number);
      columns[slot] = column;
      weights[slot] = 0;
      if (weightMoments.m !== null) weightMoments.m[slot] = 0;
      if (weightMoments.v !== null) weightMoments.v[slot] = 0;
      replaced++;
    }
  }
  return { replaced, ties: doomed.met };
}

function logit(
  { inputs, fanIn, columns, weights, bias }: FanInRegrowArgs,
  label: number,
  h: Floats,
  row: number,
): number {
  let z = bias[label];
  for (let s = label * fanIn; s < (label + 1) * fanIn; s++) z += weights[s] * h[row * inputs + columns[s]];
  return z;
}

function addRow(gradient: Float64Array, factor: number, h: Floats, row: number): void {
  if (factor === 0) return;
  const at = row * gradient.length;
  for (let j = 0; j < gradient.length; j++) gradient[j] += factor * h[at + j];
}

function dropPositives({ positives }: FanInRegrowArgs, label: number, g: Float64Array): void {
  for (let i = 0; i < positives.count; i++) if (positives.label[i] === label) g[positives.row[i]] = 0;
}

function addEvidence(args: FanInRegrowArgs, label: number, gradient: Float64Array): void {
  const { evidence, loss } = args;
  if (evidence === null) return;
  for (let i = 0; i < evidence.count; i++) {
    if (evidence.label[i] !== label) continue;
    const z = logit(args, label, evidence.h, evidence.row[i]);
    const slope = loss === 'bce' ? -1 / (1 + Math.exp(z)) : -2 * Math.max(0, 1 - z);
    addRow(gradient, evidence.weight[i] * slope, evidence.h, evidence.row[i]);
  }
}

/** Slots of a row that go, ascending. Labels must come in ascending order: ties are given away once. */
class Doomed {
  met = 0;
  constructor(private readonly args: FanInRegrowArgs) {}

  of(label: number): number[] {
    const { fanIn, weights, prune } = this.args;
    const size = (k: number) => Math.fround(Math.abs(weights[label * fanIn + k]));
    const slots = Array.from({ length: fanIn }, (_, k) => k);
    if ('perRow' in prune) {
      return slots
        .toSorted((a, b) => size(a) - size(b) || a - b)
        .slice(0, prune.perRow)
        .toSorted((a, b) => a - b);
    }
    const threshold = Math.fround(prune.threshold);
    return slots.filter((k) => {
      if (size(k) !== threshold || prune.ties === 0) return size(k) < threshold;
      return this.met++ < prune.ties;
    });
  }
}

/** Free columns of the largest |gradient| above 0, in ascending order. */
function largest(gradient: Float64Array, taken: ReadonlySet<number>, count: number): number[] {
  const size = (j: number) => Math.abs(gradient[j]);
  const free = Array.from(gradient, (_, j) => j).filter((j) => size(j) > 0 && !taken.has(j));
  return free
    .sort((a, b) => size(b) - size(a) || a - b)
    .slice(0, count)
    .sort((a, b) => a - b);
}

/** Draw label * fanIn + i of the stream picks the i-th grown column among those still free. */
function fillAtRandom(
  { inputs, fanIn, key }: FanInRegrowArgs,
  label: number,
  stays: ReadonlySet<number>,
  grown: number[],
  wanted: number,
): void {
  const words = new Uint32Array(4);
  while (grown.length < wanted) {
    const free = Array.from({ length: inputs }, (_, j) => j).filter(
      (j) => !stays.has(j) && !grown.includes(j),
    );
    const draw = label * fanIn + grown.length;
    philoxBlock(key.key0, key.key1, key.counter + Math.floor(draw / 4), words);
    grown.push(free[Math.floor((words[draw % 4] >>> 8) * 2 ** -24 * free.length)]);
  }
}
