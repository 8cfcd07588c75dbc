import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../kernels/random.js';
import { backends, bf16Backends } from '../../output/backends.testing.js';
import type { WeightPrecision } from '../../output/base-options.js';
import {
  describeOutputLayer,
  distance,
  positivesOf,
  problem,
  type Setup,
  type Subject,
} from '../../output/conformance.testing.js';
import type { RewireReport } from '../../output/layer.js';
import { Device } from '../../tensor/device.js';
import { FixedFanInOutput } from './fan-in-output.js';
import type { FanInForm, PruneRule, Topology } from './options.js';

const prune: PruneRule = { mode: 'fraction', fraction: 0.3, scope: 'layer', anneal: 'constant' };
const set: Topology = { kind: 'set', prune, every: 2, until: 0.66 };

const maker =
  (
    fanIn: number,
    topology: Topology,
    form: FanInForm = 'fast',
    precision: WeightPrecision = 'float32',
    shared = 0,
  ) =>
  (device: Device, { seed = 1, ...setup }: Setup) =>
    new FixedFanInOutput(device, {
      ...setup,
      fanIn,
      topology,
      form,
      precision,
      shared,
      stream: RandomStream.named(seed, 'output'),
      rewireStream: RandomStream.named(seed, 'rewire'),
    });

const small = { inputs: 24, labels: 37, batch: 9, chunk: 8 };
const wide = { inputs: 66_000, labels: 11, batch: 3, chunk: 4, brief: true };
const perLabel: Topology = { kind: 'set', prune: { ...prune, scope: 'label' }, every: 2, until: 1 };
const threshold: Topology = { kind: 'set', prune: { mode: 'threshold', tau: 0.15 }, every: 2, until: 1 };

const subjects: Subject[] = [
  { name: 'static, 16-bit columns', ...small, make: maker(6, { kind: 'static' }) },
  { name: 'SET, 16-bit columns', ...small, make: maker(6, set) },
  { name: 'SET per label, compact', ...small, make: maker(7, perLabel, 'compact') },
  { name: 'SET by threshold, F = d', ...small, make: maker(24, threshold) },
  { name: 'SET, 4 of 9 inputs shared', ...small, make: maker(9, set, 'fast', 'float32', 4) },
  { name: 'static, F = 1', ...small, make: maker(1, { kind: 'static' }) },
  { name: 'SET, 32-bit columns', ...wide, make: maker(5, set) },
];

for (const backend of backends) {
  for (const subject of subjects) {
    if (subject.brief && !['reference/float64', 'native, 2 threads'].includes(backend.name)) continue;
    describeOutputLayer({ ...subject, name: `FixedFanInOutput: ${subject.name}` }, backend);
  }
}

for (const backend of bf16Backends) {
  const make = (form: FanInForm, topology: Topology) => (device: Device, setup: Setup) =>
    maker(6, topology, form, 'bf16')(device, setup);
  for (const [form, topology] of [
    ['compact', set],
    ['fast', perLabel],
  ] as const) {
    const subject = { name: `FixedFanInOutput: bfloat16, ${form}`, ...small, make: make(form, topology) };
    describeOutputLayer(subject, backend);
  }
}

