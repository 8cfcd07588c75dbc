import { describe, expect, it } from 'vitest';
import { arrivals, float64Device, gradcheck, parameter } from '../autograd/gradcheck.testing.js';
import { Tape } from '../autograd/tape.js';
import { batchNorm } from './batch-norm.js';
import { conv2d } from './conv2d.js';
import { avgPool2d, maxPool2d } from './pool.js';

describe.each(arrivals)('on $name, backward equals finite differences:', ({ via }) => {
  it.each([
    { stride: 1, padding: 0, groups: 1, activation: 'none' },
    { stride: 1, padding: 1, groups: 2, activation: 'relu' },
    { stride: 2, padding: 1, groups: 1, activation: 'none' },
    { stride: 3, padding: 2, groups: 4, activation: 'relu' },
  ] as const)('conv2d of stride $stride, padding $padding, groups $groups, $activation', (how) => {
    const d = float64Device();
    const x = parameter(d, [2, 4, 5, 6], 'x');
    const weight = parameter(d, [4, 4 / how.groups, 3, 2], 'weight');
    const bias = parameter(d, [4], 'bias');
    gradcheck(d, [x, weight, bias], (tape) =>
      tape.run(conv2d, { x: via(tape, x), weight: via(tape, weight), bias: via(tape, bias), ...how }),
    );
  });

  it.each([
    [2, 2, 0],
    [3, 2, 1],
    [3, 1, 1],
  ])('maxPool2d and avgPool2d of %s, stride %s, padding %s', (kernel, stride, padding) => {
    const d = float64Device();
    const x = parameter(d, [2, 3, 5, 6], 'x');
    for (const op of [maxPool2d, avgPool2d]) {
      gradcheck(d, [x], (tape) =>
        tape.run(op as typeof avgPool2d, { x: via(tape, x), kernel, stride, padding }),
      );
    }
  });

  it.each(['none', 'relu'] as const)('batchNorm, %s', (activation) => {
    const d = float64Device();
    const [x, gamma, beta] = [parameter(d, [3, 2, 4], 'x'), parameter(d, [2], 'g'), parameter(d, [2], 'b')];
    const running = () => d.fromArray([2], [0, 0]);
    gradcheck(d, [x, gamma, beta], (tape) =>
      tape.run(batchNorm, {
        ...{ x: via(tape, x), gamma: via(tape, gamma), beta: via(tape, beta), activation },
        ...{ runningMean: running(), runningVar: running(), eps: 0.1, momentum: 0.1, training: true },
      }),
    );
  });
});

describe('conv2d', () => {
  const run = (x: number[], weight: number[], how: Partial<Parameters<typeof conv2d.infer>[0]> = {}) => {
    const d = float64Device();
    const of = (shape: number[]) =>
      d.fromArray(
        shape,
        Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => i),
      );
    const args = { bias: null, stride: 1, padding: 0, groups: 1, activation: 'none' as const, ...how };
    return new Tape(d).run(conv2d, { x: of(x), weight: of(weight), ...args });
  };

  it('correlates: the kernel is not turned', () => {
    expect(Array.from(run([1, 1, 2, 3], [1, 1, 1, 2]).data)).toEqual([1, 2, 4, 5]);
  });

  it('refuses channels that do not fit, kernels larger than the image, and strides of 0', () => {
    expect(() => run([1, 3, 4, 4], [2, 2, 2, 2])).toThrow(/CONV_SHAPE/);
    expect(() => run([1, 1, 4, 4], [1, 1, 5, 5])).toThrow(/larger than the padded image/);
    expect(() => run([1, 1, 4, 4], [1, 1, 2, 2], { stride: 0 })).toThrow(/CONV_SHAPE/);
    expect(() => run([1, 4, 4, 4], [3, 2, 2, 2], { groups: 2 })).toThrow(/CONV_SHAPE/);
  });

  it('refuses windows of pools that do not fit', () => {
    const d = float64Device();
    const x = d.fromArray([1, 1, 2, 2], [1, 2, 3, 4]);
    for (const [kernel, stride, padding] of [
      [3, 1, 0],
      [2, 0, 0],
      [2, 1, 2],
      [256, 1, 128],
    ]) {
      expect(() => new Tape(d).run(maxPool2d, { x, kernel, stride, padding })).toThrow(/POOL_SHAPE/);
    }
  });
});

describe('batchNorm', () => {
  it('refuses to go back through evaluation, whose statistics nobody kept', () => {
    const d = float64Device();
    const [x, gamma, beta] = [parameter(d, [2, 1, 2], 'x'), parameter(d, [1], 'g'), parameter(d, [1], 'b')];
    const running = { runningMean: d.fromArray([1], [0]), runningVar: d.fromArray([1], [1]) };
    const tape = new Tape(d);
    const how = { eps: 0, momentum: 0.5, training: false, activation: 'none' as const };
    const y = tape.run(batchNorm, { x, gamma, beta, ...running, ...how });
    expect(() => tape.backward(y)).toThrow(/BATCH_NORM_EVALUATION/);
  });

  it('moves its running statistics in training and stands on them in evaluation', () => {
    const d = float64Device();
    const x = d.fromArray([2, 1, 2], [1, 3, 5, 7]);
    const [gamma, beta] = [d.fromArray([1], [2]), d.fromArray([1], [1])];
    const [runningMean, runningVar] = [d.fromArray([1], [0]), d.fromArray([1], [1])];
    const args = {
      x,
      gamma,
      beta,
      runningMean,
      runningVar,
      eps: 0,
      momentum: 0.5,
      activation: 'none' as const,
    };
    const y = new Tape(d).run(batchNorm, { ...args, training: true });
    expect(Array.from(y.data)[0]).toBeCloseTo(1 - (2 * 3) / Math.sqrt(5), 12);
    expect(runningMean.data[0]).toBe(2);
    expect(runningVar.data[0]).toBeCloseTo(0.5 + (0.5 * 20) / 3, 12);
    const scored = new Tape(d).run(batchNorm, { ...args, training: false });
    expect(scored.data[3]).toBeCloseTo(1 + (2 * (7 - 2)) / Math.sqrt(0.5 + 10 / 3), 12);
    expect(runningMean.data[0]).toBe(2);
  });
});
