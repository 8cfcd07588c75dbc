/** Block-sparse activations together with gates, masks and phases, on one network: nothing interferes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { selectKernels } from '../../kernels/index.js';
import { bsr, recompute, type SavedOptionsInput } from '../../methods/block-sparse/options.js';
import { SavedActivations } from '../../methods/block-sparse/saved-activations.js';
import { densePhases, gradualPhases, PhasedMasks } from '../../methods/dense-sparse-dense/index.js';
import { GateTraining } from '../../methods/gates/index.js';
import { FixedMask, largestMagnitudes } from '../../methods/masks/index.js';
import { ResMLP, SmallResNet } from '../../nn/index.js';
import { blobs } from './blobs.testing.js';
import { imageTask } from './image-task.js';
import { type NetworkOptions, type NetworkParts, NetworkTraining } from './network.js';
import { networkArrays, runNetwork } from './run.js';

const scratch = mkdtempSync(join(tmpdir(), 'espalier-composition-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const { channels, height, width } = blobs(1);
const images = { train: blobs(160), test: blobs(60, 2), batch: 32, seed: 1, evaluationBatch: 20 };
const tasks = {
  ResMLP: imageTask({
    ...images,
    model: (device, stream) =>
      new ResMLP(device, { stream, channels, height, width, classes: 4, patch: 2, dim: 32, depth: 2 }),
  }),
  'small ResNet': imageTask({
    ...images,
    model: (device, stream) => new SmallResNet(device, { stream, width: 8, classes: 4 }),
  }),
};
const pruned: SavedOptionsInput = {
  inputs: bsr({ block: 8, keep: { from: 0.8, to: 0.4, steps: 8 } }),
  rules: [{ op: 'linear', form: recompute }],
  warmup: 3,
  sampleEvery: 4,
};
const whole: SavedOptionsInput = { inputs: bsr({ block: 8, keep: 1 }), masks: false };

/** A fixed mask that half of every matrix passes. */
function masked(parts: NetworkParts) {
  for (const [, parameter] of parts.instance.learner.namedParameters()) {
    if (parameter.shape.length < 2) continue;
    const mask = new FixedMask(parts.device, parameter);
    if (!parts.device.dry)
      mask.set(largestMagnitudes(parameter.data, parameter.size >> 1), parts.optimizer.momentsOf(parameter));
    parameter.parametrization = mask;
  }
  return [];
}

const methods: Record<string, NetworkOptions['methods']> = {
  gates: (parts) => [new GateTraining(parts, { spread: 0.02, bimodal: 0.001 })],
  'sampled gates': (parts) => [new GateTraining(parts, { spread: 0.02, sampled: true })],
  'dense-sparse-dense': (parts) => [
    new PhasedMasks(parts, { phases: densePhases({ dense: 1, sparse: 1, redense: 1, sparsity: 0.5 }) }),
  ],
  'gradual pruning': (parts) => [
    new PhasedMasks(parts, { phases: gradualPhases({ dense: 1, pruning: 1, tuning: 1, every: 0.4 }, 0.8) }),
  ],
  masks: masked,
};

const make = (
  task: keyof typeof tasks,
  how: NetworkOptions['methods'],
  saved?: SavedOptionsInput,
): NetworkTraining =>
  new NetworkTraining(tasks[task], {
    kernels: selectKernels(),
    optimizer: { kind: 'adam', rate: 0.005 },
    epochs: 3,
    seed: 1,
    methods: how,
    saved: saved === undefined ? undefined : new SavedActivations(saved),
  });

const arraysOf = (training: NetworkTraining) =>
  networkArrays(training).map(({ name, data }) => [name, Array.from(data as Float32Array)]);
const cases = [
  ...Object.keys(methods).map((method) => ['ResMLP', method] as const),
  ...['gates', 'dense-sparse-dense'].map((method) => ['small ResNet', method] as const),
];

describe.each(cases)('%s with %s and block-sparse activations', (task, method) => {
  it('goes on from a checkpoint in the middle bit for bit', async () => {
    const uninterrupted = make(task, methods[method], pruned);
    await runNetwork(uninterrupted);
    for (const until of task === 'ResMLP' ? [2, 8] : [8]) {
      const directory = join(scratch, `${task} ${method} ${until}`);
      await runNetwork(make(task, methods[method], pruned), { directory, until });
      const second = make(task, methods[method], pruned);
      await runNetwork(second, { directory, resume: true });
      expect(arraysOf(second)).toEqual(arraysOf(uninterrupted));
    }
  });

  it('holds no more than was planned, what the method stores included', async () => {
    const training = make(task, methods[method], pruned);
    await runNetwork(training);
    training.evaluate('test');
    expect(training.device.arena.growths).toBe(0);
    const bare = make(task, undefined, pruned);
    for (const [i, phase] of training.phases.entries()) {
      expect(training.peaks[i].accountedBytes).toBeLessThanOrEqual(phase.totalBytes);
      expect(phase.totalBytes).toBeGreaterThan(bare.phases[i].totalBytes);
    }
  });

  it('with every block kept trains as with dense activations, to rounding', () => {
    const [kept, dense] = [whole, undefined].map((saved) => {
      const training = make(task, methods[method], saved);
      for (let step = 0; step < 4; step++) training.step();
      return new Map(networkArrays(training).map(({ name, data }) => [name, data as Float32Array]));
    });
    for (const [name, data] of dense) {
      if (!name.startsWith('model.')) continue;
      const other = kept.get(name) as Float32Array;
      // Adam turns the last bit of a small gradient into a visible step: nearly all, and nearly the same.
      const near = data.filter((v, i) => Math.abs(v - other[i]) <= 1e-4 + 1e-3 * Math.abs(v)).length;
      expect(near / data.length, name).toBeGreaterThan(0.97);
    }
  });
});

describe('the memory plan of methods', () => {
  it('is what gates and masks take, to the byte', async () => {
    for (const method of ['gates', 'masks'] as const) {
      const training = make('ResMLP', methods[method]);
      await runNetwork(training);
      expect(training.peaks[0].accountedBytes, method).toBe(training.planned.totalBytes);
    }
  });

  it('counts four numbers and a bit more per weight for gates with Adam', () => {
    const [gated, plain] = [methods.gates, undefined].map((how) => make('ResMLP', how).planned.bytes);
    const learner = make('ResMLP', undefined).instance.learner;
    const weights = [...learner.namedParameters()].reduce(
      (sum, [, { shape, size }]) => sum + (shape.length < 2 ? 0 : size),
      0,
    );
    const more = gated.weights + gated.optimizer + gated.indices - (plain.weights + plain.optimizer);
    expect(more).toBeGreaterThanOrEqual(weights * (4 * 4 + 1 / 8));
    expect(more).toBeLessThan(weights * (4 * 4 + 1 / 8) + 4 * 100);
  });
});

describe('default penalties of gates', () => {
  it('are those of the paper over the examples of an epoch', () => {
    const drift = (options: object) => {
      const training = make('ResMLP', (parts) => [new GateTraining(parts, options)]);
      training.step();
      return arraysOf(training);
    };
    expect(drift({})).toEqual(drift({ bimodal: 0.001 / 160, spread: 0.05 / 160 }));
    expect(drift({})).not.toEqual(drift({ bimodal: 0.001, spread: 0.05 }));
  });
});
