import { describe, expect, it } from 'vitest';
import { Linear, ResMLP, Sequential } from '../../nn/index.js';
import { Affine, Flatten, Transposed } from '../../nn/network-layers.js';
import type { Device } from '../../tensor/device.js';
import { bsr, dense, pooled, recompute } from './options.js';
import { mlp, normal, type Pass, pass, rows, stream, width } from './saved.testing.js';

describe('computed again', () => {
  it.each([70, 1100])(
    'computes %i GELU outputs again instead of keeping them, without any error',
    (count) => {
      const x = [count, width];
      const exact = pass((d) => mlp(d, 'gelu'), null, { x });
      const rules = [{ op: 'linear', form: recompute }];
      const again = pass((d) => mlp(d, 'gelu'), { inputs: dense, rules }, { x });
      const forms = again.policy?.report().sites.map(({ op, form }) => `${op} ${form}`);
      expect(forms).toContain('linear recompute');
      for (const [name, gradient] of again.gradients) {
        gradient.forEach((value, i) => {
          expect(value).toBeCloseTo(exact.gradients.get(name)![i], 12);
        });
      }
      expect(again.dx).toEqual(exact.dx);
    },
  );

  const expectClose = (a: Pass, b: Pass) => {
    for (const [name, gradient] of a.gradients) {
      const wanted = b.gradients.get(name)!;
      gradient.forEach((value, i) => {
        expect(Math.abs(value - wanted[i]), name).toBeLessThan(1e-12 * (1 + Math.abs(wanted[i])));
      });
    }
  };

  it('computes affine outputs and exchanged axes again too: a ResMLP layer keeps 8 of 14 widths, or 6, all exact', () => {
    const make = (d: Device) =>
      new ResMLP(d, {
        ...{ stream: stream('resmlp'), channels: 1, height: 12, width: 12, classes: 3 },
        ...{ patch: 4, dim: 20, depth: 3, layerScale: 0.5 },
      });
    const x = [7, 1, 12, 12];
    const exact = pass(make, { inputs: dense, masks: false }, { x });
    const cheap = { op: 'linear', form: recompute };
    // The outputs of linear layers, which only the gradients of the layers' scales read: by a product.
    const products = { ...recompute, products: true };
    const dear = [2, 4].map((i) => ({ layer: `blocks.*.layers.${i}`, op: 'affine', form: products }));
    const again = pass(make, { inputs: dense, rules: [cheap] }, { x });
    const most = pass(make, { inputs: dense, rules: [cheap, ...dear] }, { x });
    const unasked = [2, 4].map((i) => ({ layer: `blocks.*.layers.${i}`, op: 'affine', form: recompute }));
    const same = pass(make, { inputs: dense, rules: [cheap, ...unasked] }, { x });
    expect(same.policy?.report()).toEqual(again.policy?.report());
    for (const p of [again, most]) {
      expectClose(p, exact);
      expect(p.dx).toEqual(exact.dx);
    }
    const widths = 7 * 9 * 20 * 8;
    const layers = (p: Pass) => {
      const own = p.policy!.report().sites.filter(({ layer }) => layer.startsWith('blocks.'));
      return own.reduce((sum, { bytes }) => sum + bytes, 0) / widths / 3;
    };
    expect([exact, again, most].map(layers)).toEqual([14, 8, 6]);
  });

  it('computes again from a source kept in any form; where zero blocks alone were left out, exactly', () => {
    const make = (d: Device) => {
      const weights = stream('half');
      const first = new Linear(d, width, 32, { stream: weights });
      // The second block column is zero: keeping half of the blocks loses nothing.
      first.weight.data.fill(0, 16 * width);
      first.bias!.data.fill(0, 16);
      const middle = new Affine(d, 32);
      middle.bias!.data.set(normal(32, 'beta'));
      const turned = new Transposed(new Linear(d, rows, 6, { stream: weights }));
      return new Sequential(first, middle, turned, new Flatten());
    };
    const x = [2, rows, width];
    const exact = pass(make, null, { x });
    for (const form of [pooled({ size: 8 }), bsr({ block: 16, keep: 0.5 })]) {
      const rules = [
        { op: 'affine', form },
        { op: 'linear', form: recompute },
      ];
      const again = pass(make, { inputs: dense, rules }, { x });
      expect(again.policy?.report().sites.map(({ op, form: kind }) => `${op} ${kind}`)).toEqual(
        expect.arrayContaining([`affine ${form.kind}`, 'linear recompute']),
      );
      expect(again.dx).toEqual(exact.dx);
      if (form.kind === 'bsr') expectClose(again, exact);
      else expect(again.gradients).not.toEqual(exact.gradients);
    }
  });
});
