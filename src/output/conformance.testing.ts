/**
 * What every output layer obeys, whatever its topology and backend: it equals a dense layer whose missing
 * weights are zero. A layer's own test file runs `describeOutputLayer` for each of its shapes and backends.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Floats, LabelLoss, Positives } from '../kernels/face.js';
import { RandomStream } from '../kernels/random.js';
import type { OptimizerSpec } from '../optim/rules.js';
import { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Backend } from './backends.testing.js';
import type { NamedArray, OutputLayer, TopK } from './layer.js';
import { DenseOracle } from './oracle.testing.js';

export interface Setup {
  readonly inputs: number;
  readonly labels: number;
  readonly loss: LabelLoss;
  readonly optimizer: OptimizerSpec;
  readonly chunk?: number;
  readonly seed?: number;
  readonly initialBias?: number | Floats;
}

export interface Subject {
  readonly name: string;
  readonly inputs: number;
  readonly labels: number;
  readonly batch: number;
  readonly chunk: number;
  /** By default all. */
  readonly losses?: readonly LabelLoss[];
  /** For a large subject: fewer batches and optimisers. */
  readonly brief?: boolean;
  make(device: Device, setup: Setup): OutputLayer;
  /** Sets every weight to 0 and the bias of label l to bias(l); by default weights and biases are rows by label. */
  flatten?(layer: OutputLayer, bias: (label: number) => number): void;
}

/** Large enough eps that float32 and float64 agree on tiny gradients too. */
export const optimizers: readonly (OptimizerSpec & { readonly name: string })[] = [
  { name: 'sgd', kind: 'sgd', rate: 0.5 },
  { name: 'sgd with weight decay', kind: 'sgd', rate: 0.5, weightDecay: 0.01 },
  { name: 'sgd with momentum', kind: 'sgd', rate: 0.2, momentum: 0.9, weightDecay: 0.01 },
  { name: 'sgd with Nesterov momentum', kind: 'sgd', rate: 0.2, momentum: 0.8, nesterov: true },
  { name: 'adam', kind: 'adam', rate: 0.05, eps: 1e-3 },
  { name: 'adam with weight decay', kind: 'adam', rate: 0.05, eps: 1e-3, weightDecay: 0.02 },
  { name: 'adamw', kind: 'adamw', rate: 0.05, eps: 1e-3, weightDecay: 0.1, beta1: 0.8, beta2: 0.95 },
  { name: 'adagrad', kind: 'adagrad', rate: 0.1, eps: 1e-3, weightDecay: 0.01 },
];
const allLosses: readonly LabelLoss[] = ['bce', 'squaredHinge', 'softmax'];
const plainSgd: OptimizerSpec = { kind: 'sgd', rate: 0.5 };
const adam: OptimizerSpec = { kind: 'adam', rate: 0.05, eps: 1e-3 };

/** Positives from pairs, in the order that the contract asks for. */
export function positivesOf(pairs: readonly (readonly [label: number, row: number])[]): Positives {
  const sorted = pairs.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]);
  return {
    count: sorted.length,
    label: Uint32Array.from(sorted, ([label]) => label),
    row: Uint32Array.from(sorted, ([, row]) => row),
  };
}

/** Largest |a - b| / (1 + |b|); Infinity when a number is missing or not a number. */
export function distance(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i] - expected[i]) / (1 + Math.abs(expected[i]));
    if (!(error <= worst)) worst = Number.isNaN(error) ? Infinity : error;
  }
  return worst;
}

interface Problem {
  readonly h: Float64Array;
  readonly positives: Positives;
}

/** Hidden vectors and positives: about two per row, none in row 0, label 0 and the last one among them. */
export function problem(name: string, batch: number, inputs: number, labels: number): Problem {
  const draws = RandomStream.named(9, name);
  // Float32 numbers in [-2, 2), so that every backend sees the same ones; quick to make, 66,000 to a row.
  let word = draws.uint32();
  const h = Float64Array.from({ length: batch * inputs }, () => {
    word = (Math.imul(word, 1664525) + 1013904223) >>> 0;
    return (word >>> 8) * 2 ** -22 - 2;
  });
  const pairs = new Map<number, [number, number]>();
  for (let row = 1; row < batch; row++) {
    for (const label of [draws.below(labels), draws.below(labels)])
      pairs.set(label * batch + row, [label, row]);
  }
  const last = batch - 1;
  if (last > 0) {
    pairs.set(last, [0, last]);
    pairs.set((labels - 1) * batch + last, [labels - 1, last]);
  }
  return { h, positives: positivesOf([...pairs.values()]) };
}

