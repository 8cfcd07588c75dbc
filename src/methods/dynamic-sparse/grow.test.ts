import { describe, expect, it } from 'vitest';
import type { Floats, LabelLoss } from '../../kernels/face.js';
import { RandomStream } from '../../kernels/random.js';
import { backends } from '../../output/backends.testing.js';
import { positivesOf } from '../../output/conformance.testing.js';
import { DenseOutput } from '../../output/dense.js';
import { HeadTailOutput } from '../../output/head-tail.js';
import type { GrowthSource, OutputLayer } from '../../output/layer.js';
import { Device } from '../../tensor/device.js';
import { GroupedFanInOutput } from '../grouped/grouped-output.js';
import type { GroupOrder } from '../grouped/options.js';
import { FixedFanInOutput } from './fan-in-output.js';
import { defaultRigl, type RiglTopology } from './options.js';

const inputs = 30;
const labels = 50;
const examples = 40;
const fanIn = 8;

/** Hidden vectors of all examples, positive where a ReLU leaves them so, and two or three labels of each. */
const hidden = (() => {
  const draws = RandomStream.named(4, 'grow/hidden');
  return Float64Array.from({ length: examples * inputs }, () =>
    Math.fround(Math.max(0, draws.uniform() - 0.4)),
  );
})();
const pairs = (() => {
  const draws = RandomStream.named(4, 'grow/pairs');
  const seen = new Map<number, [number, number]>();
  for (let row = 0; row < examples; row++) {
    // Half of the labels are rare: below 10 frequent.
    for (const label of [draws.below(10), draws.below(labels), draws.below(labels)]) {
      seen.set(label * examples + row, [label, row]);
    }
  }
  return [...seen.values()];
})();

/** The first `batch` examples as the batch, all examples as evidence. */
function source(device: Device, { batch = examples, evidenceRows = examples } = {}): GrowthSource {
  const rowsOf = (label: number) =>
    Uint32Array.from(pairs.filter(([l]) => l === label).map(([, row]) => row)).sort();
  const encode = (rows: Uint32Array) => {
    const values = Array.from(rows).flatMap((row) =>
      Array.from(hidden.subarray(row * inputs, (row + 1) * inputs)),
    );
    return device.fromArray([rows.length, inputs], values);
  };
  return {
    examples,
    evidenceRows,
    rowsOf,
    labelsOf: (row) => pairs.filter(([, own]) => own === row).length,
    hidden: encode,
    batch: () => ({
      h: encode(Uint32Array.from({ length: batch }, (_, row) => row)),
      positives: positivesOf(pairs.filter(([, row]) => row < batch)),
    }),
  };
}

const optionsOf = (topology: Partial<RiglTopology>, seed: number) => ({
  ...{ inputs, labels, fanIn, loss: 'bce' as LabelLoss, initialBias: -4 },
  optimizer: { kind: 'adam', rate: 0.05 } as const,
  topology: { ...defaultRigl, every: 2, ...topology },
  stream: RandomStream.named(seed, 'output'),
  rewireStream: RandomStream.named(seed, 'rewire'),
});

const make = (device: Device, topology: Partial<RiglTopology>, seed = 1, loss: LabelLoss = 'bce') =>
  new FixedFanInOutput(device, { ...optionsOf(topology, seed), loss });

const makeGrouped = (
  device: Device,
  topology: Partial<RiglTopology>,
  { group = 4, loss = 'bce' as LabelLoss, order = 'random' as GroupOrder } = {},
) => new GroupedFanInOutput(device, { ...optionsOf(topology, 1), group, loss, order });

/** dW [labels, inputs] of a dense layer with the same weights: what growth must follow. */
async function denseGradient(device: Device, layer: OutputLayer): Promise<Floats> {
  const dense = new DenseOutput(device, {
    inputs,
    labels,
    loss: layer.loss as LabelLoss,
    optimizer: { kind: 'sgd', rate: 0 },
    stream: RandomStream.named(1, 'dense'),
  });
  const [weights, bias] = dense.state().model;
  weights.data.fill(0);
  for (let label = 0; label < labels; label++) {
    const own = layer.connections(label);
    own.inputs.forEach((input, i) => {
      weights.data[label * inputs + input] = own.weights[i];
    });
    bias.data[label] = own.bias;
  }
  const gradients = { weights: new Float64Array(labels * inputs), bias: new Float64Array(labels) };
  const h = device.fromArray([examples, inputs], hidden);
  await dense.step(h, positivesOf(pairs), { rate: 0, update: false, gradients });
  device.arena.reset();
  return gradients.weights;
}

