import { describe, expect, it } from 'vitest';
import { GELU, Linear, ResMLP, Sequential } from '../../nn/index.js';
import type { Module } from '../../nn/module.js';
import { Affine } from '../../nn/network-layers.js';
import type { Device } from '../../tensor/device.js';
import { bf16, bsr, dense, pooled, recompute, type SavedOptionsInput } from './options.js';
import { bias, mlp, type Pass, pass, stream, width } from './saved.testing.js';
import { SavedActivations } from './saved-activations.js';

describe('backward from block-sparse activations', () => {
  it.each(['relu', 'gelu'] as const)(
    'keeps dx and every bias gradient exact at any keep ratio (%s)',
    (act) => {
      const exact = pass((d) => mlp(d, act), null);
      for (const keep of [0, 0.3, 0.7]) {
        const { gradients, dx } = pass((d) => mlp(d, act), { inputs: bsr({ block: 8, keep }) });
        expect(dx).toEqual(exact.dx);
        for (const [name, gradient] of gradients) {
          // The network's own input is not its to prune.
          if (bias(name) || name === 'layers.0.weight')
            expect(gradient, name).toEqual(exact.gradients.get(name));
          else expect(gradient, name).not.toEqual(exact.gradients.get(name));
        }
      }
    },
  );

  it('is the dense backward, to the bit, when everything is kept', () => {
    const exact = pass((d) => mlp(d, 'gelu'), null);
    const all = pass((d) => mlp(d, 'gelu'), { inputs: bsr({ keep: 1 }) });
    expect(all.gradients).toEqual(exact.gradients);
    expect(all.policy?.report().sites.every(({ form }) => form === 'dense')).toBe(true);
  });

  it('computes dW = dy^T x^ from exactly the blocks that are kept', () => {
    const make = (d: Device) =>
      new Sequential(new Linear(d, width, 16, { stream: stream('one') }), new GELU());
    const { gradients } = pass((d) => new Sequential(make(d)), { inputs: bsr({ block: 8, keep: 0.4 }) });
    // The input is borrowed: nobody is done with it, so it stays dense and exact.
    expect(gradients).toEqual(pass((d) => new Sequential(make(d)), null).gradients);
  });

  it('gates ReLUs by a mask of one bit, without any error', () => {
    const exact = pass((d) => mlp(d, 'relu'), null);
    const masked = pass((d) => mlp(d, 'relu'), { inputs: dense });
    expect(masked.gradients).toEqual(exact.gradients);
    const kept = pass((d) => mlp(d, 'relu'), { inputs: bsr({ keep: 0.2 }), masks: false });
    expect(kept.policy?.report().sites.map(({ form }) => form)).not.toContain('bsr');
  });

  it('prunes GELU and LayerNorm inputs only where their op is named, and then shares the pattern', () => {
    const make = (d: Device) => mlp(d, 'gelu', true);
    const plain = pass(make, {
      inputs: bsr({ keep: 0.3 }),
      rules: [{ layer: '*', form: bsr({ keep: 0.3 }) }],
    });
    const formOf = (p: Pass, op: string) => p.policy?.report().sites.find((site) => site.op === op)?.form;
    expect([formOf(plain, 'gelu'), formOf(plain, 'layerNorm')]).toEqual(['dense', 'dense']);
    const asked = pass(make, {
      inputs: bsr({ keep: 0.3 }),
      rules: [
        { op: 'gelu', form: bsr({ keep: 0.3 }) },
        { op: 'layerNorm', form: bsr({ keep: 0.3 }) },
        { op: 'linear', form: recompute },
      ],
    });
    expect([formOf(asked, 'gelu'), formOf(asked, 'layerNorm')]).toEqual(['bsr', 'bsr']);
    expect(asked.dx).not.toEqual(plain.dx);
    expect(asked.dx?.every(Number.isFinite)).toBe(true);
  });

  it('with pooled inputs has the weight gradient of the pooled tensor', () => {
    const exact = pass((d) => mlp(d, 'gelu'), null);
    const { gradients, dx } = pass((d) => mlp(d, 'gelu'), { inputs: pooled({ size: 4 }) });
    expect(dx).toEqual(exact.dx);
    expect(gradients.get('layers.4.weight')).not.toEqual(exact.gradients.get('layers.4.weight'));
  });

  it('rounded to bfloat16 keeps half the bytes and every gradient but for its rounding, GELU inputs named or not', () => {
    const exact = pass((d) => mlp(d, 'gelu'), { inputs: dense });
    const inputs = pass((d) => mlp(d, 'gelu'), { inputs: bf16 });
    expect(inputs.dx).toEqual(exact.dx);
    const rules = [
      { op: 'gelu', form: bf16 },
      { op: 'linear', form: recompute },
    ];
    const all = pass((d) => mlp(d, 'gelu'), { inputs: bf16, rules }, { x: [1100, width] });
    const wanted = pass((d) => mlp(d, 'gelu'), { inputs: dense }, { x: [1100, width] });
    for (const [p, of] of [
      [inputs, exact],
      [all, wanted],
    ]) {
      for (const [name, gradient] of p.gradients) {
        const own = of.gradients.get(name)!;
        const size = Math.max(...own.map(Math.abs));
        expect(Math.max(...gradient.map((v, i) => Math.abs(v - own[i]))), name).toBeLessThan(2 ** -7 * size);
      }
    }
    expect(all.gradients).not.toEqual(wanted.gradients);
    const sites = all.policy!.report().sites.filter(({ op }) => op !== 'squaredError');
    for (const { form, bytes, denseBytes } of sites.filter(({ form }) => form === 'bf16'))
      expect([form, bytes]).toEqual(['bf16', denseBytes / 4]); // of float64
    // Inputs of the second and third layer are computed again from those of GELUs.
    expect(sites.map(({ op, form }) => `${op} ${form}`)).toEqual([
      'gelu bf16',
      'linear recompute',
      'gelu bf16',
      'linear recompute',
    ]);
  });

  it.each([1, 8, 33])('handles %i rows, NaN and all zeros', (count) => {
    const { gradients } = pass(
      (d) => mlp(d, 'gelu'),
      { inputs: bsr({ block: 32, keep: 0.1 }) },
      {
        x: [count, width],
      },
    );
    for (const gradient of gradients.values()) expect(gradient.every(Number.isFinite)).toBe(true);
  });
});

