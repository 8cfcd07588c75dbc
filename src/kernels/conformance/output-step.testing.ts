import { expect } from 'vitest';
import { widenBf16 } from '../bf16.js';
import type { FanInStepArgs, Kernels, OutputStepCommon, UpdateRule } from '../face.js';
import { type Case, Data, Lab, lazy, type Outputs, type Rounding } from './case.testing.js';
import { stepErrors } from './output-bounds.testing.js';
import {
  BASE,
  commonArguments,
  type Difference,
  makeStepData,
  type StepData,
  type StepShape,
  slabsOf,
  startsOf,
  THREAD_DEPENDENT,
  titleOf,
} from './output-shape.testing.js';
import { RULES } from './update.testing.js';

const AFTER_SUM = ['norms', 'weights', 'bias', 'dWeights', 'dBias', 'weightM', 'weightV', 'biasM', 'biasV'];

function stepCase(difference: Difference, base: StepShape): Case {
  const shape = { ...base, ...difference };
  const name = titleOf(difference);
  const kind = shape.group > 0 ? 'grouped' : shape.fanIn === 0 ? 'dense' : 'fan-in';
  const data = lazy(() => makeStepData(`step ${kind} ${name}`, shape));
  return {
    name,
    run: (kernels, lab) => runStep(kernels, lab, shape, data()),
    bounds: (rounding, oracle) =>
      shape.bf16 ? bf16Errors(shape, data(), rounding, oracle) : stepErrors(shape, data(), rounding),
    law: (outputs) => {
      for (const [key, value] of Object.entries(outputs)) {
        // Not asked for: untouched, as the oracle's comparison shows.
        if (!shape.backward && ['dh', 'dWeights', 'dBias'].includes(key)) continue;
        const list = typeof value === 'number' ? [value] : value;
        expect(list.every(Number.isFinite), `${key} is finite`).toBe(true);
      }
    },
    // Every gradient of a softmax follows from a sum over all labels.
    threadDependent: shape.loss === 'softmax' ? [...THREAD_DEPENDENT, ...AFTER_SUM] : THREAD_DEPENDENT,
  };
}

/**
 * Pairs of bfloat16 round h and G by 2^-8 each before they are multiplied. A weight that is a little off may be rounded
 * to the next bfloat16, up to 2^-7 away.
 */
function bf16Errors(shape: StepShape, data: StepData, rounding: Rounding, oracle: Kernels) {
  const pairs = { unit: rounding.unit, sum: (n: number) => rounding.sum(n) + 2.01 * 2 ** -8 };
  const errors = stepErrors(shape, data, pairs);
  if (shape.rule === null || !shape.backward) return errors;
  const after = runStep(oracle, new Lab('float64'), shape, data).weights as Float64Array;
  const weights = (errors.weights as Float64Array).map((e, i) => e + 2 ** -7 * (Math.abs(after[i]) + e));
  return { ...errors, weights };
}

/** All slabs of one step; everything that came out. */
export function runStep(
  kernels: Kernels,
  lab: Lab,
  shape: StepShape,
  data: StepData,
  change: { gradScale?: number; rule?: UpdateRule } = {},
): Outputs {
  const { batch, inputs, labels, fanIn, chunk } = shape;
  if (shape.group > 0) return runGrouped(kernels, lab, shape, data, change);
  const dense = fanIn === 0;
  const workspace = dense
    ? kernels.denseWorkspace({ batch, inputs, labels, chunk, fanIn, bf16: shape.bf16 })
    : kernels.fanInWorkspace({ batch, inputs, labels, chunk, fanIn, bf16: shape.bf16 });
  const args = changed(commonArguments(shape, data, lab, workspace), change);
  if (dense) return { loss: walked(shape, args, kernels.denseStep), ...resultsOf(args) };
  const columns = columnsIn(lab, shape, data);
  const index = shape.index ? buildIndex(kernels, lab, shape, { ...args, columns }) : null;
  return { loss: walked(shape, { ...args, fanIn, columns, index }, kernels.fanInStep), ...resultsOf(args) };
}

function changed<A extends OutputStepCommon>(args: A, change: { gradScale?: number; rule?: UpdateRule }): A {
  const { gradScale = args.gradScale, rule = args.update.rule } = change;
  return { ...args, gradScale, update: { ...args.update, rule } };
}

