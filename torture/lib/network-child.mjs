/** `node network-child.mjs METHOD RUN EPOCHS SEED THREADS SAVE`: trains a tiny network in RUN, from where it stands. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { blockSparse, denseSparseDense, gates, kernels, network, nn } from '../../dist/index.js';
import { writeSafetensors } from '../../dist/store/index.js';
import { blobs } from './blobs.mjs';

const [method, run, ...numbers] = process.argv.slice(2);
const [epochs, seed, threads, checkpointEvery] = numbers.map(Number);

const task = network.imageTask({
  ...{ train: blobs(400, seed), test: blobs(80, seed + 1), batch: 16, seed, evaluationBatch: 40 },
  model: (device, stream) =>
    new nn.Sequential(
      new nn.Conv2d(device, 1, 4, 3, { stream, padding: 1 }),
      new nn.BatchNorm2d(device, 4, { activation: 'relu' }),
      new nn.MaxPool2d(2),
      new nn.Flatten(),
      new nn.Linear(device, 64, 32, { stream, activation: 'relu' }),
      new nn.Linear(device, 32, 32, { stream, activation: 'relu' }),
      new nn.Linear(device, 32, 4, { stream }),
    ),
});
const third = epochs / 3;
const phases = denseSparseDense.densePhases({ dense: third, sparse: third, redense: third, sparsity: 0.5 });
const options = {
  gates: { methods: (parts) => [new gates.GateTraining(parts, { sampled: true })] },
  dsd: { methods: (parts) => [new denseSparseDense.PhasedMasks(parts, { phases })] },
  bsr: {
    saved: new blockSparse.SavedActivations({
      ...{ inputs: blockSparse.bsr({ block: 8, keep: 0.4 }), warmup: 50, sampleEvery: 40 },
    }),
  },
}[method];
const training = new network.NetworkTraining(task, {
  ...{ kernels: kernels.selectKernels({ threads }), epochs, seed, optimizer: { kind: 'adam', rate: 2e-3 } },
  schedule: { kind: 'cosine', warmup: 0.02, floor: 0 },
  ...options,
});
await mkdir(run, { recursive: true });
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    if (stop.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143);
    console.error(`${signal}: saving a checkpoint; once more to leave at once`);
    stop.abort();
  });
}
const finished = await network.runNetwork(training, {
  ...{ directory: run, resume: existsSync(join(run, 'checkpoints')), checkpointEvery },
  ...{ evaluate: 'test', evaluateEvery: epochs / 4, signal: stop.signal },
});
if (finished) {
  // As safetensors, so that bits can be compared file by file.
  await mkdir(join(run, 'model'), { recursive: true });
  await writeSafetensors(join(run, 'model', 'model.safetensors'), network.networkArrays(training));
} else {
  console.error(`stopped at step ${training.taken}; go on with the same command`);
  process.exitCode = 1;
}
