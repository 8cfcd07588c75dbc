import { describe, expect, it } from 'vitest';
import { float64Device, parameter } from '../autograd/gradcheck.testing.js';
import type { Parameter } from '../autograd/parameter.js';
import { RandomStream } from '../kernels/random.js';
import type { Device } from '../tensor/device.js';
import { Optimizer } from './optimizer.js';
import { momentsPerWeight, type OptimizerSpec, ruleAt } from './rules.js';

function setGradient(p: Parameter, values: ArrayLike<number>) {
  p.zeroGrad();
  p.grad!.data.set(values);
  p.hasGradient = true;
}

function setRows(device: Device, p: Parameter, rows: number[], values: ArrayLike<number>) {
  p.zeroGrad();
  const dim = p.shape[1];
  p.rowGradient = {
    count: rows.length,
    rows: Uint32Array.from([...rows, 0, 0]),
    values: device.fromArray([rows.length, dim], values),
  };
  p.hasGradient = true;
}

/** One weight, starting at 1: its values after gradients g1, g2, ... */
function trace(spec: OptimizerSpec, gradients: number[]): number[] {
  const d = float64Device();
  const p = parameter(d, [1], [1]);
  const optimizer = new Optimizer(d, [['p', p]], spec);
  return gradients.map((g) => {
    setGradient(p, [g]);
    optimizer.step(spec.rate);
    return p.data[0];
  });
}

/** Worked by hand from the published rules, starting at w = 1 with rate 0.1. */
const worked: { name: string; spec: OptimizerSpec; gradients: number[]; weights: number[] }[] = [
  { name: 'sgd', spec: { kind: 'sgd', rate: 0.1 }, gradients: [0.5, -1], weights: [0.95, 1.05] },
  {
    // g' = g + 0.1 w: 0.6, then -1 + 0.094
    name: 'sgd with weight decay',
    spec: { kind: 'sgd', rate: 0.1, weightDecay: 0.1 },
    gradients: [0.5, -1],
    weights: [0.94, 1.0306],
  },
  {
    // m: 0.5, 0.95
    name: 'sgd with momentum',
    spec: { kind: 'sgd', rate: 0.1, momentum: 0.9 },
    gradients: [0.5, 0.5],
    weights: [0.95, 0.855],
  },
  {
    // g + 0.9 m: 0.95, 1.355
    name: 'sgd with Nesterov momentum',
    spec: { kind: 'sgd', rate: 0.1, momentum: 0.9, nesterov: true },
    gradients: [0.5, 0.5],
    weights: [0.905, 0.7695],
  },
  {
    // m: 0.05, -0.055; v: 0.00025, 0.00124975; corrections 0.1, 0.19 and 0.001, 0.001999
    name: 'adam',
    spec: { kind: 'adam', rate: 0.1 },
    gradients: [0.5, -1],
    weights: [0.9, 0.93661],
  },
  {
    // the first step is the sign of g + 0.2 w
    name: 'adam with weight decay inside the moments',
    spec: { kind: 'adam', rate: 0.1, weightDecay: 0.2 },
    gradients: [0.5],
    weights: [0.9],
  },
  {
    // 1 * (1 - 0.1 * 0.2) - 0.1
    name: 'adamw: weight decay outside the moments',
    spec: { kind: 'adamw', rate: 0.1, weightDecay: 0.2 },
    gradients: [0.5],
    weights: [0.88],
  },
  {
    // eps 0.5: m/c1 = 0.5, sqrt(v/c2) = 0.5
    name: 'adam with a large eps',
    spec: { kind: 'adam', rate: 0.1, eps: 0.5, beta1: 0.5, beta2: 0.5 },
    gradients: [0.5],
    weights: [0.95],
  },
  {
    // v: 0.25, 0.5
    name: 'adagrad',
    spec: { kind: 'adagrad', rate: 0.1 },
    gradients: [0.5, 0.5],
    weights: [0.9, 0.829289],
  },
  {
    // g' = 0.5 + 0.5: v = 1
    name: 'adagrad with weight decay',
    spec: { kind: 'adagrad', rate: 0.1, weightDecay: 0.5, eps: 1 },
    gradients: [0.5],
    weights: [0.95],
  },
];

