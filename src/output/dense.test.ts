import { describe, expect, it } from 'vitest';
import { RandomStream } from '../kernels/random.js';
import { Device } from '../tensor/device.js';
import { backends, bf16Backends } from './backends.testing.js';
import { describeOutputLayer, type Setup } from './conformance.testing.js';
import { DenseOutput } from './dense.js';

const make = (device: Device, { seed = 1, ...setup }: Setup) =>
  new DenseOutput(device, { ...setup, stream: RandomStream.named(seed, 'output') });

const shape = { inputs: 19, labels: 37, batch: 9, chunk: 8 };
for (const backend of backends) describeOutputLayer({ name: 'DenseOutput', ...shape, make }, backend);
for (const backend of bf16Backends) {
  const short = (device: Device, { seed = 1, ...setup }: Setup) =>
    new DenseOutput(device, { ...setup, precision: 'bf16', stream: RandomStream.named(seed, 'output') });
  describeOutputLayer({ name: 'DenseOutput in bfloat16', ...shape, make: short }, backend);
}

describe('DenseOutput', () => {
  it('connects every label to every input, with weights in U(-1/sqrt(d), 1/sqrt(d))', async () => {
    const layer = make(new Device(backends[0].kernels!), {
      inputs: 16,
      labels: 50,
      loss: 'bce',
      optimizer: { kind: 'sgd', rate: 1 },
    });
    const all = Array.from({ length: 50 }, (_, l) => layer.connections(l));
    expect(Array.from(all[7].inputs)).toEqual(Array.from({ length: 16 }, (_, j) => j));
    const magnitudes = all.flatMap(({ weights }) => Array.from(weights, Math.abs));
    expect(Math.max(...magnitudes)).toBeLessThanOrEqual(0.25);
    expect(Math.max(...magnitudes)).toBeGreaterThan(0.24);
    expect(all.every(({ bias }) => bias === 0)).toBe(true);
    expect(await layer.rewire(100, 1000)).toBeNull();
  });
});