const columnsOf = (layer: OutputLayer, label: number) => Array.from(layer.connections(label).inputs);
const allColumns = (layer: OutputLayer) =>
  Array.from({ length: layer.labels }, (_, label) => columnsOf(layer, label).sort((a, b) => a - b));
const half = { mode: 'fraction', fraction: 0.5, scope: 'label', anneal: 'constant' } as const;

describe('growth by gradients', () => {
  const float64 = () => new Device(backends[0].kernels!);

  it.each(['bce', 'softmax'] as const)(
    'grows exactly the free columns with the largest gradient of a dense layer: %s',
    async (loss) => {
      const device = float64();
      const layer = make(device, { sample: 'batch', prune: half }, 1, loss);
      const gradient = await denseGradient(device, layer);
      const kept = Array.from({ length: labels }, (_, label) => {
        const { inputs: columns, weights } = layer.connections(label);
        const order = Array.from(weights.keys()).sort((a, b) => Math.abs(weights[b]) - Math.abs(weights[a]));
        return order.slice(0, fanIn / 2).map((i) => columns[i]);
      });
      const report = await layer.rewire(2, 100, source(device));
      for (let label = 0; label < labels; label++) {
        const size = (j: number) => Math.abs(gradient[label * inputs + j]);
        const free = Array.from({ length: inputs }, (_, j) => j).filter((j) => !kept[label].includes(j));
        const expected = free.sort((a, b) => size(b) - size(a)).slice(0, fanIn / 2);
        expect(new Set(columnsOf(layer, label))).toEqual(new Set([...kept[label], ...expected]));
      }
      expect(report?.replaced).toBeGreaterThan(labels);
    },
  );

  it.each(['bce', 'squaredHinge', 'softmax'] as const)(
    'from a batch of all examples, their positives as evidence change nothing: %s',
    async (loss) => {
      for (const grouped of [false, true]) {
        const grown = await Promise.all(
          (['batch', 'positives'] as const).map(async (sample) => {
            const device = float64();
            const topology = { sample, perLabel: 1000, prune: half };
            const layer = grouped
              ? makeGrouped(device, topology, { loss, group: 1 })
              : make(device, topology, 1, loss);
            await layer.rewire(2, 100, source(device));
            return allColumns(layer);
          }),
        );
        expect(grown[1]).toEqual(grown[0]);
      }
    },
  );

  it.each(['bce', 'softmax'] as const)(
    'of a group takes the inputs with the largest sum over its labels of the |dense gradient|: %s',
    async (loss) => {
      const device = float64();
      const layer = makeGrouped(device, { sample: 'batch', prune: half }, { loss });
      const gradient = await denseGradient(device, layer);
      const groups = new Map<number, number[]>();
      for (let label = 0; label < labels; label++) {
        const g = Math.floor(layer.slotOf[label] / 4);
        groups.set(g, [...(groups.get(g) ?? []), label]);
      }
      const expected = new Map<number, Set<number>>();
      for (const [g, own] of groups) {
        const { inputs: columns } = layer.connections(own[0]);
        const mean = (k: number) =>
          own.reduce((sum, l) => sum + Math.abs(layer.connections(l).weights[k]), 0);
        const order = Array.from(columns.keys()).sort((a, b) => mean(b) - mean(a));
        const kept = order.slice(0, fanIn / 2).map((k) => columns[k]);
        const size = (j: number) => own.reduce((sum, l) => sum + Math.abs(gradient[l * inputs + j]), 0);
        const free = Array.from({ length: inputs }, (_, j) => j).filter((j) => !kept.includes(j));
        expected.set(g, new Set([...kept, ...free.sort((a, b) => size(b) - size(a)).slice(0, fanIn / 2)]));
      }
      const report = await layer.rewire(2, 100, source(device));
      for (const [g, own] of groups)
        for (const label of own) expect(new Set(columnsOf(layer, label))).toEqual(expected.get(g));
      expect(report?.explored).toBeGreaterThan(fanIn / inputs);
      expect(report?.replaced).toBeGreaterThan(labels);
    },
  );

  it('in groups of one is that of per-label fan-in, on every backend', async () => {
    for (const { kernels } of backends.filter((backend) => backend.kernels !== null)) {
      const device = new Device(kernels!);
      const [plain, grouped] = [make(device, {}), makeGrouped(device, {}, { group: 1, order: 'identity' })];
      for (const step of [0, 2]) {
        const reports = [
          await plain.rewire(step, 100, source(device, { batch: 8 })),
          await grouped.rewire(step, 100, source(device, { batch: 8 })),
        ];
        expect(reports[1]?.replaced).toBe(reports[0]?.replaced);
        expect(allColumns(grouped)).toEqual(allColumns(plain));
      }
    }
  });

  it('of groups does not depend on how many rows are encoded at once, nor on the backend', async () => {
    const results = [];
    for (const { kernels } of backends.filter(
      ({ kernels, name }) => kernels !== null && !name.endsWith('float32'),
    )) {
      for (const evidenceRows of [12, 20, examples]) {
        const device = new Device(kernels!);
        const layer = makeGrouped(device, { perLabel: 3 }, { loss: 'softmax' });
        await layer.rewire(0, 100, source(device, { batch: 8, evidenceRows }));
        results.push(allColumns(layer));
      }
    }
    for (const result of results) expect(result).toEqual(results[0]);
  });

  it('under softmax, of head and tail is that of one layer of all labels', async () => {
    const device = float64();
    const whole = make(device, { prune: half }, 1, 'softmax');
    const headLabels = Uint32Array.from({ length: 13 }, (_, i) => 3 * i + 1);
    const tailLabels = Uint32Array.from({ length: labels }, (_, l) => l).filter(
      (l) => !headLabels.includes(l),
    );
    const [head, tail] = [headLabels, tailLabels].map((own) => {
      const options = { ...optionsOf({ prune: half }, 1), loss: 'softmax' as const, labels: own.length };
      const part = new FixedFanInOutput(device, options);
      const [weights, bias, columns] = part.state().model;
      for (const [i, label] of own.entries()) {
        const from = whole.connections(label);
        weights.data.set(from.weights, i * fanIn);
        columns.data.set(from.inputs, i * fanIn);
        bias.data[i] = from.bias;
      }
      part.loaded();
      return part;
    });
    const both = new HeadTailOutput(device, { labels, headLabels, head, tail });
    for (const batch of [examples, 20]) {
      const one = await whole.rewire(2, 100, source(device, { batch }));
      const two = await both.rewire(2, 100, source(device, { batch }));
      expect(allColumns(both)).toEqual(allColumns(whole));
      expect(two?.replaced).toBe(one?.replaced);
    }
  });

  it('by products of bfloat16 pairs chooses nearly the same connections, and changes no weight that stays', async () => {
    for (const { kernels } of backends.filter((backend) => backend.kernels !== null)) {
      const [device, rounded] = [new Device(kernels!), new Device(kernels!)];
      const layers = [
        make(device, { prune: half, start: 'random' }),
        make(rounded, { prune: half, start: 'random', products: 'bf16' }),
      ];
      const before = allColumns(layers[0]);
      for (const [i, layer] of layers.entries()) await layer.rewire(2, 100, source([device, rounded][i]));
      const [exact, near] = layers.map(allColumns);
      expect(near).not.toEqual(before);
      const shared = exact.flatMap((row, label) =>
        row.filter((column) => near[label].includes(column)),
      ).length;
      expect(shared).toBeGreaterThan(0.97 * labels * fanIn);
      for (let label = 0; label < labels; label++) {
        const [a, b] = layers.map((layer) => layer.connections(label));
        for (const [k, column] of a.inputs.entries()) {
          const same = b.inputs.indexOf(column);
          if (same >= 0) expect(b.weights[same]).toBe(a.weights[k]);
        }
      }
    }
  });

  it('of weights in bfloat16 follows the same gradient', async () => {
    for (const { kernels } of backends.filter((backend) => backend.kernels !== null)) {
      const device = new Device(kernels!);
      const short = new FixedFanInOutput(device, { ...optionsOf({ prune: half }, 1), precision: 'bf16' });
      const plain = make(device, { prune: half });
      const weights = plain.state().model[0].data;
      for (let label = 0; label < labels; label++)
        weights.set(short.connections(label).weights, label * fanIn);
      await short.rewire(2, 100, source(device));
      await plain.rewire(2, 100, source(device));
      expect(allColumns(short)).toEqual(allColumns(plain));
    }
  });

  it('of a small batch, evidence finds columns that all examples would choose, the batch alone does not', async () => {
    const prune = { mode: 'fraction', fraction: 1, scope: 'label', anneal: 'constant' } as const;
    const anew = { prune, start: 'random' } as const;
    const agreement = async (sample: RiglTopology['sample']) => {
      const device = float64();
      const layer = make(device, { ...anew, sample });
      const gradient = await denseGradient(device, layer);
      await layer.rewire(2, 100, source(device, { batch: 4 }));
      const whole = make(float64(), { ...anew, sample: 'batch' });
      await whole.rewire(2, 100, source(device));
      let same = 0;
      // Rare labels: their gradient over all examples is almost that of their positives.
      for (let label = 10; label < labels; label++) {
        if (!gradient.subarray(label * inputs, (label + 1) * inputs).some((g) => g !== 0)) continue;
        const expected = new Set(columnsOf(whole, label));
        same += columnsOf(layer, label).filter((column) => expected.has(column)).length;
      }
      return same / ((labels - 10) * fanIn);
    };
    const [batch, positives] = [await agreement('batch'), await agreement('positives')];
    expect(positives).toBeGreaterThan(batch + 0.1);
  });

  it('does not depend on how many rows are encoded at once, nor on the threads', async () => {
    const results = [];
    for (const backend of backends.filter(
      ({ kernels, name }) => kernels !== null && name !== 'reference/float32',
    )) {
      for (const evidenceRows of [3, 7, examples]) {
        const device = new Device(backend.kernels!);
        const layer = make(device, { perLabel: 3 });
        await layer.rewire(0, 100, source(device, { batch: 8, evidenceRows }));
        results.push(
          Array.from({ length: labels }, (_, label) => columnsOf(layer, label).sort((a, b) => a - b)),
        );
      }
    }
    expect(results.length).toBeGreaterThanOrEqual(3);
    for (const result of results) expect(result).toEqual(results[0]);
  });

  it('before the first step takes every connection anew, where the start is by gradient', async () => {
    const device = float64();
    const random = make(device, { start: 'random' });
    expect(await random.rewire(0, 100, source(device))).toBeNull();
    const layer = make(device, { start: 'gradient' });
    await layer.rewire(0, 100, source(device));
    const all = Array.from({ length: labels }, (_, label) => layer.connections(label));
    expect(all.every(({ weights, inputs: columns }) => weights.length === new Set(columns).size)).toBe(true);
    const moved = all.flatMap(({ weights }) => Array.from(weights)).filter((w) => w === 0).length;
    expect(moved).toBeGreaterThan(0.5 * labels * fanIn);
  });

  it('leaves the step arena empty, and asks for a source where it has none', async () => {
    const device = float64();
    const layer = make(device, {});
    const before = device.ledger.liveBytes;
    await layer.rewire(2, 100, source(device));
    expect(device.ledger.liveBytes).toBe(before);
    await expect(layer.rewire(4, 100)).rejects.toMatchObject({ code: 'GROWTH_SOURCE_MISSING' });
  });

  it('knows the share of connections ever tried: F/d at the start, never falling, at most 1', async () => {
    const device = float64();
    const layer = make(device, { start: 'random' });
    const shares = [];
    for (let step = 2; step <= 12; step += 2) {
      const report = await layer.rewire(step, 100, source(device, { batch: step }));
      shares.push(report?.explored ?? Number.NaN);
      const weights = layer.state().model[0].data;
      for (let i = 0; i < weights.length; i++) if (weights[i] === 0) weights[i] = 0.01 * Math.sin(i + step);
    }
    expect(shares[0]).toBeGreaterThan(fanIn / inputs);
    for (let i = 1; i < shares.length; i++) expect(shares[i]).toBeGreaterThanOrEqual(shares[i - 1]);
    expect(shares.at(-1)).toBeLessThanOrEqual(1);
    const { model, optimizer } = layer.state();
    const tried = optimizer.find(({ name }) => name === 'explored')!.data as Uint32Array;
    const columns = model.find(({ name }) => name === 'columns')!.data;
    for (let s = 0; s < columns.length; s++) {
      expect((tried[Math.floor(s / fanIn)] >>> columns[s]) & 1).toBe(1);
    }
  });
});
