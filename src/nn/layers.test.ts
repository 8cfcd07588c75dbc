import { describe, expect, it } from 'vitest';
import { float64Device, gradcheck } from '../autograd/gradcheck.testing.js';
import { Tape } from '../autograd/tape.js';
import { RandomStream } from '../kernels/random.js';
import type { SparseBatch } from '../ops/sparse-batch.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { Dropout, EmbeddingBag, GELU, LayerNorm, Linear, ReLU, Sequential } from './layers.js';
import { type ForwardContext, Module } from './module.js';

const stream = (name = 'init', seed = 5) => RandomStream.named(seed, name);
const context = (device: Device, training = true): ForwardContext => ({
  tape: new Tape(device),
  training,
  dropoutStream: stream('dropout'),
});

/** Twelve entries, all columns different. */
const batch: SparseBatch = {
  rows: 4,
  nnz: 12,
  width: 20,
  indptr: Int32Array.of(0, 5, 5, 9, 12),
  indices: Uint32Array.from({ length: 12 }, (_, e) => (e * 7) % 20),
  values: Float64Array.from({ length: 12 }, (_, e) => 0.1 * e - 0.4),
};

function encoder(device: Device, seed = 5): Sequential<SparseBatch> {
  const init = stream('init', seed);
  return new Sequential<SparseBatch>(
    new EmbeddingBag(device, 20, 8, { stream: init, activation: 'relu', featureDropout: 0.2 }),
    new LayerNorm(device, 8),
    new Linear(device, 8, 16, { stream: init }),
    new GELU(),
    new Dropout(0.3),
    new Linear(device, 16, 6, { stream: init, bias: false }),
    new ReLU(),
  );
}

const parameterBytes = (module: Sequential<SparseBatch>) =>
  module.parameters().map((p) => Array.from(p.data));

describe('Module', () => {
  it('names its parameters by their place, in the order of definition', () => {
    expect([...encoder(float64Device()).namedParameters()].map(([name, p]) => [name, p.shape])).toEqual([
      ['layers.0.weight', [20, 8]],
      ['layers.0.bias', [8]],
      ['layers.1.weight', [8]],
      ['layers.1.bias', [8]],
      ['layers.2.weight', [16, 8]],
      ['layers.2.bias', [16]],
      ['layers.5.weight', [6, 16]],
    ]);
  });

  it('names a shared parameter once', () => {
    class Tied extends Module {
      readonly first: Linear;
      readonly again: Linear;
      constructor(device: Device) {
        super();
        this.first = new Linear(device, 3, 3, { stream: stream() });
        this.again = this.first;
      }
      forward(x: Tensor, c: ForwardContext): Tensor {
        return this.again.forward(this.first.forward(x, c), c);
      }
    }
    const tied = new Tied(float64Device());
    expect([...tied.namedParameters()].map(([name]) => name)).toEqual(['first.weight', 'first.bias']);
  });

  it('clears all gradients at once', () => {
    const d = float64Device();
    const model = encoder(d);
    const c = context(d);
    c.tape.backward(model.forward(batch, c));
    expect(model.parameters().every((p) => p.hasGradient)).toBe(true);
    model.zeroGrad();
    expect(model.parameters().some((p) => p.hasGradient || p.rowGradient !== null)).toBe(false);
  });
});

describe('layers', () => {
  it('start the same from the same seed, and differently from another', () => {
    const one = parameterBytes(encoder(float64Device(), 5));
    expect(parameterBytes(encoder(float64Device(), 5))).toEqual(one);
    expect(parameterBytes(encoder(float64Device(), 6))).not.toEqual(one);
  });

  it('start within the documented bounds and fill them', () => {
    const d = float64Device();
    const within = (values: ArrayLike<number>, bound: number) => {
      const largest = Math.max(...Array.from(values, Math.abs));
      expect(largest).toBeLessThanOrEqual(bound);
      expect(largest).toBeGreaterThan(0.9 * bound);
    };
    const linear = new Linear(d, 25, 100, { stream: stream() });
    within(linear.weight.data, 1 / 5);
    within(linear.bias!.data, 1 / 5);
    const bag = new EmbeddingBag(d, 100, 16, { stream: stream() });
    within(bag.weight.data, 1 / 4);
    expect(bag.bias!.data.every((x) => x === 0)).toBe(true);
    within(new EmbeddingBag(d, 100, 16, { stream: stream(), bound: 0.01 }).weight.data, 0.01);
    const norm = new LayerNorm(d, 3);
    expect([...norm.weight.data, ...norm.bias.data]).toEqual([1, 1, 1, 0, 0, 0]);
  });

  it('have the right gradients end to end, dropout and all', () => {
    const d = float64Device();
    const model = encoder(d);
    // Away from the kink: the empty row's sum is the bias, which starts at 0.
    model.parameters()[1].data.set([0.3, -0.2, 0.5, 0.1, -0.4, 0.2, 0.6, -0.1]);
    gradcheck(
      d,
      model.parameters(),
      (tape) => model.forward(batch, { tape, training: true, dropoutStream: stream('dropout') }),
      { delta: 1e-6, tolerance: 1e-6 },
    );
  });

  it('compute the same, bit for bit, on the same draws', () => {
    const run = () => {
      const d = float64Device();
      const c = context(d);
      return Array.from(encoder(d).forward(batch, c).data);
    };
    expect(run()).toEqual(run());
  });

  it('row-sparse and dense embedding gradients agree', () => {
    const gradients = [true, false].map((sparseGradient) => {
      const d = float64Device();
      const bag = new EmbeddingBag(d, 20, 3, { stream: stream(), sparseGradient });
      gradcheck(d, bag.parameters(), (tape) => bag.forward(batch, { ...context(d), tape }));
      return bag.weight.grad === null;
    });
    expect(gradients).toEqual([true, false]);
  });
});

