/** The laws of sampled softmax, for every layer whose rows a step can take out. */
import { describe, expect, it } from 'vitest';
import type { LabelLoss } from '../kernels/face.js';
import { referenceKernels } from '../kernels/reference/index.js';
import type { OptimizerSpec } from '../optim/rules.js';
import { Device } from '../tensor/device.js';
import type { LabelMatrixOutput } from './base.js';
import type { WeightPrecision } from './base-options.js';
import { distance, problem } from './conformance.testing.js';
import type { Draws } from './sampled-softmax.js';

interface Setup {
  readonly inputs: number;
  readonly labels: number;
  readonly optimizer: OptimizerSpec;
  readonly loss: LabelLoss;
  readonly precision?: WeightPrecision;
  readonly sampling?: Draws;
}

const shape = { inputs: 10, labels: 30 };
const optimizer: OptimizerSpec = { kind: 'sgd', rate: 0.5 };
const device = new Device(referenceKernels('float64'));
const one = problem('sampled', 12, shape.inputs, shape.labels);
const hidden = () => {
  device.arena.reset();
  return device.fromArray([12, shape.inputs], one.h);
};
const weightsOf = (layer: LabelMatrixOutput) => Array.from(layer.state().model[0].data);

export function describeSampled(
  name: string,
  /** The same start weights with `sampling` and without. */
  maker: (device: Device, options: Setup) => LabelMatrixOutput,
): void {
  describe(`${name}: softmax over labels drawn`, () => {
    const make = (samples: number, { shares, ...more }: Partial<Setup> & Pick<Draws, 'shares'> = {}) =>
      maker(device, { ...shape, optimizer, loss: 'softmax', sampling: { samples, shares }, ...more });
    const full = (rule: OptimizerSpec) => maker(device, { ...shape, optimizer: rule, loss: 'softmax' });

    it.each([optimizer, { kind: 'adam', rate: 0.1, eps: 1e-3 } as const])(
      'equals softmax over all labels where all are drawn: $kind',
      async (rule) => {
        // So many draws that none is missing, and that the corrections are nothing.
        const sampled = make(40 * shape.labels, { optimizer: rule });
        const dense = full(rule);
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
      const dense = full(optimizer);
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
      for (const [i, w] of after.entries()) if (w !== start[i]) moved.add(Math.floor(i / layers[0].width));
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

    it('is of softmax over float32 weights alone', () => {
      expect(() => make(5, { loss: 'bce' })).toThrow(/SAMPLED_SOFTMAX/);
      expect(() => make(5, { precision: 'bf16' })).toThrow(/SAMPLED_SOFTMAX/);
      expect(make(5).capabilities.losses).toEqual(['softmax']);
    });

    it('refuses to draw none, and to give the gradients of all weights', async () => {
      expect(() => make(0)).toThrow(/SAMPLES_RANGE/);
      const { width } = make(3);
      const gradients = {
        weights: new Float64Array(shape.labels * width),
        bias: new Float64Array(shape.labels),
      };
      await expect(make(3).step(hidden(), one.positives, { rate: 1, gradients })).rejects.toThrow(
        /SAMPLED_GRADIENTS/,
      );
    });
  });
}