describe('schedules', () => {
  const kept = (options: SavedOptionsInput, step: number) =>
    pass((d) => mlp(d, 'gelu'), options, { step }).policy?.report().bytes ?? 0;

  it('is dense during the warm-up and pruned after it', () => {
    const options = { inputs: bsr({ keep: 0.3 }), warmup: 3 };
    const dense = kept(options, 2);
    expect(kept(options, 3)).toBeLessThan(dense);
    expect(pass((d) => mlp(d, 'gelu'), options, { step: 2 }).gradients).toEqual(
      pass((d) => mlp(d, 'gelu'), null).gradients,
    );
  });

  it('moves the keep ratio in a straight line, and depends on the step alone: a resumed run goes on the same', () => {
    const options = { inputs: bsr({ keep: { from: 0.9, to: 0.1, steps: 10 } }), warmup: 5 };
    const at = [5, 10, 15, 100].map((step) => kept(options, step));
    expect(at[0]).toBeGreaterThan(at[1]);
    expect(at[1]).toBeGreaterThan(at[2]);
    expect(at[3]).toBe(at[2]);
    const policy = new SavedActivations(options);
    for (const step of [5, 6, 10]) pass((d) => mlp(d, 'gelu'), null, { policy, step });
    expect(policy.report().bytes).toBe(at[1]);
  });
});

