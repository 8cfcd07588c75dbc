import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../kernels/random.js';
import type { OptimizerSpec } from '../../optim/rules.js';
import { type Backend, backends } from '../../output/backends.testing.js';
import { DenseOutput } from '../../output/dense.js';
import type { NamedArray, OutputLayer } from '../../output/layer.js';
import { Device } from '../../tensor/device.js';
import { DenseTwin } from './dense-twin.js';
import { FactoredOutput } from './factored-output.js';
import { sphericalSoftmax, squaredError, taylorSoftmax, zLoss } from './losses.js';
import type { FactoredOptions } from './options.js';
import { hidden, type Problem, problem, relative, twins } from './problem.testing.js';

const inputs = 12;
const labels = 40;
const batch = 9;
const sgd: OptimizerSpec = { kind: 'sgd', rate: 0.1 };
const common = { inputs, labels, loss: taylorSoftmax, optimizer: sgd };
const draws = (name: string) => RandomStream.named(11, name);
const shape = { batch, inputs, labels, perRow: 3 };
const problems = Array.from({ length: 4 }, (_, t) => problem(draws(`p${t}`), shape));
const one = problems[0];

const snapshot = (layer: OutputLayer) => {
  const { model, optimizer } = layer.state();
  return [...model, ...optimizer].map(({ name, data }) => ({ name, data: Array.from(data) }));
};

