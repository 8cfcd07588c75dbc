import { describe, expect, it } from 'vitest';
import { Data, Lab } from '../conformance/case.testing.js';
import {
  BASE,
  commonArguments,
  type Difference,
  GRAD_SCALE,
  makeStepData,
  type StepData,
  type StepShape,
  UPDATE_SCALE,
} from '../conformance/output-shape.testing.js';
import { columnsIn, runStep } from '../conformance/output-step.testing.js';
import { RULES } from '../conformance/update.testing.js';
import { referenceKernels } from './index.js';

const kernels = referenceKernels('float64');
const LOSSES = ['bce', 'squaredHinge'] as const;

function step(shape: StepShape, data: StepData) {
  const outputs = runStep(kernels, new Lab('float64'), shape, data);
  return outputs as Record<string, Float64Array> & { loss: number };
}

/** The dense layer with the same weights at the connections and zeros elsewhere. */
function embed(shape: StepShape, data: StepData): { shape: StepShape; data: StepData } {
  const w = new Float32Array(shape.labels * shape.inputs);
  data.weights.w.forEach((x, s) => {
    w[Math.floor(s / shape.fanIn) * shape.inputs + data.columns[s]] = x;
  });
  return { shape: { ...shape, fanIn: 0 }, data: { ...data, weights: { w, m: null, v: null } } };
}

describe('a fixed fan-in step equals a dense one whose other weights are zero', () => {
  it.each(LOSSES)('in loss and every gradient, bit for bit (%s)', (loss) => {
    const shape: StepShape = { ...BASE, loss, rule: null };
    const data = makeStepData('embedding', shape);
    // In ascending order of columns, so that the dense sums, which add zeros in between, are the same sums.
    for (let label = 0; label < shape.labels; label++) {
      data.columns.subarray(label * shape.fanIn, (label + 1) * shape.fanIn).sort();
    }
    const dense = embed(shape, data);
    const sparse = step(shape, data);
    const full = step(dense.shape, dense.data);
    expect(sparse.loss).toBe(full.loss);
    expect(sparse.dh).toEqual(full.dh);
    expect(sparse.dBias).toEqual(full.dBias);
    const atConnections = sparse.dWeights.map((_, s) => {
      return full.dWeights[Math.floor(s / shape.fanIn) * shape.inputs + data.columns[s]];
    });
    expect(sparse.dWeights).toEqual(atConnections);
  });
});

/** Central differences of `loss` at some elements of x, which is put back. */
function slopes(x: Float64Array, elements: readonly number[], loss: () => number): number[] {
  const step = 1e-5;
  return elements.map((i) => {
    const held = x[i];
    x[i] = held + step;
    const above = loss();
    x[i] = held - step;
    const below = loss();
    x[i] = held;
    return (above - below) / (2 * step);
  });
}

describe.each(LOSSES)('the gradients of %s are those of its loss, by finite differences', (loss) => {
  it.each([
    ['fan-in', 5],
    ['dense', 0],
  ])('%s', (_, fanIn) => {
    const shape: StepShape = { ...BASE, loss, fanIn, labels: 30, inputs: 12, density: 0.2, rule: null };
    const data = makeStepData('differences', shape);
    const lab = new Lab('float64');
    const args = commonArguments(shape, data, lab, 0);
    const columns = columnsIn(lab, shape, data);
    const run = (backward: boolean) =>
      fanIn === 0
        ? kernels.denseStep({ ...args, backward })
        : kernels.fanInStep({ ...args, fanIn, columns, index: null, backward });
    run(true);
    const lossNow = () => GRAD_SCALE * run(false);
    const check = (x: Float64Array, gradient: Float64Array) => {
      const some = new Data('elements').distinct(Math.min(60, x.length), x.length);
      slopes(x, some, lossNow).forEach((slope, t) => {
        // Cancellation of a loss near 1e3 over 2e-5, and the third derivative; a kink crossed within 1e-5 is below both.
        expect(Math.abs(slope - gradient[some[t]])).toBeLessThan(2e-7 * (1 + Math.abs(slope)) + 4e-7);
      });
    };
    check(args.weights as Float64Array, args.update.dWeights as Float64Array);
    check(args.bias as Float64Array, args.update.dBias as Float64Array);
    check(args.h as Float64Array, args.dh as Float64Array);
  });
});

