/** The screen of a fixed fan-in layer: the best labels with it are those without it, to the bit, whatever the numbers. */
import { expect } from 'vitest';
import { nearestBf16 } from '../bf16.js';
import type { Kernels } from '../face.js';
import { type Case, Data, type Lab, lazy, type Outputs } from './case.testing.js';
import { ROUNDING } from './output-shape.testing.js';

interface Shape {
  readonly name: string;
  readonly inputs: number;
  readonly labels: number;
  readonly fanIn: number;
  readonly wide?: boolean;
  readonly bf16?: boolean;
  /** A weight, a bias, an element of h. */
  readonly weight?: (data: Data) => number;
  readonly bias?: (data: Data) => number;
  readonly hidden?: (data: Data) => number;
  /** Puts numbers of its own in place of those drawn. */
  readonly arranged?: (made: Made) => void;
}

interface Made {
  readonly columns: Uint16Array | Uint32Array;
  readonly weights: Float32Array;
  readonly bias: Float32Array;
  /** One for each of BATCHES. */
  readonly h: readonly Float32Array[];
}

/**
 * Label `late` is best by 1e-4, and every rounding to bytes speaks against it: its weights and its inputs lie almost half a
 * step above what they are rounded to, those of label 0 on their steps. A bound a little too small leaves it out.
 */
function nearlyMissed({ columns, weights, bias, h }: Made): void {
  const F = 64;
  // Not among the first sixteen, which are looked at before anything is known.
  const late = 500;
  const [onStep, offStep] = [101 / 127, 101.49 / 127];
  weights.fill(0);
  for (const [i, l] of [0, late].entries()) {
    for (let k = 0; k < F; k++) columns[l * F + k] = i * F + k;
    weights.fill(i === 0 ? onStep : offStep, l * F, (l + 1) * F);
    // The largest weight sets the steps.
    weights[l * F] = 1;
  }
  bias.fill(-100);
  const input = 254.49 / 255;
  const best = input * (1 + (F - 1) * offStep);
  bias[0] = best - 1e-4 - (1 + (F - 1) * onStep);
  bias[late] = 0;
  const inputs = 256;
  for (const rows of h) {
    for (let j = 0; j < rows.length; j++) rows[j] = j % inputs < F ? 1 : j % inputs < 2 * F ? input : 0;
  }
}

const uniform = (data: Data) => 2 * data.stream.uniform() - 1;
/** Magnitudes from 1e-`range` to 1e`range`. */
const scaled = (range: number) => (data: Data) => uniform(data) * 10 ** (range * uniform(data));
const relu = (data: Data) => Math.max(0, uniform(data));
const often = (of: (data: Data) => number, odd: readonly number[]) => (data: Data) =>
  data.stream.below(50) === 0 ? data.pick(odd) : of(data);
const wild = [Number.NaN, Infinity, -Infinity, 3e38, -3e38, 1e-45, -0];

const SHAPES: readonly Shape[] = [
  // Every number of tables, at its edges.
  ...[1, 3, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025].map((inputs) => ({
    ...{ name: 'plain', inputs, labels: 700, fanIn: Math.min(inputs, 32) },
  })),
  ...[1, 2, 3, 4, 5, 7, 8, 9, 31, 33, 64, 100].map((fanIn) => ({
    ...{ name: 'plain', inputs: 100, labels: 530, fanIn },
  })),
  ...[0, 1, 15, 16, 17, 255, 256, 257, 5000].map((labels) => ({
    ...{ name: 'plain', inputs: 60, labels, fanIn: 6 },
  })),
  { name: 'wide columns', inputs: 300, labels: 700, fanIn: 9, wide: true },
  { name: 'bfloat16', inputs: 300, labels: 700, fanIn: 9, bf16: true },
  { name: 'hidden units of ReLU', inputs: 512, labels: 3000, fanIn: 32, hidden: relu },
  { name: 'one hidden unit far above the others', inputs: 200, labels: 900, fanIn: 8, hidden: scaled(4) },
  { name: 'weights of all sizes', inputs: 200, labels: 900, fanIn: 8, weight: scaled(12) },
  {
    name: 'weights near the smallest',
    inputs: 200,
    labels: 900,
    fanIn: 8,
    weight: (d) => 1e-38 * uniform(d),
  },
  { name: 'sums that overflow', inputs: 200, labels: 900, fanIn: 8, weight: (d) => 3e38 * uniform(d) },
  { name: 'biases that outweigh', inputs: 200, labels: 900, fanIn: 8, bias: (d) => 1e6 * uniform(d) },
  { name: 'weights of zero', inputs: 200, labels: 900, fanIn: 8, weight: () => 0 },
  { name: 'many ties', inputs: 200, labels: 900, fanIn: 8, weight: (d) => d.pick([-1, 0, 1]), bias: () => 0 },
  {
    name: 'all alike',
    inputs: 200,
    labels: 900,
    fanIn: 8,
    weight: () => 0.7,
    bias: () => 0.1,
    hidden: () => 0.3,
  },
  { name: 'h of zero', inputs: 200, labels: 900, fanIn: 8, hidden: () => 0 },
  { name: 'h near the smallest', inputs: 200, labels: 900, fanIn: 8, hidden: (d) => 1e-38 * uniform(d) },
  { name: 'a bound nearly reached', inputs: 256, labels: 900, fanIn: 64, arranged: nearlyMissed },
  {
    name: 'NaN and infinities among weights',
    inputs: 200,
    labels: 900,
    fanIn: 8,
    weight: often(uniform, wild),
  },
  { name: 'NaN and infinities among biases', inputs: 200, labels: 900, fanIn: 8, bias: often(uniform, wild) },
  { name: 'NaN and infinities in h', inputs: 200, labels: 900, fanIn: 8, hidden: often(uniform, wild) },
];
const BATCHES = [0, 1, 2, 7, 8, 9];
const KS = [1, 5, 40];