function suite({ name, kernels, tolerance, exact }: Backend): void {
  describe.skipIf(kernels === null)(`on ${name}`, () => {
    const device = new Device(kernels!);
    const make = (options: Partial<FactoredOptions> = {}, on = device) =>
      new FactoredOutput(on, { ...common, stream: draws('output'), ...options });
    const take = (p: Problem = one) => hidden(device, inputs, p);
    const within = exact ? 1e-10 : 20 * tolerance;

    it.each([squaredError, sphericalSoftmax(), taylorSoftmax, zLoss()])(
      'equals its dense twin in loss, dh, update, evaluate, squares and scale: $name',
      async (loss) => {
        const optimizer = { kind: 'sgd', rate: 1, weightDecay: 0.02 } as const;
        const { layer, twin } = twins(device, { ...common, loss, optimizer });
        for (const p of problems) {
          const results = [];
          for (const form of [layer, twin]) {
            const before = await form.evaluate(take(p), p.targets);
            const options = { rate: 0.1, scale: 0.5, updateScale: 0.7, measureSquares: true };
            const { loss: value, dh, squares } = await form.step(take(p), p.targets, options);
            expect(relative([value], [before])).toBeLessThan(within);
            results.push({ value, dh: dh!.data.slice(), squares: squares! });
          }
          const [a, b] = results;
          expect(relative([a.value, a.squares], [b.value, b.squares])).toBeLessThan(within);
          expect(relative(a.dh, b.dh)).toBeLessThan(within);
        }
        expect(relative(layer.plainWeights(), twin.plainWeights())).toBeLessThan(within);
        expect(layer.steps).toBe(problems.length);
      },
    );

    it('gives scores, some scores, the best labels and connections of one and the same W', async () => {
      const { layer, twin } = twins(device, common);
      for (const p of problems)
        for (const form of [layer, twin]) await form.step(take(p), p.targets, { rate: 1 });
      const all = (await layer.scores(take())).data.slice();
      expect(relative(all, (await twin.scores(take())).data)).toBeLessThan(within);
      const some = Uint32Array.of(labels - 1, 0, 7, 7);
      const few = (await layer.scores(take(), some)).data;
      for (let b = 0; b < batch; b++) {
        const expected = Array.from(some, (l) => all[b * labels + l]);
        expect(relative(few.slice(b * 4, b * 4 + 4), expected)).toBeLessThan(within);
      }
      for (const k of [1, 5, labels + 3]) {
        const top = await layer.topK(take(), k);
        for (let b = 0; b < batch; b++) {
          const row = all.subarray(b * labels, (b + 1) * labels);
          const order = Array.from(row.keys()).toSorted((i, j) => row[j] - row[i]);
          const n = Math.min(k, labels);
          const found = Array.from(top.labels.subarray(b * k, b * k + n));
          if (exact) expect(found).toEqual(order.slice(0, n));
          const scores = top.scores.slice(b * k, b * k + n);
          expect(
            relative(
              scores,
              order.slice(0, n).map((l) => row[l]),
            ),
          ).toBeLessThan(within);
          expect(top.labels.slice(b * k + n, (b + 1) * k).every((l) => l === 0xffffffff)).toBe(true);
        }
      }
      const weights = twin.plainWeights();
      for (const l of [0, 13, labels - 1]) {
        const own = layer.connections(l);
        expect(relative(own.weights, weights.slice(l * inputs, (l + 1) * inputs))).toBeLessThan(within);
        expect([own.inputs.length, own.bias]).toEqual([inputs, 0]);
      }
    });

    it('keeps the outputs of labels that stay bit for bit when others come, after its changes were made', async () => {
      const { layer } = twins(device, common);
      for (const p of problems.slice(0, 2)) await layer.step(take(p), p.targets, { rate: 1 });
      await layer.settle();
      const [p] = problems;
      const all = Uint32Array.from({ length: layer.labels }, (_, l) => l);
      const before = Array.from((await layer.scores(take(p), all)).data);
      layer.resizeLabels(Int32Array.from({ length: layer.labels + 9 }, (_, j) => (j < all.length ? j : -1)));
      expect(Array.from((await layer.scores(take(p), all)).data)).toEqual(before);
    });

    it('starts labels from given weights, also where only a model was loaded; Q and wbar follow', async () => {
      const { layer } = twins(device, common);
      for (const p of problems.slice(0, 3)) await layer.step(take(p), p.targets, { rate: 1 });
      const { layer: loaded } = twins(device, common);
      for (const [i, { data }] of layer.state().model.entries()) loaded.state().model[i].data.set(data);
      loaded.loaded();
      const labels = Uint32Array.of(7, 2);
      const weights = Float64Array.from({ length: 2 * inputs }, (_, i) => Math.cos(3 + i * i) / 4);
      for (const one of [layer, loaded]) {
        const others = Array.from(one.connections(5).weights);
        one.startLabels(labels, { weights, bias: [0, 0] });
        for (const [i, label] of labels.entries()) {
          const given = weights.subarray(i * inputs, (i + 1) * inputs);
          expect(relative(one.connections(label).weights, given)).toBeLessThan(within);
        }
        expect(relative(one.connections(5).weights, others)).toBeLessThan(within);
        expect((await one.probe()).drift).toBeLessThan(exact ? 1e-12 : 1e-5);
      }
    });

    it('follows labels that go, come, double and move, exactly in Q and wbar too', async () => {
      const { layer, twin } = twins(device, common);
      const both = [layer, twin];
      for (const p of problems.slice(0, 2))
        for (const form of both) await form.step(take(p), p.targets, { rate: 1 });
      const map = Int32Array.from([5, -1, 5, 5, 0, 39, -1, ...Array.from({ length: 20 }, (_, i) => i + 6)]);
      for (const form of both) form.resizeLabels(map);
      expect(layer.labels).toBe(27);
      // New weights are drawn by each on its own: the twin takes over those of the layer.
      const weights = twin.plainWeights();
      for (const l of [1, 6]) weights.set(layer.connections(l).weights, l * inputs);
      expect(relative(layer.plainWeights(), weights)).toBeLessThan(within);
      expect(layer.connections(1).weights).not.toEqual(layer.connections(6).weights);
      const next = problem(draws('resized'), { ...shape, labels: 27 });
      for (let t = 0; t < 3; t++) {
        const a = await layer.step(take(next), next.targets, { rate: 1 });
        const dh = a.dh!.data.slice();
        const b = await twin.step(take(next), next.targets, { rate: 1 });
        expect(relative([a.loss, ...dh], [b.loss, ...b.dh!.data])).toBeLessThan(within);
      }
      expect((await layer.probe()).drift).toBeLessThan(exact ? 1e-12 : 1e-5);
      expect(() => layer.resizeLabels(Int32Array.of(0, 27))).toThrow(/LABEL_MAP_RANGE/);
      expect(() => layer.resizeLabels(new Int32Array(0))).toThrow(/FACTORED_SIZE/);
    });

    it('continues from its state bit for bit, and from its model arrays alone as the same W', async () => {
      const first = make();
      for (const p of problems) await first.step(take(p), p.targets, { rate: 1 });
      const copies = ['whole', 'model only'].map((what) => {
        const copy = make({ stream: draws('another') });
        const parts = what === 'whole' ? (['model', 'optimizer'] as const) : (['model'] as const);
        for (const part of parts) {
          for (const [i, { data }] of first.state()[part].entries()) {
            (copy.state()[part][i] as NamedArray).data.set(data);
          }
        }
        copy.steps = first.steps;
        copy.loaded();
        return copy;
      });
      expect(copies[1].plainWeights()).toEqual(first.plainWeights());
      const results = [];
      for (const layer of [first, ...copies]) {
        const { loss, dh } = await layer.step(take(), one.targets, { rate: 1 });
        results.push({ loss, dh: dh!.data.slice(), state: snapshot(layer), weights: layer.plainWeights() });
      }
      expect(results[1]).toEqual(results[0]);
      expect(relative(results[2].weights, results[0].weights)).toBeLessThan(within);
      expect(relative(results[2].dh, results[0].dh)).toBeLessThan(within);
    });

    it('gives the same W, predictions and resumed runs while changes wait for rows, and after', async () => {
      const run = { ...common, loss: squaredError, band: 3 };
      const { layer, twin } = twins(device, run);
      for (let t = 0; t < 25; t++) {
        for (const form of [layer, twin])
          await form.step(take(problems[t % 4]), problems[t % 4].targets, { rate: 0.4 });
      }
      const arrays = () => new Map(layer.state().model.map(({ name, data }) => [name, data]));
      expect(arrays().get('changesWaiting')?.[0]).toBeGreaterThan(0);
      expect(new Set(arrays().get('changesTaken')).size).toBeGreaterThan(1);
      const before = snapshot(layer);
      const wanted = twin.plainWeights();
      expect(relative(layer.plainWeights(), wanted)).toBeLessThan(within);
      expect(relative((await layer.scores(take())).data, (await twin.scores(take())).data)).toBeLessThan(
        within,
      );
      const top = await layer.topK(take(), 3);
      expect(relative(top.scores, (await twin.topK(take(), 3)).scores)).toBeLessThan(within);
      for (const l of [0, 5, labels - 1]) {
        expect(
          relative(layer.connections(l).weights, wanted.slice(l * inputs, (l + 1) * inputs)),
        ).toBeLessThan(100 * within);
      }
      expect(snapshot(layer)).toEqual(before);
      const copy = new FactoredOutput(device, { ...run, stream: draws('another') });
      for (const part of ['model', 'optimizer'] as const) {
        for (const [i, { data }] of layer.state()[part].entries()) {
          (copy.state()[part][i] as NamedArray).data.set(data);
        }
      }
      copy.loaded();
      for (let t = 0; t < 25; t++) {
        for (const form of [layer, copy])
          await form.step(take(problems[t % 4]), problems[t % 4].targets, { rate: 0.4 });
      }
      expect(snapshot(copy)).toEqual(snapshot(layer));
      expect(layer.stability.passes.count).toBeGreaterThan(0);
      arrays().get('changesWaiting')![0] = 33;
      expect(() => layer.loaded()).toThrow(/FACTORED_STATE/);
    });

    it('plans the bytes of a real step, tag by tag', async () => {
      const on = new Device(kernels!);
      const layer = make({}, on);
      const plan = await layer.plan({ batch, positives: one.targets.count });
      on.arena.reset();
      const h = on.fromArray([batch, inputs], one.h);
      on.temporary('data', [2 * one.targets.count], 'uint32');
      await layer.step(h, one.targets, { rate: 0.1 });
      expect(on.ledger.atPeak()).toEqual(plan.bytes);
      expect(on.ledger.peakBytes).toBe(plan.totalBytes);
      const held = on.ledger.live();
      await layer.plan({ batch: 1000, positives: 5000 });
      expect(on.ledger.live()).toEqual(held);
    });

    it('repeats bit for bit, and does nothing for update: false or a loss that is not finite', async () => {
      const run = async () => {
        const layer = make({ loss: squaredError, band: 3 });
        for (let t = 0; t < 40; t++) {
          const p = problems[t % 4];
          await layer.step(take(p), p.targets, { rate: 0.4 });
        }
        expect(layer.stability.moves.count).toBeGreaterThan(0);
        return layer;
      };
      const [layer, again] = [await run(), await run()];
      expect(snapshot(again)).toEqual(snapshot(layer));
      // Rows of targets take what waits for them, which is another form of the same W.
      await layer.evaluate(take(), one.targets);
      const before = snapshot(layer);
      const { dh } = await layer.step(take(), one.targets, { rate: 0.1, update: false });
      expect(dh).not.toBeNull();
      const poisoned = take();
      poisoned.data[3] = Number.NaN;
      expect((await layer.step(poisoned, one.targets, { rate: 0.1 })).loss).toBeNaN();
      expect(snapshot(layer)).toEqual(before);
    });

    it('survives an empty batch, examples without targets, more inputs than labels', async () => {
      const layer = make();
      const none = { count: 0, label: new Uint32Array(0), row: new Uint32Array(0) };
      expect(
        (await layer.step(take({ h: new Float64Array(0), targets: none }), none, { rate: 1 })).loss,
      ).toBe(0);
      const { layer: wide, twin } = twins(device, { ...common, loss: squaredError, labels: 5 });
      const p = problem(draws('few labels'), { ...shape, labels: 5, perRow: 2 });
      for (let t = 0; t < 20; t++) {
        for (const form of [wide, twin])
          await form.step(take(p), t % 2 === 0 ? none : p.targets, { rate: 0.3 });
      }
      expect(relative(wide.plainWeights(), twin.plainWeights())).toBeLessThan(within);
    });
  });
}

