import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { selectKernels } from '../../kernels/index.js';
import {
  densePhases,
  gradualPhases,
  oneShotPhases,
  type Phase,
  PhasedMasks,
} from '../../methods/dense-sparse-dense/index.js';
import { GateTraining, type GateTrainingOptions } from '../../methods/gates/index.js';
import { countBits, FixedMask, largestMagnitudes } from '../../methods/masks/index.js';
import { BatchNorm2d, Conv2d, MaxPool2d } from '../../nn/image-layers.js';
import { Linear, Sequential } from '../../nn/layers.js';
import { Flatten } from '../../nn/network-layers.js';
import type { OptimizerSpec } from '../../optim/rules.js';
import { blobs } from './blobs.testing.js';
import { trainWithControl } from './control.js';
import { imageTask } from './image-task.js';
import { type NetworkOptions, type NetworkParts, NetworkTraining } from './network.js';
import { networkArrays, runNetwork } from './run.js';

const scratch = mkdtempSync(join(tmpdir(), 'espalier-methods-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const task = imageTask({
  train: blobs(160),
  test: blobs(80, 2),
  ...{ batch: 16, seed: 1, evaluationBatch: 40 },
  model: (device, stream) =>
    new Sequential(
      new Conv2d(device, 1, 4, 3, { stream, padding: 1 }),
      new BatchNorm2d(device, 4, { activation: 'relu' }),
      new MaxPool2d(2),
      new Flatten(),
      new Linear(device, 64, 20, { stream, activation: 'relu' }),
      new Linear(device, 20, 4, { stream }),
    ),
});

const OPTIMIZERS: Readonly<Record<string, OptimizerSpec>> = {
  sgd: { kind: 'sgd', rate: 0.05, momentum: 0.9, nesterov: true, weightDecay: 1e-3 },
  adam: { kind: 'adam', rate: 0.005 },
  adamw: { kind: 'adamw', rate: 0.005, weightDecay: 0.01 },
  adagrad: { kind: 'adagrad', rate: 0.02 },
};

function train(methods: NetworkOptions['methods'], optimizer: OptimizerSpec = OPTIMIZERS.adam, epochs = 6) {
  return new NetworkTraining(task, { kernels: selectKernels(), optimizer, epochs, seed: 1, methods });
}

const weightsOf = (training: NetworkTraining) =>
  [...training.instance.learner.namedParameters()].map(([name, p]) => [name, Array.from(p.data)]);
const arraysOf = (training: NetworkTraining) =>
  networkArrays(training).map(({ name, data }) => [name, Array.from(data as Float32Array)]);

const phased =
  (phases: readonly Phase[], more: object = {}) =>
  (parts: NetworkParts) => [new PhasedMasks(parts, { phases, ...more })];
const dsd = densePhases({ dense: 2, sparse: 2, redense: 2, sparsity: 0.4 });

const gates =
  (options: GateTrainingOptions = {}) =>
  (parts: NetworkParts) => [new GateTraining(parts, options)];
const methodOf = <T>(training: NetworkTraining) => training.participants[0] as T;

describe.each(Object.entries(OPTIMIZERS))('with %s', (_name, optimizer) => {
  it('a mask of ones and gates frozen at 1 train as the dense network, bit for bit', async () => {
    const dense = train(undefined, optimizer, 2);
    await runNetwork(dense);
    const ones = (parts: NetworkParts) => {
      for (const parameter of parts.instance.learner.namedParameters()) {
        const mask = new FixedMask(parts.device, parameter[1]);
        mask.bits.fill(0xffffffff);
        parameter[1].parametrization = mask;
      }
      return [];
    };
    const masked = train(ones, optimizer, 2);
    await runNetwork(masked);
    expect(weightsOf(masked)).toEqual(weightsOf(dense));
    for (const sampled of [false, true]) {
      const gated = train(gates({ start: 1, rate: 0, sampled }), optimizer, 2);
      await runNetwork(gated);
      expect(weightsOf(gated)).toEqual(weightsOf(dense));
    }
  });

  it('masked weights, gradients and moments are exactly 0 in S, and start from exactly 0 in the last D', async () => {
    const training = train(phased(dsd), optimizer);
    await runNetwork(training, { until: 25 });
    const { chosen } = methodOf<PhasedMasks>(training);
    // Without the first convolution.
    expect(chosen.map(({ name }) => name)).toEqual(['layers.4.weight', 'layers.5.weight']);
    const off: number[][] = [];
    for (const { parameter } of chosen) {
      const { bits } = parameter.parametrization as FixedMask;
      const places = Array.from(parameter.data.keys()).filter((i) => !((bits[i >>> 5] >>> (i & 31)) & 1));
      expect(places).toHaveLength(Math.round(0.4 * parameter.size));
      const { m, v } = training.optimizer.momentsOf(parameter);
      for (const array of [parameter.data, parameter.grad?.data, m, v]) {
        if (array) expect(places.every((i) => array[i] === 0)).toBe(true);
      }
      off.push(places);
    }
    await runNetwork(training, { until: 40 });
    expect(chosen.every(({ parameter }, j) => off[j].every((i) => parameter.data[i] === 0))).toBe(true);
    training.step();
    for (const [j, { parameter }] of chosen.entries()) {
      expect(parameter.parametrization).toBeNull();
      // They moved from 0 by one step at a tenth of the rate.
      const moved = off[j].filter((i) => parameter.data[i] !== 0);
      expect(moved.length).toBeGreaterThan(off[j].length / 4);
      const { m } = training.optimizer.momentsOf(parameter);
      if (optimizer.kind === 'sgd') {
        const g = parameter.grad?.data as Float32Array;
        expect(moved.every((i) => m?.[i] === g[i])).toBe(true);
      }
    }
    expect(training.rate(41)).toBeCloseTo(0.1 * optimizer.rate, 15);
  });
});

