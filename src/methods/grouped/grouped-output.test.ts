import { describe, expect, it } from 'vitest';
import { nearestBf16 } from '../../kernels/bf16.js';
import { RandomStream } from '../../kernels/random.js';
import { backends, bf16Backends } from '../../output/backends.testing.js';
import {
  describeOutputLayer,
  distance,
  optimizers,
  problem,
  type Setup,
  type Subject,
} from '../../output/conformance.testing.js';
import type { OutputLayer } from '../../output/layer.js';
import { Device } from '../../tensor/device.js';
import { FixedFanInOutput } from '../dynamic-sparse/fan-in-output.js';
import type { PruneRule } from '../dynamic-sparse/options.js';
import { GroupedFanInOutput } from './grouped-output.js';
import type { GroupedOutputOptions, GroupedTopology, GroupOrder } from './options.js';

const prune: PruneRule = { mode: 'fraction', fraction: 0.3, scope: 'layer', anneal: 'constant' };
const set: GroupedTopology = { kind: 'set', prune, every: 2, until: 0.66 };
const perGroup: GroupedTopology = { kind: 'set', prune: { ...prune, scope: 'label' }, every: 2, until: 1 };
const threshold: GroupedTopology = {
  kind: 'set',
  prune: { mode: 'threshold', tau: 0.12 },
  every: 2,
  until: 1,
};

const make = (device: Device, setup: Setup, more: Partial<GroupedOutputOptions> = {}) => {
  const { seed = 1, ...rest } = setup;
  return new GroupedFanInOutput(device, {
    fanIn: 6,
    group: 4,
    topology: { kind: 'static' },
    ...rest,
    ...more,
    stream: RandomStream.named(seed, 'output'),
    rewireStream: RandomStream.named(seed, 'rewire'),
  });
};

const small = { inputs: 24, labels: 37, batch: 9, chunk: 2 };

/** Labels 0 and 1 share the last full group: orders of other layers' sizes are cut to theirs. */
const orderOf = (labels: number): Uint32Array => {
  const by = Array.from({ length: labels }, (_, l) => ({ label: l, key: l < 2 ? -1 : (l * 17) % 41 }));
  const slots = new Uint32Array(labels);
  for (const [slot, { label }] of by.sort((a, b) => a.key - b.key || a.label - b.label).entries())
    slots[label] = slot;
  return slots;
};

/** Weights 0 and biases by label, wherever the label's slot is. */
const flatten: Subject['flatten'] = (layer, bias) => {
  const arrays = new Map(layer.state().model.map(({ name, data }) => [name, data]));
  arrays.get('weights')!.fill(0);
  for (const [label, slot] of arrays.get('slots')!.entries()) arrays.get('bias')![slot] = bias(label);
};

const subject = (
  name: string,
  more: Partial<GroupedOutputOptions>,
  shape = small,
  order: (labels: number) => GroupOrder = () => 'identity',
): Subject => ({
  name: `GroupedFanInOutput: ${name}`,
  ...shape,
  flatten,
  make: (device, setup) => make(device, setup, { ...more, order: order(setup.labels) }),
});

const subjects: Subject[] = [
  subject('static, groups of 4', {}),
  subject('SET, groups of 16, in another order', { group: 16, topology: set }, small, orderOf),
  subject('SET per group, groups of 5, in another order', { group: 5, topology: perGroup }, small, orderOf),
  subject('SET by threshold, F = d', { fanIn: 24, topology: threshold }),
  subject('static, F = 1, one group for all', { fanIn: 1, group: 1000 }),
  subject('SET, groups of one', { group: 1, topology: set }),
  {
    ...subject('SET, 32-bit columns', { fanIn: 5, topology: set }),
    ...{ inputs: 66_000, labels: 11, batch: 3, brief: true },
  },
];

for (const backend of backends) {
  for (const one of subjects) {
    if (one.brief && !['reference/float64', 'native, 2 threads'].includes(backend.name)) continue;
    describeOutputLayer(one, backend);
  }
}

