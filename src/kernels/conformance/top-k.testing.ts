import { expect } from 'vitest';
import { nearestBf16 } from '../bf16.js';
import type { Kernels } from '../face.js';
import { absolute, type Case, Data, type Lab, lazy, type Outputs } from './case.testing.js';
import { ROUNDING } from './output-shape.testing.js';

interface Shape {
  readonly batch: number;
  readonly inputs: number;
  readonly labels: number;
  /** 0: dense */
  readonly fanIn: number;
  /** Labels in groups of so many share their columns, and their slots are in another order than their numbers. */
  readonly group?: number;
  readonly wide?: boolean;
  /** Weights in bfloat16: whole numbers this small are exact in it. */
  readonly bf16?: boolean;
  /** Whole numbers: every sum is exact in any order, and many logits are equal. */
  readonly exact: boolean;
  /** Biases of NaN and both infinities among the others. */
  readonly special?: boolean;
}

function titleOf({ batch, inputs, labels, wide, exact, special, fanIn, group, bf16 }: Shape): string {
  const words = [`B ${batch}`, `d ${inputs}`, `L ${labels}`];
  if (bf16) words.push('bfloat16');
  if (group !== undefined) words.push(`G ${group}`);
  if (fanIn > 0) words.push(`F ${fanIn}`);
  if (wide) words.push('wide columns');
  words.push(exact ? 'ties' : 'no ties');
  if (special) words.push('NaN and infinities');
  return words.join(', ');
}

function make(shape: Shape) {
  const { batch, inputs, labels, fanIn, exact, special } = shape;
  const data = new Data(`top k ${titleOf(shape)}`);
  const numbers = (n: number) => (exact ? data.whole(n, 3) : data.floats(n));
  const columns = new (shape.wide ? Uint32Array : Uint16Array)(labels * fanIn);
  const { group = 1 } = shape;
  for (let label = 0; label < labels && fanIn > 0; label++) {
    const first = label - (label % group);
    if (first === label) columns.set(data.distinct(fanIn, inputs), label * fanIn);
    else columns.copyWithin(label * fanIn, first * fanIn, (first + 1) * fanIn);
  }
  const labelOf = data.stream.shuffle(Uint32Array.from({ length: labels }, (_, l) => l));
  const bias = numbers(labels);
  if (special)
    for (let l = 0; l < labels; l++) bias[l] = data.pick([bias[l], bias[l], Number.NaN, Infinity, -Infinity]);
  return { h: numbers(batch * inputs), weights: numbers(labels * (fanIn || inputs)), bias, columns, labelOf };
}

type Made = ReturnType<typeof make>;

function layerIn(lab: Lab, shape: Shape, made: Made) {
  const { batch, inputs, labels, fanIn } = shape;
  return {
    batch,
    inputs,
    labels,
    fanIn,
    h: lab.input(made.h),
    weights: lab.input(shape.bf16 ? [] : made.weights),
    bf16: shape.bf16 ? { weights: lab.u16(Array.from(made.weights, nearestBf16)), rounding: ROUNDING } : null,
    bias: lab.input(made.bias),
    columns: shape.wide ? lab.u32(made.columns) : lab.u16(made.columns),
  };
}

function groupedTopK(kernels: Kernels, lab: Lab, shape: Shape, made: Made, k: number) {
  const { labels, fanIn, group: groupSize = 1 } = shape;
  const groups = Math.ceil(labels / groupSize);
  const starts = lab.u32(Array.from({ length: groups + 1 }, (_, g) => Math.min(labels, g * groupSize)));
  const own = made.columns.filter((_, i) => Math.floor(i / fanIn) % groupSize === 0);
  const columns = shape.wide ? lab.u32(own) : lab.u16(own);
  const topLabels = lab.u32Output(shape.batch * k);
  const topScores = lab.output(shape.batch * k);
  const workspace = lab.scratch(kernels.groupedTopKWorkspace({ ...shape, groupSize }, k));
  const layer = { ...layerIn(lab, shape, made), groupSize, groups, starts, columns };
  kernels.groupedTopK({ ...layer, labelOf: lab.u32(made.labelOf), k, topLabels, topScores, workspace });
  return { topLabels, topScores };
}

function topK(kernels: Kernels, lab: Lab, shape: Shape, made: Made, k: number) {
  const topLabels = lab.u32Output(shape.batch * k);
  const topScores = lab.output(shape.batch * k);
  const workspace = lab.scratch(kernels.topKWorkspace({ ...shape, chunk: 64 }, k));
  const args = { ...layerIn(lab, shape, made), k, topLabels, topScores, workspace };
  if (shape.fanIn === 0) kernels.denseTopK(args);
  else kernels.fanInTopK(args);
  return { topLabels, topScores };
}

/** gamma_(F + 1) of the largest |w| |h| + |bias|: how far any logit may be off. */
function logitError(shape: Shape, made: Made, unitSum: (n: number) => number, oracle: Kernels): number {
  const { batch, labels, inputs, fanIn } = shape;
  const width = fanIn || inputs;
  const all = fanIn > 0 ? made.columns : Uint32Array.from({ length: labels * inputs }, (_, s) => s % inputs);
  const out = new Float64Array(batch * labels);
  oracle.fanInLogits({
    batch,
    inputs,
    labels,
    begin: 0,
    end: labels,
    h: absolute(made.h),
    fanIn: width,
    columns: all,
    weights: absolute(made.weights),
    bias: absolute(made.bias),
    out,
    workspace: new Float64Array(batch),
  });
  return unitSum(width + 1) * out.reduce((most, x) => Math.max(most, x), 0);
}