describe('PhasedMasks', () => {
  it.each([5, 20, 27, 45])('goes on bit for bit from a checkpoint after %s steps', async (until) => {
    const whole = train(phased(dsd));
    await runNetwork(whole);
    const directory = join(scratch, `dsd-${until}`);
    await runNetwork(train(phased(dsd)), { directory, until });
    const second = train(phased(dsd));
    await runNetwork(second, { directory, resume: true, evaluate: 'test' });
    expect(arraysOf(second)).toEqual(arraysOf(whole));
  });

  it('tells its phases and gives the masks back', async () => {
    const seen: unknown[] = [];
    const training = train(phased(densePhases({ dense: 1, sparse: 1, redense: 1, rounds: 2 })), undefined, 5);
    const before = training.device.ledger.live().indices;
    await runNetwork(training, { onEvent: (e) => e.event === 'method' && seen.push(e.what.name) });
    expect(seen).toEqual(['dense', 'sparse 1', 'dense again 1', 'sparse 2', 'dense again 2']);
    expect(training.device.ledger.live().indices).toBe(before);
  });

  it('prunes once and stays there, with a share of its own for a layer', async () => {
    const training = train(phased(oneShotPhases(3, 3, 0.8), { layers: { 'layers.5': 0.25 }, exclude: [] }));
    await runNetwork(training);
    const zeros = methodOf<PhasedMasks>(training).chosen.map(
      ({ parameter: { data } }) => data.filter((w) => w === 0).length,
    );
    expect(zeros).toEqual([Math.round(0.8 * 36), 0.8 * 1280, 0.25 * 80]);
    expect(training.evaluate('test').accuracy).toBeGreaterThan(0.8);
  });

  it('prunes along a cubic that never falls and ends at its goal; once gone, a weight stays gone', async () => {
    const training = train(
      phased(gradualPhases({ dense: 1, pruning: 4, tuning: 1, every: 0.3 }, 0.9), { exclude: ['layers.0'] }),
    );
    const [{ parameter }] = methodOf<PhasedMasks>(training).chosen;
    const course: number[] = [];
    let gone = new Set<number>();
    while (training.taken < training.steps) {
      training.step();
      const now = new Set(Array.from(parameter.data.keys()).filter((i) => parameter.data[i] === 0));
      if (training.taken > 12) for (const i of gone) expect(now.has(i)).toBe(true);
      gone = now;
      course.push(now.size / parameter.size);
    }
    expect(course.at(-1)).toBeCloseTo(0.9, 3);
    expect(course.every((s, i) => i < 12 || s >= course[i - 1])).toBe(true);
    expect(new Set(course).size).toBeGreaterThan(5);
    const middle = course[10 + 20];
    expect(middle).toBeGreaterThan(0.7);
  });

  it('refuses phases that are not as long as the training', () => {
    expect(() => train(phased(dsd), undefined, 7)).toThrow(/PHASES_INVALID/);
    expect(() => train(phased([{ name: 'a', epochs: 6, sparsity: 1 }]))).toThrow(/PHASES_INVALID/);
  });

  it('reports the dense control of equal budget, unless told not to', async () => {
    const options = {
      kernels: selectKernels(),
      optimizer: OPTIMIZERS.adam,
      epochs: 6,
      seed: 1,
      methods: phased(dsd),
    };
    const { method, control } = await trainWithControl(task, options, { split: 'test' });
    const dense = train(undefined);
    await runNetwork(dense);
    expect(control).toEqual(dense.evaluate('test'));
    expect(method.accuracy).toBeGreaterThan(0.8);
    expect((await trainWithControl(task, options, { split: 'test', control: false })).control).toBeNull();
  });
});