function runGrouped(
  kernels: Kernels,
  lab: Lab,
  shape: StepShape,
  data: StepData,
  change: { gradScale?: number; rule?: UpdateRule },
): Outputs {
  const layer = groupsIn(lab, shape, data.columns);
  const workspace = kernels.groupedWorkspace({ ...shape, ...layer });
  const args = changed(commonArguments(shape, data, lab, workspace), change);
  return { loss: walked(shape, { ...args, ...layer }, kernels.groupedStep), ...resultsOf(args) };
}

/** The loss of all slabs; softmax walks them twice. */
function walked<A extends OutputStepCommon>(shape: StepShape, args: A, step: (args: A) => number): number {
  const { norms } = args;
  const first = { ...args, backward: false, norms: norms && { ...norms, pass: 'sum' as const } };
  for (const slab of norms === null ? [] : slabsOf(shape)) step({ ...first, ...slab });
  return slabsOf(shape).reduce((loss, slab) => loss + step({ ...args, ...slab }), 0);
}

/** Groups as kernels take them; `columns` has a row per label. */
export function groupsIn(lab: Lab, shape: StepShape, columns: ArrayLike<number>) {
  const { fanIn, group: groupSize, labels } = shape;
  const starts = startsOf(shape);
  const groups = starts.length - 1;
  const own = new (shape.wide ? Uint32Array : Uint16Array)(groups * fanIn);
  // An empty group has columns too: any.
  for (let g = 0; g < groups; g++) {
    for (let k = 0; k < fanIn; k++)
      own[g * fanIn + k] = starts[g] < labels ? columns[starts[g] * fanIn + k] : k;
  }
  return {
    fanIn,
    groupSize,
    groups,
    starts: lab.u32(starts),
    columns: shape.wide ? lab.u32(own) : lab.u16(own),
  };
}

export function columnsIn(lab: Lab, shape: StepShape, data: StepData) {
  return shape.wide ? lab.u32(data.columns) : lab.u16(data.columns);
}

function resultsOf(args: ReturnType<typeof commonArguments>): Outputs {
  const { dh, squares, bias, update } = args;
  const weights = args.bf16 === null ? args.weights : new Float32Array(args.bf16.weights.length);
  if (args.bf16 !== null) widenBf16(args.bf16.weights, weights);
  const all = {
    dh,
    squares,
    weights,
    bias,
    dWeights: update.dWeights,
    dBias: update.dBias,
    weightM: update.weightMoments.m,
    weightV: update.weightMoments.v,
    biasM: update.biasMoments.m,
    biasV: update.biasMoments.v,
    norms: args.norms?.values ?? null,
  };
  return Object.fromEntries(
    Object.entries(all).filter((entry): entry is [string, Float64Array] => entry[1] !== null),
  );
}

/** Built slab by slab, as the step runs; null where the fast form does not apply. */
function buildIndex(
  kernels: Kernels,
  lab: Lab,
  shape: StepShape,
  args: OutputStepCommon & Pick<FanInStepArgs, 'columns'>,
): Uint16Array | null {
  const { inputs, labels, fanIn, chunk } = shape;
  const length = kernels.fanInIndexLength({ inputs, labels, fanIn, chunk });
  if (length === 0) return null;
  const index = lab.u16Output(length);
  for (const slab of slabsOf(shape)) {
    kernels.fanInIndexBuild({ inputs, labels, fanIn, chunk, columns: args.columns, index, ...slab });
  }
  return index;
}

/** One difference from the base at a time. */
const COMMON: readonly Difference[] = [
  {},
  ...[0, 1, 2, 3, 15, 16, 31, 33, 64, 65, 70, 130].map((batch) => ({ batch })),
  ...[0, 1, 2, 31, 32, 33, 64, 257].map((labels) => ({ labels })),
  ...[1, 7, 8, 16, 24, 100, 1024].map((chunk) => ({ chunk })),
  { slabs: [32] },
  { slabs: [32, 64, 96] },
  { chunk: 1, slabs: [1, 2, 99] },
  { batch: 64, labels: 300, chunk: 16, slabs: [160, 288] },
  ...Object.keys(RULES).flatMap((rule) => [
    { rule },
    { rule, batch: 64, labels: 70, slabs: [64], gradients: false },
  ]),
  { rule: null },
  { rule: null, gradients: false },
  { dh: false },
  { dh: false, rule: null },
  { gradients: false, squares: false },
  { backward: false },
  { backward: false, batch: 1 },
  { loss: 'squaredHinge' },
  { loss: 'squaredHinge', batch: 70, slabs: [64] },
  { loss: 'squaredHinge', rule: 'momentum', logits: 0.2 },
  { loss: 'squaredHinge', rule: 'adam', density: 0.5 },
  { loss: 'squaredHinge', backward: false },
  { loss: 'squaredHinge', logits: 5000 },
  { loss: 'softmax' },
  ...[1, 16, 33, 70, 130].map((batch) => ({ loss: 'softmax' as const, batch, slabs: [32, 64] })),
  { loss: 'softmax', labels: 1 },
  { loss: 'softmax', labels: 257, chunk: 7, rule: 'adam' },
  { loss: 'softmax', backward: false },
  { loss: 'softmax', density: 0 },
  { loss: 'softmax', density: 1 },
  { loss: 'softmax', logits: 5000 },
  { density: 0 },
  { density: 1 },
  { density: 0.5, batch: 64 },
  { logits: 30 },
  { logits: 5000 },
  { logits: 5000, density: 0.5, batch: 33 },
];

