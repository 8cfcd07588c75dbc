import { describe, expect, it } from 'vitest';
import { nearestBf16, roundingOfStep, roundWeights, stochasticBf16, widenBf16 } from './bf16.js';
import type { Kernels } from './face.js';
import { availableIsas, loadNative } from './native.js';
import { RandomStream } from './random.js';
import { referenceKernels } from './reference/index.js';

const widened = (...bits: number[]): number[] => {
  const out = new Float64Array(bits.length);
  widenBf16(Uint16Array.from(bits), out);
  return Array.from(out);
};

describe('bfloat16', () => {
  it('widens to the number whose upper half it is, into either precision', () => {
    expect(widened(0x3f80, 0xc000, 0x0001, 0x8000, 0x7f80)).toEqual([1, -2, 2 ** -133, -0, Infinity]);
    const out = new Float32Array(4);
    widenBf16(Uint16Array.of(0x3fc0, 0x7fc0), out.subarray(1), 1);
    expect(Array.from(out)).toEqual([0, 0, 1.5, Number.NaN]);
  });

  it('rounds to the nearest, ties to even, and keeps what has no neighbours', () => {
    const round = (x: number) => widened(nearestBf16(x))[0];
    for (const x of [0, -0, 1, -1.5, 2 ** -130, Infinity, -Infinity, Number.NaN]) expect(round(x)).toBe(x);
    expect(round(1 + 2 ** -9)).toBe(1);
    expect(round(1 + 2 ** -8)).toBe(1);
    expect(round(1 + 3 * 2 ** -8)).toBe(1 + 2 ** -6);
    expect(round(-(1 + 2 ** -8 + 2 ** -20))).toBe(-(1 + 2 ** -7));
    expect(round(3.4e38)).toBe(Infinity);
  });

  it('rounds stochastically to a neighbour, up exactly as often as the draws that carry', () => {
    const x = 1 + 2 ** -7 * 0.25;
    const low = 0x3f80;
    let ups = 0;
    for (let draw = 0; draw < 2 ** 16; draw++) {
      const bits = stochasticBf16(-x, draw) & 0x7fff;
      expect(bits === low || bits === low + 1).toBe(true);
      ups += bits - low;
    }
    expect(ups).toBe(2 ** 14);
    for (const draw of [0, 0xffff]) {
      expect(widened(stochasticBf16(1.5, draw), stochasticBf16(-Infinity, draw))).toEqual([1.5, -Infinity]);
      expect(widened(stochasticBf16(Number.NaN, draw))[0]).toBeNaN();
    }
  });

  it('is right in the mean over steps: within five deviations, weight by weight and over all', () => {
    const n = 64;
    const rng = RandomStream.named(4, 'weights');
    const weights = Float32Array.from({ length: n }, () => rng.normal());
    const steps = 4000;
    const sum = new Float64Array(n);
    const out = new Uint16Array(n);
    const wide = new Float64Array(n);
    for (let t = 1; t <= steps; t++) {
      roundWeights(weights, roundingOfStep(t), 0, n, out);
      widenBf16(out, wide);
      for (let i = 0; i < n; i++) sum[i] += wide[i] - weights[i];
    }
    let total = 0;
    let variance = 0;
    for (let i = 0; i < n; i++) {
      // An error of probability p (1 - ulp fraction) has a variance of at most ulp^2 / 4.
      const ulp = 2 ** (Math.floor(Math.log2(Math.abs(weights[i]))) - 7);
      const deviation = Math.sqrt((steps * ulp * ulp) / 4);
      expect(Math.abs(sum[i])).toBeLessThan(5 * deviation);
      total += sum[i];
      variance += deviation ** 2;
    }
    expect(Math.abs(total)).toBeLessThan(5 * Math.sqrt(variance));
  });

  it('draws for a weight what it draws whatever part of the weights is rounded', () => {
    const weights = Float32Array.from({ length: 200 }, (_, i) => Math.sin(i));
    const whole = new Uint16Array(200);
    roundWeights(weights, roundingOfStep(3), 0, 200, whole);
    const parts = new Uint16Array(200);
    for (const [from, to] of [
      [0, 1],
      [1, 13],
      [13, 200],
    ])
      roundWeights(weights, roundingOfStep(3), from, to, parts);
    expect(parts).toEqual(whole);
  });
});

const shape = { batch: 50, inputs: 40, labels: 90, fanIn: 13, group: 16 };
const groups = Math.ceil(shape.labels / shape.group);

