import { describe, expect, it } from 'vitest';
import { add, multiply, relu, scale } from '../ops/elementwise.js';
import { linear } from '../ops/linear.js';
import { squaredError } from '../ops/losses.js';
import { float64Device, gradcheck, gradientOf, parameter } from './gradcheck.testing.js';
import { Tape } from './tape.js';

const numbers = (x: ArrayLike<number> | null) => (x === null ? null : Array.from(x));

describe('gradcheck', () => {
  it('notices a wrong gradient, and one that never comes', () => {
    const d = float64Device();
    const p = parameter(d, [3], [1, 2, 3]);
    const wrong: typeof scale = { ...scale, backward: (_d, { x }, _s, _o, dout, into) => into.give(x, dout) };
    expect(() => gradcheck(d, [p], (tape) => tape.run(wrong, { x: p, alpha: 2 }))).toThrow(/differences say/);
    const lost: typeof scale = { ...scale, backward: () => {} };
    expect(() => gradcheck(d, [p], (tape) => tape.run(lost, { x: p, alpha: 2 }))).toThrow(/no gradient/);
  });
});

describe('Tape', () => {
  it('adds the gradients of a parameter that is used twice', () => {
    const d = float64Device();
    const w = parameter(d, [3, 3], 'w');
    const x = parameter(d, [2, 3], 'x');
    gradcheck(d, [w, x], (tape) => {
      const once = tape.run(linear, { x, weight: w, bias: null, activation: 'none' });
      return tape.run(linear, { x: once, weight: w, bias: null, activation: 'none' });
    });
  });

  it('adds the gradients of a tensor that feeds two operations', () => {
    const d = float64Device();
    const p = parameter(d, [2, 2], 'p');
    gradcheck(d, [p], (tape) => {
      const x = tape.run(scale, { x: p, alpha: 3 });
      const left = tape.run(multiply, { a: x, b: p });
      const right = tape.run(relu, { x });
      return tape.run(add, { a: left, b: right });
    });
  });

  it.each(['a', 'b'] as const)('adds to a gradient that a later use of operand %s left', (operand) => {
    const d = float64Device();
    const p = parameter(d, [3], [1, -2, 5]);
    const q = parameter(d, [3], [2, 3, 4]);
    for (const op of [add, multiply]) {
      gradcheck(d, [p, q], (tape) => {
        const x = tape.run(scale, { x: p, alpha: 3 });
        const early = operand === 'a' ? tape.run(op, { a: x, b: q }) : tape.run(op, { a: q, b: x });
        return tape.run(multiply, { a: early, b: x });
      });
    }
  });

  it.each(['parameter', 'tensor'])('gives x + x and x * x their factor of two, x a %s', (kind) => {
    const d = float64Device();
    const p = parameter(d, [3], [1, -2, 5]);
    for (const op of [add, multiply]) {
      gradcheck(d, [p], (tape) => {
        const x = kind === 'tensor' ? tape.run(scale, { x: p, alpha: 2 }) : p;
        return tape.run(op, { a: x, b: x });
      });
    }
  });

  it('accumulates over backward passes until zeroGrad, and then starts afresh', () => {
    const d = float64Device();
    const p = parameter(d, [2], [1, 2]);
    const pass = () => {
      const tape = new Tape(d);
      tape.backward(tape.run(scale, { x: p, alpha: 3 }));
    };
    pass();
    expect(numbers(gradientOf(p))).toEqual([3, 3]);
    pass();
    expect(numbers(gradientOf(p))).toEqual([6, 6]);
    p.zeroGrad();
    expect(gradientOf(p)).toBeNull();
    pass();
    expect(numbers(gradientOf(p))).toEqual([3, 3]);
  });

  it('leaves a branch that nobody needs without gradient, and gives its memory back', () => {
    const d = float64Device();
    const used = parameter(d, [2], [1, 2]);
    const unused = parameter(d, [2], [3, 4]);
    const tape = new Tape(d);
    const root = tape.run(scale, { x: used, alpha: 2 });
    tape.run(scale, { x: tape.run(relu, { x: unused }), alpha: 5 });
    tape.backward(root);
    expect(numbers(gradientOf(used))).toEqual([2, 2]);
    expect(gradientOf(unused)).toBeNull();
    expect(d.ledger.live().activations).toBe(0);
    expect(d.ledger.live().gradients).toBe(32);
  });

  it('records nothing for tensors that need no gradient, and computes none for frozen parameters', () => {
    const d = float64Device();
    const frozen = parameter(d, [2, 2], 'frozen');
    frozen.requiresGrad = false;
    const w = parameter(d, [2, 2], 'w');
    const tape = new Tape(d);
    const x = tape.run(relu, { x: d.fromArray([1, 2], [1, 2]) });
    expect(x.requiresGrad).toBe(false);
    const y = tape.run(linear, { x, weight: frozen, bias: null, activation: 'none' });
    const z = tape.run(linear, { x: y, weight: w, bias: null, activation: 'none' });
    expect([y.requiresGrad, z.requiresGrad]).toEqual([false, true]);
    tape.backward(z);
    expect(frozen.hasGradient).toBe(false);
    expect(numbers(gradientOf(w))).toEqual([...y.data, ...y.data]);
  });

  it('ends with no activation and no gradient of the step in the arena', () => {
    const d = float64Device();
    const w1 = parameter(d, [4, 3], 'w1');
    const w2 = parameter(d, [2, 4], 'w2');
    const persistent = d.ledger.live();
    const tape = new Tape(d);
    const x = d.fromArray([5, 3], new Float64Array(15).fill(0.1), 'data');
    const hidden = tape.run(linear, { x, weight: w1, bias: null, activation: 'relu' });
    const z = tape.run(linear, { x: hidden, weight: w2, bias: null, activation: 'none' });
    const targets = d.fromArray([5, 2], new Float64Array(10), 'data');
    tape.backward(tape.run(squaredError, { z, targets }));
    const { data, ...left } = d.ledger.live();
    expect(left).toEqual({ ...persistent, data: undefined });
    expect(data).toBe(128 + 128);
  });

  it('keeps the outputs that are to be retained, and voids the others', () => {
    const d = float64Device();
    const p = parameter(d, [2], [1, 2]);
    const tape = new Tape(d);
    const kept = tape.run(scale, { x: p, alpha: 2 });
    const lost = tape.run(scale, { x: kept, alpha: 2 });
    tape.backward(lost, undefined, [kept]);
    expect(numbers(kept.data)).toEqual([2, 4]);
    expect(() => lost.data).toThrow(/TENSOR_RELEASED/);
  });

  it('backpropagates a seed from outside, ones without one', () => {
    const d = float64Device();
    const p = parameter(d, [2], [1, 2]);
    const tape = new Tape(d);
    tape.backward(tape.run(scale, { x: p, alpha: 2 }), d.fromArray([2], [10, 100]));
    expect(numbers(gradientOf(p))).toEqual([20, 200]);
  });

  it('refuses a seed of another shape than the root', () => {
    const d = float64Device();
    const tape = new Tape(d);
    const y = tape.run(scale, { x: parameter(d, [2, 3], 'p'), alpha: 2 });
    expect(() => tape.backward(y, d.fromArray([3, 2], [1, 2, 3, 4, 5, 6]))).toThrow(
      /SEED_SHAPE|expected \[2, 3\]; received \[3, 2\]/,
    );
  });

  it('refuses a dense gradient for a table made for row-sparse ones', () => {
    const d = float64Device();
    const table = parameter(d, [3, 2], 'table', { sparseGradient: true });
    const tape = new Tape(d);
    const x = d.fromArray([1, 2], [1, 2]);
    const y = tape.run(linear, { x, weight: table, bias: null, activation: 'none' });
    expect(() => tape.backward(y)).toThrow(/GRADIENT_KIND/);
  });

  it('counts the forward work, multiply-adds twice', () => {
    const d = float64Device();
    const tape = new Tape(d);
    const x = d.fromArray([5, 3], new Float64Array(15));
    tape.run(linear, { x, weight: parameter(d, [4, 3], 'w'), bias: null, activation: 'none' });
    expect(tape.flops).toBe(2 * 5 * 3 * 4);
  });

  it('runs dry with the bytes of the real thing', () => {
    const peaks = [float64Device(), float64Device().dryTwin()].map((d) => {
      const w = d.dry ? parameter(d, [4, 3], []) : parameter(d, [4, 3], 'w');
      const tape = new Tape(d);
      const x = d.fromArray([5, 3], new Float64Array(15));
      const hidden = tape.run(linear, { x, weight: w, bias: null, activation: 'relu' });
      const targets = d.fromArray([5, 4], new Float64Array(20));
      tape.backward(tape.run(squaredError, { z: hidden, targets }));
      return [d.ledger.atPeak(), d.arena.highWaterBytes];
    });
    expect(peaks[1]).toEqual(peaks[0]);
  });
});

