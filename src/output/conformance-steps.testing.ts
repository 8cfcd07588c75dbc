/** What every output layer obeys in a step, loss by loss: it equals the dense oracle. */
import { describe, expect, it } from 'vitest';
import type { OptimizerSpec } from '../optim/rules.js';
import {
  adam,
  allLosses,
  distance,
  optimizers,
  plainSgd,
  problem,
  type Rig,
  snapshot,
} from './conformance-rig.testing.js';
import { DenseOracle } from './oracle.testing.js';

export function describeSteps(rig: Rig): void {
  const { one, make, hidden, expectSameWeights, expectSameStep, backend } = rig;
  const { inputs, labels, batch, brief = false, losses = allLosses } = rig.subject;
  const { tolerance } = rig.backend;

  describe.each(losses)('%s', (loss) => {
    it.each(brief ? optimizers.filter((_, i) => i % 3 === 0) : optimizers)(
      'equals the dense layer in loss, dh and update, rewiring included: $name',
      async ({ optimizer }) => {
        const layer = make({ loss, optimizer });
        if (!layer.capabilities.optimizers.includes(optimizer.kind)) return;
        const oracle = new DenseOracle(layer, optimizer);
        let rewirings = 0;
        for (let t = 1; t <= 5; t++) {
          await expectSameStep(layer, oracle, problem(`step ${t}`, batch, inputs, labels), optimizer.rate);
          expectSameWeights(layer, oracle);
          if ((await layer.rewire(t, 100)) !== null) {
            rewirings++;
            oracle.rewired(layer, tolerance);
          }
        }
        expect(rewirings > 0).toBe(layer.capabilities.rewireEvery > 0);
        expect(layer.steps).toBe(5);
      },
    );

    it.each(brief ? [1, 16] : [1, 2, 16, 33])('takes batches of %i', async (size) => {
      const layer = make({ loss });
      const oracle = new DenseOracle(layer, plainSgd);
      await expectSameStep(layer, oracle, problem(`batch ${size}`, size, inputs, labels), 0.5);
      expectSameWeights(layer, oracle);
    });

    it('evaluates the loss of the step and changes nothing', async () => {
      const layer = make({ loss, optimizer: adam });
      const oracle = new DenseOracle(layer, adam);
      const before = snapshot(layer);
      const found = await layer.evaluate(hidden(one.h), one.positives);
      expect(distance([found], [oracle.lossOf(one.h, one.positives).loss])).toBeLessThanOrEqual(tolerance);
      expect(snapshot(layer)).toEqual(before);
      expect(layer.steps).toBe(0);
    });

    it('gives dh that agrees with finite differences of its own evaluate', async () => {
      if (!backend.exact) return;
      const layer = make({ loss });
      const { dh } = await layer.step(hidden(one.h), one.positives, { rate: 0, update: false });
      const analytic = Array.from(dh!.data);
      const delta = 1e-5;
      const at = async (i: number, shift: number) => {
        const h = one.h.slice();
        h[i] += shift;
        return layer.evaluate(hidden(h), one.positives);
      };
      const step = Math.ceil(one.h.length / 40);
      for (let i = 0; i < one.h.length; i += step) {
        const numeric = ((await at(i, delta)) - (await at(i, -delta))) / (2 * delta);
        expect(Math.abs(analytic[i] - numeric)).toBeLessThanOrEqual(1e-7 * (1 + Math.abs(numeric)));
      }
    });

    it('weights the loss with scale: gradients and update scale, the reported loss does not', async () => {
      const [layer, twin] = [make({ loss }), make({ loss })];
      const oracle = new DenseOracle(layer, plainSgd);
      const scaled = await layer.step(hidden(one.h), one.positives, { rate: 0.5, scale: 0.25 });
      const expected = oracle.step(one.h, one.positives, { rate: 0.5, scale: 0.25 });
      expect(distance([scaled.loss], [expected.loss])).toBeLessThanOrEqual(tolerance);
      expect(distance(scaled.dh!.data, expected.dh)).toBeLessThanOrEqual(tolerance);
      expectSameWeights(layer, oracle);
      // Plain SGD at a quarter of the rate is the same update.
      await twin.step(hidden(one.h), one.positives, { rate: 0.125 });
      expectSameWeights(twin, oracle);
    });

    it('writes the gradients where it is told, with and without an update', async () => {
      for (const update of [true, false]) {
        const layer = make({ loss, optimizer: adam });
        const oracle = new DenseOracle(layer, adam);
        const before = snapshot(layer);
        const array = (n: number) =>
          rig.device.precision === 'float32' ? new Float32Array(n) : new Float64Array(n);
        const columns = Array.from({ length: labels }, (_, l) => layer.connections(l).inputs);
        const gradients = {
          weights: array(columns.flatMap((c) => [...c]).length).fill(7),
          bias: array(labels).fill(7),
        };
        await layer.step(hidden(one.h), one.positives, { rate: 0.1, update, gradients });
        const expected = oracle.step(one.h, one.positives, { rate: 0.1, update });
        const slots = columns.flatMap((row, l) => Array.from(row, (j) => expected.dWeights[l * inputs + j]));
        expect(distance(gradients.weights, slots)).toBeLessThanOrEqual(tolerance);
        expect(distance(gradients.bias, expected.dBias)).toBeLessThanOrEqual(tolerance);
        expectSameWeights(layer, oracle);
        expect(layer.steps).toBe(update ? 1 : 0);
        if (!update) expect(snapshot(layer)).toEqual(before);
      }
    });

    it('clips in two passes as one pass with the scaled gradient would', async () => {
      for (const optimizer of [{ ...plainSgd, momentum: 0.9 } as OptimizerSpec, adam]) {
        const [layer, single] = [make({ loss, optimizer }), make({ loss, optimizer })];
        const oracle = new DenseOracle(layer, optimizer);
        for (let t = 0; t < 2; t++) {
          const h = hidden(one.h);
          const first = await layer.step(h, one.positives, {
            rate: 0.1,
            update: false,
            measureSquares: true,
          });
          const { squares } = oracle.step(one.h, one.positives, { rate: 0.1, updateScale: 0.3 });
          expect(Math.abs(first.squares! / squares - 1)).toBeLessThanOrEqual(10 * tolerance);
          const second = await layer.step(h, one.positives, {
            rate: 0.1,
            updateScale: 0.3,
            inputGradient: false,
          });
          expect(second.dh).toBeNull();
          expect(second.loss).toBe(first.loss);
          await single.step(hidden(one.h), one.positives, { rate: 0.1, scale: 0.3 });
          expectSameWeights(layer, oracle);
          expectSameWeights(single, oracle);
        }
        expect(layer.steps).toBe(2);
      }
    });

    it('leaves labels before `from` as they are, bit by bit, the others as a step of all would; or refuses', async () => {
      for (const from of [1, Math.floor(labels / 2), labels - 1, labels]) {
        const [layer, whole] = [make({ loss, optimizer: adam }), make({ loss, optimizer: adam })];
        if (!layer.capabilities.learnsFrom) {
          const asked = layer.step(hidden(one.h), one.positives, { rate: 0.1, from });
          await expect(asked).rejects.toThrow(/STEP_FROM/);
          return;
        }
        const before = Array.from({ length: labels }, (_, l) => layer.connections(l));
        for (let t = 0; t < 2; t++) {
          await layer.step(hidden(one.h), one.positives, { rate: 0.1, from, inputGradient: false });
        }
        // What other labels have learnt does not reach a label, but for log Z: one step of all there.
        const alone = make({ loss, optimizer: adam });
        await alone.step(hidden(one.h), one.positives, { rate: 0.1, from });
        await whole.step(hidden(one.h), one.positives, { rate: 0.1 });
        for (let label = 0; label < labels; label++) {
          const own = layer.connections(label);
          if (label < from) {
            expect(own).toEqual(before[label]);
            continue;
          }
          const [one, all] = [alone.connections(label), whole.connections(label)];
          expect(distance([...one.weights, one.bias], [...all.weights, all.bias])).toBeLessThanOrEqual(
            tolerance,
          );
          expect(own.weights).not.toEqual(one.weights);
        }
      }
      const layer = make({ loss });
      await expect(layer.step(hidden(one.h), one.positives, { rate: 0, from: labels + 1 })).rejects.toThrow(
        /STEP_FROM/,
      );
    });

    it('learns: the loss of a batch falls', async () => {
      const layer = make({ loss, optimizer: adam });
      const before = await layer.evaluate(hidden(one.h), one.positives);
      for (let t = 0; t < 30; t++) await layer.step(hidden(one.h), one.positives, { rate: 0.05 });
      expect(await layer.evaluate(hidden(one.h), one.positives)).toBeLessThan(0.7 * before);
    });

    it('shows a NaN of the hidden vectors in the loss', async () => {
      const h = one.h.slice();
      h[inputs] = Number.NaN;
      const layer = make({ loss });
      h.fill(Number.NaN, inputs, 2 * inputs);
      expect(await layer.evaluate(hidden(h), one.positives)).toBeNaN();
      expect((await layer.step(hidden(h), one.positives, { rate: 0.1 })).loss).toBeNaN();
    });
  });
}
