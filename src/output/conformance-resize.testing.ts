/** What every output layer obeys when labels come, go and move. */
import { describe, expect, it } from 'vitest';
import { Device } from '../tensor/device.js';
import { adam, byLabel, distance, plainSgd, problem, type Rig, snapshot } from './conformance-rig.testing.js';
import { DenseOracle } from './oracle.testing.js';

export function describeResizing(rig: Rig): void {
  const { one, make, hidden, expectSameWeights, expectSameStep, subject } = rig;
  const { inputs, labels, batch } = rig.subject;
  const { kernels, tolerance } = rig.backend;

  describe('resizeLabels', () => {
    // Label 1 goes, two new ones come, the rest in another order.
    const map = Int32Array.from([
      labels - 1,
      -1,
      3,
      0,
      2,
      ...Array.from({ length: labels - 5 }, (_, i) => i + 4),
      -1,
    ]);

    it.each([
      { name: 'adds, removes and reorders', map },
      { name: 'shrinks to one label', map: Int32Array.of(2) },
      {
        name: 'grows far',
        map: Int32Array.from({ length: 3 * labels + 1 }, (_, j) => (j < labels ? j : -1)),
      },
    ])('$name; weights, moments and steps follow', async ({ map }) => {
      const layer = make({ optimizer: adam });
      const oracle = new DenseOracle(layer, adam);
      await expectSameStep(layer, oracle, one, 0.05);
      await layer.rewire(4, 100);
      oracle.rewired(layer, tolerance);
      layer.resizeLabels(map);
      oracle.resize(layer, map);
      expect(layer.labels).toBe(map.length);
      for (let t = 0; t < 2; t++) {
        expectSameWeights(layer, oracle);
        await expectSameStep(layer, oracle, problem(`resized ${t}`, batch, inputs, map.length), 0.05);
      }
      expect(layer.steps).toBe(3);
    });

    it('starts new labels like those of a new layer: drawn weights, the initial bias, as many connections', () => {
      const layer = make();
      layer.resizeLabels(map);
      const [fresh, last, old] = [1, map.length - 1, 0].map((l) => layer.connections(l));
      expect(fresh.inputs).toHaveLength(old.inputs.length);
      expect(new Set(fresh.inputs).size).toBe(old.inputs.length);
      expect(fresh.weights.every((w) => w !== 0)).toBe(true);
      expect(Array.from(last.weights)).not.toEqual(Array.from(fresh.weights));
      expect([fresh.bias, last.bias]).toEqual([-0.5, -0.5]);
      const rare = make({ initialBias: Float64Array.from({ length: labels }, (_, l) => -2 + (l % 3)) });
      rare.resizeLabels(map);
      expect(rare.connections(1).bias).toBe(-2);
    });

    it('leaves the logits of labels that stay as they were, bit for bit', async () => {
      const grown = Int32Array.from({ length: 2 * labels + 3 }, (_, j) => (j < labels ? j : -1));
      const mixed = Int32Array.from([...grown.subarray(1), -1]);
      for (const map of [grown, mixed]) {
        const layer = make({ optimizer: adam });
        await layer.step(hidden(one.h), one.positives, { rate: 0.05 });
        await layer.rewire(4, 100);
        const logits = async (of: Uint32Array) => Array.from((await layer.scores(hidden(one.h), of)).data);
        const kept = map.filter((from) => from >= 0);
        const before = await logits(Uint32Array.from(kept));
        const topped = byLabel(await layer.topK(hidden(one.h), labels), labels);
        layer.resizeLabels(map);
        const places = Array.from(map.keys()).filter((j) => map[j] >= 0);
        expect(await logits(Uint32Array.from(places))).toEqual(before);
        const after = byLabel(await layer.topK(hidden(one.h), map.length), map.length);
        for (const [b, row] of after.entries())
          expect(places.map((j) => row[j])).toEqual(places.map((j) => topped[b][map[j]]));
      }
    });

    it('starts labels from given weights, over the connections that carry most of them', async () => {
      const layer = make({ optimizer: adam });
      await layer.step(hidden(one.h), one.positives, { rate: 0.05 });
      layer.resizeLabels(map);
      const before = Array.from(map.keys(), (l) => layer.connections(l));
      const chosen = Uint32Array.of(map.length - 1, 1);
      const weights = Float64Array.from({ length: 2 * inputs }, (_, i) => Math.sin(1 + i * i));
      layer.startLabels(chosen, { weights, bias: [0.25, -3] });
      for (const l of map.keys()) {
        const now = layer.connections(l);
        const at = chosen.indexOf(l);
        if (at < 0) {
          expect(now).toEqual(before[l]);
          continue;
        }
        expect(now.bias).toBe([0.25, -3][at]);
        const row = Array.from(now.inputs, (j) => weights[at * inputs + j]);
        // In bfloat16 a weight keeps 8 bits.
        expect(distance(now.weights, row)).toBeLessThanOrEqual(
          subject.name.includes('bf16') ? 2 ** -8 : tolerance,
        );
      }
      // What follows sees the new weights: the loss is that of the layer it says it is.
      const oracle = new DenseOracle(layer, plainSgd);
      const next = problem('started', batch, inputs, map.length);
      const found = await layer.evaluate(hidden(next.h), next.positives);
      expect(distance([found], [oracle.lossOf(next.h, next.positives).loss])).toBeLessThanOrEqual(tolerance);
      for (const wrong of [Uint32Array.of(1, 1), Uint32Array.of(1, map.length), Uint32Array.of(1)])
        expect(() => layer.startLabels(wrong, { weights, bias: [0, 0] })).toThrow(/LABEL_/);
    });

    it('moves the logits of its last labels together, where it can learn labels alone', async () => {
      const layer = make({ optimizer: adam });
      await layer.step(hidden(one.h), one.positives, { rate: 0.05 });
      const logits = async () => Array.from((await layer.scores(hidden(one.h))).data);
      const before = await logits();
      const from = labels - 2;
      if (layer.capabilities.learnsFrom) expect(layer.shiftLogits).toBeDefined();
      layer.shiftLogits?.(from, -1.5);
      const moved = layer.shiftLogits === undefined ? 0 : -1.5;
      for (const [i, z] of (await logits()).entries()) {
        if (i % labels < from) expect(z).toBe(before[i]);
        else expect(Math.abs(z - before[i] - moved)).toBeLessThan(1e-5);
      }
      for (const [at, by] of [
        [labels + 1, 1],
        [-1, 1],
        [0.5, 1],
        [0, Number.NaN],
      ] as const)
        if (layer.shiftLogits !== undefined) expect(() => layer.shiftLogits?.(at, by)).toThrow(/LABEL_SHIFT/);
    });

    it('holds the bytes of a layer made at that size, dry or not', () => {
      for (const on of [rig.device, rig.device.dryTwin()]) {
        const start = on.ledger.liveBytes;
        make({ optimizer: adam }, on).resizeLabels(map);
        const resized = on.ledger.live();
        const direct = new Device(kernels!);
        make({ optimizer: adam, labels: map.length }, direct);
        expect(start).toBe(0);
        expect(resized).toEqual(direct.ledger.live());
      }
    });

    it('refuses a map that names old labels that do not exist, and leaves the layer as it was', () => {
      const layer = make();
      const before = snapshot(layer);
      for (const wrong of [labels, -2]) {
        expect(() => layer.resizeLabels(Int32Array.of(0, wrong))).toThrow(/LABEL_MAP_RANGE/);
      }
      expect(snapshot(layer)).toEqual(before);
    });
  });
}