for (const backend of bf16Backends) {
  const bf16 = { precision: 'bf16', topology: set } as const;
  describeOutputLayer(subject('SET, in bfloat16, in another order', bf16, small, orderOf), backend);
}

describe('GroupedFanInOutput', () => {
  const float64 = () => new Device(backends[0].kernels!);
  const setup: Setup = { ...small, loss: 'bce', optimizer: { kind: 'adam', rate: 0.05 } };
  const arraysOf = (layer: OutputLayer) => {
    const { model, optimizer } = layer.state();
    return new Map([...model, ...optimizer].map(({ name, data }) => [name, data]));
  };
  const train = async (device: Device, layer: OutputLayer, name: string) => {
    const { h, positives } = problem(name, small.batch, layer.inputs, layer.labels);
    device.arena.reset();
    return layer.step(device.fromArray([small.batch, layer.inputs], h), positives, { rate: 0.05 });
  };

  describe.each(backends)('in groups of one is per-label fan-in, rewiring included: $name', (backend) => {
    it.skipIf(backend.kernels === null).each(optimizers)('$name', async ({ optimizer }) => {
      const device = new Device(backend.kernels!);
      const own = { ...setup, optimizer };
      const grouped = make(device, own, { group: 1, topology: set });
      const plain = new FixedFanInOutput(device, {
        ...own,
        ...{ fanIn: 6, topology: set, chunk: 8 },
        stream: RandomStream.named(1, 'output'),
        rewireStream: RandomStream.named(1, 'rewire'),
      });
      const within = backend.exact ? 0 : backend.tolerance;
      for (let t = 1; t <= 4; t++) {
        const a = await train(device, grouped, `law ${t}`);
        const [loss, dh] = [a.loss, Array.from(a.dh!.data)];
        const b = await train(device, plain, `law ${t}`);
        expect(distance([loss], [b.loss])).toBeLessThanOrEqual(backend.exact ? 1e-15 : within);
        expect(distance(dh, b.dh!.data)).toBeLessThanOrEqual(within);
        await grouped.rewire(t, 100);
        await plain.rewire(t, 100);
        // Rounded differently, near ties among the smallest may change places: only exact sums must agree for ever.
        if (!backend.exact && t === 2) return;
        for (const [name, data] of arraysOf(plain)) {
          expect(distance(arraysOf(grouped).get(name)!, data), name).toBeLessThanOrEqual(within);
        }
      }
    });
  });

  it('gives labels of a group the same inputs, others their own, and every label weights of its own', () => {
    const layer = make(float64(), { ...setup, labels: 64 }, { group: 16, order: 'random' });
    const keys = new Map<number, string>();
    for (let label = 0; label < 64; label++) {
      const { inputs, weights } = layer.connections(label);
      expect(new Set(inputs).size).toBe(6);
      expect(weights.every((w) => Math.abs(w) <= 1 / Math.sqrt(6))).toBe(true);
      const group = Math.floor(layer.slotOf[label] / 16);
      keys.set(group, keys.get(group) ?? inputs.join());
      expect(inputs.join()).toBe(keys.get(group));
    }
    expect(new Set(keys.values()).size).toBe(4);
    expect(Array.from(layer.slotOf)).not.toEqual(Array.from(layer.slotOf.keys()));
    expect(new Set(layer.slotOf).size).toBe(64);
  });

  it('computes the same in any order of labels, when connections are the same', async () => {
    const device = float64();
    const [plain, shuffled] = [
      make(device, setup, { group: 1 }),
      make(device, setup, { group: 1, order: 'random' }),
    ];
    const [from, to] = [arraysOf(plain), arraysOf(shuffled)];
    for (const [label, slot] of shuffled.slotOf.entries()) {
      for (const name of ['weights', 'columns']) {
        to.get(name)!.set(from.get(name)!.subarray(6 * label, 6 * label + 6), 6 * slot);
      }
    }
    shuffled.loaded();
    for (let t = 0; t < 2; t++) {
      const a = await train(device, plain, `order ${t}`);
      const [loss, dh] = [a.loss, Array.from(a.dh!.data)];
      const b = await train(device, shuffled, `order ${t}`);
      expect(distance([loss], [b.loss])).toBeLessThan(1e-14);
      expect(distance(dh, b.dh!.data)).toBeLessThan(1e-14);
    }
    for (let l = 0; l < small.labels; l++) expect(shuffled.connections(l)).toEqual(plain.connections(l));
  });

  it('prunes the inputs with the smallest mean |w| of a group', async () => {
    const layer = make(float64(), setup, { group: 4, topology: perGroup });
    const arrays = arraysOf(layer);
    const weights = arrays.get('weights')!;
    const before = Array.from(arrays.get('columns')!);
    // Slot k of the inputs of group g has mean |w| of (k + g) mod 6 + 1, in the mean of signs that cancel.
    for (let s = 0; s < 36; s++) {
      const g = Math.floor(s / 4);
      for (let k = 0; k < 6; k++) {
        const mean = ((k + g) % 6) + 1;
        weights[6 * s + k] = (s % 2 === 0 ? 1 : -1) * (mean + (s % 4 < 2 ? 0.5 : -0.5));
      }
    }
    const report = await layer.rewire(2, 100);
    // A share of 0.3 of 6 inputs is one input of each of 10 groups, in rows of 4, 4, ... and 1.
    expect(report).toMatchObject({ replaced: small.labels, connections: 6 * small.labels });
    for (let g = 0; g < 9; g++) {
      const gone = (6 - (g % 6)) % 6;
      for (let k = 0; k < 6; k++) {
        const all = [0, 1, 2, 3].map((i) => weights[6 * (4 * g + i) + k]);
        expect(all.every((w) => w === 0)).toBe(k === gone);
        if (k !== gone) expect(arrays.get('columns')![6 * g + k]).toBe(before[6 * g + k]);
      }
    }
  });

  it('keeps the inputs of labels that stay, whatever comes and goes, in groups no larger than G', async () => {
    const device = float64();
    const layer = make(device, setup, { group: 4, order: 'random' });
    const before = Array.from({ length: small.labels }, (_, l) => layer.connections(l));
    // Every third label goes, five come, one is continued by six.
    const kept = before.map((_, l) => l).filter((l) => l % 3 !== 0);
    const map = Int32Array.from([-1, ...kept, 7, 7, 7, 7, 7, -1, -1, -1, -1]);
    layer.resizeLabels(map);
    for (const [j, from] of map.entries()) {
      if (from >= 0) expect(layer.connections(j)).toEqual(before[from]);
    }
    const starts = arraysOf(layer).get('starts')!;
    for (let g = 0; g < layer.groups; g++) {
      expect(starts[g + 1] - starts[g]).toBeGreaterThan(0);
      expect(starts[g + 1] - starts[g]).toBeLessThanOrEqual(4);
    }
    const twin = make(device, { ...setup, labels: map.length, seed: 8 }, { group: 4, groups: layer.groups });
    for (const [name, data] of arraysOf(layer)) arraysOf(twin).get(name)!.set(data);
    twin.loaded();
    expect((await train(device, twin, 'regrouped')).loss).toBe(
      (await train(device, layer, 'regrouped')).loss,
    );
  });

  it('costs 4 bytes of weight per connection, and indices per group and label', async () => {
    const device = new Device(backends[1].kernels!);
    const layer = make(device, { ...setup, optimizer: { kind: 'sgd', rate: 1 } }, { group: 16 });
    const { bytes } = await layer.plan({ batch: 4, positives: 8 });
    expect(bytes.weights).toBe(4 * (6 + 1) * small.labels);
    expect(bytes.indices).toBe(3 * 6 * 2 + 4 * 4 + 2 * 4 * small.labels);
    expect(bytes.optimizer).toBe(0);
  });

  it('costs 2 bytes of weight per connection in bfloat16', async () => {
    const device = new Device(backends[1].kernels!);
    const layer = make(device, { ...setup, optimizer: { kind: 'sgd', rate: 1 } }, { precision: 'bf16' });
    const { bytes } = await layer.plan({ batch: 4, positives: 8 });
    expect(bytes.weights).toBe((2 * 6 + 4) * small.labels);
    const weights = layer.state().model.find(({ name }) => name === 'weights');
    expect(weights).toMatchObject({ shape: [small.labels, 6], dtype: 'BF16' });
    expect(weights?.data).toBeInstanceOf(Uint16Array);
  });

  it('in bfloat16 learns by steps far below the distance of neighbouring weights, in the mean', async () => {
    // 2^-10 of a weight and less: rounded to the nearest, nothing would ever move.
    const device = float64();
    const sgd = { kind: 'sgd', rate: 1 } as const;
    const [short, exact] = (['bf16', 'float32'] as const).map((precision) =>
      make(device, { ...setup, labels: 400, optimizer: sgd }, { group: 16, precision }),
    );
    for (const layer of [short, exact]) layer.state().model[0].data.fill(precisely(layer, 1));
    const h = new Float64Array(24).fill(1);
    for (let t = 0; t < 40; t++) {
      for (const layer of [short, exact]) {
        device.arena.reset();
        const hidden = device.fromArray([1, 24], h);
        await layer.step(
          hidden,
          { count: 0, label: new Uint32Array(0), row: new Uint32Array(0) },
          { rate: 1e-4 },
        );
      }
    }
    const moved = (layer: GroupedFanInOutput) => {
      let sum = 0;
      for (let l = 0; l < 400; l++) for (const w of layer.connections(l).weights) sum += w - 1;
      return sum / (400 * 6);
    };
    // Every step moves a weight by one neighbour, 2^-8 below 1, with probability 1e-4 * 2^8; 40 steps of 2400 weights.
    const deviation = Math.sqrt(40 * 1e-4 * 2 ** -8) / Math.sqrt(2400);
    expect(moved(exact)).toBeLessThan(-20 * deviation);
    expect(Math.abs(moved(short) - moved(exact))).toBeLessThan(5 * deviation);
  });

  describe('refuses', () => {
    it.each([
      { name: 'a fan-in beyond the inputs', more: { fanIn: 25 }, code: /1 to 24.*FAN_IN_RANGE/ },
      { name: 'groups of nothing', more: { group: 0 }, code: /GROUP_RANGE/ },
      { name: 'too few groups', more: { groups: 9 }, code: /10 to 37.*GROUPS_RANGE/ },
      { name: 'an order that is none', more: { order: new Uint32Array(37) }, code: /GROUP_ORDER/ },
      { name: 'a topology that makes no sense', more: { topology: { ...set, every: 0 } }, code: /TOPOLOGY/ },
    ])('$name', ({ more, code }) => {
      expect(() => make(float64(), setup, more as Partial<GroupedOutputOptions>)).toThrow(code);
    });

    it.each([
      { name: 'a column twice in a group', array: 'columns', at: 7, as: 8, code: /group 1 has a column/ },
      { name: 'a slot twice', array: 'slots', at: 3, as: 4, code: /GROUPS_INVALID/ },
      { name: 'groups out of order', array: 'starts', at: 2, as: 3, code: /GROUPS_INVALID/ },
    ])('$name, come from a file', ({ array, at, as, code }) => {
      const layer = make(float64(), setup);
      layer.loaded();
      const data = arraysOf(layer).get(array)!;
      data[at] = data[as];
      expect(() => layer.loaded()).toThrow(code);
    });
  });
});

/** A number as the layer stores it. */
function precisely(layer: GroupedFanInOutput, x: number): number {
  return layer.state().model[0].data instanceof Uint16Array ? nearestBf16(x) : x;
}
