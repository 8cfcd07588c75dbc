import { expect } from 'vitest';
import { nearestBf16, widenBf16 } from '../bf16.js';
import type { FanInRegrowArgs, GrowthEvidence } from '../face.js';
import { type Case, Data, type Lab, lazy, type Outputs } from './case.testing.js';
import {
  makeStepData,
  ROUNDING,
  BASE as STEP,
  type StepShape,
  somePositives,
  startsOf,
  titleOf,
} from './output-shape.testing.js';

interface RegrowShape extends StepShape {
  readonly products: 'float32' | 'bf16';
  readonly prune: FanInRegrowArgs['prune'];
  /** Rows of the wider sample; none without. */
  readonly sample: number;
  /** Share of (row, label) pairs of the sample that are evidence. */
  readonly known: number;
  /** Whole numbers everywhere: the gradients of a squared hinge are exact, ties between them many. */
  readonly whole: boolean;
  /** h of the batch and of the sample is 0. */
  readonly silent: boolean;
  /** Slots of a row that never go. */
  readonly stays: number;
}

const BASE: RegrowShape = {
  ...STEP,
  loss: 'bce',
  products: 'float32',
  fanIn: 9,
  rule: 'adam',
  prune: { perRow: 3 },
  sample: 0,
  known: 0.1,
  whole: false,
  silent: false,
  stays: 0,
};

type Difference = Partial<RegrowShape>;

function regrowCase(difference: Difference): Case {
  const shape = { ...BASE, ...difference };
  const { batch, inputs, labels, fanIn, loss, products } = shape;
  const starts = shape.group > 0 ? startsOf(shape) : null;
  const units = starts === null ? labels : starts.length - 1;
  const { prune, ...rest } = difference;
  const title = titleOf(rest);
  const name = prune === undefined ? title : `${title}, ${titleOf(prune as Difference)}`;
  const data = lazy(() => makeRegrowData(`regrow ${name}`, shape));
  return {
    name,
    run: (kernels, lab) => {
      const { step, sample, columns: own, scores, norms } = data();
      const columns = shape.wide ? lab.u32InOut(own) : lab.u16InOut(own);
      const weights = lab.inout(shape.bf16 ? [] : step.weights.w);
      const bf16 = shape.bf16
        ? { weights: lab.u16InOut(Array.from(step.weights.w, nearestBf16)), rounding: ROUNDING }
        : null;
      const weightMoments = {
        m: step.weights.m === null ? null : lab.inout(step.weights.m),
        v: step.weights.v === null ? null : lab.inout(step.weights.v),
      };
      const { count, label, row } = step.positives;
      let replaced = 0;
      let ties = 0;
      const ends = [...shape.slabs, units];
      ends.forEach((end, i) => {
        const begin = i === 0 ? 0 : ends[i - 1];
        const left = 'ties' in shape.prune ? Math.max(0, shape.prune.ties - ties) : 0;
        const done = kernels.fanInRegrow({
          ...{
            batch,
            inputs,
            labels,
            begin,
            end,
            loss,
            fanIn,
            columns,
            weights,
            bf16,
            weightMoments,
            products,
            stays: shape.stays,
          },
          norms: norms === null ? null : lab.input(norms),
          groups: starts === null ? null : { count: units, starts: lab.u32(starts) },
          scores: starts === null ? null : lab.input(scores),
          h: lab.input(step.h),
          bias: lab.input(step.bias.w),
          positives: { count, label: lab.u32(label), row: lab.u32(row) },
          evidence:
            sample === null ? null : evidenceIn(lab, sample, starts?.[begin] ?? begin, starts?.[end] ?? end),
          prune: 'ties' in shape.prune ? { ...shape.prune, ties: left } : shape.prune,
          key: { key0: 7, key1: 11, counter: 5 },
          workspace: lab.scratch(kernels.fanInRegrowWorkspace({ batch, inputs, fanIn })),
        });
        replaced += done.replaced;
        ties += done.ties;
      });
      const numbers = bf16 === null ? weights : new Float32Array(bf16.weights.length);
      if (bf16 !== null) widenBf16(bf16.weights, numbers);
      const outputs: Outputs = { columns: Uint32Array.from(columns), weights: numbers, replaced };
      for (const [key, value] of Object.entries(weightMoments)) if (value !== null) outputs[key] = value;
      return outputs;
    },
    law: ({ columns }) => {
      const before = data().columns;
      for (let u = 0; u < units; u++) {
        const row = (columns as Uint32Array).subarray(u * fanIn, (u + 1) * fanIn);
        expect(new Set(row).size, `columns of row ${u} differ`).toBe(fanIn);
        expect(row.every((c) => c < inputs)).toBe(true);
        const first = u * fanIn;
        expect(row.subarray(0, shape.stays), `what stays of row ${u}`).toEqual(
          Uint32Array.from(before.subarray(first, first + shape.stays)),
        );
      }
    },
  };
}

