import { describe, expect, it } from 'vitest';
import { arrivals, float64Device, gradcheck, gradientOf, parameter } from '../autograd/gradcheck.testing.js';
import { Tape } from '../autograd/tape.js';
import { RandomStream } from '../kernels/random.js';
import { add, dropout, gelu, multiply, relu, scale } from './elementwise.js';

/** Away from the kink of relu. */
const values = [-2.5, -0.3, 0.4, 1.7, 3.1, -4];
const others = [0.5, -1.5, 2, -0.7, 1.1, 3];

describe.each(arrivals)('gradients of elementwise operations on $name', ({ via }) => {
  it('relu', () => {
    const d = float64Device();
    const p = parameter(d, [2, 3], values);
    gradcheck(d, [p], (tape) => tape.run(relu, { x: via(tape, p) }));
  });

  it('gelu', () => {
    const d = float64Device();
    const p = parameter(d, [2, 3], values);
    gradcheck(d, [p], (tape) => tape.run(gelu, { x: via(tape, p) }));
  });

  it('scale', () => {
    const d = float64Device();
    const p = parameter(d, [2, 3], values);
    gradcheck(d, [p], (tape) => tape.run(scale, { x: via(tape, p), alpha: -1.7 }));
  });

  it('dropout with a fixed key', () => {
    const d = float64Device();
    const p = parameter(d, [8, 3], 'dropout');
    const key = RandomStream.named(3, 'mask').reserve(p.size);
    gradcheck(d, [p], (tape) => tape.run(dropout, { x: via(tape, p), p: 0.4, key }));
  });

  it.each([
    ['add', add],
    ['multiply', multiply],
  ] as const)('%s', (_name, op) => {
    const d = float64Device();
    const a = parameter(d, [2, 3], values);
    const b = parameter(d, [2, 3], others);
    gradcheck(d, [a, b], (tape) => tape.run(op, { a: via(tape, a), b: via(tape, b) }));
  });

  it('an operand without gradient', () => {
    const d = float64Device();
    const p = parameter(d, [2, 3], values);
    for (const op of [add, multiply]) {
      gradcheck(d, [p], (tape) => tape.run(op, { a: via(tape, p), b: d.fromArray([2, 3], others) }));
      gradcheck(d, [p], (tape) => tape.run(op, { a: d.fromArray([2, 3], others), b: via(tape, p) }));
    }
  });
});

describe('kinks and masks', () => {
  it('relu has the gradient 0 at exactly 0 and at -0', () => {
    const d = float64Device();
    const p = parameter(d, [4], [0, -0, 1e-300, -1e-300]);
    const tape = new Tape(d);
    tape.backward(tape.run(relu, { x: p }));
    expect(Array.from(gradientOf(p)!)).toEqual([0, 0, 1, 0]);
  });

  it('dropout keeps x / (1 - p) or nothing, and lets the gradient through where it keeps', () => {
    const d = float64Device();
    const p = parameter(d, [1000], new Float64Array(1000).fill(2));
    const key = RandomStream.named(3, 'mask').reserve(p.size);
    const tape = new Tape(d);
    const y = tape.run(dropout, { x: p, p: 0.25, key });
    const out = Float64Array.from(y.data);
    tape.backward(y);
    const gradient = gradientOf(p)!;
    for (let i = 0; i < 1000; i++) {
      expect([0, 2 / 0.75]).toContain(out[i]);
      expect(gradient[i]).toBe(out[i] === 0 ? 0 : 1 / 0.75);
    }
    const kept = out.filter((x) => x > 0).length;
    expect(Math.abs(kept - 750)).toBeLessThan(4 * Math.sqrt(1000 * 0.25 * 0.75));
  });

  it('refuses operands of different shapes', () => {
    const d = float64Device();
    const tape = new Tape(d);
    const a = d.fromArray([2, 3], values);
    const b = d.fromArray([3, 2], others);
    expect(() => tape.run(add, { a, b })).toThrow(/add: b has the wrong shape; expected \[2, 3\]/);
    expect(() => tape.run(multiply, { a, b })).toThrow(/SHAPE_MISMATCH/);
  });
});