function make(shape: Shape): Made {
  const { inputs, labels, fanIn, weight = uniform, bias = uniform, hidden = uniform } = shape;
  const data = new Data(`screen ${shape.name} ${inputs} ${labels} ${fanIn}`);
  const fill = (n: number, of: (data: Data) => number) => Float32Array.from({ length: n }, () => of(data));
  const columns = new (shape.wide ? Uint32Array : Uint16Array)(labels * fanIn);
  for (let l = 0; l < labels; l++) columns.set(data.distinct(fanIn, inputs), l * fanIn);
  const h = BATCHES.map((batch) => fill(batch * inputs, hidden));
  const made = { columns, h, weights: fill(labels * fanIn, weight), bias: fill(labels, bias) };
  shape.arranged?.(made);
  return made;
}

/** How many labels and scores a screen changes. */
function changedBy(kernels: Kernels, lab: Lab, shape: Shape, made: Made): number {
  const { inputs, labels, fanIn } = shape;
  const layer = {
    ...{ inputs, labels, fanIn },
    weights: lab.input(shape.bf16 ? [] : made.weights),
    bf16: shape.bf16 ? { weights: lab.u16(Array.from(made.weights, nearestBf16)), rounding: ROUNDING } : null,
    bias: lab.input(made.bias),
    columns: shape.wide ? lab.u32(made.columns) : lab.u16(made.columns),
  };
  const length = kernels.fanInScreenLength(layer);
  const screen = lab.u8Output(length);
  if (length > 0) kernels.fanInScreenBuild({ ...layer, screen });
  let changed = 0;
  for (const [i, batch] of BATCHES.entries()) {
    const h = lab.input(made.h[i]);
    for (const k of KS) {
      const [plain, screened] = [null, length > 0 ? screen : null].map((own) => {
        const topLabels = lab.u32Output(batch * k);
        const topScores = lab.output(batch * k);
        const workspace = lab.scratch(
          kernels.topKWorkspace({ ...layer, bf16: shape.bf16, batch, chunk: 64 }, k),
        );
        kernels.fanInTopK({ ...layer, batch, h, k, topLabels, topScores, workspace, screen: own });
        return { topLabels, topScores };
      });
      for (let j = 0; j < batch * k; j++) {
        if (plain.topLabels[j] !== screened.topLabels[j]) changed++;
        if (!Object.is(plain.topScores[j], screened.topScores[j])) changed++;
      }
    }
  }
  return changed;
}

export const FAN_IN_SCREEN_CASES: readonly Case[] = SHAPES.map((shape) => {
  const data = lazy(() => make(shape));
  return {
    name: `${shape.name}, d ${shape.inputs}, L ${shape.labels}, F ${shape.fanIn}`,
    run: (kernels, lab): Outputs => ({ changed: changedBy(kernels, lab, shape, data()) }),
    law: ({ changed }) => expect(changed, 'labels and scores that the screen changed').toBe(0),
  };
});