interface Sample {
  readonly h: Float32Array;
  readonly rows: number;
  readonly label: Uint32Array;
  readonly row: Uint32Array;
  readonly weight: Float32Array;
  /** log Z and shares. */
  readonly norms: Float32Array;
}

function makeRegrowData(name: string, shape: RegrowShape) {
  const { labels, inputs, sample: rows, known, whole, silent, batch } = shape;
  const step = makeStepData(name, shape);
  const data = new Data(`${name} sample`);
  const pairs = somePositives(data, labels, rows, known);
  const sample = {
    ...pairs,
    rows,
    h: data.floats(rows * inputs),
    weight: data.between(pairs.count, 0.5, 4),
    norms: Float32Array.of(...data.between(rows, 2, 5), ...data.between(rows, 0.2, 1)),
  };
  if (whole) {
    step.h.set(data.whole(batch * inputs, 2));
    step.weights.w.set(data.whole(step.weights.w.length, 3));
    step.bias.w.set(data.whole(step.bias.w.length, 1));
    sample.h.set(data.whole(rows * inputs, 2));
    sample.weight.set(data.whole(pairs.count, 2).map((w) => w + 3));
  }
  if (silent) {
    step.h.fill(0);
    sample.h.fill(0);
  }
  const softmax = shape.loss === 'softmax';
  const norms = softmax
    ? Float32Array.of(...data.between(batch, 2, 5), ...data.between(batch, 0.2, 1))
    : null;
  return { step, sample: rows === 0 ? null : sample, norms, ...rowsOf(shape, step) };
}

/** A row of columns per label or group, and what prunes groups: sums of magnitudes, exact where weights are whole. */
function rowsOf(shape: RegrowShape, { columns, weights }: ReturnType<typeof makeStepData>) {
  if (shape.group === 0) return { columns, scores: new Float32Array(0) };
  const { fanIn, labels } = shape;
  const starts = startsOf(shape);
  const groups = starts.length - 1;
  const own = new Uint32Array(groups * fanIn);
  const scores = new Float32Array(groups * fanIn);
  for (let g = 0; g < groups; g++) {
    for (let k = 0; k < fanIn; k++) {
      own[g * fanIn + k] = starts[g] < labels ? columns[starts[g] * fanIn + k] : k;
      for (let l = starts[g]; l < starts[g + 1]; l++)
        scores[g * fanIn + k] += Math.abs(weights.w[l * fanIn + k]);
    }
  }
  return { columns: own, scores };
}

function evidenceIn(lab: Lab, sample: Sample, begin: number, end: number): GrowthEvidence {
  const from = sample.label.findIndex((l) => l >= begin);
  const to = sample.label.findLastIndex((l) => l < end) + 1;
  const at = from < 0 ? to : from;
  return {
    count: Math.max(0, to - at),
    label: lab.u32(sample.label.subarray(at, Math.max(at, to))),
    row: lab.u32(sample.row.subarray(at, Math.max(at, to))),
    weight: lab.input(sample.weight.subarray(at, Math.max(at, to))),
    rows: sample.rows,
    h: lab.input(sample.h),
    norms: lab.input(sample.norms),
  };
}

const EXACT: Difference = { loss: 'squaredHinge', whole: true };