describe('backwardTo', () => {
  it('stops at a tensor, hands its gradient out, and backward goes on with what is given', () => {
    const d = float64Device();
    const p = parameter(d, [2], [1, 2]);
    const q = parameter(d, [2], [3, 4]);
    const run = (halfway: boolean) => {
      p.zeroGrad();
      q.zeroGrad();
      const tape = new Tape(d);
      const x = tape.run(scale, { x: p, alpha: 3 });
      const y = tape.run(multiply, { a: tape.run(relu, { x }), b: q });
      if (!halfway) tape.backward(y);
      else {
        const gradient = tape.backwardTo(x, y);
        expect(numbers(gradient?.data ?? null)).toEqual([3, 4]);
        expect(p.hasGradient).toBe(false);
        expect(q.hasGradient).toBe(true);
        tape.backward(x, gradient ?? undefined);
      }
      return [numbers(gradientOf(p)), numbers(gradientOf(q)), d.ledger.live().activations];
    };
    expect(run(true)).toEqual(run(false));
  });

  it('is null where no gradient reaches the tensor', () => {
    const d = float64Device();
    const p = parameter(d, [2], [1, 2]);
    const tape = new Tape(d);
    const aside = tape.run(scale, { x: p, alpha: 2 });
    expect(tape.backwardTo(aside, tape.run(scale, { x: p, alpha: 5 }))).toBeNull();
    expect(numbers(gradientOf(p))).toEqual([5, 5]);
  });
});
