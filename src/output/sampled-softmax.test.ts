import { describe, expect, it } from 'vitest';
import { RandomStream } from '../kernels/random.js';
import { referenceKernels } from '../kernels/reference/index.js';
import type { OptimizerSpec } from '../optim/rules.js';
import { Device } from '../tensor/device.js';
import { distance, problem } from './conformance.testing.js';
import { DenseOutput } from './dense.js';
import { SampledSoftmaxOutput } from './sampled-softmax.js';
import { Sampler } from './sampler.js';

const shape = { inputs: 10, labels: 30 };
const optimizer: OptimizerSpec = { kind: 'sgd', rate: 0.5 };
const device = new Device(referenceKernels('float64'));
const stream = (name = 'x') => RandomStream.named(4, name);
const one = problem('sampled', 12, shape.inputs, shape.labels);
const hidden = () => {
  device.arena.reset();
  return device.fromArray([12, shape.inputs], one.h);
};
const make = (samples: number, more: Partial<ConstructorParameters<typeof SampledSoftmaxOutput>[1]> = {}) =>
  new SampledSoftmaxOutput(device, { ...shape, optimizer, stream: stream(), samples, ...more });
const weightsOf = (layer: DenseOutput) => Array.from(layer.state().model[0].data);

describe('Sampler', () => {
  it.each([undefined, Float64Array.from({ length: 50 }, (_, l) => (l === 7 ? 40 : l % 5))])(
    'draws label l with the probability that its correction says (%#)',
    (shares) => {
      const sampler = new Sampler(device, { labels: 50, draws: 12, shares });
      const seen = new Float64Array(50);
      const rounds = 20_000;
      const draws = stream('law');
      for (let t = 0; t < rounds; t++) {
        const drawn = sampler.draw(draws);
        for (let i = 0; i < drawn.length; i++) {
          if (i > 0) expect(drawn[i]).toBeGreaterThan(drawn[i - 1]);
          seen[drawn[i]]++;
        }
      }
      for (let l = 0; l < 50; l++) {
        const p = Math.exp(-sampler.correction(l));
        const sigma = Math.sqrt((p * (1 - p)) / rounds);
        expect(Math.abs(seen[l] / rounds - p)).toBeLessThan(5 * sigma + 1e-12);
      }
    },
  );
});

describe('SampledSoftmaxOutput', () => {
  it.each([optimizer, { kind: 'adam', rate: 0.1, eps: 1e-3 } as const])(
    'equals softmax over all labels where all are drawn: $kind',
    async (rule) => {
      // So many draws that none is missing, and that the corrections are nothing.
      const sampled = make(40 * shape.labels, { optimizer: rule });
      const dense = new DenseOutput(device, { ...shape, optimizer: rule, loss: 'softmax', stream: stream() });
      expect(weightsOf(sampled)).toEqual(weightsOf(dense));
      for (let t = 0; t < 5; t++) {
        const a = await sampled.step(hidden(), one.positives, { rate: 0.3, measureSquares: true });
        const [loss, squares, dh] = [a.loss, a.squares, Array.from(a.dh!.data)];
        const b = await dense.step(hidden(), one.positives, { rate: 0.3, measureSquares: true });
        expect(distance([loss, squares as number], [b.loss, b.squares as number])).toBeLessThan(1e-12);
        expect(distance(dh, b.dh!.data)).toBeLessThan(1e-12);
      }
      expect(distance(weightsOf(sampled), weightsOf(dense))).toBeLessThan(1e-12);
      expect(await sampled.evaluate(hidden(), one.positives)).toBeCloseTo(
        await dense.evaluate(hidden(), one.positives),
        12,
      );
    },
  );

  it('estimates the gradient to the hidden vectors: its mean over many draws nears that of all labels', async () => {
    const layer = make(25);
    const dense = new DenseOutput(device, { ...shape, optimizer, loss: 'softmax', stream: stream() });
    const { dh } = await dense.step(hidden(), one.positives, { rate: 0, update: false });
    const wanted = Array.from(dh!.data);
    const mean = new Float64Array(wanted.length);
    const rounds = 400;
    for (let t = 0; t < rounds; t++) {
      layer.steps = t;
      const { dh: sample } = await layer.step(hidden(), one.positives, { rate: 0, update: false });
      sample!.data.forEach((x, i) => {
        mean[i] += x / rounds;
      });
    }
    const size = Math.max(...wanted.map(Math.abs));
    // log Z of a sample is a little below log Z in the mean.
    expect(Math.max(...wanted.map((x, i) => Math.abs(x - mean[i])))).toBeLessThan(0.05 * size);
  });

  it('moves rows of drawn labels and positives alone, and draws by the number of the step', async () => {
    const layers = [make(8), make(8)];
    const start = weightsOf(layers[0]);
    for (const layer of layers) await layer.step(hidden(), one.positives, { rate: 0.5 });
    const [after, again] = layers.map(weightsOf);
    expect(after).toEqual(again);
    const moved = new Set<number>();
    for (const [i, w] of after.entries()) if (w !== start[i]) moved.add(Math.floor(i / shape.inputs));
    const positives = new Set(one.positives.label);
    expect([...positives].every((l) => moved.has(l))).toBe(true);
    expect(moved.size).toBeLessThanOrEqual(positives.size + 8);
    expect(moved.size).toBeGreaterThan(positives.size);
  });

  it('takes labels that come and go', async () => {
    const layer = make(5, { shares: Float64Array.from({ length: 30 }, (_, l) => l + 1) });
    layer.resizeLabels(Int32Array.from({ length: 31 }, (_, l) => (l < 30 ? l : -1)));
    await layer.step(hidden(), one.positives, { rate: 0.5 });
    expect(layer.labels).toBe(31);
  });

  it('refuses to draw none, and to give the gradients of all weights', async () => {
    expect(() => make(0)).toThrow(/SAMPLES_RANGE/);
    const gradients = { weights: new Float64Array(300), bias: new Float64Array(30) };
    await expect(make(3).step(hidden(), one.positives, { rate: 1, gradients })).rejects.toThrow(
      /SAMPLED_GRADIENTS/,
    );
  });
});
