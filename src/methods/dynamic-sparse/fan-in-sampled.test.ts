import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../kernels/random.js';
import { backends } from '../../output/backends.testing.js';
import { distance, problem } from '../../output/conformance.testing.js';
import { describeSampled } from '../../output/sampled.testing.js';
import { Device } from '../../tensor/device.js';
import { FixedFanInOutput } from './fan-in-output.js';
import { defaultSet } from './options.js';

const common = (fanIn: number, every = 2) => ({
  fanIn,
  topology: { ...defaultSet, every, until: 1 },
  stream: RandomStream.named(4, 'x'),
  rewireStream: RandomStream.named(4, 'rewire'),
});

describeSampled(
  'FixedFanInOutput',
  (device, options) => new FixedFanInOutput(device, { ...options, ...common(6) }),
);

describe('FixedFanInOutput with labels drawn', () => {
  const shape = { inputs: 40, labels: 200, loss: 'softmax', sampling: { samples: 50 } } as const;
  const optimizer = { kind: 'adagrad', rate: 0.1 } as const;

  it('learns the same on every backend, through rewiring', async () => {
    const results: number[][] = [];
    for (const { kernels } of backends) {
      if (kernels === null) continue;
      const device = new Device(kernels);
      const layer = new FixedFanInOutput(device, { ...shape, optimizer, ...common(8) });
      for (let t = 1; t <= 6; t++) {
        const { h, positives } = problem(`batch ${t}`, 16, shape.inputs, shape.labels);
        device.arena.reset();
        await layer.step(device.fromArray([16, shape.inputs], h), positives, { rate: 0.1 });
        if (t % 2 === 0) await layer.rewire(t, 6);
      }
      results.push(Array.from(layer.state().model.find(({ name }) => name === 'weights')!.data));
    }
    for (const other of results.slice(1)) expect(distance(other, results[0])).toBeLessThan(3e-4);
  });

  it('plans the labels that a step looks at, not all of them', async () => {
    const device = new Device(backends[0].kernels!);
    const layer = new FixedFanInOutput(device, { ...shape, optimizer, ...common(8) });
    const { flopsPerExample, bytes } = await layer.plan({ batch: 16, positives: 30 });
    expect(flopsPerExample).toBe(6 * (50 + 30) * 8);
    const all = new FixedFanInOutput(device, { ...shape, labels: 2000, optimizer, ...common(8) });
    const wide = await all.plan({ batch: 16, positives: 30 });
    expect(wide.bytes.workspace).toBe(bytes.workspace);
  });
});
