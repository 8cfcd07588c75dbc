/** Networks whose backward remembers less: planned, resumed, measured. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { selectKernels } from '../../kernels/index.js';
import { bsr, dense, recompute, type SavedOptionsInput } from '../../methods/block-sparse/options.js';
import { SavedActivations } from '../../methods/block-sparse/saved-activations.js';
import { ResMLP, SmallResNet } from '../../nn/index.js';
import { blobs } from './blobs.testing.js';
import { imageTask } from './image-task.js';
import { NetworkTraining } from './network.js';
import { type NetworkEvent, networkArrays, runNetwork } from './run.js';

const scratch = mkdtempSync(join(tmpdir(), 'espalier-saved-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const { channels, height, width } = blobs(1);
const images = { train: blobs(200), test: blobs(60, 2), batch: 32, seed: 1, evaluationBatch: 20 };
const resMlp = imageTask({
  ...images,
  model: (device, stream) =>
    new ResMLP(device, { stream, channels, height, width, classes: 4, patch: 2, dim: 32, depth: 3 }),
});
const resNet = imageTask({
  ...images,
  model: (device, stream) => new SmallResNet(device, { stream, width: 8, classes: 4 }),
});

const make = (saved: SavedOptionsInput, task = resMlp, epochs = 4) =>
  new NetworkTraining(task, {
    kernels: selectKernels(),
    optimizer: { kind: 'adam', rate: 0.005 },
    epochs,
    seed: 1,
    saved: new SavedActivations(saved),
  });

const bytesOf = (training: NetworkTraining) =>
  networkArrays(training).map(({ name, data }) => [name, Array.from(data as Float32Array)]);

const moving: SavedOptionsInput = {
  inputs: bsr({ block: 8, keep: { from: 0.8, to: 0.3, steps: 10 } }),
  rules: [{ op: 'linear', form: recompute }],
  warmup: 5,
  sampleEvery: 4,
};

describe('a network that keeps block-sparse activations', () => {
  it.each([
    ['ResMLP', resMlp],
    ['a residual network', resNet],
  ])('learns: %s', async (_name, task) => {
    const training = make({ inputs: bsr({ block: 8, keep: 0.3 }) }, task, 25);
    await runNetwork(training);
    expect(training.evaluate('test').accuracy).toBeGreaterThan(0.9);
  });

  it('goes on from a checkpoint bit for bit, in and after the warm-up and in the middle of a schedule', async () => {
    const whole = make(moving);
    await runNetwork(whole);
    for (const until of [3, 9, 20]) {
      const directory = join(scratch, `run-${until}`);
      await runNetwork(make(moving), { directory, until });
      const second = make(moving);
      await runNetwork(second, { directory, resume: true });
      expect(bytesOf(second)).toEqual(bytesOf(whole));
    }
  });

  it('has a memory plan for each phase, which holds to the byte, and an arena that shrinks after the warm-up', async () => {
    const training = make({ inputs: bsr({ block: 8, keep: 0.2 }), warmup: 3 });
    const { arena } = training.device;
    const reserved: number[] = [];
    for (let step = 0; step < 6; step++) {
      training.step();
      reserved.push(arena.reservedBytes);
    }
    expect(arena.growths).toBe(0);
    expect(training.peaks.map(({ name }) => name)).toEqual(['warm-up', 'training']);
    for (const [i, phase] of training.phases.entries()) {
      expect(training.peaks[i].accountedBytes).toBeLessThanOrEqual(phase.totalBytes);
      expect(training.peaks[i].residentBytes).toBeGreaterThan(0);
    }
    expect(reserved[3]).toBeLessThan(0.9 * reserved[2]);
    const unwarmed = make({ inputs: bsr({ block: 8, keep: 0.2 }) });
    expect(unwarmed.planned.totalBytes).toBe(training.phases[1].totalBytes);
  });

  it('measures the cosine of every layer that it prunes, in turn, within the plan', async () => {
    const events: NetworkEvent[] = [];
    const training = make({ inputs: bsr({ block: 8, keep: 0.5 }), sampleEvery: 1 });
    await runNetwork(training, { onEvent: (event) => events.push(event) });
    const cosines = events.filter((event) => event.event === 'gradient-cosine');
    const layers = new Set(cosines.map(({ layer, op }) => `${layer} ${op}`));
    const pruned = training.saved?.report().sites.filter(({ form }) => form === 'bsr') ?? [];
    expect([...layers].sort()).toEqual([...new Set(pruned.map(({ layer, op }) => `${layer} ${op}`))].sort());
    for (const { cosine } of cosines) expect(Math.abs(cosine)).toBeLessThanOrEqual(1 + 1e-5);
    expect(training.device.arena.growths).toBe(0);
  });

  it('holds less at the peak the less it keeps, down to half of dense and below', () => {
    const peak = (saved: SavedOptionsInput) => make(saved).phases[0].bytes.activations;
    const all = peak({ inputs: dense, masks: false });
    const pruned = peak({ inputs: bsr({ block: 8, keep: 0.3 }) });
    const again = peak({ inputs: bsr({ block: 8, keep: 0.3 }), rules: [{ op: 'linear', form: recompute }] });
    expect(pruned).toBeLessThan(0.75 * all);
    expect(again).toBeLessThan(pruned);
  });

  it('draws what is live over one step: it begins and ends with what lasts', async () => {
    const training = make({ inputs: bsr({ block: 8, keep: 0.3 }) });
    const { points, marks, peakBytes } = await training.recordStep();
    expect(marks.map(({ name }) => name)).toEqual(['forward', 'backward', 'update']);
    expect(points.at(-1)?.weights).toBe(points[0].weights);
    expect(peakBytes + images.train.pixels.length).toBeLessThanOrEqual(training.planned.totalBytes);
  });
});
