/** The thread of ImagePrefetcher: fills the slots in turn, for as long as it lives. */
import { workerData } from 'node:worker_threads';
import { type Backend, chooseKernels } from '../kernels/choose.js';
import type { Isa } from '../kernels/native-addon.js';
import { BatchPlan } from './batches.js';
import { ImageBatch } from './image-batches.js';
import { type PrefetchJob, SLOT } from './prefetch.js';

const job = workerData as PrefetchJob;
const { states, steps, slots, labels, dataset, scale, augment, seed, message } = job;
const [backend, isa] = job.kernels.split('/') as [Backend, Isa | undefined];

function answer(slot: number, state: number): void {
  Atomics.store(states, slot, state);
  Atomics.notify(states, slot);
}

try {
  const precision = scale.scale instanceof Float64Array ? 'float64' : 'float32';
  const about = backend === 'native' ? { backend, isa, threads: 1 } : { backend: 'reference' as const };
  const { kernels } = chooseKernels({ ...about, precision });
  const order = new BatchPlan(job.order);
  const batch = new ImageBatch(job.order.batch);
  for (let slot = 0; ; slot = (slot + 1) % slots.length) {
    for (let state = states[slot]; state !== SLOT.wanted; state = Atomics.load(states, slot))
      Atomics.wait(states, slot, state);
    const step = steps[slot];
    const { stepsPerEpoch } = order;
    const ids = order.rowIds({ epoch: Math.floor(step / stepsPerEpoch), step: step % stepsPerEpoch });
    const how = augment === undefined ? null : { how: augment, seed, draw: step };
    batch.fill(kernels, dataset, ids, scale, slots[slot], how);
    labels[slot].set(batch.labels.subarray(0, ids.length));
    answer(slot, SLOT.ready);
  }
} catch (error) {
  const text = new TextEncoder().encode((error as Error).message).subarray(0, 250);
  message[0] = text.length;
  message.set(text, 1);
  for (let slot = 0; slot < slots.length; slot++) answer(slot, SLOT.failed);
}