for (const backend of backends) suite(backend);

describe.skipIf(backends[2].kernels === null)('in float32, over a thousand steps', () => {
  // bench/factored-drift.mjs does the same for as many as wanted.
  it.each([
    { loss: squaredError, rate: 0.3 },
    { loss: squaredError, rate: 1.2 },
    { loss: taylorSoftmax, rate: 5 },
    { loss: zLoss(), rate: 0.5 },
  ])(
    'weights stay with those of the dense twin, Q and U^-T with the weights: $loss.name, rate $rate',
    async (run) => {
      const device = new Device(backends[2].kernels!);
      const { layer, twin } = twins(device, { ...common, labels: 100, allowUnstable: true, loss: run.loss });
      const many = Array.from({ length: 50 }, (_, t) =>
        problem(draws(`drift ${t}`), { ...shape, labels: 100 }),
      );
      for (let t = 0; t < 1000; t++) {
        const p = many[t % 50];
        for (const form of [layer, twin])
          await form.step(hidden(device, inputs, p), p.targets, { rate: run.rate });
      }
      expect(relative(layer.plainWeights(), twin.plainWeights())).toBeLessThan(1e-3);
      const { drift, residual } = await layer.probe();
      expect(drift).toBeLessThan(1e-4);
      expect(residual).toBeLessThan(1e-3);
    },
  );
});

