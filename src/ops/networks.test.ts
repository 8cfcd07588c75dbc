import { describe, expect, it } from 'vitest';
import { arrivals, float64Device, gradcheck, gradientOf, parameter } from '../autograd/gradcheck.testing.js';
import { Tape } from '../autograd/tape.js';
import { affine } from './affine.js';
import { add, relu } from './elementwise.js';
import { linear } from './linear.js';
import { meanLast, swapAxes } from './shapes.js';
import { softmaxCrossEntropy } from './softmax-cross-entropy.js';

describe.each(arrivals)('on $name, backward equals finite differences:', ({ via }) => {
  it.each([0, 0.1])('softmaxCrossEntropy with smoothing %s', (smoothing) => {
    const d = float64Device();
    const z = parameter(d, [4, 5], 'z');
    const labels = Uint32Array.of(4, 0, 2, 2);
    gradcheck(d, [z], (tape) => tape.run(softmaxCrossEntropy, { z: via(tape, z), labels, smoothing }));
  });

  it.each([true, false])('affine, shifted: %s', (shifted) => {
    const d = float64Device();
    const [x, gamma, beta] = [parameter(d, [2, 3, 4], 'x'), parameter(d, [4], 'g'), parameter(d, [4], 'b')];
    gradcheck(d, shifted ? [x, gamma, beta] : [x, gamma], (tape) =>
      tape.run(affine, { x: via(tape, x), gamma, beta: shifted ? via(tape, beta) : null }),
    );
  });

  it.each([0, 1, -2])('swapAxes at %s', (axis) => {
    const d = float64Device();
    const x = parameter(d, [2, 3, 4], 'x');
    gradcheck(d, [x], (tape) => tape.run(swapAxes, { x: via(tape, x), axis }));
  });

  it('meanLast', () => {
    const d = float64Device();
    const x = parameter(d, [2, 3, 4], 'x');
    gradcheck(d, [x], (tape) => tape.run(meanLast, { x: via(tape, x) }));
  });

  it('linear on three dimensions, and a reshape between operations', () => {
    const d = float64Device();
    const [x, weight] = [parameter(d, [2, 3, 4], 'x'), parameter(d, [5, 4], 'weight')];
    gradcheck(d, [x, weight], (tape) => {
      const y = tape.run(linear, { x: via(tape, x), weight, bias: null, activation: 'none' });
      return tape.run(relu, { x: tape.reshape(y, [5, 6]) });
    });
  });

  it('a tensor that is used both reshaped and as it is', () => {
    const d = float64Device();
    const x = parameter(d, [2, 6], 'x');
    gradcheck(d, [x], (tape) => {
      const y = tape.run(relu, { x: via(tape, x) });
      const seen = tape.run(swapAxes, { x: tape.reshape(y, [3, 4]), axis: 0 });
      return tape.run(add, { a: tape.reshape(seen, [2, 6]), b: y });
    });
  });
});

describe('softmaxCrossEntropy', () => {
  it('is log n for equal logits, counts right answers, and needs no gradient off the tape', () => {
    const d = float64Device();
    const totals = new Float64Array(2);
    const z = d.fromArray([2, 4], [0, 0, 0, 0, 1, 1, 1, 1]);
    const args = { z, labels: Uint32Array.of(0, 1), smoothing: 0.2, totals };
    const loss = new Tape(d, { recording: false }).run(softmaxCrossEntropy, args);
    expect(loss.data[0]).toBeCloseTo(Math.log(4), 14);
    expect(totals[1]).toBe(1);
    expect(loss.requiresGrad).toBe(false);
  });

  it('refuses missing labels and a smoothing of 1', () => {
    const d = float64Device();
    const z = d.fromArray([2, 1], [0, 0]);
    const run = (labels: Uint32Array, smoothing: number) =>
      new Tape(d).run(softmaxCrossEntropy, { z, labels, smoothing });
    expect(() => run(Uint32Array.of(0), 0)).toThrow(/LOSS_ARGUMENTS/);
    expect(() => run(Uint32Array.of(0, 0), 1)).toThrow(/LOSS_ARGUMENTS/);
  });
});

describe('reshape', () => {
  it('refuses another number of elements', () => {
    const d = float64Device();
    expect(() => new Tape(d).reshape(d.fromArray([2, 3], [1, 2, 3, 4, 5, 6]), [4, 2])).toThrow(
      /SHAPE_MISMATCH/,
    );
  });

  it('returns all memory: after backward only parameters and their gradients are held', () => {
    const d = float64Device();
    const x = parameter(d, [2, 6], 'x');
    const before = d.ledger.liveBytes;
    const tape = new Tape(d);
    const y = tape.run(relu, { x: tape.reshape(tape.run(relu, { x }), [3, 4]) });
    tape.backward(y, d.fromArray([3, 4], new Float64Array(12).fill(1), 'gradients'));
    expect(d.ledger.liveBytes).toBe(before);
    expect(gradientOf(x)).toEqual(Float64Array.from(x.data, (v) => Number(v > 0)));
  });
});

describe('swapAxes', () => {
  it('refuses an axis without a neighbour', () => {
    const d = float64Device();
    const x = d.fromArray([2, 2], [1, 2, 3, 4]);
    expect(() => new Tape(d).run(swapAxes, { x, axis: 1 })).toThrow(/AXIS_RANGE/);
  });
});