describe('largestMagnitudes', () => {
  it('keeps exactly as many as it is told, the first of equals', () => {
    const w = Float32Array.of(3, -5, 1, 1, -1, 0, 5);
    expect(Array.from({ length: 7 }, (_, keep) => largestMagnitudes(w, keep)[0])).toEqual([
      0, 2, 66, 67, 71, 79, 95,
    ]);
    expect(countBits(largestMagnitudes(new Float32Array(100), 64), 100)).toBe(64);
  });
});

describe('GateTraining', () => {
  const strong = { spread: 0.05, bimodal: 0.001, sampled: false, exclude: [] };

  it('keeps every gate in [0, 1] after every step, and closes gates', async () => {
    const training = train(gates({ ...strong, sampled: true }));
    const { gated } = methodOf<GateTraining>(training);
    while (training.taken < training.steps) {
      training.step();
      for (const { gates: one } of gated) expect(one.gates.every((g) => g >= 0 && g <= 1)).toBe(true);
    }
    const shares = methodOf<GateTraining>(training).shares();
    expect(shares.some(({ kept, of }) => kept < of)).toBe(true);
  });

  it('draws bits whose mean is the gate', () => {
    const training = train(gates({ ...strong, sampled: true, start: 0.3 }));
    const [, { parameter, gates: one }] = methodOf<GateTraining>(training).gated;
    let count = 0;
    for (let step = 0; step < 100; step++) {
      one.prepare(step);
      count += countBits(one.bits, parameter.size);
    }
    const n = 100 * parameter.size;
    // Five deviations of a binomial.
    expect(Math.abs(count / n - 0.3)).toBeLessThan(5 * Math.sqrt((0.3 * 0.7) / n));
  });

  it.each([true, false])('goes on bit for bit from a checkpoint, sampled: %s', async (sampled) => {
    const whole = train(gates({ ...strong, sampled }));
    await runNetwork(whole);
    const directory = join(scratch, `gates-${sampled}`);
    await runNetwork(train(gates({ ...strong, sampled })), { directory, until: 23 });
    const second = train(gates({ ...strong, sampled }));
    await runNetwork(second, { directory, resume: true });
    expect(arraysOf(second)).toEqual(arraysOf(whole));
  });

  it('ends as a plain network that scores the same and holds its zeros', async () => {
    const training = train(gates(strong), undefined, 8);
    await runNetwork(training);
    const before = training.evaluate('test');
    const shares = methodOf<GateTraining>(training).shares();
    methodOf<GateTraining>(training).finish();
    expect(training.evaluate('test')).toEqual(before);
    const parameters = new Map(training.instance.learner.namedParameters());
    for (const { name, kept } of shares) {
      const parameter = parameters.get(name);
      expect(parameter?.parametrization).toBeNull();
      expect(parameter?.data.filter((w) => w !== 0).length).toBeLessThanOrEqual(kept);
    }
  });

  it('starts from magnitudes: the largest open, the rest just closed', () => {
    const training = train(gates({ start: { magnitudes: 0.25 } }));
    for (const { parameter, gates: one } of methodOf<GateTraining>(training).gated) {
      expect(countBits(one.bits, parameter.size)).toBe(Math.round(parameter.size / 4));
      expect(new Set(one.gates)).toEqual(new Set([1, Math.fround(0.49)]));
    }
  });

  it('takes settings of its own for a layer, and refuses what is out of range or taken', () => {
    const training = train(gates({ layers: { 'layers.4': { start: 0.2 } } }));
    const shares = methodOf<GateTraining>(training).shares();
    expect(shares.map(({ kept, of }) => kept / of)).toEqual([1, 0, 1]);
    expect(() => train(gates({ spread: -1 }))).toThrow(/GATE_OPTIONS/);
    expect(() => train((parts) => [...gates()(parts), ...gates()(parts)])).toThrow(/PARAMETRIZATION_TAKEN/);
  });
});
