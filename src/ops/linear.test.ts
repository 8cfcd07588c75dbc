import { describe, expect, it } from 'vitest';
import { arrivals, float64Device, gradcheck, gradientOf, parameter } from '../autograd/gradcheck.testing.js';
import { Tape } from '../autograd/tape.js';
import { linear } from './linear.js';

describe.each(arrivals)('linear on $name', ({ via }) => {
  it.each([
    { activation: 'none', withBias: true },
    { activation: 'none', withBias: false },
    { activation: 'relu', withBias: true },
  ] as const)('has the right gradients: $activation, bias $withBias', ({ activation, withBias }) => {
    const d = float64Device();
    const x = parameter(d, [4, 5], 'x');
    const weight = parameter(d, [3, 5], 'weight');
    const bias = parameter(d, [3], 'bias');
    gradcheck(d, withBias ? [x, weight, bias] : [x, weight], (tape) =>
      tape.run(linear, {
        x: via(tape, x),
        weight: via(tape, weight),
        bias: withBias ? via(tape, bias) : null,
        activation,
      }),
    );
  });
});

describe('linear', () => {
  it('computes x W^T + b', () => {
    const d = float64Device();
    const tape = new Tape(d);
    const x = d.fromArray([2, 2], [1, 2, 3, 4]);
    const weight = d.fromArray([3, 2], [1, 0, 0, 1, 2, -1]);
    const bias = d.fromArray([3], [10, 20, 30]);
    const y = tape.run(linear, { x, weight, bias, activation: 'none' });
    expect(y.shape).toEqual([2, 3]);
    expect(Array.from(y.data)).toEqual([11, 22, 30, 13, 24, 32]);
  });

  it('has no gradient where the fused relu is exactly 0', () => {
    const d = float64Device();
    const weight = parameter(d, [2, 2], [1, -1, 1, 1]);
    const tape = new Tape(d);
    const x = d.fromArray([1, 2], [3, 3]);
    tape.backward(tape.run(linear, { x, weight, bias: null, activation: 'relu' }));
    expect(Array.from(gradientOf(weight)!)).toEqual([0, 0, 3, 3]);
  });

  it('refuses inner sizes that differ, wrong ranks and a bias of another length', () => {
    const d = float64Device();
    const tape = new Tape(d);
    const weight = d.fromArray([3, 2], [1, 0, 0, 1, 2, -1]);
    const run = (xShape: number[], biasLength: number) => () =>
      tape.run(linear, {
        x: d.temporary('activations', xShape),
        weight,
        bias: d.temporary('activations', [biasLength]),
        activation: 'none',
      });
    expect(run([4, 5], 3)).toThrow(/inner sizes differ; expected x \[\.\.\., 2\]; received \[4, 5\]/);
    expect(run([4], 3)).toThrow(/wrong number of dimensions/);
    expect(run([4, 2], 4)).toThrow(/bias has the wrong shape/);
  });
});
