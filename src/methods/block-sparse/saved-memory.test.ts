import { describe, expect, it } from 'vitest';
import { float64Device } from '../../autograd/gradcheck.testing.js';
import { Tape } from '../../autograd/tape.js';
import { GELU, Linear, Sequential } from '../../nn/index.js';
import { layerNorm } from '../../ops/layer-norm.js';
import type { Device } from '../../tensor/device.js';
import { bsr, dense, recompute, type SavedOptionsInput } from './options.js';
import { normal, pass, rows, stream, width } from './saved.testing.js';
import { SavedActivations } from './saved-activations.js';

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