describe('FactoredOutput refuses', () => {
  const device = new Device(backends[0].kernels!);
  const make = (options: Partial<FactoredOptions> = {}) =>
    new FactoredOutput(device, { ...common, stream: draws('output'), ...options });

  it.each([
    { name: 'momentum', optimizer: { kind: 'sgd', rate: 1, momentum: 0.9 } },
    { name: 'Nesterov', optimizer: { kind: 'sgd', rate: 1, nesterov: true } },
    { name: 'adam', optimizer: { kind: 'adam', rate: 1 } },
    { name: 'adamw', optimizer: { kind: 'adamw', rate: 1 } },
    { name: 'adagrad', optimizer: { kind: 'adagrad', rate: 1 } },
  ] as const)('$name, and says that moments are not of low rank', ({ optimizer }) => {
    expect(() => make({ optimizer })).toThrow(/low rank.*FACTORED_OPTIMIZER/);
  });

  it('a start at zero for losses that cannot leave it', async () => {
    for (const loss of [sphericalSoftmax(), zLoss()]) {
      expect(() => make({ loss, startScale: 0 })).toThrow(/ZERO_START/);
    }
    for (const loss of [squaredError, taylorSoftmax]) {
      const layer = make({ loss, startScale: 0 });
      await layer.step(hidden(device, inputs, one), one.targets, { rate: 0.1 });
      expect(layer.connections(one.targets.label[0]).weights.some((w) => w !== 0)).toBe(true);
    }
  });

  it('a rate at which SGD itself grows, naming the largest stable one, and changes nothing', async () => {
    const layer = make({ loss: squaredError });
    const before = snapshot(layer);
    const single = problem(draws('single'), { ...shape, batch: 1, length: 2 });
    const h = () => hidden(device, inputs, single);
    // |h| = 2: 1 - 2 rate |h|^2 leaves [-1, 1] at rate 1/4.
    await expect(layer.step(h(), single.targets, { rate: 0.3 })).rejects.toThrow(
      /at most 0\.25.*RATE_UNSTABLE/,
    );
    expect(snapshot(layer)).toEqual(before);
    expect(layer.steps).toBe(0);
    await layer.step(h(), single.targets, { rate: 0.24 });
    const bold = make({ loss: squaredError, allowUnstable: true });
    await bold.step(h(), single.targets, { rate: 0.3 });
    expect(bold.steps).toBe(1);
  });

  it.each([
    { name: 'labels out of range', change: { label: Uint32Array.of(1, labels) }, code: /POSITIVES_RANGE/ },
    { name: 'a target twice', change: { label: Uint32Array.of(2, 2) }, code: /POSITIVES_ORDER/ },
    {
      name: 'a value that is no number',
      change: { values: Float64Array.of(1, NaN) },
      code: /TARGET_VALUE\b/,
    },
    { name: 'an infinite value', change: { values: Float64Array.of(Infinity, 1) }, code: /TARGET_VALUE\b/ },
    { name: 'too few values', change: { values: Float64Array.of(1) }, code: /TARGET_VALUES_SHORT/ },
    { name: 'more targets than announced', change: { capacity: 1 }, code: /POSITIVES_CAPACITY/ },
  ])('$name', async ({ change, code }) => {
    const layer = make();
    const twin = new DenseTwin(device, { ...common, stream: draws('output') });
    const targets = { count: 2, label: Uint32Array.of(1, 2), row: Uint32Array.of(0, 0), ...change };
    const h = hidden(device, inputs, one);
    for (const form of [layer, twin]) {
      const before = snapshot(form);
      await expect(form.step(h, targets, { rate: 0.1 })).rejects.toThrow(code);
      await expect(form.evaluate(h, targets)).rejects.toThrow(code);
      expect(snapshot(form)).toEqual(before);
      expect(form.steps).toBe(0);
    }
  });

  it('nothing that it can do: layers of 0 and 1 refuse values instead of forgetting them', async () => {
    const dense = new DenseOutput(device, { ...common, loss: 'bce', stream: draws('output') });
    const h = hidden(device, inputs, one);
    await expect(dense.step(h, one.targets, { rate: 0.1 })).rejects.toThrow(/TARGET_VALUES/);
    await expect(dense.evaluate(h, one.targets)).rejects.toThrow(/TARGET_VALUES/);
    const ones = new Float64Array(one.targets.count).fill(1);
    expect(await dense.evaluate(h, { ...one.targets, values: ones })).toBeGreaterThan(0);
  });

  it('sizes and rates that are none, the gradient that it never forms', async () => {
    for (const wrong of [{ inputs: 0 }, { labels: 0 }, { labels: 1.5 }]) {
      expect(() => make(wrong)).toThrow(/FACTORED_SIZE/);
    }
    expect(() => make({ band: 1 })).toThrow(/FACTORED_BAND/);
    expect(() => make({ probeEvery: 0 })).toThrow(/FACTORED_PROBE/);
    const layer = make({ optimizer: { kind: 'sgd', rate: 1, weightDecay: 0.5 } });
    const h = hidden(device, inputs, one);
    for (const rate of [2, Number.NaN]) {
      await expect(layer.step(h, one.targets, { rate })).rejects.toThrow(/RATE_RANGE/);
    }
    const gradients = { weights: new Float64Array(labels * inputs), bias: new Float64Array(labels) };
    await expect(layer.step(h, one.targets, { rate: 0.1, gradients })).rejects.toThrow(/FACTORED_GRADIENTS/);
    await expect(layer.topK(h, 0)).rejects.toThrow(/TOP_K_RANGE/);
    expect(() => layer.connections(labels)).toThrow(/LABEL_RANGE/);
    await expect(layer.scores(h, Uint32Array.of(labels))).rejects.toThrow(/LABEL_RANGE/);
    expect(layer.steps).toBe(0);
  });
});
