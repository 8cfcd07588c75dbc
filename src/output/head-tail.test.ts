import { describe, expect, it } from 'vitest';
import { RandomStream } from '../kernels/random.js';
import { FixedFanInOutput } from '../methods/dynamic-sparse/fan-in-output.js';
import { GroupedFanInOutput } from '../methods/grouped/grouped-output.js';
import { Device } from '../tensor/device.js';
import { backends } from './backends.testing.js';
import {
  describeOutputLayer,
  distance,
  optimizers,
  problem,
  type Setup,
  type Subject,
} from './conformance.testing.js';
import { DenseOutput } from './dense.js';
import { HeadTailOutput } from './head-tail.js';
import { mostFrequent, ofPart } from './head-tail-parts.js';
import { mergeTopK } from './head-tail-top-k.js';
import type { OutputLayer, PlannableOutput, TopK } from './layer.js';

type MakePart = (device: Device, setup: Setup & { stream: RandomStream }) => PlannableOutput;

const rewires = {
  kind: 'set',
  prune: { mode: 'fraction', fraction: 0.3, scope: 'layer', anneal: 'constant' },
  every: 2,
  until: 0.66,
} as const;

const dense: MakePart = (device, setup) => new DenseOutput(device, setup);
const fanIn: MakePart = (device, setup) =>
  new FixedFanInOutput(device, {
    ...{ ...setup, fanIn: 6, topology: rewires },
    rewireStream: RandomStream.named(1, 'rewire'),
  });
const grouped: MakePart = (device, setup) =>
  new GroupedFanInOutput(device, {
    ...{ ...setup, chunk: 2, fanIn: 6, group: 4, topology: rewires },
    rewireStream: RandomStream.named(1, 'rewire'),
  });

function make(
  device: Device,
  { seed = 1, labels, initialBias = 0, ...setup }: Setup,
  headLabels: Uint32Array,
  parts: { head: MakePart; tail: MakePart } = { head: dense, tail: grouped },
): HeadTailOutput {
  const inHead = new Set(headLabels);
  const tailLabels = Uint32Array.from({ length: labels }, (_, l) => l).filter((l) => !inHead.has(l));
  // A wrong length is the layer's to refuse.
  const biasOf = (own: Uint32Array) =>
    typeof initialBias !== 'number' && initialBias.length !== labels ? initialBias : ofPart(initialBias, own);
  const part = (name: string, build: MakePart, own: Uint32Array) =>
    build(device, {
      ...setup,
      ...{ labels: own.length, initialBias: biasOf(own), stream: RandomStream.named(seed, name) },
    });
  const head = part('head', parts.head, headLabels);
  const tail = part('tail', parts.tail, tailLabels);
  return new HeadTailOutput(device, { labels, headLabels, head, tail });
}

const small = { inputs: 24, labels: 37, batch: 9, chunk: 8 };
/** Every fourth label from the third on: new labels and the first ones are in the tail. */
const quarter = (labels: number) =>
  Uint32Array.from({ length: labels }, (_, l) => l).filter((l) => l % 4 === 3 && l < 37);

const flatten: Subject['flatten'] = (layer, bias) => {
  const arrays = new Map(layer.state().model.map(({ name, data }) => [name, data]));
  const head = Array.from(arrays.get('head.labels')!);
  const tail = Array.from({ length: layer.labels }, (_, l) => l).filter((l) => !head.includes(l));
  for (const part of ['head', 'tail']) {
    arrays.get(`${part}.weights`)!.fill(0);
    const slots = arrays.get(`${part}.slots`);
    for (const [i, label] of (part === 'head' ? head : tail).entries()) {
      arrays.get(`${part}.bias`)![slots?.[i] ?? i] = bias(label);
    }
  }
};

const subject = (name: string, parts?: { head: MakePart; tail: MakePart }): Subject => ({
  name: `HeadTailOutput: ${name}`,
  ...small,
  flatten,
  make: (device, setup) => make(device, setup, quarter(setup.labels), parts),
});

for (const backend of backends) {
  describeOutputLayer(subject('dense and grouped'), backend);
  describeOutputLayer(subject('fan-in and fan-in', { head: fanIn, tail: fanIn }), backend);
}