const DIFFERENCES: readonly Difference[] = [
  {},
  { wide: true },
  { loss: 'squaredHinge' },
  EXACT,
  { ...EXACT, batch: 64, inputs: 33, labels: 150 },
  { ...EXACT, batch: 100, inputs: 64 },
  { ...EXACT, prune: { threshold: 2, ties: 0 } },
  { ...EXACT, prune: { threshold: 2, ties: 37 } },
  { ...EXACT, prune: { threshold: 0, ties: 60 }, slabs: [32, 64] },
  { ...EXACT, prune: { threshold: 1, ties: 100 }, slabs: [10, 11, 95] },
  { ...EXACT, sample: 20 },
  { ...EXACT, sample: 20, slabs: [32, 96], prune: { perRow: 5 } },
  { sample: 20 },
  { sample: 20, slabs: [32, 64], wide: true },
  { sample: 5, known: 1, loss: 'squaredHinge' },
  { sample: 5, known: 0 },
  { sample: 20, batch: 0 },
  { silent: true },
  { silent: true, sample: 4, prune: { perRow: 9 } },
  { silent: true, inputs: 9, prune: { perRow: 4 } },
  { batch: 0 },
  { batch: 1, inputs: 10 },
  { rule: 'sgd', prune: { perRow: 9 } },
  { prune: { perRow: 0 } },
  { prune: { threshold: 0.5, ties: 0 } },
  { prune: { threshold: 100, ties: 0 } },
  { fanIn: 1, prune: { perRow: 1 } },
  { inputs: 9 },
  { labels: 1 },
  { labels: 0 },
  { inputs: 700, fanIn: 40, prune: { perRow: 12 }, batch: 33 },
  { inputs: 5000, fanIn: 3, prune: { perRow: 2 }, labels: 40 },
  { loss: 'softmax' },
  { loss: 'softmax', batch: 70, labels: 150, density: 0.1 },
  { loss: 'softmax', sample: 20, slabs: [32, 64] },
  { loss: 'softmax', sample: 5, known: 1, batch: 0 },
  { bf16: true },
  { bf16: true, loss: 'softmax', sample: 20, wide: true },
  { ...EXACT, bf16: true, prune: { threshold: 2, ties: 37 } },
  { ...EXACT, bf16: true, prune: { threshold: 1, ties: 100 }, slabs: [10, 11, 95] },
  // Whole numbers this small are exact in bfloat16.
  ...[1, 2, 17, 64, 100].map((batch) => ({ ...EXACT, batch, products: 'bf16' as const, logits: 1 })),
  { ...EXACT, products: 'bf16', inputs: 33, labels: 150, sample: 20 },
  { ...EXACT, products: 'bf16', inputs: 64, bf16: true, group: 8 },
  ...[1, 4, 8, 33, 100, 1000].map((group) => ({ group })),
  ...[3, 8, 70].map((group) => ({ ...EXACT, group, inputs: 50 })),
  { ...EXACT, group: 8, prune: { threshold: 9, ties: 11 }, slabs: [2, 5] },
  { ...EXACT, group: 8, prune: { threshold: 8, ties: 0 } },
  { group: 8, sample: 20 },
  { group: 8, sample: 20, slabs: [3, 9], wide: true, bf16: true },
  { group: 16, sample: 20, loss: 'softmax', slabs: [4] },
  { group: 8, silent: true, sample: 4, prune: { perRow: 9 } },
  { group: 8, batch: 0 },
  { ...EXACT, stays: 4 },
  { ...EXACT, stays: 6, prune: { perRow: 3 }, wide: true, bf16: true },
  { ...EXACT, stays: 4, prune: { threshold: 2, ties: 37 } },
  { ...EXACT, stays: 4, prune: { threshold: 1, ties: 30 }, slabs: [10, 11, 95] },
  { ...EXACT, stays: 9, prune: { perRow: 0 } },
  { ...EXACT, stays: 3, group: 8, prune: { threshold: 9, ties: 11 }, slabs: [2, 5] },
  { stays: 19, inputs: 700, fanIn: 40, prune: { perRow: 12 }, batch: 33 },
  { stays: 5, silent: true, sample: 4, prune: { perRow: 4 } },
  { group: 8, labels: 0 },
  { group: 16, inputs: 700, fanIn: 40, prune: { perRow: 12 }, batch: 33, labels: 150 },
];

export const FAN_IN_REGROW_CASES: readonly Case[] = DIFFERENCES.map(regrowCase);
