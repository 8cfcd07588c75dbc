import { describe, expect, it } from 'vitest';
import { float64Device, gradientOf, parameter } from '../autograd/gradcheck.testing.js';
import type { SavedPolicy } from '../autograd/saved.js';
import type { Form } from '../autograd/saved-forms.js';
import { Tape } from '../autograd/tape.js';
import { BsrTensor } from '../tensor/bsr.js';
import type { Device } from '../tensor/device.js';
import type { Shape, Tensor } from '../tensor/tensor.js';
import { affine } from './affine.js';
import { conv2d } from './conv2d.js';
import { scale } from './elementwise.js';
import { linear } from './linear.js';

/** Keeps everything in one form. */
const always = (form: Form): SavedPolicy => ({
  form: () => form,
  masks: true,
  samples: () => false,
  stored: () => {},
  measured: () => {},
});

const conv = { stride: 1, padding: 1, groups: 1, activation: 'none' } as const;
/** Operations whose weight gradient is linear in x. */
const cases: Record<
  string,
  { x: Shape; weight: Shape; matrix: Shape; run: (tape: Tape, x: Tensor, weight: Tensor) => Tensor }
> = {
  linear: {
    x: [5, 9, 20],
    weight: [7, 20],
    matrix: [45, 20],
    run: (tape, x, weight) => tape.run(linear, { x, weight, bias: null, activation: 'none' }),
  },
  affine: {
    x: [3, 11, 40],
    weight: [40],
    matrix: [33, 40],
    run: (tape, x, weight) => tape.run(affine, { x, gamma: weight, beta: null }),
  },
  conv2d: {
    x: [19, 2, 6, 5],
    weight: [3, 2, 3, 3],
    matrix: [38, 30],
    run: (tape, x, weight) => tape.run(conv2d, { x, weight, bias: null, ...conv }),
  },
  'linear after a reshape': {
    x: [37, 4, 10],
    weight: [3, 40],
    matrix: [37, 40],
    run: (tape, x, weight) =>
      tape.pass(tape.reshape(x, [37, 40]), (flat) =>
        tape.run(linear, { x: flat, weight, bias: null, activation: 'none' }),
      ),
  },
};

/** dW of one operation whose input is `change` of random numbers, kept in `form`. */
function gradient(
  name: string,
  form: Form | null,
  change: (d: Device, x: Tensor) => Tensor = (_, x) => x,
): Float64Array {
  const d = float64Device();
  const { x: shape, weight: weightShape, run } = cases[name];
  const weight = parameter(d, weightShape, 'weight');
  const seedling = parameter(d, shape, 'x');
  const tape = new Tape(d, form === null ? {} : { saved: always(form) });
  const made = tape.run(scale, { x: seedling, alpha: 1 });
  made.data.set(change(d, made).data);
  const y = tape.pass(made, (x) => run(tape, x, weight));
  const seed = parameter(d, y.shape, 'seed');
  tape.backward(y, d.fromArray(y.shape, seed.data, 'gradients'));
  return gradientOf(weight)!;
}

describe.each(Object.keys(cases))('the weight gradient of %s', (name) => {
  const { matrix } = cases[name];
  const closely = (a: Float64Array, b: Float64Array) => {
    expect(a.length).toBe(b.length);
    a.forEach((value, i) => {
      expect(value).toBeCloseTo(b[i], 10);
    });
  };

  it.each([
    [8, 'tensor'],
    [8, 'row'],
    [16, 'tensor'],
  ] as const)('from blocks of %i by %s is that of the pruned x', (block, scope) => {
    const form = { kind: 'bsr', block, kept: 2, scope } as const;
    const pruned = gradient(name, null, (d, x) =>
      BsrTensor.fromDense(d, d.alias(x, matrix), { block, kept: 2, scope }).expand(d),
    );
    closely(gradient(name, form), pruned);
    expect(pruned).not.toEqual(gradient(name, null));
  });

  it.runIf(name !== 'conv2d')('from pooled rows is that of x with every row the mean of its group', () => {
    const size = 4;
    const [rows, cols] = matrix;
    const averaged = gradient(name, null, (d, x) => {
      const means = d.temporary('workspace', x.shape);
      for (let i = 0; i < rows; i++) {
        const first = Math.floor(i / size) * size;
        const end = Math.min(rows, first + size);
        for (let j = 0; j < cols; j++) {
          let sum = 0;
          for (let k = first; k < end; k++) sum += x.data[k * cols + j];
          means.data[i * cols + j] = sum / (end - first);
        }
      }
      return means;
    });
    closely(gradient(name, { kind: 'pooled', size }), averaged);
  });
});