/** A step on weights that bfloat16 holds, stored as such or as float32. */
function step(kernels: Kernels, dense: boolean, short: boolean, rate = 0.25) {
  const { batch, inputs, labels, fanIn, group: groupSize } = shape;
  const floats = (n: number, seed: number) =>
    Float32Array.from({ length: n }, (_, i) => Math.sin(seed + 1.7 * i));
  const width = dense ? inputs : fanIn;
  const bits = Uint16Array.from(floats(labels * width, 1), (w) => nearestBf16(w / 3));
  const weights = new Float32Array(bits.length);
  widenBf16(bits, weights);
  const chunk = dense ? 32 : 2;
  const size = { batch, inputs, labels, chunk, fanIn: dense ? 0 : fanIn, groupSize, bf16: short };
  const none = { m: null, v: null };
  const common = {
    ...{ batch, inputs, labels, chunk, begin: 0, end: dense ? labels : groups },
    h: floats(batch * inputs, 2),
    dh: new Float32Array(batch * inputs),
    positives: { count: 2, label: Uint32Array.of(3, 80), row: Uint32Array.of(7, 0) },
    ...({ loss: 'bce', norms: null, gradScale: 1 / batch, backward: true, squares: null } as const),
    update: {
      rule: { kind: 'sgd', rate, momentum: 0, nesterov: false, weightDecay: 0 } as const,
      ...{ weightMoments: none, biasMoments: none, updateScale: 1 },
      ...{ dWeights: new Float32Array(labels * width), dBias: new Float32Array(labels) },
    },
    workspace: new Float32Array(dense ? kernels.denseWorkspace(size) : kernels.groupedWorkspace(size)),
    weights: short ? new Float32Array(0) : weights,
    bf16: short ? { weights: bits, rounding: roundingOfStep(5) } : null,
    bias: floats(labels, 3),
  };
  const starts = Uint32Array.from({ length: groups + 1 }, (_, g) => Math.min(labels, g * groupSize));
  const columns = Uint16Array.from({ length: groups * fanIn }, (_, i) => (i * 7) % inputs);
  const loss = dense
    ? kernels.denseStep(common)
    : kernels.groupedStep({ ...common, fanIn, groups, groupSize, starts, columns });
  const { dh, update, bias } = common;
  return { computed: { loss, dh, dWeights: update.dWeights, dBias: update.dBias, bias }, weights, bits };
}

const relative = (actual: ArrayLike<number>, expected: ArrayLike<number>): number => {
  let [error, size] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i] - expected[i]) ** 2;
    size += expected[i] ** 2;
  }
  return Math.sqrt(error / size);
};

const isas = (() => {
  try {
    return availableIsas();
  } catch {
    return [];
  }
})();

describe.each(isas)('weights in bfloat16, native/%s', (isa) => {
  it.each([true, false])('converted, give the bits of the same numbers in float32 (dense %s)', (dense) => {
    const kernels = loadNative({ isa, threads: 2, bf16Pairs: false });
    const [short, wide] = [step(kernels, dense, true), step(kernels, dense, false)];
    expect(short.computed).toEqual(wide.computed);
    // What float32 has after its update is what was rounded.
    const expected = new Uint16Array(short.bits.length);
    roundWeights(wide.weights, roundingOfStep(5), 0, expected.length, expected);
    expect(short.bits).toEqual(expected);
  });

  it.each([true, false])(
    'are the same on any number of threads, and the bits of the twin but for near ties (dense %s)',
    (dense) => {
      const [one, two] = [1, 2].map((threads) => step(loadNative({ isa, threads }), dense, true));
      expect(one.bits).toEqual(two.bits);
      const twin = step(referenceKernels('float32'), dense, true);
      const [ours, theirs] = [one, twin].map(({ bits }) => widened(...bits));
      const apart = ours.map((w, i) => Math.abs(w - theirs[i]));
      // A gradient off by 2^-8 of itself moves a weight by some of its last places: few cross the line of their draw.
      expect(apart.every((d, i) => d <= 2 ** -7 * Math.abs(theirs[i]) + 2 ** -10)).toBe(true);
      expect(apart.filter((d) => d > 0).length / apart.length).toBeLessThan(0.1);
    },
  );

  it.each([true, false])('in pairs, agree with float32 within 3e-3 in the mean (dense %s)', (dense) => {
    const pairs = step(loadNative({ isa, threads: 1 }), dense, true);
    const wide = step(loadNative({ isa, threads: 1 }), dense, false);
    expect(relative([pairs.computed.loss], [wide.computed.loss])).toBeLessThan(3e-3);
    for (const name of ['dh', 'dWeights', 'dBias'] as const) {
      expect(relative(pairs.computed[name], wide.computed[name]), name).toBeLessThan(3e-3);
    }
  });

  it('a step of rate 0 changes no weight', () => {
    for (const dense of [true, false]) {
      const after = step(loadNative({ isa, threads: 1 }), dense, true, 0);
      const before = Uint16Array.from(after.weights, nearestBf16);
      expect(after.bits).toEqual(before);
    }
  });
});