const FAN_IN: readonly Difference[] = [
  ...[1, 2, 4, 7, 8, 16, 31, 32, 33, 40].map((fanIn) => ({ fanIn })),
  ...[1, 5, 32, 33].flatMap((fanIn) => [1, 16, 64, 70].map((batch) => ({ fanIn, batch, inputs: 100 }))),
  { inputs: 1, fanIn: 1 },
  { inputs: 700, fanIn: 32, batch: 64, labels: 150, chunk: 64 },
  { wide: true },
  { wide: true, inputs: 70_001, fanIn: 33, batch: 3, labels: 40, chunk: 16 },
  { wide: false, inputs: 65_536, fanIn: 7, batch: 2, labels: 40, chunk: 16 },
];

const DENSE: readonly Difference[] = [
  ...[1, 7, 8, 15, 16, 17, 31, 33, 64, 65].map((inputs) => ({ inputs })),
  { inputs: 700, batch: 64, labels: 70 },
  { inputs: 1500, batch: 3, labels: 20 },
];

/** Seeded random shapes, so that combinations nobody thought of are met. */
function fuzz(seed: string, count: number, fanIn: boolean, grouped = false): Difference[] {
  const data = new Data(seed);
  const upTo = (n: number) => 1 + data.stream.below(n);
  return Array.from({ length: count }, (): Difference => {
    const inputs = upTo(data.pick([3, 40, 200]));
    const labels = upTo(data.pick([5, 60, 300]));
    const chunk = upTo(data.pick([4, 40, 140]));
    const group = grouped ? upTo(data.pick([1, 5, 33])) : 0;
    const total = startsOf({ ...BASE, labels, group }).length - 1;
    const cut = chunk * data.stream.below(Math.floor(total / chunk) + 1);
    return {
      batch: upTo(data.pick([4, 20, 100])),
      inputs,
      labels,
      chunk,
      ...(fanIn && { fanIn: upTo(Math.min(inputs, data.pick([4, 33, 70]))), wide: data.pick([false, true]) }),
      ...(fanIn && { index: data.pick([false, true]) }),
      ...(grouped && { group }),
      slabs: cut === 0 || cut === total ? [] : [cut],
      loss: data.pick(['bce', 'squaredHinge']),
      rule: data.pick([null, ...Object.keys(RULES)]),
      dh: data.pick([true, true, false]),
      gradients: data.pick([true, false]),
      density: data.pick([0, 0.02, 0.3]),
      logits: data.pick([0.5, 4, 60]),
    };
  });
}

/** A NaN must show in the loss, or a ruined training would go on unnoticed. */
function showsNotFinite(base: StepShape): Case {
  return {
    name: 'a NaN or an infinity in h or in a weight makes the loss not finite',
    run: (kernels, lab) => {
      const outputs: Outputs = {};
      for (const loss of ['bce', 'squaredHinge'] as const) {
        for (const value of [Number.NaN, Infinity]) {
          const shape = { ...base, loss };
          const clean = makeStepData('not finite', shape);
          const badHidden = { ...clean, h: clean.h.map((x, i) => (i % 40 === 39 && i < 400 ? value : x)) };
          const badWeight = { ...clean, weights: { ...clean.weights, w: clean.weights.w.with(77, value) } };
          for (const [name, data] of Object.entries({ badHidden, badWeight })) {
            const { loss: sum } = runStep(kernels, lab, shape, data);
            outputs[`${loss} ${value} ${name}`] = Number(Number.isFinite(sum as number));
          }
        }
      }
      return outputs;
    },
    law: (outputs) => expect(Object.values(outputs)).not.toContain(1),
  };
}

