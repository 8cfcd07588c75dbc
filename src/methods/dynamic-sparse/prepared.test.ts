/** A prepared layer answers as one that is not, to the bit, whatever happens to it. */
import { describe, expect, it } from 'vitest';
import { loadNative } from '../../kernels/index.js';
import { RandomStream } from '../../kernels/random.js';
import { positivesOf } from '../../output/conformance.testing.js';
import { Device } from '../../tensor/device.js';
import { FixedFanInOutput } from './fan-in-output.js';
import type { Topology } from './options.js';

const shape = { inputs: 96, labels: 9000, fanIn: 8 };
const prune = { mode: 'fraction', fraction: 0.3, scope: 'layer', anneal: 'constant' } as const;
const set: Topology = { kind: 'set', prune, every: 1, until: 1 };
const kernels = (() => {
  try {
    return loadNative({ threads: 2 });
  } catch {
    return null;
  }
})();
const screens = (kernels?.fanInScreenLength(shape) ?? 0) > 0;

const make = (device: Device) =>
  new FixedFanInOutput(device, {
    ...{ ...shape, topology: set, loss: 'bce' as const, optimizer: { kind: 'sgd' as const, rate: 1 } },
    ...{ stream: RandomStream.named(3, 'output'), rewireStream: RandomStream.named(3, 'rewire') },
  });

describe.skipIf(!screens)('a prepared layer (skipped where the processor has no use for a screen)', () => {
  const native = kernels as NonNullable<typeof kernels>;
  /** Whether the last top-k of a layer on `device` had bounds to go by. */
  let screened = false;
  const watched = {
    ...native,
    fanInTopK: (args: Parameters<typeof native.fanInTopK>[0]) => {
      screened = (args.screen ?? null) !== null;
      native.fanInTopK(args);
    },
  };
  const rows = (on: Device, batch: number) => {
    const draws = RandomStream.named(8, 'rows');
    return on.fromArray(
      [batch, shape.inputs],
      Array.from({ length: batch * shape.inputs }, () => Math.max(0, draws.uniform() - 0.4)),
    );
  };

  it('goes by its bounds until something is learnt, and no longer', async () => {
    const [plain, ready] = [new Device(native), new Device(watched)];
    const [a, b] = [make(plain), make(ready)];
    const same = async (prepared: boolean) => {
      if (prepared) b.prepareTopK();
      for (const batch of [1, 3, 8, 9]) {
        expect(await b.topK(rows(ready, batch), 5)).toEqual(await a.topK(rows(plain, batch), 5));
        expect(screened).toBe(prepared);
      }
    };
    const both = async (change: (layer: FixedFanInOutput, on: Device) => unknown) => {
      for (const [layer, on] of [[a, plain] as const, [b, ready] as const]) await change(layer, on);
    };
    await same(true);
    await both((layer, on) =>
      layer.evaluate(
        rows(on, 4),
        positivesOf([
          [1, 0],
          [5, 2],
          [7, 3],
        ]),
      ),
    );
    await same(true);
    const targets = positivesOf([
      [11, 0],
      [4000, 1],
      [8000, 1],
      [8999, 3],
    ]);
    await both((layer, on) => layer.step(rows(on, 4), targets, { rate: 1 }));
    await same(false);
    await same(true);
    await both((layer) => layer.rewire(1, 9));
    await same(false);
    await same(true);
    await both((layer) => layer.resizeLabels(Int32Array.from({ length: 9000 }, (_, l) => 8998 - l)));
    await same(false);
    await same(true);
    const start = { weights: new Float32Array(2 * shape.inputs).fill(0.5), bias: Float32Array.of(9, 8) };
    await both((layer) => layer.startLabels(Uint32Array.of(3, 8), start));
    await same(false);
    expect(Array.from((await b.topK(rows(ready, 1), 2)).labels)).toEqual([3, 8]);
  });

  it('is not made for a few connections', () => {
    const on = new Device(watched);
    const small = new FixedFanInOutput(on, {
      ...{
        inputs: 96,
        labels: 100,
        fanIn: 8,
        topology: set,
        loss: 'bce',
        optimizer: { kind: 'sgd', rate: 1 },
      },
      ...{ stream: RandomStream.named(3, 'output'), rewireStream: RandomStream.named(3, 'rewire') },
    });
    const before = on.ledger.liveBytes;
    small.prepareTopK();
    expect(on.ledger.liveBytes).toBe(before);
  });
});
