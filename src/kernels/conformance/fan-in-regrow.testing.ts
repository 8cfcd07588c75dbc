import { expect } from 'vitest';
import type { FanInRegrowArgs, GrowthEvidence, IndependentLoss } from '../face.js';
import { type Case, Data, type Lab, lazy, type Outputs } from './case.testing.js';
import {
  makeStepData,
  BASE as STEP,
  type StepShape,
  somePositives,
  titleOf,
} from './output-shape.testing.js';

interface RegrowShape extends StepShape {
  readonly loss: IndependentLoss;
  readonly prune: FanInRegrowArgs['prune'];
  /** Rows of the wider sample; none without. */
  readonly sample: number;
  /** Share of (row, label) pairs of the sample that are evidence. */
  readonly known: number;
  /** Whole numbers everywhere: the gradients of a squared hinge are exact, ties between them many. */
  readonly whole: boolean;
  /** h of the batch and of the sample is 0. */
  readonly silent: boolean;
}

const BASE: RegrowShape = {
  ...STEP,
  loss: 'bce',
  fanIn: 9,
  rule: 'adam',
  prune: { perRow: 3 },
  sample: 0,
  known: 0.1,
  whole: false,
  silent: false,
};

type Difference = Partial<RegrowShape>;

function regrowCase(difference: Difference): Case {
  const shape = { ...BASE, ...difference };
  const { batch, inputs, labels, fanIn, loss } = shape;
  const { prune, ...rest } = difference;
  const title = titleOf(rest);
  const name = prune === undefined ? title : `${title}, ${titleOf(prune as Difference)}`;
  const data = lazy(() => makeRegrowData(`regrow ${name}`, shape));
  return {
    name,
    run: (kernels, lab) => {
      const { step, sample } = data();
      const columns = shape.wide ? lab.u32InOut(step.columns) : lab.u16InOut(step.columns);
      const weights = lab.inout(step.weights.w);
      const weightMoments = {
        m: step.weights.m === null ? null : lab.inout(step.weights.m),
        v: step.weights.v === null ? null : lab.inout(step.weights.v),
      };
      const { count, label, row } = step.positives;
      let replaced = 0;
      let ties = 0;
      const ends = [...shape.slabs, labels];
      ends.forEach((end, i) => {
        const begin = i === 0 ? 0 : ends[i - 1];
        const left = 'ties' in shape.prune ? Math.max(0, shape.prune.ties - ties) : 0;
        const done = kernels.fanInRegrow({
          ...{ batch, inputs, labels, begin, end, loss, fanIn, columns, weights, weightMoments },
          h: lab.input(step.h),
          bias: lab.input(step.bias.w),
          positives: { count, label: lab.u32(label), row: lab.u32(row) },
          evidence: sample === null ? null : evidenceIn(lab, sample, begin, end),
          prune: 'ties' in shape.prune ? { ...shape.prune, ties: left } : shape.prune,
          key: { key0: 7, key1: 11, counter: 5 },
          workspace: lab.scratch(kernels.fanInRegrowWorkspace({ batch, inputs, fanIn })),
        });
        replaced += done.replaced;
        ties += done.ties;
      });
      const outputs: Outputs = { columns: Uint32Array.from(columns), weights, replaced };
      for (const [key, value] of Object.entries(weightMoments)) if (value !== null) outputs[key] = value;
      return outputs;
    },
    law: ({ columns }) => {
      for (let l = 0; l < labels; l++) {
        const row = (columns as Uint32Array).subarray(l * fanIn, (l + 1) * fanIn);
        expect(new Set(row).size, `columns of label ${l} differ`).toBe(fanIn);
        expect(row.every((c) => c < inputs)).toBe(true);
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
  return { step, sample: rows === 0 ? null : sample };
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
];

export const FAN_IN_REGROW_CASES: readonly Case[] = DIFFERENCES.map(regrowCase);