const BF16: readonly Difference[] = [
  {},
  ...[0, 1, 3, 16, 17, 64, 70, 130].map((batch) => ({ batch })),
  ...[0, 1, 31, 33, 257].map((labels) => ({ labels })),
  ...Object.keys(RULES).map((rule) => ({ rule, gradients: false })),
  { rule: null },
  { dh: false },
  { backward: false },
  { loss: 'squaredHinge', batch: 33 },
  { loss: 'squaredHinge', batch: 70, logits: 0.2, gradients: false, squares: false },
  { logits: 5000 },
];

const DENSE_BASE: StepShape = { ...BASE, fanIn: 0 };
const FAN_IN_BF16: StepShape = { ...BASE, bf16: true };
const DENSE_BF16: StepShape = { ...DENSE_BASE, bf16: true };
const INDEXED: StepShape = { ...BASE, index: true };
const FAN_IN_DIFFERENCES = [...COMMON, ...FAN_IN];

export const FAN_IN_STEP_CASES: readonly Case[] = [
  ...FAN_IN_DIFFERENCES.map((difference) => stepCase(difference, BASE)),
  ...FAN_IN_DIFFERENCES.map((difference) => stepCase({ ...difference, index: true }, BASE)),
  ...[...BF16, ...FAN_IN, { slabs: [32] }].flatMap((difference) => [
    stepCase({ ...difference, bf16: true }, FAN_IN_BF16),
    stepCase({ ...difference, bf16: true, index: true }, FAN_IN_BF16),
  ]),
  ...fuzz('fan-in bf16 fuzz', 30, true).map((difference) =>
    stepCase({ ...difference, bf16: true }, FAN_IN_BF16),
  ),
  roundingCase(FAN_IN_BF16, { batch: 1 }),
  roundingCase(FAN_IN_BF16, { fanIn: 33, labels: 70, slabs: [32] }),
  { ...showsNotFinite(FAN_IN_BF16), name: 'a NaN or an infinity shows in the loss, weights in bfloat16' },
  ...fuzz('fan-in fuzz', 80, true).map((difference) => stepCase(difference, BASE)),
  showsNotFinite(BASE),
  { ...showsNotFinite(INDEXED), name: 'a NaN or an infinity makes the loss not finite, with the index' },
];

export const DENSE_STEP_CASES: readonly Case[] = [
  ...[...BF16, ...DENSE, { slabs: [32] }].map((difference) =>
    stepCase({ ...difference, bf16: true }, DENSE_BF16),
  ),
  roundingCase(DENSE_BF16, { batch: 1 }),
  roundingCase(DENSE_BF16, { inputs: 33, labels: 70, slabs: [32] }),
  ...fuzz('dense bf16 fuzz', 20, false).map((difference) =>
    stepCase({ ...difference, bf16: true }, DENSE_BF16),
  ),
  ...[...COMMON, ...DENSE].map((difference) => stepCase(difference, DENSE_BASE)),
  ...fuzz('dense fuzz', 40, false).map((difference) => stepCase(difference, DENSE_BASE)),
  showsNotFinite(DENSE_BASE),
];

const GROUPED_BASE: StepShape = { ...BASE, group: 8, chunk: 4 };
/**
 * From weights 0 with few bits in h and rate every product is exact in float32: what is left is the rounding to
 * bfloat16, and that has the same bits everywhere.
 */
function roundingCase(base: StepShape, difference: Difference): Case {
  const shape: StepShape = {
    ...base,
    batch: 1,
    loss: 'squaredHinge',
    density: 0,
    rule: 'sgd',
    ...difference,
  };
  const data = lazy(() => {
    const made = makeStepData('rounding', shape);
    const few = new Data('rounding h');
    const zero = { w: new Float32Array(shape.labels), m: null, v: null };
    return {
      ...made,
      h: Float32Array.from(made.h, () => few.pick([-1.25, -0.5, 1, 1.5, 3])),
      weights: { ...made.weights, w: made.weights.w.map(() => 0), m: null, v: null },
      bias: zero,
    };
  });
  return {
    name: `rounds with the draws of each weight, ${titleOf(difference)}`,
    run: (kernels, lab) => {
      const rule = {
        kind: 'sgd',
        rate: (1 + 2 ** -9) / 8,
        momentum: 0,
        nesterov: false,
        weightDecay: 0,
      } as const;
      const outputs = runStep(kernels, lab, shape, data(), { gradScale: 2 ** -5, rule });
      return { weights: outputs.weights };
    },
    law: ({ weights }) => expect(new Set((weights as Float32Array).map(Math.abs)).size).toBeGreaterThan(5),
  };
}