function topKCase(shape: Shape, ks: readonly number[]): Case {
  const data = lazy(() => make(shape));
  return {
    name: `${titleOf(shape)}, k = ${ks.join(', ')}`,
    run: (kernels, lab) => {
      const outputs: Outputs = {};
      for (const k of ks) {
        const run = shape.group === undefined ? topK : groupedTopK;
        const { topLabels, topScores } = run(kernels, lab, shape, data(), k);
        outputs[`scores ${k}`] = topScores;
        // Where logits may round differently, near ties may change places: then only the scores are compared.
        if (shape.exact) outputs[`labels ${k}`] = topLabels;
      }
      return outputs;
    },
    // The i-th largest of numbers that are each off by at most e is off by at most e.
    bounds: (rounding, oracle) => {
      if (shape.exact) return {};
      const error = logitError(shape, data(), rounding.sum, oracle);
      return Object.fromEntries(ks.map((k) => [`scores ${k}`, error]));
    },
    law: (outputs) => {
      if (!shape.exact) return;
      for (const k of ks) {
        const labels = outputs[`labels ${k}`] as Uint32Array;
        for (let b = 0; b < shape.batch; b++) {
          const row = Array.from(labels.subarray(b * k, b * k + Math.min(k, shape.labels)));
          expect(new Set(row).size, 'labels of a row are distinct').toBe(row.length);
          expect(Math.max(...row, 0)).toBeLessThan(Math.max(shape.labels, 1));
        }
      }
    },
  };
}

function shapes(fanIn: boolean): Shape[] {
  const F = (n: number) => (fanIn ? n : 0);
  return [
    ...[1, 2, 3, 15, 16, 17, 33, 64, 65].map((batch) => ({
      batch,
      inputs: 20,
      labels: 90,
      fanIn: F(4),
      exact: true,
    })),
    ...[1, 2, 15, 16, 17, 63, 64, 65, 257].map((labels) => ({
      batch: 5,
      inputs: 20,
      labels,
      fanIn: F(4),
      exact: true,
    })),
    ...[1, 7, 8, 16, 17, 33].map((n) => ({
      batch: 6,
      inputs: 40 - (fanIn ? 0 : n),
      labels: 50,
      fanIn: F(n),
      exact: true,
    })),
    { batch: 0, inputs: 20, labels: 30, fanIn: F(4), exact: true },
    { batch: 3, inputs: 20, labels: 0, fanIn: F(4), exact: true },
    { batch: 1, inputs: 64, labels: 5000, fanIn: F(16), exact: true },
    { batch: 33, inputs: 64, labels: 3000, fanIn: F(16), exact: true },
    { batch: 9, inputs: 20, labels: 70, fanIn: F(4), exact: true, special: true },
    { batch: 1, inputs: 20, labels: 70, fanIn: F(4), exact: true, special: true },
    { batch: 7, inputs: 100, labels: 700, fanIn: F(33), exact: false },
    { batch: 1, inputs: 300, labels: 300, fanIn: F(32), exact: false },
    ...(fanIn
      ? [
          { batch: 3, inputs: 70_001, labels: 60, fanIn: 33, wide: true, exact: true },
          { batch: 2, inputs: 65_536, labels: 60, fanIn: 7, exact: true },
          { batch: 16, inputs: 30, labels: 60, fanIn: 7, wide: true, exact: true },
        ]
      : []),
  ];
}

const KS = [1, 5, 16, 100];

export const GROUPED_TOP_K_CASES = shapes(true).flatMap((shape) => [
  ...[1, 4, 9].map((group) => topKCase({ ...shape, group }, group === 9 ? KS : [5])),
  ...(shape.exact ? [topKCase({ ...shape, group: 5, bf16: true }, [5])] : []),
]);

export const FAN_IN_TOP_K_CASES = shapes(true).flatMap((shape) => [
  topKCase(shape, KS),
  ...(shape.exact ? [topKCase({ ...shape, bf16: true }, [5])] : []),
]);
export const DENSE_TOP_K_CASES = [
  ...shapes(false).map((shape) => topKCase(shape, KS)),
  ...shapes(false)
    .filter(({ exact }) => exact)
    .map((shape) => topKCase({ ...shape, bf16: true }, [5])),
];

/** Logits of some label ranges, cut anywhere. */
export const FAN_IN_LOGITS_CASES: readonly Case[] = shapes(true)
  .filter(({ labels, special }) => labels < 1000 && !special)
  .flatMap((shape) => (shape.exact ? [shape, { ...shape, bf16: true }] : [shape]))
  .map((shape) => {
    const data = lazy(() => make(shape));
    const cuts = [...new Set([0, Math.min(1, shape.labels), Math.floor(shape.labels / 3), shape.labels])];
    const ranges = cuts.flatMap((begin) => cuts.filter((end) => end >= begin).map((end) => ({ begin, end })));
    const key = ({ begin, end }: { begin: number; end: number }) => `labels ${begin} to ${end}`;
    return {
      name: titleOf(shape),
      run: (kernels, lab) => {
        const outputs: Outputs = {};
        for (const range of ranges) {
          const out = lab.output(shape.batch * (range.end - range.begin));
          const workspace = lab.scratch(kernels.topKWorkspace({ ...shape, chunk: 64 }, 1));
          kernels.fanInLogits({ ...layerIn(lab, shape, data()), ...range, out, workspace });
          outputs[key(range)] = out;
        }
        return outputs;
      },
      bounds: (rounding, oracle) => {
        const error = logitError(shape, data(), rounding.sum, oracle);
        return Object.fromEntries(ranges.map((range) => [key(range), error]));
      },
    };
  });