describe('Dropout', () => {
  it('is the identity in evaluation and at p = 0: the same tensor, nothing drawn, nothing recorded', () => {
    const d = float64Device();
    const x = d.fromArray([2, 2], [1, 2, 3, 4]);
    const c = context(d, false);
    expect(new Dropout(0.5).forward(x, c)).toBe(x);
    expect(new Dropout(0).forward(x, { ...c, training: true })).toBe(x);
    expect(c.dropoutStream.state()).toEqual(stream('dropout').state());
  });

  it('draws a new mask for every call', () => {
    const d = float64Device();
    const c = context(d);
    const x = d.fromArray([1, 64], new Float64Array(64).fill(1));
    const [a, b] = [0, 1].map(() => Array.from(new Dropout(0.5).forward(x, c).data));
    expect(a).not.toEqual(b);
  });

  it.each([-0.1, 1, Number.NaN])('refuses p = %s', (p) => {
    expect(() => new Dropout(p)).toThrow(/DROPOUT_RANGE/);
    const bag = () => new EmbeddingBag(float64Device(), 2, 2, { stream: stream(), featureDropout: p });
    expect(bag).toThrow(/DROPOUT_RANGE/);
  });
});

describe('feature dropout of an EmbeddingBag', () => {
  // One entry per row and a table of ones: the output is the value that the bag saw.
  const single: SparseBatch = {
    rows: 200,
    nnz: 200,
    width: 1,
    indptr: Int32Array.from({ length: 201 }, (_, i) => i),
    indices: new Uint32Array(200),
    values: Float64Array.from({ length: 200 }, (_, i) => 1 + i),
  };

  it('drops entries of the batch in training, and scales the rest', () => {
    const d = float64Device();
    const bag = new EmbeddingBag(d, 1, 1, { stream: stream(), featureDropout: 0.25 });
    bag.weight.data.fill(1);
    for (const values of [single.values, null]) {
      const y = bag.forward({ ...single, values }, context(d)).data;
      const kept = y.filter((seen, i) => seen === (values?.[i] ?? 1) / 0.75);
      expect(y.filter((seen) => seen === 0).length + kept.length).toBe(200);
      expect(Math.abs(kept.length - 150)).toBeLessThan(4 * Math.sqrt(200 * 0.25 * 0.75));
      const plain = bag.forward({ ...single, values }, context(d, false)).data;
      expect(Array.from(plain)).toEqual(Array.from(values ?? new Float64Array(200).fill(1)));
    }
  });

  it('leaves the batch itself as it was', () => {
    const d = float64Device();
    const before = Array.from(single.values!);
    new EmbeddingBag(d, 1, 1, { stream: stream(), featureDropout: 0.5 }).forward(single, context(d));
    expect(Array.from(single.values!)).toEqual(before);
  });
});

describe('a dry twin', () => {
  it('allocates nothing and predicts every byte of a training step', () => {
    const wet = float64Device();
    const dry = wet.dryTwin();
    for (const d of [dry, wet]) {
      if (!d.dry) d.arena.reserve(dry.arena.highWaterBytes);
      const model = encoder(d);
      for (let step = 0; step < 2; step++) {
        d.arena.reset();
        model.zeroGrad();
        const c = context(d);
        const y = model.forward(batch, c);
        c.tape.backward(y, d.temporary('gradients', y.shape));
      }
      if (d.dry) expect(model.parameters().every((p) => p.data.length === 0)).toBe(true);
    }
    expect(dry.ledger.atPeak()).toEqual(wet.ledger.atPeak());
    expect(dry.ledger.live()).toEqual(wet.ledger.live());
    expect(wet.arena.highWaterBytes).toBe(dry.arena.highWaterBytes);
    expect(wet.arena.growths).toBe(0);
  });

  it('predicts no less than a batch with repeated columns needs', () => {
    const repeated = { ...batch, indices: Uint32Array.from({ length: 12 }, (_, e) => e % 3) };
    const wet = float64Device();
    const dry = wet.dryTwin();
    for (const d of [dry, wet]) {
      const bag = new EmbeddingBag(d, 20, 8, { stream: stream() });
      const c = context(d);
      c.tape.backward(bag.forward(repeated, c));
    }
    expect(wet.arena.highWaterBytes).toBeLessThan(dry.arena.highWaterBytes);
  });
});
