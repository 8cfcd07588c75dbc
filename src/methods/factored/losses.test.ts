import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../kernels/random.js';
import {
  type LossExample,
  type SphericalLoss,
  sphericalSoftmax,
  squaredError,
  taylorSoftmax,
  zLoss,
} from './losses.js';
import { sphericalLoss } from './options.js';

const labels = 12;
const targets = [2, 7, 11];
const t = [1, 0.5, 1.25];

function example(q: number, s: number, a: number[]): LossExample {
  const numbers = (from: number[]) => Float64Array.from(from);
  return {
    ...{ q, s, labels, count: 3, a: numbers(a), t: numbers(t) },
    ...{ value: 0, dq: 0, ds: 0, da: new Float64Array(3) },
  };
}

function of(loss: SphericalLoss, o: Float64Array): LossExample {
  const q = o.reduce((sum, x) => sum + x * x, 0);
  const s = o.reduce((sum, x) => sum + x, 0);
  const one = example(
    q,
    s,
    targets.map((l) => o[l]),
  );
  loss.of(one);
  return one;
}

const outputs = (name: string) => {
  const draws = RandomStream.named(1, name);
  return Float64Array.from({ length: labels }, () => 3 * (draws.uniform() - 0.4));
};

describe.each([
  squaredError,
  sphericalSoftmax({ epsilon: 0.3 }),
  taylorSoftmax,
  zLoss({ alpha: 0.7, beta: 2 }),
])('$name', (loss) => {
  it('has the partial derivatives of its value', () => {
    const o = outputs(loss.name);
    const one = of(loss, o);
    const [q, s, a] = [one.q, one.s, Array.from(one.a)];
    const value = (q: number, s: number, a: number[]) => {
      const there = example(q, s, a);
      loss.of(there);
      return there.value;
    };
    const e = 1e-6;
    const near = (analytic: number, up: number, down: number) =>
      expect(Math.abs(analytic - (up - down) / (2 * e))).toBeLessThan(1e-7 * (1 + Math.abs(analytic)));
    near(one.dq, value(q + e, s, a), value(q - e, s, a));
    near(one.ds, value(q, s + e, a), value(q, s - e, a));
    for (let k = 0; k < 3; k++) {
      const moved = (by: number) => a.map((x, i) => (i === k ? x + by : x));
      near(one.da[k], value(q, s, moved(e)), value(q, s, moved(-e)));
    }
  });

  it('adds up over targets: no target costs nothing but its norm, twice the value twice as much', () => {
    const none = { ...example(4, 1, [0, 0, 0]), count: 0 };
    loss.of(none);
    expect(none.value).toBe(loss === squaredError ? 4 : 0);
    const o = outputs(loss.name);
    const once = of(loss, o);
    const twice = { ...example(once.q, once.s, Array.from(once.a)), t: Float64Array.from(t, (x) => 2 * x) };
    loss.of(twice);
    if (loss !== squaredError) expect(twice.value).toBeCloseTo(2 * once.value, 10);
  });
});

describe('the definitions, output by output', () => {
  const o = outputs('definitions');

  it('squared error is the distance to the target vector', () => {
    const y = new Float64Array(labels);
    for (const [k, l] of targets.entries()) y[l] = t[k];
    expect(of(squaredError, o).value).toBeCloseTo(
      o.reduce((sum, x, l) => sum + (x - y[l]) ** 2, 0),
      12,
    );
  });

  it('both softmaxes are cross entropies of probabilities that add up to 1', () => {
    const forms = [
      { loss: taylorSoftmax, weight: (x: number) => 1 + x + x ** 2 / 2 },
      { loss: sphericalSoftmax({ epsilon: 0.3 }), weight: (x: number) => x ** 2 + 0.3 },
    ];
    for (const { loss, weight } of forms) {
      const norm = o.reduce((sum, x) => sum + weight(x), 0);
      const entropy = targets.reduce((sum, l, k) => sum - t[k] * Math.log(weight(o[l]) / norm), 0);
      expect(of(loss, o).value).toBeCloseTo(entropy, 12);
    }
  });

  it('the Z-loss does not see shifts and scales of all outputs', () => {
    const moved = o.map((x) => 5 * x + 3);
    expect(of(zLoss(), moved).value).toBeCloseTo(of(zLoss(), o).value, 10);
  });
});

it('losses that need every output are refused by name, with the reason', () => {
  for (const name of ['bce', 'squaredHinge', 'softmax', 'toString']) {
    expect(() => sphericalLoss(name)).toThrow(/FACTORED_LOSS/);
  }
  expect(sphericalLoss('zLoss', { alpha: 2 }).name).toBe('zLoss');
});

describe('zLoss where all outputs are equal', () => {
  it.each([0, 2.5])('has the loss of z = 0 and no gradient: all %d', (level) => {
    const one = of(zLoss({ alpha: 0.5, beta: 3 }), new Float64Array(labels).fill(level));
    const mass = t.reduce((sum, x) => sum + x, 0);
    expect(one.value).toBeCloseTo((mass * Math.log1p(Math.exp(1.5))) / 0.5, 12);
    expect([one.dq, one.ds, ...one.da]).toEqual([0, 0, 0, 0, 0]);
  });

  it('still says where outputs are no numbers', () => {
    expect(of(zLoss(), new Float64Array(labels).fill(Number.NaN)).value).toBeNaN();
  });
});
