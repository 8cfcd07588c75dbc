import { describe, expect, it } from 'vitest';
import { float64Device, gradientOf } from '../../autograd/gradcheck.testing.js';
import { Tape } from '../../autograd/tape.js';
import { RandomStream } from '../../kernels/random.js';
import { GELU, LayerNorm, Linear, ReLU, ResMLP, Sequential } from '../../nn/index.js';
import type { Module } from '../../nn/module.js';
import { Affine, Flatten, Transposed } from '../../nn/network-layers.js';
import { layerNorm } from '../../ops/layer-norm.js';
import { squaredError } from '../../ops/losses.js';
import type { Device } from '../../tensor/device.js';
import { bf16, bsr, dense, pooled, recompute, type SavedOptionsInput } from './options.js';
import { SavedActivations } from './saved-activations.js';

const stream = (name: string) => RandomStream.named(5, name);
const normal = (n: number, name: string) => {
  const draws = stream(name);
  return Float64Array.from({ length: n }, () => draws.normal());
};

const rows = 70;
const width = 40;

function mlp(device: Device, activation: 'relu' | 'gelu', normed = false): Sequential {
  const weights = stream('weights');
  const linear = (from: number, to: number) => new Linear(device, from, to, { stream: weights });
  const act = () => (activation === 'relu' ? new ReLU() : new GELU());
  return new Sequential(
    linear(width, 96),
    ...(normed ? [new LayerNorm(device, 96)] : []),
    act(),
    linear(96, 64),
    act(),
    linear(64, 10),
  );
}

interface Pass {
  readonly gradients: Map<string, Float64Array>;
  readonly dx: Float64Array | null;
  readonly policy: SavedActivations | null;
  readonly device: Device;
}

/** Forward and backward with the input a learnt tensor, so that dx is seen too. */
function pass(
  make: (device: Device) => Module,
  options: SavedOptionsInput | null,
  { device = float64Device(), x = [rows, width], step = 0, policy = given(options) }: Partial<Step> = {},
): Pass {
  const model = make(device);
  device.arena.reset();
  policy?.begin(step);
  const tape = new Tape(device, { saved: policy ?? undefined });
  const input = device.fromArray(
    x,
    device.dry
      ? []
      : normal(
          x.reduce((a, b) => a * b),
          'x',
        ),
  );
  input.requiresGrad = true;
  let dx: Float64Array | null = null;
  const y = model.forward(input, { tape, training: true, dropoutStream: stream('dropout') });
  const targets = device.fromArray(y.shape, device.dry ? [] : normal(y.size, 'y'), 'data');
  const loss = tape.pass(y, (z) => tape.run(squaredError, { z, targets }));
  const gradient = tape.backwardTo(input, loss);
  dx = gradient === null ? null : Float64Array.from(gradient.data);
  const gradients = new Map<string, Float64Array>();
  for (const [name, p] of model.namedParameters()) if (!device.dry) gradients.set(name, gradientOf(p)!);
  return { gradients, dx, policy, device };
}

interface Step {
  device: Device;
  x: number[];
  step: number;
  policy: SavedActivations | null;
}

const given = (options: SavedOptionsInput | null) =>
  options === null ? null : new SavedActivations(options);

const bias = (name: string) => name.endsWith('bias');

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

