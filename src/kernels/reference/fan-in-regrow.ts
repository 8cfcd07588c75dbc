import type { FanInRegrowArgs, FanInRegrown, Floats } from '../face.js';
import { philoxBlock } from '../random.js';
import { weightsOf } from './bf16.js';
import { LabelLosses } from './loss.js';

/**
 * Prune and grow by the dense gradient (RigL, Evci et al. 2020), label by label:
 *   G_b = dloss/dz at z_b,   g_j = sum_b G_b h[b, j] (+ sum over evidence e of weight_e dloss/dz(z_e) h_e[j])
 *   the free columns with the largest |g_j| above 0 grow, the smaller column first of equals
 * Labels of a group have one row of columns: its g_j is the sum of their |g_j|.
 */
export function fanInRegrow(args: FanInRegrowArgs): FanInRegrown {
  const { begin, end, fanIn, columns, weights, bf16, weightMoments, inputs, groups = null } = args;
  const gradients = new Gradients(args);
  const doomed = new Doomed(args);
  const sums = new Float64Array(inputs);
  let replaced = 0;
  for (let unit = begin; unit < end; unit++) {
    const [from, to] = groups === null ? [unit, unit + 1] : [groups.starts[unit], groups.starts[unit + 1]];
    sums.fill(0);
    for (let label = from; label < to; label++) {
      const own = gradients.of(label, unit * fanIn);
      for (let j = 0; j < inputs; j++) sums[j] += Math.abs(own[j]);
    }
    const going = doomed.of(unit);
    const stays = new Set<number>();
    for (let k = 0; k < fanIn; k++) if (!going.includes(k)) stays.add(columns[unit * fanIn + k]);
    const grown = largest(sums, stays, going.length);
    fillAtRandom(args, unit, stays, grown, going.length);

    const back = new Set(grown);
    const empty = going.filter((k) => !back.delete(columns[unit * fanIn + k]));
    for (const column of grown) {
      if (!back.has(column)) continue;
      const k = empty.shift() as number;
      columns[unit * fanIn + k] = column;
      for (let label = from; label < to; label++) {
        for (const array of [bf16?.weights ?? weights, weightMoments.m, weightMoments.v]) {
          if (array !== null) array[label * fanIn + k] = 0;
        }
        replaced++;
      }
    }
  }
  return { replaced, ties: doomed.met };
}

/** The dense gradient of one label after the other, in ascending order. */
class Gradients {
  readonly #args: FanInRegrowArgs;
  readonly #losses: LabelLosses;
  readonly #weights: Floats;
  readonly #logits: Float64Array;
  readonly #gradient: Float64Array;

  constructor(args: FanInRegrowArgs) {
    const { batch, inputs, loss, positives, norms = null, groups = null } = args;
    const [begin, end] = [args.begin, args.end].map((u) => (groups === null ? u : groups.starts[u]));
    this.#args = args;
    const use = norms && { pass: 'use' as const, values: norms };
    this.#losses = new LabelLosses({ loss, norms: use, positives, batch, begin, end });
    this.#weights = weightsOf(args);
    this.#logits = new Float64Array(batch);
    this.#gradient = new Float64Array(inputs);
  }

  /** Of a label whose columns begin at `at`. */
  of(label: number, at: number): Float64Array {
    const { batch, h, evidence } = this.#args;
    const [logits, gradient] = [this.#logits, this.#gradient];
    for (let b = 0; b < batch; b++) logits[b] = this.#logit(label, at, h, b);
    this.#losses.of(label, logits, 1);
    if (evidence !== null) this.#dropPositives(label);
    gradient.fill(0);
    for (let b = 0; b < batch; b++) addRow(gradient, logits[b], h, b);
    this.#addEvidence(label, at);
    return gradient;
  }

  #logit(label: number, at: number, h: Floats, row: number): number {
    const { inputs, fanIn, columns, bias } = this.#args;
    let z = bias[label];
    for (let k = 0; k < fanIn; k++) z += this.#weights[label * fanIn + k] * h[row * inputs + columns[at + k]];
    return z;
  }

  #dropPositives(label: number): void {
    const { positives } = this.#args;
    for (let i = 0; i < positives.count; i++)
      if (positives.label[i] === label) this.#logits[positives.row[i]] = 0;
  }

  #addEvidence(label: number, at: number): void {
    const { evidence, loss } = this.#args;
    if (evidence === null) return;
    const { norms = null, rows } = evidence;
    for (let i = 0; i < evidence.count; i++) {
      if (evidence.label[i] !== label) continue;
      const row = evidence.row[i];
      const z = this.#logit(label, at, evidence.h, row);
      const slope =
        loss === 'bce'
          ? -1 / (1 + Math.exp(z))
          : loss === 'squaredHinge'
            ? -2 * Math.max(0, 1 - z)
            : Math.exp(z - (norms as Floats)[row]) - (norms as Floats)[rows + row];
      addRow(this.#gradient, evidence.weight[i] * slope, evidence.h, row);
    }
  }
}

function addRow(gradient: Float64Array, factor: number, h: Floats, row: number): void {
  if (factor === 0) return;
  const at = row * gradient.length;
  for (let j = 0; j < gradient.length; j++) gradient[j] += factor * h[at + j];
}

/** Slots of a row that go, ascending. Rows must come in ascending order: ties are given away once. */
class Doomed {
  met = 0;
  readonly #sizes: Floats;
  constructor(private readonly args: FanInRegrowArgs) {
    this.#sizes = args.scores ?? weightsOf(args);
  }

  of(unit: number): number[] {
    const { fanIn, prune, stays = 0 } = this.args;
    const size = (k: number) => Math.fround(Math.abs(this.#sizes[unit * fanIn + k]));
    const slots = Array.from({ length: fanIn - stays }, (_, k) => stays + k);
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

/** Free columns of the largest gradient above 0, in ascending order. */
function largest(sizes: Float64Array, taken: ReadonlySet<number>, count: number): number[] {
  const free = Array.from(sizes, (_, j) => j).filter((j) => sizes[j] > 0 && !taken.has(j));
  return free
    .sort((a, b) => sizes[b] - sizes[a] || a - b)
    .slice(0, count)
    .sort((a, b) => a - b);
}

/** Draw unit * fanIn + i of the stream picks the i-th grown column among those still free. */
function fillAtRandom(
  { inputs, fanIn, key }: FanInRegrowArgs,
  unit: number,
  stays: ReadonlySet<number>,
  grown: number[],
  wanted: number,
): void {
  const words = new Uint32Array(4);
  while (grown.length < wanted) {
    const free = Array.from({ length: inputs }, (_, j) => j).filter(
      (j) => !stays.has(j) && !grown.includes(j),
    );
    const draw = unit * fanIn + grown.length;
    philoxBlock(key.key0, key.key1, key.counter + Math.floor(draw / 4), words);
    grown.push(free[Math.floor((words[draw % 4] >>> 8) * 2 ** -24 * free.length)]);
  }
}