describe('cosines', () => {
  it('compare the gradients from both copies, one layer after the other, and change nothing', () => {
    const options = { inputs: bsr({ block: 8, keep: 0.5 }), sampleEvery: 2 };
    const policy = new SavedActivations(options);
    const plain = pass((d) => mlp(d, 'gelu'), { ...options, sampleEvery: 0 });
    const exact = pass((d) => mlp(d, 'gelu'), null);
    const layers = new Set<string>();
    for (let step = 0; step < 8; step++) {
      const { gradients } = pass((d) => mlp(d, 'gelu'), null, { policy, step });
      expect(gradients).toEqual(plain.gradients);
      const cosines = policy.drain();
      expect(cosines.length).toBe(step % 2 === 0 ? 1 : 0);
      for (const { layer, op, cosine } of cosines) {
        expect(op).toBe('linear');
        const [a, b] = [plain, exact].map((p) => p.gradients.get(`${layer}.weight`)!);
        const dot = (x: Float64Array, y: Float64Array) => x.reduce((sum, v, i) => sum + v * y[i], 0);
        expect(cosine).toBeCloseTo(dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)), 10);
        layers.add(layer);
      }
    }
    expect([...layers].sort()).toEqual(['layers.2', 'layers.4']);
  });

  it('are of every gradient that a pruned tensor has a part in: of what is computed again from it too', () => {
    const make = (d: Device) => {
      const weights = stream('again');
      const linear = (from: number, to: number) => new Linear(d, from, to, { stream: weights });
      return new Sequential(linear(width, 32), new Affine(d, 32), linear(32, 10));
    };
    const rules = [{ op: 'linear', form: recompute }];
    const policy = new SavedActivations({ inputs: bsr({ block: 8, keep: 0.5 }), rules, sampleEvery: 1 });
    const exact = pass(make, null);
    const { gradients } = pass(make, null, { policy });
    const found = policy.drain();
    expect(found.map(({ layer, op }) => `${layer} ${op}`)).toEqual(['layers.2 linear', 'layers.1 affine']);
    for (const { layer, cosine } of found) {
      const [a, b] = [gradients, exact.gradients].map((of) => of.get(`${layer}.weight`)!);
      const dot = (x: Float64Array, y: Float64Array) => x.reduce((sum, v, i) => sum + v * y[i], 0);
      expect(cosine).toBeCloseTo(dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)), 10);
      expect(cosine).toBeLessThan(1 - 1e-4);
    }
  });
});

describe('ResMLP', () => {
  const net = (d: Device): Module =>
    new ResMLP(d, {
      stream: stream('resmlp'),
      channels: 1,
      height: 16,
      width: 16,
      classes: 10,
      patch: 4,
      dim: 32,
      depth: 2,
    });
  const x = [8, 1, 16, 16];

  it('saves at most 14 numbers per channel, patch and layer when dense, each tensor once', () => {
    const { policy } = pass(net, { inputs: dense }, { x });
    const within = policy?.report().sites.filter(({ layer }) => layer.startsWith('blocks.')) ?? [];
    const perLayer = within.reduce((sum, { bytes }) => sum + bytes, 0) / 2;
    expect(perLayer / 8).toBeLessThanOrEqual(14 * 8 * 16 * 32);
  });

  it('has exact dx, biases and head at any keep ratio, and its weight gradients point the same way', () => {
    const exact = pass(net, null, { x });
    const pruned = pass(net, { inputs: bsr({ block: 8, keep: 0.7 }) }, { x });
    expect(pruned.dx).toEqual(exact.dx);
    for (const [name, gradient] of pruned.gradients) {
      const other = exact.gradients.get(name)!;
      if (name.endsWith('bias')) expect(gradient, name).toEqual(other);
      let [dot, a, b] = [0, 0, 0];
      gradient.forEach((v, i) => {
        dot += v * other[i];
        a += v * v;
        b += other[i] ** 2;
      });
      if (a > 0 && b > 0) expect(dot / Math.sqrt(a * b), name).toBeGreaterThan(0.5);
    }
  });
});

describe('options', () => {
  it.each([
    [{ inputs: { kind: 'bsr', keep: 1.5 } }],
    [{ inputs: { kind: 'bsr' } }],
    [{ inputs: { kind: 'bsr', keep: 0.5, budget: '1MiB' } }],
    [{ inputs: { kind: 'bsr', budget: '1 MB' } }],
    [{ inputs: { kind: 'bsr', block: 12, keep: 0.5 } }],
    [{ warmup: -1 }],
    [{ input: {} }],
  ])('refuses %j', (options) => {
    expect(() => new SavedActivations(options as SavedOptionsInput)).toThrow(/SAVED_OPTIONS/);
  });

  it('refuses a rule whose op cannot read the form', () => {
    const options = { rules: [{ op: 'layerNorm', form: pooled({ size: 2 }) }] };
    expect(() => pass((d) => mlp(d, 'gelu', true), options)).toThrow(/SAVED_FORM/);
  });
});
