import { describe, expect, it } from 'vitest';
import { arrivals, float64Device, gradcheck, parameter } from '../autograd/gradcheck.testing.js';
import { Tape } from '../autograd/tape.js';
import { layerNorm } from './layer-norm.js';

describe.each(arrivals)('layerNorm on $name', ({ via }) => {
  it('has the right gradients', () => {
    const d = float64Device();
    const x = parameter(d, [3, 6], 'x');
    const gamma = parameter(d, [6], 'gamma');
    const beta = parameter(d, [6], 'beta');
    gradcheck(d, [x, gamma, beta], (tape) =>
      tape.run(layerNorm, {
        x: via(tape, x),
        gamma: via(tape, gamma),
        beta: via(tape, beta),
        eps: 1e-5,
      }),
    );
  });

  it('has the right gradients on constant rows, where only eps keeps the scale finite', () => {
    const d = float64Device();
    const x = parameter(d, [2, 4], [3, 3, 3, 3, 0, 0, 0, 0]);
    const gamma = parameter(d, [4], 'gamma');
    const beta = parameter(d, [4], 'beta');
    gradcheck(
      d,
      [x, gamma, beta],
      (tape) =>
        tape.run(layerNorm, {
          x: via(tape, x),
          gamma: via(tape, gamma),
          beta: via(tape, beta),
          eps: 0.01,
        }),
      { tolerance: 1e-6 },
    );
  });
});

describe('layerNorm', () => {
  it('turns a constant row into beta, and every other row into mean 0 and variance 1', () => {
    const d = float64Device();
    const tape = new Tape(d);
    const gamma = d.fromArray([4], [1, 1, 1, 1]);
    const beta = d.fromArray([4], [5, 6, 7, 8]);
    const x = d.fromArray([2, 4], [2, 2, 2, 2, 1, -3, 10, 4]);
    const y = tape.run(layerNorm, { x, gamma, beta, eps: 1e-12 }).data;
    expect(Array.from(y.slice(0, 4))).toEqual([5, 6, 7, 8]);
    const row = Array.from(y.slice(4), (v, j) => v - beta.data[j]);
    expect(row.reduce((a, b) => a + b, 0)).toBeCloseTo(0, 12);
    expect(row.reduce((a, b) => a + b * b, 0) / 4).toBeCloseTo(1, 10);
  });

  it('works without a gradient for gamma, beta or x', () => {
    const d = float64Device();
    const p = [parameter(d, [2, 3], 'x'), parameter(d, [3], 'gamma'), parameter(d, [3], 'beta')];
    for (const frozen of [0, 1, 2]) {
      for (const [i, one] of p.entries()) one.requiresGrad = i !== frozen;
      const learnt = p.filter((one) => one.requiresGrad);
      gradcheck(d, learnt, (tape) => tape.run(layerNorm, { x: p[0], gamma: p[1], beta: p[2], eps: 1e-5 }));
    }
  });

  it('refuses shapes that do not fit', () => {
    const d = float64Device();
    const tape = new Tape(d);
    const t = (shape: number[]) => d.temporary('activations', shape);
    expect(() => tape.run(layerNorm, { x: t([2, 3]), gamma: t([4]), beta: t([3]), eps: 1 })).toThrow(/gamma/);
    expect(() => tape.run(layerNorm, { x: t([3]), gamma: t([3]), beta: t([3]), eps: 1 })).toThrow(
      /SHAPE_MISMATCH/,
    );
  });
});