describe('FixedFanInOutput', () => {
  const float64 = () => new Device(backends[0].kernels!);
  const setup: Setup = { ...small, loss: 'bce', optimizer: { kind: 'adam', rate: 0.05 } };
  const arraysOf = (layer: FixedFanInOutput) => {
    const { model, optimizer } = layer.state();
    return new Map([...model, ...optimizer].map(({ name, data }) => [name, data]));
  };
  const train = async (device: Device, layer: FixedFanInOutput, seed: string) => {
    const { h, positives } = problem(seed, small.batch, layer.inputs, layer.labels);
    device.arena.reset();
    return layer.step(device.fromArray([small.batch, layer.inputs], h), positives, { rate: 0.05 });
  };

  it('draws weights in U(-1/sqrt(F), 1/sqrt(F)) and F different columns per label', () => {
    const layer = maker(16, { kind: 'static' })(float64(), { ...setup, labels: 60 });
    const all = Array.from({ length: 60 }, (_, l) => layer.connections(l));
    const magnitudes = all.flatMap(({ weights }) => Array.from(weights, Math.abs));
    expect(Math.max(...magnitudes)).toBeLessThanOrEqual(0.25);
    expect(Math.max(...magnitudes)).toBeGreaterThan(0.24);
    for (const { inputs } of all) expect(new Set(inputs).size).toBe(16);
  });

  it.each([
    { inputs: 65_536, type: Uint16Array },
    { inputs: 65_537, type: Uint32Array },
  ])('names the columns of $inputs inputs by $type.name', ({ inputs, type }) => {
    const layer = maker(3, { kind: 'static' })(float64(), { ...setup, inputs });
    expect(layer.columns).toBeInstanceOf(type);
    expect(layer.columns).toHaveLength(3 * small.labels);
  });

  it.each([0, 25, 2.5, Number.NaN])('refuses the fan-in %s of 24 inputs', (fanIn) => {
    expect(() => maker(fanIn, { kind: 'static' })(float64(), setup)).toThrow(/1 to 24.*FAN_IN_RANGE/);
  });

  it('connects every label to the last inputs where they are shared, whatever evolves', async () => {
    for (const topology of [set, perLabel, threshold]) {
      const layer = maker(7, topology, 'fast', 'float32', 3)(float64(), setup);
      const own = () => Array.from({ length: small.labels }, (_, l) => layer.connections(l).inputs);
      const start = own().map((inputs) => inputs.join());
      await layer.rewire(2, 100);
      layer.resizeLabels(Int32Array.from({ length: small.labels }, (_, l) => (l < 5 ? -1 : l)));
      layer.startLabels(Uint32Array.of(6), {
        weights: Float64Array.from({ length: 24 }, (_, j) => j + 1),
        bias: Float64Array.of(0),
      });
      expect(own().map((inputs) => inputs.join())).not.toEqual(start);
      for (const inputs of own()) {
        expect(Array.from(inputs.subarray(0, 3))).toEqual([21, 22, 23]);
        expect(new Set(inputs).size).toBe(7);
        expect(Math.max(...inputs.subarray(3))).toBeLessThan(21);
      }
      expect(Array.from(own()[6])).toEqual([21, 22, 23, 17, 18, 19, 20]);
      layer.loaded();
      layer.columns[1] = 20;
      expect(() => layer.loaded()).toThrow(/columns 21 to 23.*COLUMNS_INVALID/);
    }
  });

  it('counts what was explored of the inputs that are not shared', async () => {
    const always = { ...set, every: 1, until: 1 } as Topology;
    const layer = maker(24, always, 'fast', 'float32', 10)(float64(), setup);
    expect((await layer.rewire(1, 9))?.explored).toBe(1);
    const half = maker(17, always, 'fast', 'float32', 10)(float64(), setup);
    const { explored } = (await half.rewire(1, 9))!;
    expect(explored).toBeGreaterThan(0.5);
    expect(explored).toBeLessThan(0.8);
  });

  it.each([6, 7, -1, 1.5])('refuses %s shared inputs of a fan-in of 6', (shared) => {
    const make = maker(6, set, 'fast', 'float32', shared);
    expect(() => make(float64(), setup)).toThrow(/0 to 5.*FAN_IN_SHARED/);
  });

  it('takes every loss with every topology', () => {
    const rigl = { ...set, kind: 'rigl', sample: 'batch', perLabel: 4, start: 'gradient' } as const;
    for (const topology of [set, rigl]) {
      const { capabilities } = maker(6, topology)(float64(), { ...setup, loss: 'softmax' });
      expect(capabilities.losses).toEqual(['bce', 'squaredHinge', 'softmax']);
    }
  });

  it('rounds bfloat16 weights without bias: steps far below the distance of neighbours count in the mean', async () => {
    for (const { kernels, name } of backends) {
      if (kernels === null) continue;
      const sgd = { kind: 'sgd', rate: 4e-4 } as const;
      const few = name.startsWith('reference');
      const labels = few ? 1500 : 20_000;
      const layers = (['float32', 'bf16'] as const).map((precision) => {
        const device = new Device(kernels);
        const layer = new FixedFanInOutput(device, {
          ...{ ...setup, labels, optimizer: sgd, fanIn: 4, topology: { kind: 'static' }, precision },
          ...{ stream: RandomStream.named(1, 'output'), rewireStream: RandomStream.named(1, 'rewire') },
        });
        // 0.75, whose neighbours in bfloat16 are 2^-8 away; a step moves it by a tenth of that.
        layer.state().model[0].data.fill(precision === 'bf16' ? 0x3f40 : 0.75);
        return { device, layer };
      });
      const steps = 20;
      const h = new Float64Array(small.inputs).fill(1);
      for (let t = 0; t < steps; t++) {
        for (const { device, layer } of layers) {
          device.arena.reset();
          await layer.step(device.fromArray([1, small.inputs], h), positivesOf([]), { rate: 4e-4 });
        }
      }
      const mean = ({ layer }: (typeof layers)[0]) => {
        let sum = 0;
        for (let l = 0; l < labels; l++) for (const w of layer.connections(l).weights) sum += w;
        return sum / (4 * labels);
      };
      const [exact, rounded] = layers.map(mean);
      const unit = 2 ** -8;
      expect(0.75 - exact).toBeGreaterThan(unit);
      // A draw is off by at most one unit, by half in the root mean square; five deviations of the mean.
      expect(Math.abs(rounded - exact)).toBeLessThan(
        (5 * unit * Math.sqrt(steps)) / 2 / Math.sqrt(4 * labels),
      );
    }
  });

  it('costs 2 bytes of column and 2 of weight per connection in bfloat16', async () => {
    const layer = new FixedFanInOutput(new Device(backends[1].kernels!), {
      ...{ ...setup, optimizer: { kind: 'sgd', rate: 1 }, fanIn: 6, topology: { kind: 'static' } },
      ...{ form: 'compact', precision: 'bf16' },
      ...{ stream: RandomStream.named(1, 'output'), rewireStream: RandomStream.named(1, 'rewire') },
    });
    const { bytes } = await layer.plan({ batch: 4, positives: 8 });
    expect(bytes.indices).toBe(2 * 6 * small.labels);
    expect(bytes.weights).toBe((2 * 6 + 4) * small.labels);
    expect(layer.state().model.find(({ name }) => name === 'weights')).toMatchObject({ dtype: 'BF16' });
  });

  it('refuses a topology that makes no sense', () => {
    expect(() => maker(4, { ...set, every: 0 } as Topology)(float64(), setup)).toThrow(/TOPOLOGY_RANGE/);
  });

  it('costs 2 bytes of column and 4 of weight per connection without the backward index', async () => {
    const device = new Device(backends[1].kernels!);
    const layer = maker(6, set, 'compact')(device, { ...setup, optimizer: { kind: 'sgd', rate: 1 } });
    const { bytes } = await layer.plan({ batch: 4, positives: 8 });
    // Beside them a word of bits per label: which connections were ever tried.
    expect(bytes.indices).toBe((2 * 6 + 4) * small.labels);
    expect(bytes.weights).toBe(4 * (6 + 1) * small.labels);
    expect(bytes.optimizer).toBe(0);
  });

  describe('rewire', () => {
    it('comes on schedule and reports what it did', async () => {
      const layer = maker(6, { ...set, every: 3, until: 0.5 } as Topology)(float64(), setup);
      const reports: RewireReport[] = [];
      for (let t = 1; t <= 20; t++) {
        const report = await layer.rewire(t, 20);
        if (report !== null) reports.push(report);
      }
      expect(reports.map(({ step }) => step)).toEqual([3, 6, 9]);
      const connections = 6 * small.labels;
      for (const report of reports) {
        expect(report).toMatchObject({ replaced: Math.floor(0.3 * connections), connections });
      }
      expect(reports[0].threshold).toBeGreaterThan(0);
    });

    it('never changes a static topology', async () => {
      const device = float64();
      const layer = maker(6, { kind: 'static' })(device, setup);
      const before = Array.from(layer.columns);
      for (let t = 1; t <= 20; t++) {
        await train(device, layer, `static ${t}`);
        expect(await layer.rewire(t, 20)).toBeNull();
      }
      expect(Array.from(layer.columns)).toEqual(before);
    });

    it('clears weights and both moments at rewired slots, and touches nothing else, biases included', async () => {
      const device = float64();
      const layer = maker(6, set)(device, setup);
      await train(device, layer, 'before');
      const before = new Map(Array.from(arraysOf(layer), ([name, data]) => [name, Array.from(data)]));
      const { replaced, threshold } = (await layer.rewire(2, 100))!;
      const after = arraysOf(layer);
      let cleared = 0;
      for (let s = 0; s < layer.columns.length; s++) {
        const now = ['columns', 'weights', 'weights.m', 'weights.v'].map((name) => after.get(name)![s]);
        if (now[1] === 0) {
          cleared++;
          expect(now.slice(1)).toEqual([0, 0, 0]);
          expect(Math.fround(Math.abs(before.get('weights')![s]))).toBeLessThanOrEqual(threshold!);
        } else {
          expect(now).toEqual(
            ['columns', 'weights', 'weights.m', 'weights.v'].map((name) => before.get(name)![s]),
          );
        }
      }
      expect(cleared).toBe(replaced);
      for (const name of ['bias', 'bias.m', 'bias.v']) {
        expect(Array.from(after.get(name)!)).toEqual(before.get(name));
      }
    });

    it('draws from its own stream: start connections do not depend on it, and later draws do not on them', async () => {
      const columnsOf = async (seed: number, rewireSeed: number) => {
        const layer = new FixedFanInOutput(float64(), {
          ...setup,
          fanIn: 6,
          topology: set,
          stream: RandomStream.named(seed, 'output'),
          rewireStream: RandomStream.named(rewireSeed, 'rewire'),
        });
        const start = Array.from(layer.columns);
        await layer.rewire(2, 100);
        return { start, later: Array.from(layer.columns) };
      };
      const [a, b] = [await columnsOf(1, 1), await columnsOf(1, 2)];
      expect(b.start).toEqual(a.start);
      expect(b.later).not.toEqual(a.later);
    });
  });

  describe('loaded', () => {
    it.each([
      { name: 'a column twice in a row', change: (c: FixedFanInOutput['columns']) => (c[7] = c[8]) },
      { name: 'a column out of range', change: (c: FixedFanInOutput['columns']) => (c[5] = small.inputs) },
    ])('refuses $name, with the label and the remedy', ({ change }) => {
      const layer = maker(6, set)(float64(), setup);
      layer.loaded();
      change(layer.columns);
      expect(() => layer.loaded()).toThrow(
        /label [01] has a column.*COLUMNS_INVALID.*restore it from a copy/,
      );
    });

    it('takes new connections into use', async () => {
      for (const { kernels, tolerance } of backends) {
        if (kernels === null) continue;
        const device = new Device(kernels);
        const layer = maker(1, { kind: 'static' })(device, { ...setup, optimizer: { kind: 'sgd', rate: 1 } });
        for (const [l] of layer.columns.entries()) layer.columns[l] = l % 24;
        layer.loaded();
        const h = new Float64Array(24).fill(1);
        const options = { rate: 1, update: false };
        const { dh } = await layer.step(device.fromArray([1, 24], h), positivesOf([[30, 0]]), options);
        const expected = new Float64Array(24);
        for (let l = 0; l < small.labels; l++) {
          const { weights, bias } = layer.connections(l);
          expected[l % 24] += (1 / (1 + Math.exp(-weights[0] - bias)) - (l === 30 ? 1 : 0)) * weights[0];
        }
        expect(distance(dh!.data, expected)).toBeLessThanOrEqual(tolerance);
      }
    });
  });

  it('gives the same results whatever the slabs: many, few or one', async () => {
    const shape = { inputs: 64, labels: 2600, batch: 64 };
    const { h, positives } = problem('slabs', shape.batch, shape.inputs, shape.labels);
    const run = async (name: string, chunk: number) => {
      // Only reference kernels get small slabs: under another name all labels are one.
      const device = new Device({ ...backends[0].kernels!, name });
      const layer = maker(32, set)(device, { ...setup, ...shape, chunk });
      const hidden = device.fromArray([shape.batch, shape.inputs], h);
      const { loss, dh } = await layer.step(hidden, positives, { rate: 0.05 });
      return { loss, dh: dh!.data, weights: arraysOf(layer).get('weights')! };
    };
    const whole = await run('one-slab', 2600);
    for (const chunk of [1300, 1000, 7]) {
      const { loss, dh, weights } = await run('reference/float64', chunk);
      expect(dh).toEqual(whole.dh);
      expect(weights).toEqual(whole.weights);
      expect(distance([loss], [whole.loss])).toBeLessThan(1e-14);
    }
  });

  it.skipIf(backends[2].kernels === null)('computes the same in the fast and the compact form', async () => {
    const results = [];
    for (const form of ['fast', 'compact'] as const) {
      const device = new Device(backends[2].kernels!);
      const layer = maker(6, set, form)(device, { ...setup, optimizer: { kind: 'sgd', rate: 0.5 } });
      results.push({
        indices: device.ledger.live().indices,
        weights: arraysOf(layer).get('weights')!,
        dh: [0],
      });
      for (let t = 1; t <= 4; t++) {
        const { dh } = await train(device, layer, `forms ${t}`);
        results[results.length - 1].dh = Array.from(dh!.data);
        await layer.rewire(t, 100);
      }
    }
    expect(results[0].indices).toBeGreaterThan(results[1].indices);
    expect(distance(results[0].dh, results[1].dh)).toBeLessThanOrEqual(backends[2].tolerance);
    expect(distance(results[0].weights, results[1].weights)).toBeLessThanOrEqual(backends[2].tolerance);
  });
});