describe('kinks and ends of the losses', () => {
  const one = (loss: 'bce' | 'squaredHinge', z: number, positive: boolean) => {
    const shape: StepShape = { ...BASE, batch: 1, inputs: 1, labels: 1, fanIn: 1, loss, rule: null };
    const data: StepData = {
      h: Float32Array.of(0),
      columns: Uint16Array.of(0),
      weights: { w: Float32Array.of(0), m: null, v: null },
      bias: { w: Float32Array.of(z), m: null, v: null },
      positives: {
        count: Number(positive),
        label: Uint32Array.from(positive ? [0] : []),
        row: Uint32Array.from(positive ? [0] : []),
      },
    };
    const { loss: value, dBias } = step(shape, data);
    return { value, gradient: dBias[0] / GRAD_SCALE };
  };

  it('squared hinge is flat at its margin and beyond, and 4 with slope 4 at the wrong margin', () => {
    expect(one('squaredHinge', 1, true)).toEqual({ value: 0, gradient: 0 });
    expect(one('squaredHinge', -1, false)).toEqual({ value: 0, gradient: 0 });
    expect(one('squaredHinge', -1, true)).toEqual({ value: 4, gradient: -4 });
    expect(one('squaredHinge', 1, false)).toEqual({ value: 4, gradient: 4 });
    expect(one('squaredHinge', -9, false)).toEqual({ value: 0, gradient: 0 });
  });

  it('bce is log 2 with slope 1/2 at zero, linear far on the wrong side, zero far on the right one', () => {
    expect(one('bce', 0, true)).toEqual({ value: Math.log(2), gradient: -0.5 });
    expect(one('bce', 1e4, false)).toEqual({ value: 1e4, gradient: 1 });
    expect(one('bce', -1e4, true)).toEqual({ value: 1e4, gradient: -1 });
    expect(one('bce', 1e4, true)).toEqual({ value: 0, gradient: 0 });
    expect(one('bce', -1e4, false)).toEqual({ value: 0, gradient: 0 });
    // No cancellation of sigmoid(z) - 1.
    expect(one('bce', 40, true).gradient).toBeCloseTo(-Math.exp(-40), 30);
  });
});

describe('chunks and slabs', () => {
  const cuts: Difference[] = [
    { chunk: 7 },
    { chunk: 100 },
    { slabs: [32] },
    { chunk: 1, slabs: [1, 2, 50, 99] },
    { slabs: [32, 64, 96] },
  ];
  it.each(cuts)('change not a bit of any result but the sum of losses: %o', (difference) => {
    for (const fanIn of [0, 5]) {
      const shape: StepShape = { ...BASE, fanIn, rule: 'adam' };
      const data = makeStepData('cuts', shape);
      const { loss, ...whole } = step(shape, data);
      const { loss: cutLoss, ...cut } = step({ ...shape, ...difference }, data);
      expect(cut).toEqual(whole);
      expect(Math.abs(cutLoss - loss)).toBeLessThan(1e-12 * loss);
    }
  });
});

describe('the fused update', () => {
  it.each(Object.keys(RULES))('%s equals gradients first, update afterwards, bit for bit', (ruleName) => {
    const shape: StepShape = { ...BASE, rule: ruleName };
    const data = makeStepData('fused', shape);
    const fused = step(shape, data);
    const { dWeights, dBias } = step({ ...shape, rule: null }, data);
    const rule = RULES[ruleName];
    for (const [part, g, decay] of [
      [data.weights, dWeights, rule.weightDecay],
      [data.bias, dBias, 0],
    ] as const) {
      const w = Float64Array.from(part.w);
      const m = part.m && Float64Array.from(part.m);
      const v = part.v && Float64Array.from(part.v);
      kernels.update({
        rule: { ...rule, weightDecay: decay },
        n: w.length,
        w,
        g,
        m,
        v,
        gradScale: UPDATE_SCALE,
      });
      const name = part === data.weights ? 'weight' : 'bias';
      expect(fused[part === data.weights ? 'weights' : 'bias']).toEqual(w);
      if (m !== null) expect(fused[`${name}M`]).toEqual(m);
      if (v !== null) expect(fused[`${name}V`]).toEqual(v);
    }
  });

  it('adds the squares of the unscaled gradients to what is there', () => {
    const { squares, dWeights, dBias } = step(BASE, makeStepData('squares', BASE));
    const sum = (x: Float64Array) => x.reduce((total, g) => total + g * g, 0);
    expect(Math.abs(squares[0] - 1 - sum(dWeights))).toBeLessThan(1e-12 * squares[0]);
    expect(Math.abs(squares[1] - 2 - sum(dBias))).toBeLessThan(1e-12 * squares[1]);
  });

  it('scales gradients by gradScale and nothing else', () => {
    const data = makeStepData('scale', BASE);
    const lab = new Lab('float64');
    const args = {
      ...commonArguments(BASE, data, lab, 0),
      fanIn: 5,
      columns: columnsIn(lab, BASE, data),
      index: null,
    };
    const update = { ...args.update, rule: null };
    const loss = kernels.fanInStep({ ...args, update, gradScale: 0.5 });
    const half = (args.dh as Float64Array).slice();
    expect(kernels.fanInStep({ ...args, update, gradScale: 1 })).toBe(loss);
    expect(half).toEqual((args.dh as Float64Array).map((x) => x / 2));
  });
});
