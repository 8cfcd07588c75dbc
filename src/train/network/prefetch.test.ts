/** Batches made ahead by a thread: the same training to the bit. Needs the worker of the last build. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ImagePrefetcher, sharedImages } from '../../data/prefetch.js';
import { selectKernels } from '../../kernels/index.js';
import { SmallResNet } from '../../nn/index.js';
import { blobs } from './blobs.testing.js';
import { imageTask } from './image-task.js';
import { NetworkTraining } from './network.js';
import { type NetworkEvent, networkArrays, runNetwork } from './run.js';

const scratch = mkdtempSync(join(tmpdir(), 'espalier-prefetch-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const kernels = selectKernels();
const make = (prefetch: number) =>
  new NetworkTraining(
    imageTask({
      ...{ train: blobs(100), test: blobs(40, 2), batch: 16, seed: 1, evaluationBatch: 20, prefetch },
      augment: { padCrop: 2, flip: true },
      model: (device, stream) => new SmallResNet(device, { stream, width: 4, classes: 4 }),
    }),
    { kernels, optimizer: { kind: 'adam', rate: 0.005 }, epochs: 3, seed: 1 },
  );
const arraysOf = (training: NetworkTraining) =>
  networkArrays(training).map(({ name, data }) => [name, Array.from(data as Float32Array)]);

describe.skipIf(!existsSync('dist/data/prefetch-worker.js'))('training with batches made ahead', () => {
  it('is the training without them, bit for bit, over epochs with crops and flips', async () => {
    const plain = make(0);
    await runNetwork(plain);
    for (const depth of [1, 3]) {
      const events: NetworkEvent[] = [];
      const ahead = make(depth);
      await runNetwork(ahead, { onEvent: (event) => events.push(event), evaluate: 'test' });
      expect(arraysOf(ahead)).toEqual(arraysOf(plain));
      const progress = events.filter((event) => event.event === 'progress');
      expect(progress.length).toBeGreaterThan(0);
      for (const { stalled } of progress) {
        expect(stalled).toBeGreaterThanOrEqual(0);
        expect(stalled).toBeLessThanOrEqual(1);
      }
      expect(ahead.instance.waitedMs).toBeGreaterThan(0);
    }
    expect(plain.instance.waitedMs).toBeNull();
  });

  it('goes on from a checkpoint bit for bit, and its slots are in the plan', async () => {
    const whole = make(2);
    await runNetwork(whole);
    const directory = join(scratch, 'run');
    await runNetwork(make(2), { directory, until: 8 });
    const second = make(2);
    await runNetwork(second, { directory, resume: true });
    expect(arraysOf(second)).toEqual(arraysOf(whole));
    const slots = 2 * 4 * 16 * 64;
    // The images are held twice, once where the thread can read them.
    expect(second.planned.totalBytes - make(0).planned.totalBytes).toBe(slots + 100 * 65);
    expect(second.peaks[0].accountedBytes).toBeLessThanOrEqual(second.planned.totalBytes);
  });

  it('tells why where the thread fails, and does not hang', async () => {
    const dataset = sharedImages(blobs(10));
    const slots = [new Float32Array(new SharedArrayBuffer(4 * 4 * 64))];
    const scale = { scale: Float32Array.of(1), shift: Float32Array.of(0) };
    const order = { rows: 2, batch: 4, seed: 1, dropLast: true };
    const ahead = ImagePrefetcher.open({ dataset, order, seed: 1, scale, slots, kernels: kernels.name });
    expect(() => ahead?.take(0)).toThrow(/no batch can be formed.*PREFETCH_FAILED/s);
    await ahead?.close();
  });
});