describe('Optimizer', () => {
  it.each(worked)('$name follows the rule worked by hand', ({ spec, gradients, weights }) => {
    for (const [i, w] of trace(spec, gradients).entries()) expect(w).toBeCloseTo(weights[i], 6);
  });

  it.each(worked)(
    '$name: rows of a sparse gradient move as in a dense step, all others stay put',
    ({ spec }) => {
      const d = float64Device();
      const start = 'start';
      const dense = parameter(d, [5, 3], start);
      const sparse = parameter(d, [5, 3], start, { sparseGradient: true });
      const before = Float64Array.from(sparse.data);
      const optimizers = [new Optimizer(d, [['w', dense]], spec), new Optimizer(d, [['w', sparse]], spec)];
      const draws = RandomStream.named(2, 'gradients');
      for (let step = 0; step < 3; step++) {
        const g = Float64Array.from({ length: 6 }, () => draws.normal());
        const full = new Float64Array(15);
        full.set(g.subarray(0, 3), 3);
        full.set(g.subarray(3), 12);
        setGradient(dense, full);
        setRows(d, sparse, [1, 4], g);
        for (const optimizer of optimizers) optimizer.step(0.1);
      }
      const touched = (x: ArrayLike<number>) =>
        Array.from(x).filter((_, i) => [1, 4].includes(Math.floor(i / 3)));
      const others = (x: ArrayLike<number>) =>
        Array.from(x).filter((_, i) => ![1, 4].includes(Math.floor(i / 3)));
      expect(touched(sparse.data)).toEqual(touched(dense.data));
      expect(others(sparse.data)).toEqual(others(before));
      const [denseState, sparseState] = optimizers.map((o) => [...o.state()]);
      for (const [i, [name, array]] of sparseState.entries()) {
        expect(name).toBe(denseState[i][0]);
        expect(touched(array)).toEqual(touched(denseState[i][1]));
        expect(others(array).every((x) => x === 0)).toBe(true);
      }
    },
  );

  it.each(worked)('$name: clipping multiplies the gradient first', ({ spec, gradients }) => {
    const d = float64Device();
    const [p, q] = [parameter(d, [1], [1]), parameter(d, [1], [1])];
    const clipped = new Optimizer(d, [['p', p]], spec);
    const plain = new Optimizer(d, [['q', q]], spec);
    for (const g of gradients) {
      setGradient(p, [g]);
      clipped.step(0.1, 0.25);
      setGradient(q, [g / 4]);
      plain.step(0.1);
      expect(p.data[0]).toBe(q.data[0]);
    }
  });

  it('measures the norm over all gradients, dense and rows', () => {
    const d = float64Device();
    const a = parameter(d, [2], [0, 0]);
    const b = parameter(d, [4, 2], 'b', { sparseGradient: true });
    const idle = parameter(d, [2], [5, 5]);
    const optimizer = new Optimizer(d, Object.entries({ a, b, idle }), { kind: 'sgd', rate: 1 });
    expect(optimizer.gradientNorm()).toBe(0);
    setGradient(a, [1, 2]);
    setRows(d, b, [0, 3], [2, 4, 0, 0]);
    expect(optimizer.gradientNorm()).toBe(5);
    setGradient(a, [Number.NaN, 0]);
    expect(optimizer.gradientNorm()).toBeNaN();
  });

  it('leaves parameters without gradient alone, weight decay and all', () => {
    const d = float64Device();
    const p = parameter(d, [2], [1, 2]);
    const optimizer = new Optimizer(d, [['p', p]], { kind: 'adamw', rate: 0.1, weightDecay: 0.5 });
    optimizer.step(0.1);
    expect(Array.from(p.data)).toEqual([1, 2]);
    expect(optimizer.steps).toBe(1);
  });

  it('steps at the rate of the call, not of the spec: schedules multiply', () => {
    const d = float64Device();
    const p = parameter(d, [1], [1]);
    const optimizer = new Optimizer(d, [['p', p]], { kind: 'sgd', rate: 123 });
    setGradient(p, [1]);
    optimizer.step(0.25);
    expect(p.data[0]).toBe(0.75);
  });

  it('resumes from its state arrays and step count', () => {
    const spec: OptimizerSpec = { kind: 'adam', rate: 0.1 };
    const d = float64Device();
    const [p, q] = [parameter(d, [2], [1, 2]), parameter(d, [2], [1, 2])];
    const first = new Optimizer(d, [['p', p]], spec);
    for (const g of [1, -2]) {
      setGradient(p, [g, g]);
      first.step(0.1);
    }
    const second = new Optimizer(d, [['p', q]], spec);
    q.data.set(p.data);
    const saved = new Map(first.state());
    expect([...saved.keys()]).toEqual(['p.m', 'p.v']);
    for (const [name, array] of second.state()) array.set(saved.get(name)!);
    second.steps = first.steps;
    for (const [x, o] of [
      [p, first],
      [q, second],
    ] as const) {
      setGradient(x, [0.5, 3]);
      o.step(0.1);
    }
    expect(Array.from(q.data)).toEqual(Array.from(p.data));
  });
});

describe('rules', () => {
  it.each(worked)('$name: memory is what momentsPerWeight says', ({ spec }) => {
    const d = float64Device();
    const p = parameter(d, [10], 'p');
    const optimizer = new Optimizer(d, [['p', p]], spec);
    expect([...optimizer.state()]).toHaveLength(momentsPerWeight(spec));
    expect(d.ledger.live().optimizer).toBe(80 * momentsPerWeight(spec));
  });

  it('corrects the bias of Adam by the number of steps', () => {
    const rule = ruleAt({ kind: 'adam', rate: 1, beta1: 0.5, beta2: 0.75 }, 0.1, 2);
    expect(rule).toMatchObject({
      rate: 0.1,
      correction1: 0.75,
      correction2: 1 - 0.75 ** 2,
      decoupled: false,
    });
  });

  it('refuses an optimiser that does not exist', () => {
    const spec = { kind: 'lion', rate: 1 } as unknown as OptimizerSpec;
    expect(() => ruleAt(spec, 0.1, 1)).toThrow(/OPTIMIZER_UNKNOWN/);
  });

  it('refuses an option that its kind does not read', () => {
    const d = float64Device();
    const make = (spec: object) => () =>
      new Optimizer(d, [['p', parameter(d, [1], [1])]], spec as OptimizerSpec);
    expect(make({ kind: 'adam', rate: 1, weightDecay: 0.1, decoupled: true })).toThrow(
      /OPTIMIZER_OPTION.*adamw/,
    );
    expect(make({ kind: 'adagrad', rate: 1, momentum: 0.9 })).toThrow(/OPTIMIZER_OPTION/);
  });
});