describe('HeadTailOutput', () => {
  const setup: Setup = { ...small, loss: 'bce', optimizer: { kind: 'adam', rate: 0.05 }, initialBias: -1 };
  const everyLabel = Uint32Array.from({ length: small.labels }, (_, l) => l);

  describe.each(backends)('with every label in the head is the head: $name', ({ kernels }) => {
    it.skipIf(kernels === null).each(optimizers)('$name', async ({ optimizer }) => {
      const device = new Device(kernels!);
      const own = { ...setup, optimizer };
      const both = make(device, own, everyLabel);
      const alone = dense(device, { ...own, stream: RandomStream.named(1, 'head') });
      const run = async (layer: OutputLayer) => {
        const results: unknown[] = [];
        for (let t = 0; t < 3; t++) {
          const { h, positives } = problem(`all ${t}`, small.batch, small.inputs, small.labels);
          device.arena.reset();
          const hidden = device.fromArray([small.batch, small.inputs], h);
          results.push(await layer.topK(hidden, 5));
          const { loss, dh } = await layer.step(hidden, positives, { rate: 0.05 });
          results.push(loss, Array.from(dh!.data));
        }
        for (let l = 0; l < small.labels; l++) results.push(layer.connections(l));
        return results;
      };
      expect(await run(both)).toEqual(await run(alone));
    });
  });

  it('with every label in the tail is the tail', async () => {
    const device = new Device(backends[0].kernels!);
    const both = make(device, setup, new Uint32Array(0));
    const alone = grouped(device, { ...setup, stream: RandomStream.named(1, 'tail') });
    const { h, positives } = problem('none', small.batch, small.inputs, small.labels);
    for (let t = 1; t <= 4; t++) {
      const hidden = device.fromArray([small.batch, small.inputs], h);
      const a = await both.step(hidden, positives, { rate: 0.05 });
      const [loss, dh] = [a.loss, Array.from(a.dh!.data)];
      const b = await alone.step(hidden, positives, { rate: 0.05 });
      expect([loss, dh]).toEqual([b.loss, Array.from(b.dh!.data)]);
      expect(await both.rewire(t, 100)).toEqual(await alone.rewire(t, 100));
      device.arena.reset();
    }
  });

  it('connects labels of the head to everything, the others as the tail does', () => {
    const layer = make(new Device(backends[0].kernels!), setup, quarter(37));
    for (let l = 0; l < 37; l++) expect(layer.connections(l).inputs).toHaveLength(l % 4 === 3 ? 24 : 6);
    expect(Array.from(layer.headLabels)).toEqual(Array.from(quarter(37)));
    expect(layer.weightCount).toBe(9 * 25 + 28 * 7);
  });

  it('keeps labels in their part, and takes new ones into the tail', () => {
    const layer = make(new Device(backends[0].kernels!), setup, quarter(37));
    const before = everyLabel.slice().map((l) => layer.connections(l).inputs.length);
    const map = Int32Array.of(3, -1, 5, 7, 3, -1, 36);
    layer.resizeLabels(map);
    for (const [j, from] of map.entries()) {
      expect(layer.connections(j).inputs).toHaveLength(from < 0 ? 6 : before[from]);
    }
    expect(Array.from(layer.headLabels)).toEqual([0, 3, 4]);
  });

  it('refuses parts that do not fit, and labels of the head that are out of order', () => {
    const device = new Device(backends[0].kernels!);
    const [head, tail] = [5, 30].map((labels) =>
      dense(device, { ...setup, labels, stream: RandomStream.named(1, 'x') }),
    );
    const of = (labels: number, ...list: number[]) =>
      new HeadTailOutput(device, { labels, headLabels: Uint32Array.from(list), head, tail });
    expect(() => of(36, 0, 1, 2, 3, 4)).toThrow(/HEAD_TAIL_SHAPE/);
    expect(() => of(35, 0, 1, 2, 3)).toThrow(/HEAD_TAIL_SHAPE/);
    expect(() => of(35, 0, 1, 3, 2, 4)).toThrow(/HEAD_LABELS/);
    expect(() => of(35, 0, 1, 2, 3, 35)).toThrow(/HEAD_LABELS/);
    expect(of(35, 0, 1, 2, 3, 34).labels).toBe(35);
  });
});

describe('mergeTopK', () => {
  it('ranks as one list would: ties by the smaller label, NaN after infinities, nothing last', () => {
    const top = (labels: number[], scores: number[]): TopK => ({
      k: labels.length,
      labels: Uint32Array.from(labels),
      scores: Float64Array.from(scores),
    });
    const no = 0xffffffff;
    const head = top([1, 0, no, no], [2, 1, -Infinity, -Infinity]);
    const tail = top([0, 1, 2, no], [1, -Infinity, Number.NaN, -Infinity]);
    const merge = (k: number) => {
      const cut = ({ labels, scores }: TopK) => top([...labels.subarray(0, k)], [...scores.subarray(0, k)]);
      const { labels, scores } = mergeTopK(
        cut(head),
        Uint32Array.of(5, 7),
        cut(tail),
        Uint32Array.of(2, 3, 4),
        1,
      );
      return [Array.from(labels), Array.from(scores)];
    };
    expect(merge(4)).toEqual([
      [7, 2, 5, 3],
      [2, 1, 1, -Infinity],
    ]);
    expect(merge(2)).toEqual([
      [7, 2],
      [2, 1],
    ]);
  });
});

describe('mostFrequent', () => {
  it('takes the most frequent labels, of equal ones the smaller, in ascending order', () => {
    const frequencies = Uint32Array.of(3, 1, 4, 1, 5, 4);
    expect(Array.from(mostFrequent(frequencies, 2))).toEqual([2, 4]);
    expect(Array.from(mostFrequent(frequencies, 5))).toEqual([0, 1, 2, 4, 5]);
    expect(distance(mostFrequent(frequencies, 0), [])).toBe(0);
  });
});