const GROUPED_BF16: StepShape = { ...GROUPED_BASE, bf16: true };
const GROUPED: readonly Difference[] = [
  ...[1, 2, 3, 5, 6, 7, 16, 32, 33, 100, 1000].map((group) => ({ group })),
  ...[1, 4, 8, 16].map((slab) => ({ chunk: 1, slabs: [slab] })),
  { slabs: [4, 8, 12] },
  { group: 32, batch: 130, inputs: 300, fanIn: 128, labels: 200 },
  { group: 16, batch: 64, inputs: 90, fanIn: 33, labels: 150, loss: 'squaredHinge', slabs: [8] },
  { group: 16, loss: 'squaredHinge', gradients: false, rule: 'adam', batch: 65, slabs: [4] },
  { group: 5, loss: 'squaredHinge', gradients: false, squares: false, logits: 0.2 },
];

export const GROUPED_STEP_CASES: readonly Case[] = [
  ...[...BF16, ...FAN_IN, ...GROUPED].map((difference) =>
    stepCase({ ...difference, bf16: true }, GROUPED_BF16),
  ),
  ...fuzz('grouped bf16 fuzz', 40, true, true).map((difference) =>
    stepCase({ ...difference, bf16: true }, GROUPED_BF16),
  ),
  roundingCase(GROUPED_BF16, { batch: 1 }),
  roundingCase(GROUPED_BF16, { fanIn: 33, group: 5, labels: 70, slabs: [4] }),
  { ...showsNotFinite(GROUPED_BF16), name: 'a NaN or an infinity shows in the loss, weights in bfloat16' },
  ...[...COMMON.filter(({ slabs }) => slabs === undefined), ...FAN_IN, ...GROUPED].map((difference) =>
    stepCase(difference, GROUPED_BASE),
  ),
  ...fuzz('grouped fuzz', 80, true, true).map((difference) => stepCase(difference, GROUPED_BASE)),
  showsNotFinite(GROUPED_BASE),
];

/** Some chunks get new columns, only those are rebuilt; then a step as usual. */
function rewiredCase(name: string, difference: Difference): Case {
  const shape: StepShape = { ...INDEXED, labels: 128, ...difference };
  const { inputs, labels, fanIn, chunk } = shape;
  const data = lazy(() => {
    const before = makeStepData(`rewired before ${name}`, shape);
    const after = makeStepData(`rewired after ${name}`, shape);
    const columns = before.columns.slice();
    columns.set(after.columns.subarray(chunk * fanIn, 2 * chunk * fanIn), chunk * fanIn);
    return { before, now: { ...before, columns } };
  });
  return {
    name,
    run: (kernels, lab) => {
      const { before, now } = data();
      const length = kernels.fanInIndexLength({ inputs, labels, fanIn, chunk });
      const index = lab.u16Output(length);
      const build = (of: StepData, begin: number, end: number) =>
        kernels.fanInIndexBuild({
          inputs,
          labels,
          fanIn,
          chunk,
          index,
          begin,
          end,
          columns: columnsIn(lab, shape, of),
        });
      build(before, 0, labels);
      build(now, chunk, 2 * chunk);
      const args = commonArguments(shape, now, lab, kernels.fanInWorkspace({ ...shape }));
      const columns = columnsIn(lab, shape, now);
      const loss = kernels.fanInStep({ ...args, fanIn, columns, index: length === 0 ? null : index });
      return { loss, ...resultsOf(args) };
    },
    bounds: (rounding) => stepErrors(shape, data().now, rounding),
    threadDependent: THREAD_DEPENDENT,
  };
}

export const FAN_IN_INDEX_BUILD_CASES: readonly Case[] = [
  rewiredCase('rebuilds only the chunks that changed', {}),
  rewiredCase('rebuilds with wide columns', { wide: true, batch: 64 }),
  rewiredCase('rebuilds where an input occurs in every label', { inputs: 5, fanIn: 5 }),
  rewiredCase('rebuilds with a ragged last chunk', { labels: 101, fanIn: 33 }),
];