describe('memory', () => {
  const deep = (d: Device) => {
    const weights = stream('deep');
    const layers = Array.from({ length: 6 }, () => [new Linear(d, 64, 64, { stream: weights }), new GELU()]);
    return new Sequential(new Linear(d, width, 64, { stream: weights }), ...layers.flat());
  };
  const peak = (options: SavedOptionsInput | null, x = [512, width]) => {
    const { device, policy } = pass(deep, options, { device: float64Device().dryTwin(), x });
    return {
      ledger: device.ledger.atPeak(),
      total: device.ledger.peakBytes,
      arena: device.arena.highWaterBytes,
      policy,
    };
  };

  it('gives dense activations back as soon as their copies exist: the peak falls', () => {
    const full = peak({ inputs: dense });
    const pruned = peak({ inputs: bsr({ keep: 0.25 }) });
    const least = peak({
      inputs: bsr({ keep: 0.25 }),
      rules: [
        { op: 'gelu', form: bsr({ keep: 0.25 }) },
        { op: 'linear', form: recompute },
      ],
    });
    expect(pruned.ledger.activations).toBeLessThan(0.75 * full.ledger.activations);
    expect(least.ledger.activations).toBeLessThan(0.5 * pruned.ledger.activations);
    // The arena has few holes when it is fullest.
    for (const { total, arena, ledger } of [full, pruned, least]) {
      const persistent = 2 * ledger.weights;
      expect(arena).toBeLessThan(1.15 * (total - persistent));
    }
  });

  it('reports exactly the bytes of the buffers that it keeps', () => {
    const device = float64Device();
    const policy = new SavedActivations({ inputs: bsr({ block: 8, keep: 0.3 }) });
    policy.begin(0);
    const tape = new Tape(device, { saved: policy });
    const x = device.fromArray([rows, width], normal(rows * width, 'x'));
    const before = device.ledger.live().activations;
    const layer = new Linear(device, width, 8, { stream: stream('w') });
    tape.run(layerNorm, {
      x,
      gamma: device.fromArray([width], new Float64Array(width)),
      beta: device.fromArray([width], new Float64Array(width)),
      eps: 1,
    });
    const y = layer.forward(x, { tape, training: true, dropoutStream: stream('d') });
    tape.done(x);
    const blocks = Math.round(0.3 * 45);
    const bytes = blocks * (64 * 8 + 4) + 4 * (9 + 1);
    expect(policy.report()).toMatchObject({ bytes, denseBytes: rows * width * 8 });
    expect(() => x.data).toThrow(/TENSOR_RELEASED/);
    // The arena hands out multiples of 64 bytes.
    const grown = device.ledger.live().activations - before - y.size * 8;
    expect(grown).toBeGreaterThan(bytes - rows * width * 8);
  });

  it('plans a pruned step to the byte: the arena never grows', () => {
    const options: SavedOptionsInput = { inputs: bsr({ keep: 0.3 }), sampleEvery: 1 };
    const wet = float64Device();
    const dry = wet.dryTwin();
    const planner = new SavedActivations(options);
    for (let i = 0; i < 8; i++) pass(deep, null, { device: dry, policy: planner, step: i });
    wet.arena.reserve(dry.arena.highWaterBytes);
    const policy = new SavedActivations(options);
    for (let i = 0; i < 8; i++) pass(deep, null, { device: wet, policy, step: i });
    expect(wet.arena.growths).toBe(0);
    expect(wet.arena.highWaterBytes).toBeLessThanOrEqual(dry.arena.highWaterBytes);
  });

  it('keeps within a budget for all tensors together, once their sizes are known', () => {
    const budget = 300_000;
    const policy = new SavedActivations({ inputs: bsr({ budget }) });
    const device = float64Device().dryTwin();
    for (let step = 0; step < 2; step++) {
      pass(deep, null, { device, policy, step, x: [512, width] });
      const kept = policy.report().sites.filter(({ form }) => form === 'bsr');
      const bytes = kept.reduce((sum, site) => sum + site.bytes, 0);
      expect(bytes).toBeLessThanOrEqual(budget);
      if (step === 1) {
        expect(bytes).toBeGreaterThan(0.9 * budget);
        expect(new Set(kept.map((site) => site.bytes)).size).toBe(1);
      }
    }
  });

  it('frees what nobody needs at all in a forward pass without backward', () => {
    const device = float64Device();
    const model = deep(device);
    const tape = new Tape(device, { recording: false });
    const x = device.fromArray([512, width], normal(512 * width, 'x'));
    const y = model.forward(x, { tape, training: false, dropoutStream: stream('d') });
    expect(device.ledger.live().activations).toBe(8 * (x.size + y.size));
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
