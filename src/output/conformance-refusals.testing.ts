/** What every output layer refuses. */
import { describe, expect, it } from 'vitest';
import type { Positives } from '../kernels/face.js';
import { positivesOf, type Rig, snapshot } from './conformance-rig.testing.js';

export function describeRefusals(rig: Rig): void {
  const { one, make, hidden } = rig;
  const { inputs, labels, batch } = rig.subject;

  describe('refuses, before anything is counted or changed:', () => {
    const last = labels - 1;
    const pairs = (...list: [number, number][]) => ({
      count: list.length,
      label: Uint32Array.from(list, ([label]) => label),
      row: Uint32Array.from(list, ([, row]) => row),
    });
    const cases: { name: string; positives: Positives; code: RegExp }[] = [
      {
        name: 'a positive label that does not exist',
        positives: pairs([labels, 0]),
        code: /POSITIVES_RANGE/,
      },
      {
        name: 'a positive row outside of the batch',
        positives: pairs([0, batch]),
        code: /POSITIVES_RANGE/,
      },
      { name: 'positives out of order', positives: pairs([last, 0], [0, 1]), code: /POSITIVES_ORDER/ },
      { name: 'a pair twice', positives: pairs([2, 1], [2, 1]), code: /POSITIVES_ORDER/ },
      {
        name: 'a count above the arrays',
        positives: { ...pairs([0, 0]), count: 2 },
        code: /POSITIVES_RANGE/,
      },
    ];

    it.each(cases)('$name', async ({ positives, code }) => {
      const layer = make();
      const before = snapshot(layer);
      await expect(layer.step(hidden(one.h), positives, { rate: 1 })).rejects.toThrow(code);
      await expect(layer.evaluate(hidden(one.h), positives)).rejects.toThrow(code);
      expect(layer.steps).toBe(0);
      expect(snapshot(layer)).toEqual(before);
    });

    it('hidden vectors of another width or rank', async () => {
      const layer = make();
      for (const shape of [[2, inputs + 1], [inputs], [1, 2, inputs]]) {
        rig.device.arena.reset();
        const h = rig.device.temporary('activations', shape);
        const none = positivesOf([]);
        const message = /SHAPE_MISMATCH/;
        await expect(layer.step(h, none, { rate: 1 })).rejects.toThrow(message);
        await expect(layer.evaluate(h, none)).rejects.toThrow(message);
        await expect(layer.topK(h, 1)).rejects.toThrow(message);
        await expect(layer.scores(h)).rejects.toThrow(message);
      }
      expect(layer.steps).toBe(0);
    });

    it('labels that do not exist, k that is no positive whole number', async () => {
      const layer = make();
      for (const label of [-1, labels, 0.5]) expect(() => layer.connections(label)).toThrow(/LABEL_RANGE/);
      const h = hidden(one.h);
      await expect(layer.scores(h, Uint32Array.of(0, labels))).rejects.toThrow(/LABEL_RANGE/);
      for (const k of [0, -1, 1.5, Number.NaN]) {
        await expect(layer.topK(h, k)).rejects.toThrow(/TOP_K_RANGE/);
      }
    });

    it('arrays for gradients that are too short', async () => {
      const layer = make();
      const gradients = { weights: new Float32Array(1), bias: new Float32Array(labels) };
      await expect(layer.step(hidden(one.h), one.positives, { rate: 1, gradients })).rejects.toThrow(
        /GRADIENTS_SHORT/,
      );
    });
  });
}
