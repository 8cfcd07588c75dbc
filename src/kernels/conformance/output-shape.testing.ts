/** Data of the output layers' cases: fixed fan-in and dense layers over one shape. */
import { nearestBf16, widenBf16 } from '../bf16.js';
import type { LabelLoss, OutputStepCommon, Positives } from '../face.js';
import { Data, type Lab } from './case.testing.js';
import { momentsIn, RULES, type Weights, weightsFor } from './update.testing.js';

export interface StepShape {
  readonly batch: number;
  readonly inputs: number;
  readonly labels: number;
  /** 0: a dense layer. */
  readonly fanIn: number;
  /** 0: every label has its own columns; else labels in groups of at most so many share theirs. */
  readonly group: number;
  /** Weights in bfloat16. */
  readonly bf16: boolean;
  readonly chunk: number;
  readonly loss: LabelLoss;
  /** A name of RULES, or null: gradients only. */
  readonly rule: string | null;
  /** Ends of the slabs before the last. */
  readonly slabs: readonly number[];
  /** 32-bit columns. */
  readonly wide: boolean;
  /** With the backward index of the fast form, where the backend has one. */
  readonly index: boolean;
  readonly dh: boolean;
  readonly backward: boolean;
  /** dWeights and dBias. */
  readonly gradients: boolean;
  readonly squares: boolean;
  /** Share of (row, label) pairs that are positive. */
  readonly density: number;
  /** Order of magnitude of the logits. */
  readonly logits: number;
}

export const BASE: StepShape = {
  batch: 17,
  inputs: 40,
  labels: 100,
  fanIn: 5,
  group: 0,
  bf16: false,
  chunk: 32,
  loss: 'bce',
  rule: 'sgd',
  slabs: [],
  wide: false,
  index: false,
  dh: true,
  backward: true,
  gradients: true,
  squares: true,
  density: 0.03,
  logits: 2,
};

export const GRAD_SCALE = 0.3;
export const UPDATE_SCALE = 0.6;

/** The base with some differences, which name the case. */
export type Difference = Partial<StepShape>;

export function titleOf(difference: Difference): string {
  const words = Object.entries(difference).map(
    ([key, value]) => `${key} ${Array.isArray(value) ? value.join('/') : value}`,
  );
  return words.join(', ') || 'the base shape';
}

export interface StepData {
  readonly h: Float32Array;
  /** [labels, fanIn], equal within a group, or none of a dense layer. */
  readonly columns: Uint16Array | Uint32Array;
  readonly weights: Weights;
  readonly bias: Weights;
  readonly positives: Positives;
}

/** Weights per label. */
export function widthOf(shape: StepShape): number {
  return shape.fanIn === 0 ? shape.inputs : shape.fanIn;
}

export function makeStepData(name: string, shape: StepShape): StepData {
  const { batch, inputs, labels, fanIn, wide, rule, density, logits } = shape;
  const data = new Data(name);
  const width = widthOf(shape);
  const size = (3 * logits) / Math.sqrt(width);
  const chosenRule = RULES[rule ?? 'sgd'];
  const weights = weightsFor(chosenRule, data, labels * width);
  const columns = new (wide ? Uint32Array : Uint16Array)(labels * fanIn);
  const starts = startsOf(shape);
  for (let g = 0; g + 1 < starts.length && fanIn > 0; g++) {
    const own = data.distinct(fanIn, inputs);
    for (let label = starts[g]; label < starts[g + 1]; label++) columns.set(own, label * fanIn);
  }
  const bias = weightsFor(chosenRule, data, labels);
  return {
    h: data.floats(batch * inputs),
    columns,
    weights: { ...weights, w: weights.w.map((w) => (shape.bf16 ? toBf16(size * w) : size * w)) },
    bias,
    positives: somePositives(data, labels, batch, density),
  };
}

/** The nearest number that bfloat16 holds. */
export function toBf16(x: number): number {
  const wide = new Float32Array(1);
  widenBf16(Uint16Array.of(nearestBf16(x)), wide);
  return wide[0];
}

export const ROUNDING = { key0: 0x1234, key1: 0xfedcba98, counter: 2 ** 33 + 5 };

export function somePositives(data: Data, labels: number, batch: number, density: number): Positives {
  const label: number[] = [];
  const row: number[] = [];
  for (let l = 0; l < labels; l++) {
    for (let b = 0; b < batch; b++) {
      if (data.stream.uniform() >= density) continue;
      label.push(l);
      row.push(b);
    }
  }
  return { count: label.length, label: Uint32Array.from(label), row: Uint32Array.from(row) };
}

/** The arguments that fan-in and dense steps share, on buffers of the lab; `begin` and `end` cover everything. */
export function commonArguments(shape: StepShape, data: StepData, lab: Lab, workspace: number) {
  const { batch, inputs, labels, chunk, loss, backward, gradients } = shape;
  const { h, weights, bias, positives } = data;
  const width = widthOf(shape);
  const common: OutputStepCommon = {
    batch,
    inputs,
    labels,
    begin: 0,
    end: labels,
    chunk,
    h: lab.input(h),
    dh: shape.dh ? lab.output(batch * inputs) : null,
    positives: { count: positives.count, label: lab.u32(positives.label), row: lab.u32(positives.row) },
    loss,
    norms: loss === 'softmax' ? { pass: 'use', values: lab.inout(shares(shape, positives)) } : null,
    gradScale: GRAD_SCALE,
    update: {
      rule: shape.rule === null ? null : RULES[shape.rule],
      weightMoments: momentsIn(lab, weights),
      biasMoments: momentsIn(lab, bias),
      dWeights: gradients ? lab.output(labels * width) : null,
      dBias: gradients ? lab.output(labels) : null,
      updateScale: UPDATE_SCALE,
    },
    backward,
    squares: shape.squares ? lab.doubles([1, 2]) : null,
    workspace: lab.scratch(workspace),
  };
  const bf16 = shape.bf16
    ? { weights: lab.u16InOut(Array.from(weights.w, nearestBf16)), rounding: ROUNDING }
    : null;
  return { ...common, bf16, weights: lab.inout(shape.bf16 ? [] : weights.w), bias: lab.inout(bias.w) };
}

/** [2, batch]: room for log Z, and the shares that rows' positives have. */
function shares({ batch }: StepShape, positives: Positives): number[] {
  const count = new Array<number>(batch).fill(0);
  for (const row of positives.row) count[row]++;
  return [...count.map(() => -7), ...count.map((n) => (n === 0 ? 0 : 1 / n))];
}

/** Where groups begin, and the end: every second of them smaller, every sixth empty; without groups, every label. */
export function startsOf({ labels, group }: StepShape): Uint32Array {
  if (group === 0) return Uint32Array.from({ length: labels + 1 }, (_, l) => l);
  const starts = [0];
  for (let i = 0, at = 0; at < labels; i++) {
    at += i % 6 === 5 ? 0 : i % 2 === 1 ? Math.ceil(group / 2) : group;
    starts.push(Math.min(at, labels));
  }
  return Uint32Array.from(starts);
}

/** begin and end of every slab, in order: labels, or groups where there are some. */
export function slabsOf(shape: StepShape): { begin: number; end: number }[] {
  const ends = [...shape.slabs, startsOf(shape).length - 1];
  return ends.map((end, i) => ({ begin: i === 0 ? 0 : ends[i - 1], end }));
}

/** Sums of threads may be grouped differently; everything else has the same bits on any number of threads. */
export const THREAD_DEPENDENT: readonly string[] = ['dh', 'loss', 'squares'];