/** Copies of everything that training changes. */
const snapshot = (layer: OutputLayer) => {
  const { model, optimizer } = layer.state();
  return [...model, ...optimizer].map(({ name, data }) => ({ name, data: Array.from(data) }));
};

/** [rows][labels] of the scores that a ranking of all labels holds. */
function byLabel({ k, labels: ranked, scores }: TopK, labels: number): number[][] {
  return Array.from({ length: ranked.length / k }, (_, b) => {
    const row = new Array<number>(labels).fill(Number.NaN);
    for (let i = b * k; i < (b + 1) * k; i++) if (ranked[i] < labels) row[ranked[i]] = scores[i];
    return row;
  });
}

function flattenRows(layer: OutputLayer, bias: (label: number) => number): void {
  const arrays = new Map(layer.state().model.map(({ name, data }) => [name, data]));
  arrays.get('weights')!.fill(0);
  const biases = arrays.get('bias')!;
  for (let l = 0; l < layer.labels; l++) biases[l] = bias(l);
}

export function describeOutputLayer(subject: Subject, backend: Backend): void {
  const { inputs, labels, batch, chunk, brief = false, losses = allLosses } = subject;
  const { kernels, tolerance } = backend;

  describe.skipIf(kernels === null)(`${subject.name} on ${backend.name}`, () => {
    let device: Device;
    beforeEach(() => {
      device = new Device(kernels!);
    });

    const make = (setup: Partial<Setup> = {}, on = device) =>
      subject.make(on, {
        inputs,
        labels,
        chunk,
        loss: 'bce',
        optimizer: plainSgd,
        seed: 3,
        initialBias: -0.5,
        ...setup,
      });
    const hidden = (h: Float64Array): Tensor => {
      device.arena.reset();
      return device.fromArray([h.length / inputs, inputs], h);
    };
    const one = problem('one', batch, inputs, labels);

    /** Everything that `connections` shows, against the oracle's matrix. */
    const expectSameWeights = (layer: OutputLayer, oracle: DenseOracle, within = tolerance) => {
      expect(layer.labels).toBe(oracle.labels);
      for (let l = 0; l < oracle.labels; l++) {
        const own = layer.connections(l);
        const row = oracle.weights.subarray(l * inputs, (l + 1) * inputs);
        expect(
          distance(
            own.weights,
            Array.from(own.inputs, (j) => row[j]),
          ),
        ).toBeLessThanOrEqual(within);
        expect(distance([own.bias], [oracle.bias[l]])).toBeLessThanOrEqual(within);
      }
    };
    const expectSameStep = async (
      layer: OutputLayer,
      oracle: DenseOracle,
      { h, positives }: Problem,
      rate: number,
    ) => {
      const result = await layer.step(hidden(h), positives, { rate });
      const expected = oracle.step(h, positives, { rate });
      expect(distance([result.loss], [expected.loss])).toBeLessThanOrEqual(tolerance);
      expect(result.dh!.shape).toEqual([h.length / inputs, inputs]);
      expect(distance(result.dh!.data, expected.dh)).toBeLessThanOrEqual(tolerance);
      expect(result.squares).toBeNull();
    };

    describe.each(losses)('%s', (loss) => {
      it.each(brief ? optimizers.filter((_, i) => i % 3 === 0) : optimizers)(
        'equals the dense layer in loss, dh and update, rewiring included: $name',
        async (optimizer) => {
          const layer = make({ loss, optimizer });
          if (!layer.capabilities.optimizers.includes(optimizer.kind)) return;
          const oracle = new DenseOracle(layer, optimizer);
          let rewirings = 0;
          for (let t = 1; t <= 5; t++) {
            await expectSameStep(layer, oracle, problem(`step ${t}`, batch, inputs, labels), optimizer.rate);
            expectSameWeights(layer, oracle);
            if ((await layer.rewire(t, 100)) !== null) {
              rewirings++;
              oracle.rewired(layer, tolerance);
            }
          }
          expect(rewirings > 0).toBe(layer.capabilities.rewireEvery > 0);
          expect(layer.steps).toBe(5);
        },
      );

      it.each(brief ? [1, 16] : [1, 2, 16, 33])('takes batches of %i', async (size) => {
        const layer = make({ loss });
        const oracle = new DenseOracle(layer, plainSgd);
        await expectSameStep(layer, oracle, problem(`batch ${size}`, size, inputs, labels), 0.5);
        expectSameWeights(layer, oracle);
      });

      it('evaluates the loss of the step and changes nothing', async () => {
        const layer = make({ loss, optimizer: adam });
        const oracle = new DenseOracle(layer, adam);
        const before = snapshot(layer);
        const found = await layer.evaluate(hidden(one.h), one.positives);
        expect(distance([found], [oracle.lossOf(one.h, one.positives).loss])).toBeLessThanOrEqual(tolerance);
        expect(snapshot(layer)).toEqual(before);
        expect(layer.steps).toBe(0);
      });

      it('gives dh that agrees with finite differences of its own evaluate', async () => {
        if (!backend.exact) return;
        const layer = make({ loss });
        const { dh } = await layer.step(hidden(one.h), one.positives, { rate: 0, update: false });
        const analytic = Array.from(dh!.data);
        const delta = 1e-5;
        const at = async (i: number, shift: number) => {
          const h = one.h.slice();
          h[i] += shift;
          return layer.evaluate(hidden(h), one.positives);
        };
        const step = Math.ceil(one.h.length / 40);
        for (let i = 0; i < one.h.length; i += step) {
          const numeric = ((await at(i, delta)) - (await at(i, -delta))) / (2 * delta);
          expect(Math.abs(analytic[i] - numeric)).toBeLessThanOrEqual(1e-7 * (1 + Math.abs(numeric)));
        }
      });

      it('weights the loss with scale: gradients and update scale, the reported loss does not', async () => {
        const [layer, twin] = [make({ loss }), make({ loss })];
        const oracle = new DenseOracle(layer, plainSgd);
        const scaled = await layer.step(hidden(one.h), one.positives, { rate: 0.5, scale: 0.25 });
        const expected = oracle.step(one.h, one.positives, { rate: 0.5, scale: 0.25 });
        expect(distance([scaled.loss], [expected.loss])).toBeLessThanOrEqual(tolerance);
        expect(distance(scaled.dh!.data, expected.dh)).toBeLessThanOrEqual(tolerance);
        expectSameWeights(layer, oracle);
        // Plain SGD at a quarter of the rate is the same update.
        await twin.step(hidden(one.h), one.positives, { rate: 0.125 });
        expectSameWeights(twin, oracle);
      });

      it('writes the gradients where it is told, with and without an update', async () => {
        for (const update of [true, false]) {
          const layer = make({ loss, optimizer: adam });
          const oracle = new DenseOracle(layer, adam);
          const before = snapshot(layer);
          const array = (n: number) =>
            device.precision === 'float32' ? new Float32Array(n) : new Float64Array(n);
          const columns = Array.from({ length: labels }, (_, l) => layer.connections(l).inputs);
          const gradients = {
            weights: array(columns.flatMap((c) => [...c]).length).fill(7),
            bias: array(labels).fill(7),
          };
          await layer.step(hidden(one.h), one.positives, { rate: 0.1, update, gradients });
          const expected = oracle.step(one.h, one.positives, { rate: 0.1, update });
          const slots = columns.flatMap((row, l) =>
            Array.from(row, (j) => expected.dWeights[l * inputs + j]),
          );
          expect(distance(gradients.weights, slots)).toBeLessThanOrEqual(tolerance);
          expect(distance(gradients.bias, expected.dBias)).toBeLessThanOrEqual(tolerance);
          expectSameWeights(layer, oracle);
          expect(layer.steps).toBe(update ? 1 : 0);
          if (!update) expect(snapshot(layer)).toEqual(before);
        }
      });

      it('clips in two passes as one pass with the scaled gradient would', async () => {
        for (const optimizer of [{ ...plainSgd, momentum: 0.9 } as OptimizerSpec, adam]) {
          const [layer, single] = [make({ loss, optimizer }), make({ loss, optimizer })];
          const oracle = new DenseOracle(layer, optimizer);
          for (let t = 0; t < 2; t++) {
            const h = hidden(one.h);
            const first = await layer.step(h, one.positives, {
              rate: 0.1,
              update: false,
              measureSquares: true,
            });
            const { squares } = oracle.step(one.h, one.positives, { rate: 0.1, updateScale: 0.3 });
            expect(Math.abs(first.squares! / squares - 1)).toBeLessThanOrEqual(10 * tolerance);
            const second = await layer.step(h, one.positives, {
              rate: 0.1,
              updateScale: 0.3,
              inputGradient: false,
            });
            expect(second.dh).toBeNull();
            expect(second.loss).toBe(first.loss);
            await single.step(hidden(one.h), one.positives, { rate: 0.1, scale: 0.3 });
            expectSameWeights(layer, oracle);
            expectSameWeights(single, oracle);
          }
          expect(layer.steps).toBe(2);
        }
      });

      it('learns: the loss of a batch falls', async () => {
        const layer = make({ loss, optimizer: adam });
        const before = await layer.evaluate(hidden(one.h), one.positives);
        for (let t = 0; t < 30; t++) await layer.step(hidden(one.h), one.positives, { rate: 0.05 });
        expect(await layer.evaluate(hidden(one.h), one.positives)).toBeLessThan(0.7 * before);
      });

      it('shows a NaN of the hidden vectors in the loss', async () => {
        const h = one.h.slice();
        h[inputs] = Number.NaN;
        const layer = make({ loss });
        h.fill(Number.NaN, inputs, 2 * inputs);
        expect(await layer.evaluate(hidden(h), one.positives)).toBeNaN();
        expect((await layer.step(hidden(h), one.positives, { rate: 0.1 })).loss).toBeNaN();
      });
    });

    it('survives an empty batch and a batch without positives', async () => {
      const layer = make();
      const oracle = new DenseOracle(layer, plainSgd);
      const none = positivesOf([]);
      const empty = await layer.step(hidden(new Float64Array(0)), none, { rate: 0.5 });
      expect(empty.loss).toBe(0);
      expectSameWeights(layer, oracle);
      await expectSameStep(layer, oracle, { h: one.h, positives: none }, 0.5);
      expectSameWeights(layer, oracle);
    });

    it('gives the logits of all labels, and of some in any order', async () => {
      const layer = make();
      const z = new DenseOracle(layer, plainSgd).logits(one.h);
      const all = await layer.scores(hidden(one.h));
      expect(all.shape).toEqual([batch, labels]);
      expect(distance(all.data, z)).toBeLessThanOrEqual(tolerance);
      const some = Uint32Array.of(labels - 1, 2, 0, 2);
      const few = await layer.scores(hidden(one.h), some);
      expect(few.shape).toEqual([batch, 4]);
      const expected = Array.from({ length: batch }, (_, b) =>
        Array.from(some, (l) => z[b * labels + l]),
      ).flat();
      expect(distance(few.data, expected)).toBeLessThanOrEqual(tolerance);
      const { workspace } = device.ledger.live();
      expect(workspace).toBe(0);
    });

    it.each([1, 5, 1000])(
      'ranks the best %i labels, best first, and says where there are no more',
      async (k) => {
        const layer = make();
        const z = new DenseOracle(layer, plainSgd).logits(one.h);
        const top = await layer.topK(hidden(one.h), k);
        expect(top.k).toBe(k);
        expect([top.labels.length, top.scores.length]).toEqual([batch * k, batch * k]);
        for (let b = 0; b < batch; b++) {
          const row = z.subarray(b * labels, (b + 1) * labels);
          const order = Array.from(row.keys()).toSorted((i, j) => row[j] - row[i] || i - j);
          const found = Array.from(top.labels.subarray(b * k, (b + 1) * k));
          const scores = Array.from(top.scores.subarray(b * k, (b + 1) * k));
          const real = Math.min(k, labels);
          if (backend.exact) expect(found.slice(0, real)).toEqual(order.slice(0, real));
          expect(new Set(found.slice(0, real)).size).toBe(real);
          expect(scores.slice(0, real)).toEqual(scores.slice(0, real).toSorted((x, y) => y - x));
          expect(
            distance(
              scores.slice(0, real),
              order.slice(0, real).map((l) => row[l]),
            ),
          ).toBeLessThanOrEqual(tolerance);
          expect(
            distance(
              scores.slice(0, real),
              found.slice(0, real).map((l) => row[l]),
            ),
          ).toBeLessThanOrEqual(tolerance);
          expect(found.slice(real).every((l) => l === 0xffffffff)).toBe(true);
          expect(scores.slice(real).every((s) => s === -Infinity)).toBe(true);
        }
      },
    );

    it('ranks ties by the smaller label, a NaN last', async () => {
      const layer = make();
      (subject.flatten ?? flattenRows)(layer, (l) => (l === 4 ? 2 : l === 1 ? Number.NaN : 0.5));
      layer.loaded();
      const top = await layer.topK(hidden(one.h), labels);
      const expected = [4, 0, 2, 3, ...Array.from({ length: labels - 5 }, (_, i) => i + 5), 1];
      for (let b = 0; b < batch; b++) {
        expect(Array.from(top.labels.subarray(b * labels, (b + 1) * labels))).toEqual(expected);
      }
    });

    it('starts the same from the same seed, with the biases asked for', () => {
      const initialBias = Float64Array.from({ length: labels }, (_, l) => -l / 8);
      const [layer, same, other] = [make({ initialBias }), make({ initialBias }), make({ seed: 4 })];
      expect(snapshot(same)).toEqual(snapshot(layer));
      expect(snapshot(other)).not.toEqual(snapshot(layer));
      expect(layer.connections(labels - 1).bias).toBe(-(labels - 1) / 8);
      expect(other.connections(3).bias).toBe(-0.5);
      expect(() => make({ initialBias: initialBias.subarray(1) })).toThrow(/INITIAL_BIAS_LENGTH/);
    });

    describe('resizeLabels', () => {
      // Label 1 goes, two new ones come, the rest in another order.
      const map = Int32Array.from([
        labels - 1,
        -1,
        3,
        0,
        2,
        ...Array.from({ length: labels - 5 }, (_, i) => i + 4),
        -1,
      ]);

      it.each([
        { name: 'adds, removes and reorders', map },
        { name: 'shrinks to one label', map: Int32Array.of(2) },
        {
          name: 'grows far',
          map: Int32Array.from({ length: 3 * labels + 1 }, (_, j) => (j < labels ? j : -1)),
        },
      ])('$name; weights, moments and steps follow', async ({ map }) => {
        const layer = make({ optimizer: adam });
        const oracle = new DenseOracle(layer, adam);
        await expectSameStep(layer, oracle, one, 0.05);
        await layer.rewire(4, 100);
        oracle.rewired(layer, tolerance);
        layer.resizeLabels(map);
        oracle.resize(layer, map);
        expect(layer.labels).toBe(map.length);
        for (let t = 0; t < 2; t++) {
          expectSameWeights(layer, oracle);
          await expectSameStep(layer, oracle, problem(`resized ${t}`, batch, inputs, map.length), 0.05);
        }
        expect(layer.steps).toBe(3);
      });

      it('starts new labels like those of a new layer: drawn weights, the initial bias, as many connections', () => {
        const layer = make();
        layer.resizeLabels(map);
        const [fresh, last, old] = [1, map.length - 1, 0].map((l) => layer.connections(l));
        expect(fresh.inputs).toHaveLength(old.inputs.length);
        expect(new Set(fresh.inputs).size).toBe(old.inputs.length);
        expect(fresh.weights.every((w) => w !== 0)).toBe(true);
        expect(Array.from(last.weights)).not.toEqual(Array.from(fresh.weights));
        expect([fresh.bias, last.bias]).toEqual([-0.5, -0.5]);
        const rare = make({ initialBias: Float64Array.from({ length: labels }, (_, l) => -2 + (l % 3)) });
        rare.resizeLabels(map);
        expect(rare.connections(1).bias).toBe(-2);
      });

      it('leaves the logits of labels that stay as they were, bit for bit', async () => {
        const grown = Int32Array.from({ length: 2 * labels + 3 }, (_, j) => (j < labels ? j : -1));
        const mixed = Int32Array.from([...grown.subarray(1), -1]);
        for (const map of [grown, mixed]) {
          const layer = make({ optimizer: adam });
          await layer.step(hidden(one.h), one.positives, { rate: 0.05 });
          await layer.rewire(4, 100);
          const logits = async (of: Uint32Array) => Array.from((await layer.scores(hidden(one.h), of)).data);
          const kept = map.filter((from) => from >= 0);
          const before = await logits(Uint32Array.from(kept));
          const topped = byLabel(await layer.topK(hidden(one.h), labels), labels);
          layer.resizeLabels(map);
          const places = Array.from(map.keys()).filter((j) => map[j] >= 0);
          expect(await logits(Uint32Array.from(places))).toEqual(before);
          const after = byLabel(await layer.topK(hidden(one.h), map.length), map.length);
          for (const [b, row] of after.entries())
            expect(places.map((j) => row[j])).toEqual(places.map((j) => topped[b][map[j]]));
        }
      });

      it('starts labels from given weights, over the connections that carry most of them', async () => {
        const layer = make({ optimizer: adam });
        await layer.step(hidden(one.h), one.positives, { rate: 0.05 });
        layer.resizeLabels(map);
        const before = Array.from(map.keys(), (l) => layer.connections(l));
        const chosen = Uint32Array.of(map.length - 1, 1);
        const weights = Float64Array.from({ length: 2 * inputs }, (_, i) => Math.sin(1 + i * i));
        layer.startLabels(chosen, { weights, bias: [0.25, -3] });
        for (const l of map.keys()) {
          const now = layer.connections(l);
          const at = chosen.indexOf(l);
          if (at < 0) {
            expect(now).toEqual(before[l]);
            continue;
          }
          expect(now.bias).toBe([0.25, -3][at]);
          const row = Array.from(now.inputs, (j) => weights[at * inputs + j]);
          // In bfloat16 a weight keeps 8 bits.
          expect(distance(now.weights, row)).toBeLessThanOrEqual(
            subject.name.includes('bf16') ? 2 ** -8 : tolerance,
          );
        }
        // What follows sees the new weights: the loss is that of the layer it says it is.
        const oracle = new DenseOracle(layer, plainSgd);
        const next = problem('started', batch, inputs, map.length);
        const found = await layer.evaluate(hidden(next.h), next.positives);
        expect(distance([found], [oracle.lossOf(next.h, next.positives).loss])).toBeLessThanOrEqual(
          tolerance,
        );
        for (const wrong of [Uint32Array.of(1, 1), Uint32Array.of(1, map.length), Uint32Array.of(1)])
          expect(() => layer.startLabels(wrong, { weights, bias: [0, 0] })).toThrow(/LABEL_/);
      });

      it('holds the bytes of a layer made at that size, dry or not', () => {
        for (const on of [device, device.dryTwin()]) {
          const start = on.ledger.liveBytes;
          make({ optimizer: adam }, on).resizeLabels(map);
          const resized = on.ledger.live();
          const direct = new Device(kernels!);
          make({ optimizer: adam, labels: map.length }, direct);
          expect(start).toBe(0);
          expect(resized).toEqual(direct.ledger.live());
        }
      });

      it('refuses a map that names old labels that do not exist, and leaves the layer as it was', () => {
        const layer = make();
        const before = snapshot(layer);
        for (const wrong of [labels, -2]) {
          expect(() => layer.resizeLabels(Int32Array.of(0, wrong))).toThrow(/LABEL_MAP_RANGE/);
        }
        expect(snapshot(layer)).toEqual(before);
      });
    });

    describe('plan', () => {
      const shape = { batch, positives: one.positives.count };

      it.each(brief ? optimizers.filter((_, i) => i % 3 === 0) : optimizers)(
        'is what the ledger of a real step shows, tag by tag, to the byte: $name',
        async (optimizer) => {
          const layer = make({ optimizer });
          const plan = await layer.plan(shape);
          const h = hidden(one.h);
          device.temporary('data', [2 * one.positives.count], 'uint32');
          await layer.step(h, one.positives, { rate: 0.1 });
          expect(device.ledger.atPeak()).toEqual(plan.bytes);
          expect(device.ledger.peakBytes).toBe(plan.totalBytes);
          let connections = 0;
          for (let l = 0; l < labels; l++) connections += layer.connections(l).inputs.length;
          expect(plan.flopsPerExample).toBe(6 * connections);
        },
      );

      it('holds nothing, and shifts no draw of start, growth or rewiring', async () => {
        const [planned, twin] = [make(), make()];
        const held = device.ledger.live();
        await planned.plan(shape);
        await planned.plan({ batch: 1000, positives: 5000 });
        expect(device.ledger.live()).toEqual(held);
        for (const layer of [planned, twin]) {
          await layer.rewire(2, 100);
          layer.resizeLabels(Int32Array.of(0, -1, 1, -1));
          await layer.rewire(4, 100);
        }
        expect(snapshot(planned)).toEqual(snapshot(twin));
      });

      it('knows the labels of now', async () => {
        const layer = make();
        layer.resizeLabels(Int32Array.of(0, 1, -1));
        const direct = make({ labels: 3 }, new Device(kernels!));
        expect(await layer.plan(shape)).toEqual(await direct.plan(shape));
      });
    });

    it('continues from its state: arrays by name, step count, loaded', async () => {
      const [first, second] = [make({ optimizer: adam }), make({ optimizer: adam, seed: 99 })];
      for (let t = 1; t <= 3; t++) {
        await first.step(hidden(one.h), one.positives, { rate: 0.05 });
        await first.rewire(t, 100);
      }
      const from = first.state();
      const to = second.state();
      for (const part of ['model', 'optimizer'] as const) {
        expect(to[part].map(({ name, shape }) => ({ name, shape }))).toEqual(
          from[part].map(({ name, shape }) => ({ name, shape })),
        );
        for (const [i, { name, shape, data }] of from[part].entries()) {
          expect(data).toHaveLength(shape.reduce((a, b) => a * b, 1));
          expect(name).not.toBe('');
          (to[part][i] as NamedArray).data.set(data);
        }
      }
      second.steps = first.steps;
      second.loaded();
      const results = [];
      for (const layer of [first, second]) {
        const top = await layer.topK(hidden(one.h), 4);
        const { loss, dh } = await layer.step(hidden(one.h), one.positives, { rate: 0.05 });
        results.push({ top, loss, dh: dh!.data.slice(), state: snapshot(layer) });
      }
      const [{ dh, ...rest }, { dh: dhAgain, ...restAgain }] = results;
      expect(restAgain).toEqual(rest);
      expect(distance(dhAgain, dh)).toBe(0);
    });

    it('repeats bit for bit, and gives close results for every chunk', async () => {
      const run = async (size: number) => {
        const layer = make({ optimizer: adam, chunk: size });
        const losses: number[] = [];
        const gradients: Floats[] = [];
        for (let t = 1; t <= 3; t++) {
          const { loss, dh } = await layer.step(hidden(one.h), one.positives, { rate: 0.05 });
          losses.push(loss);
          gradients.push(dh!.data.slice());
          await layer.rewire(t, 100);
        }
        return { losses, gradients, state: snapshot(layer) };
      };
      const base = await run(chunk);
      const expectSame = (other: typeof base, within: number) => {
        expect(distance(other.losses, base.losses)).toBeLessThanOrEqual(within);
        for (const [t, dh] of other.gradients.entries()) {
          expect(distance(dh, base.gradients[t])).toBeLessThanOrEqual(within);
        }
        if (within === 0) expect(other.state).toEqual(base.state);
      };
      expectSame(await run(chunk), 0);
      for (const size of [1, 5, 64, 4 * labels]) {
        expectSame(await run(size), backend.exact ? 0 : 10 * tolerance);
      }
    });

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
          device.arena.reset();
          const h = device.temporary('activations', shape);
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
  });
}
