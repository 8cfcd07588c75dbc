/**
 * What every output layer obeys, whatever its topology and backend: it equals a dense layer whose missing
 * weights are zero. A layer's own test file runs `describeOutputLayer` for each of its shapes and backends.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Floats } from '../kernels/face.js';
import { Device } from '../tensor/device.js';
import type { Backend } from './backends.testing.js';
import { describeRefusals } from './conformance-refusals.testing.js';
import { describeResizing } from './conformance-resize.testing.js';
import {
  adam,
  distance,
  flattenRows,
  optimizers,
  plainSgd,
  positivesOf,
  rigOf,
  type Subject,
  snapshot,
} from './conformance-rig.testing.js';
import { describeSteps } from './conformance-steps.testing.js';
import type { NamedArray } from './layer.js';
import { DenseOracle } from './oracle.testing.js';

export {
  distance,
  optimizers,
  positivesOf,
  problem,
  type Setup,
  type Subject,
} from './conformance-rig.testing.js';

export function describeOutputLayer(subject: Subject, backend: Backend): void {
  const rig = rigOf(subject, backend);
  const { one, make, hidden, expectSameWeights, expectSameStep } = rig;
  const { labels, batch, chunk, brief = false } = rig.subject;
  const { kernels, tolerance } = rig.backend;

  describe.skipIf(kernels === null)(`${subject.name} on ${backend.name}`, () => {
    beforeEach(() => rig.start());

    describeSteps(rig);

    it('survives an empty batch and a batch without positives', async () => {
      const layer = make();
      const oracle = new DenseOracle(layer, plainSgd);
      const none = positivesOf([]);
      const empty = await layer.step(hidden(new Float64Array(0)), none, { rate: 0.5 });
      expect(empty.loss).toBe(0);
      expectSameWeights(layer, oracle);
      await expectSameStep(layer, oracle, { h: one.h, positives: none }, 0.5);
      expectSameWeights(layer, oracle);
    });

    it('gives the logits of all labels, and of some in any order', async () => {
      const layer = make();
      const z = new DenseOracle(layer, plainSgd).logits(one.h);
      const all = await layer.scores(hidden(one.h));
      expect(all.shape).toEqual([batch, labels]);
      expect(distance(all.data, z)).toBeLessThanOrEqual(tolerance);
      const some = Uint32Array.of(labels - 1, 2, 0, 2);
      const few = await layer.scores(hidden(one.h), some);
      expect(few.shape).toEqual([batch, 4]);
      const expected = Array.from({ length: batch }, (_, b) =>
        Array.from(some, (l) => z[b * labels + l]),
      ).flat();
      expect(distance(few.data, expected)).toBeLessThanOrEqual(tolerance);
      const { workspace } = rig.device.ledger.live();
      expect(workspace).toBe(0);
    });

    it.each([1, 5, 1000])(
      'ranks the best %i labels, best first, and says where there are no more',
      async (k) => {
        const layer = make();
        const z = new DenseOracle(layer, plainSgd).logits(one.h);
        const top = await layer.topK(hidden(one.h), k);
        expect(top.k).toBe(k);
        expect([top.labels.length, top.scores.length]).toEqual([batch * k, batch * k]);
        for (let b = 0; b < batch; b++) {
          const row = z.subarray(b * labels, (b + 1) * labels);
          const order = Array.from(row.keys()).toSorted((i, j) => row[j] - row[i] || i - j);
          const found = Array.from(top.labels.subarray(b * k, (b + 1) * k));
          const scores = Array.from(top.scores.subarray(b * k, (b + 1) * k));
          const real = Math.min(k, labels);
          if (backend.exact) expect(found.slice(0, real)).toEqual(order.slice(0, real));
          expect(new Set(found.slice(0, real)).size).toBe(real);
          expect(scores.slice(0, real)).toEqual(scores.slice(0, real).toSorted((x, y) => y - x));
          expect(
            distance(
              scores.slice(0, real),
              order.slice(0, real).map((l) => row[l]),
            ),
          ).toBeLessThanOrEqual(tolerance);
          expect(
            distance(
              scores.slice(0, real),
              found.slice(0, real).map((l) => row[l]),
            ),
          ).toBeLessThanOrEqual(tolerance);
          expect(found.slice(real).every((l) => l === 0xffffffff)).toBe(true);
          expect(scores.slice(real).every((s) => s === -Infinity)).toBe(true);
        }
      },
    );

    it('ranks ties by the smaller label, a NaN last', async () => {
      const layer = make();
      (subject.flatten ?? flattenRows)(layer, (l) => (l === 4 ? 2 : l === 1 ? Number.NaN : 0.5));
      layer.loaded();
      const top = await layer.topK(hidden(one.h), labels);
      const expected = [4, 0, 2, 3, ...Array.from({ length: labels - 5 }, (_, i) => i + 5), 1];
      for (let b = 0; b < batch; b++) {
        expect(Array.from(top.labels.subarray(b * labels, (b + 1) * labels))).toEqual(expected);
      }
    });

    it('starts the same from the same seed, with the biases asked for', () => {
      const initialBias = Float64Array.from({ length: labels }, (_, l) => -l / 8);
      const [layer, same, other] = [make({ initialBias }), make({ initialBias }), make({ seed: 4 })];
      expect(snapshot(same)).toEqual(snapshot(layer));
      expect(snapshot(other)).not.toEqual(snapshot(layer));
      expect(layer.connections(labels - 1).bias).toBe(-(labels - 1) / 8);
      expect(other.connections(3).bias).toBe(-0.5);
      expect(() => make({ initialBias: initialBias.subarray(1) })).toThrow(/INITIAL_BIAS_LENGTH/);
    });

    describeResizing(rig);

    describe('plan', () => {
      const shape = { batch, positives: one.positives.count };

      it.each(brief ? optimizers.filter((_, i) => i % 3 === 0) : optimizers)(
        'is what the ledger of a real step shows, tag by tag, to the byte: $name',
        async ({ optimizer }) => {
          const layer = make({ optimizer });
          const plan = await layer.plan(shape);
          const h = hidden(one.h);
          rig.device.temporary('data', [2 * one.positives.count], 'uint32');
          await layer.step(h, one.positives, { rate: 0.1 });
          expect(rig.device.ledger.atPeak()).toEqual(plan.bytes);
          expect(rig.device.ledger.peakBytes).toBe(plan.totalBytes);
          let connections = 0;
          for (let l = 0; l < labels; l++) connections += layer.connections(l).inputs.length;
          expect(plan.flopsPerExample).toBe(6 * connections);
        },
      );

      it('holds nothing, and shifts no draw of start, growth or rewiring', async () => {
        const [planned, twin] = [make(), make()];
        const held = rig.device.ledger.live();
        await planned.plan(shape);
        await planned.plan({ batch: 1000, positives: 5000 });
        expect(rig.device.ledger.live()).toEqual(held);
        for (const layer of [planned, twin]) {
          await layer.rewire(2, 100);
          layer.resizeLabels(Int32Array.of(0, -1, 1, -1));
          await layer.rewire(4, 100);
        }
        expect(snapshot(planned)).toEqual(snapshot(twin));
      });

      it('knows the labels of now', async () => {
        const layer = make();
        layer.resizeLabels(Int32Array.of(0, 1, -1));
        const direct = make({ labels: 3 }, new Device(kernels!));
        expect(await layer.plan(shape)).toEqual(await direct.plan(shape));
      });
    });

    it('continues from its state: arrays by name, step count, loaded', async () => {
      const [first, second] = [make({ optimizer: adam }), make({ optimizer: adam, seed: 99 })];
      for (let t = 1; t <= 3; t++) {
        await first.step(hidden(one.h), one.positives, { rate: 0.05 });
        await first.rewire(t, 100);
      }
      const from = first.state();
      const to = second.state();
      for (const part of ['model', 'optimizer'] as const) {
        expect(to[part].map(({ name, shape }) => ({ name, shape }))).toEqual(
          from[part].map(({ name, shape }) => ({ name, shape })),
        );
        for (const [i, { name, shape, data }] of from[part].entries()) {
          expect(data).toHaveLength(shape.reduce((a, b) => a * b, 1));
          expect(name).not.toBe('');
          (to[part][i] as NamedArray).data.set(data);
        }
      }
      second.steps = first.steps;
      second.loaded();
      const results = [];
      for (const layer of [first, second]) {
        const top = await layer.topK(hidden(one.h), 4);
        const { loss, dh } = await layer.step(hidden(one.h), one.positives, { rate: 0.05 });
        results.push({ top, loss, dh: dh!.data.slice(), state: snapshot(layer) });
      }
      const [{ dh, ...rest }, { dh: dhAgain, ...restAgain }] = results;
      expect(restAgain).toEqual(rest);
      expect(distance(dhAgain, dh)).toBe(0);
    });

    it('repeats bit for bit, and gives close results for every chunk', async () => {
      const run = async (size: number) => {
        const layer = make({ optimizer: adam, chunk: size });
        const losses: number[] = [];
        const gradients: Floats[] = [];
        for (let t = 1; t <= 3; t++) {
          const { loss, dh } = await layer.step(hidden(one.h), one.positives, { rate: 0.05 });
          losses.push(loss);
          gradients.push(dh!.data.slice());
          await layer.rewire(t, 100);
        }
        return { losses, gradients, state: snapshot(layer) };
      };
      const base = await run(chunk);
      const expectSame = (other: typeof base, within: number) => {
        expect(distance(other.losses, base.losses)).toBeLessThanOrEqual(within);
        for (const [t, dh] of other.gradients.entries()) {
          expect(distance(dh, base.gradients[t])).toBeLessThanOrEqual(within);
        }
        if (within === 0) expect(other.state).toEqual(base.state);
      };
      expectSame(await run(chunk), 0);
      for (const size of [1, 5, 64, 4 * labels]) {
        expectSame(await run(size), backend.exact ? 0 : 10 * tolerance);
      }
    });

    describeRefusals(rig);
  });
}
