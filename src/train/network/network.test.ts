import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { selectKernels } from '../../kernels/index.js';
import { nativeBackend } from '../../kernels/native-addon.js';
import { referenceKernels } from '../../kernels/reference/index.js';
import { BatchNorm2d, Conv2d, MaxPool2d } from '../../nn/image-layers.js';
import { Dropout, Linear, Sequential } from '../../nn/layers.js';
import { Flatten } from '../../nn/network-layers.js';
import { blobs } from './blobs.testing.js';
import { imageTask } from './image-task.js';
import { type NetworkOptions, NetworkTraining } from './network.js';
import { type NetworkEvent, networkArrays, runNetwork } from './run.js';

const scratch = mkdtempSync(join(tmpdir(), 'espalier-network-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const task = (seed = 1) =>
  imageTask({
    train: blobs(200),
    test: blobs(60, 2),
    ...{ batch: 16, seed, evaluationBatch: 25, smoothing: 0.05, augment: { padCrop: 1 } },
    model: (device, stream) =>
      new Sequential(
        new Conv2d(device, 1, 6, 3, { stream, padding: 1, bias: false }),
        new BatchNorm2d(device, 6, { activation: 'relu' }),
        new MaxPool2d(2),
        new Flatten(),
        new Dropout(0.1),
        new Linear(device, 96, 4, { stream }),
      ),
  });

const options = (kernels = selectKernels()): NetworkOptions => ({
  kernels,
  optimizer: { kind: 'adam', rate: 0.01 },
  schedule: { kind: 'cosine', warmup: 0.1 },
  epochs: 3,
  seed: 1,
  clip: 5,
});

const bytesOf = (training: NetworkTraining) =>
  networkArrays(training).map(({ name, data }) => [name, Array.from(data as Float32Array)]);

describe('NetworkTraining', () => {
  it.each([
    ['native or best', selectKernels()],
    ['reference/float64', referenceKernels('float64')],
  ])('learns to tell squares apart on %s', async (_name, kernels) => {
    const training = new NetworkTraining(task(), options(kernels));
    expect(await runNetwork(training)).toBe(true);
    expect(training.evaluate('test').accuracy).toBeGreaterThan(0.95);
    expect(training.evaluate('test').predictions).toBe(60);
  });

  it('plans its memory: the arena never grows, and the ledger peaks where the dry run said', async () => {
    const training = new NetworkTraining(task(), options());
    await runNetwork(training, { evaluate: 'test' });
    expect(training.device.arena.growths).toBe(0);
    expect(training.device.ledger.peakBytes).toBe(training.planned.totalBytes);
  });

  it('goes on from a checkpoint bit for bit, wherever it was ended', async () => {
    const whole = new NetworkTraining(task(), options());
    await runNetwork(whole);
    const directory = join(scratch, 'run');
    const first = new NetworkTraining(task(), options());
    expect(await runNetwork(first, { directory, until: 17 })).toBe(false);
    const second = new NetworkTraining(task(), options());
    await runNetwork(second, { directory, resume: true, evaluate: 'test' });
    expect(second.taken).toBe(whole.taken);
    expect(bytesOf(second)).toEqual(bytesOf(whole));
  });

  it('with products of bfloat16 learns as well, by other bits; the same ones where nothing has such products', async () => {
    const trained = async (more: Partial<NetworkOptions>) => {
      const training = new NetworkTraining(task(), { ...options(), ...more });
      await runNetwork(training);
      return training;
    };
    const single = await trained({});
    const without = await trained({ products: 'bf16', kernels: referenceKernels('float32') });
    expect(bytesOf(without)).toEqual(bytesOf(await trained({ kernels: referenceKernels('float32') })));
    const short = await trained({ products: 'bf16' });
    expect(short.evaluate('test').accuracy).toBeGreaterThan(0.95);
    const has =
      single.device.kernels.name === 'native/avx512' && nativeBackend('avx512', 1).use().has_bf16() === 1;
    if (has) expect(bytesOf(short)).not.toEqual(bytesOf(single));
  });

  it('is not disturbed by evaluations', async () => {
    const [one, other] = [new NetworkTraining(task(), options()), new NetworkTraining(task(), options())];
    await runNetwork(one, { evaluate: 'test', evaluateEvery: 0.25 });
    await runNetwork(other);
    expect(bytesOf(one)).toEqual(bytesOf(other));
  });

  it('tells its rates and scores, and asks methods at every step', async () => {
    const seen: string[] = [];
    const events: NetworkEvent[] = [];
    const training = new NetworkTraining(task(), {
      ...options(),
      schedule: { kind: 'constant' },
      methods: () => [
        {
          name: 'witness',
          beforeStep: (step) => seen.push(`before ${step}`),
          rateFactor: (step) => (step < 10 ? 1 : 0),
          afterStep: (step) => seen.push(`after ${step}`),
          drainEvents: () => [{ event: 'seen' }],
        },
      ],
    });
    await runNetwork(training, { until: 12, onEvent: (event) => events.push(event), evaluate: 'test' });
    expect(seen.slice(0, 3)).toEqual(['before 0', 'after 0', 'before 1']);
    expect(training.rate(9)).toBe(0.01);
    expect(training.rate(10)).toBe(0);
    expect(events.filter((e) => e.event === 'method')).toHaveLength(12);
    expect(events.filter((e) => e.event === 'evaluation')).toHaveLength(1);
    expect(events.at(-1)?.event).toBe('evaluation');
  });

  it('says so when it diverges, and when a split is missing', () => {
    const training = new NetworkTraining(task(), {
      ...options(),
      clip: null,
      optimizer: { kind: 'sgd', rate: 1e30 },
    });
    expect(() => {
      for (let i = 0; i < 20; i++) training.step();
    }).toThrow(/TRAINING_DIVERGED/);
    expect(() => training.evaluate('validation')).toThrow(/SPLIT_MISSING/);
  });
});
