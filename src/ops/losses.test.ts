import { describe, expect, it } from 'vitest';
import { arrivals, float64Device, gradcheck, gradientOf, parameter } from '../autograd/gradcheck.testing.js';
import { Tape } from '../autograd/tape.js';
import { bceWithLogits, squaredError, squaredHinge } from './losses.js';

const losses = [bceWithLogits, squaredHinge, squaredError];
const hard = [0, 1, 1, 0, 0, 1];
const soft = [0.1, 0.9, 0.5, 0, 1, 0.3];

/** The loss of the rows and the gradient of the logits. */
function evaluate(op: (typeof losses)[number], shape: number[], z: number[], y: number[]) {
  const d = float64Device();
  const p = parameter(d, shape, z);
  const tape = new Tape(d);
  const loss = tape.run(op, { z: p, targets: d.fromArray(shape, y) });
  expect(loss.shape).toEqual([1]);
  const value = loss.data[0];
  tape.backward(loss);
  return { loss: value, dz: Array.from(gradientOf(p)!) };
}

describe.each(losses)('$name', (op) => {
  it.each(arrivals)('has the right gradient, hard and soft targets, on $name', ({ via }) => {
    const d = float64Device();
    const z = parameter(d, [2, 3], [-2, 0.3, 3, 0, 1.5, -0.4]);
    for (const targets of [hard, soft]) {
      gradcheck(d, [z], (tape) => tape.run(op, { z: via(tape, z), targets: d.fromArray([2, 3], targets) }));
    }
  });

  it('is a sum over outputs and a mean over examples', () => {
    const z = [-2, 0.3, 3, 0.1, 1.5, -0.4];
    const rows = [0, 1].map((i) =>
      evaluate(op, [1, 3], z.slice(3 * i, 3 * i + 3), soft.slice(3 * i, 3 * i + 3)),
    );
    const columns = [0, 1, 2, 3, 4, 5].map((i) => evaluate(op, [1, 1], [z[i]], [soft[i]]).loss);
    const both = evaluate(op, [2, 3], z, soft);
    expect(both.loss).toBeCloseTo((rows[0].loss + rows[1].loss) / 2, 12);
    expect(both.loss).toBeCloseTo(columns.reduce((a, b) => a + b, 0) / 2, 12);
  });

  it('stays finite at |z| up to 1e4, and shows a NaN', () => {
    const z = [1e4, -1e4, 1e4, -1e4];
    const { loss, dz } = evaluate(op, [1, 4], z, [0, 0, 1, 1]);
    expect([loss, ...dz].every(Number.isFinite)).toBe(true);
    const broken = evaluate(op, [1, 2], [Number.NaN, 1], [0, 1]);
    expect(broken.loss).toBeNaN();
    expect(broken.dz[0]).toBeNaN();
  });

  it('refuses targets of another shape, and logits that are not rows of examples', () => {
    const d = float64Device();
    const tape = new Tape(d);
    const t = (shape: number[]) => d.temporary('activations', shape);
    expect(() => tape.run(op, { z: t([2, 3]), targets: t([3, 2]) })).toThrow(/targets has the wrong shape/);
    expect(() => tape.run(op, { z: t([6]), targets: t([6]) })).toThrow(/wrong number of dimensions/);
  });
});

describe('values', () => {
  it('bce: exact at the ends, where sigmoid rounds to 0 or 1', () => {
    expect(evaluate(bceWithLogits, [1, 1], [1e4], [1])).toEqual({ loss: 0, dz: [0] });
    expect(evaluate(bceWithLogits, [1, 1], [1e4], [0])).toEqual({ loss: 1e4, dz: [1] });
    expect(evaluate(bceWithLogits, [1, 1], [-1e4], [0.25])).toEqual({ loss: 2500, dz: [-0.25] });
    // e^-40: lost if it were computed as sigmoid(40) - 1
    const far = evaluate(bceWithLogits, [1, 1], [40], [1]);
    expect(far.loss / Math.exp(-40)).toBeCloseTo(1, 12);
    expect(far.dz[0] / -Math.exp(-40)).toBeCloseTo(1, 12);
    expect(evaluate(bceWithLogits, [1, 1], [0], [1]).loss).toBeCloseTo(Math.LN2, 15);
  });

  it('squared hinge: nothing beyond the margin, a smooth start before it', () => {
    expect(evaluate(squaredHinge, [1, 3], [1, 2, 0.5], [1, 1, 1])).toEqual({ loss: 0.25, dz: [-0, -0, -1] });
    expect(evaluate(squaredHinge, [1, 2], [-1, 0], [0, 0])).toEqual({ loss: 1, dz: [0, 2] });
    expect(evaluate(squaredHinge, [1, 1], [3], [0.5])).toEqual({ loss: 1, dz: [-0] });
  });

  it('squared error: (z - y)^2', () => {
    expect(evaluate(squaredError, [2, 1], [3, -1], [1, 1])).toEqual({ loss: 4, dz: [2, -2] });
  });
});
