/** One cell of `gates`: a network with gates and its dense control of equal budget, each scored on the test split once. */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Device, gates, kernels, network, sparse } from '../dist/index.js';
import { histogram, taskOf } from './lib/networks.mjs';

/** @param {{ network: string, images: string, config: { seed: number, epochs: number, optimizer: object, gates: object } }} cell */
export async function run(cell) {
  const { seed, epochs } = cell.config;
  const backend = kernels.selectKernels();
  const task = await taskOf({ ...cell, seed });
  const course = [];
  const trained = async (methods) => {
    const training = new network.NetworkTraining(task, {
      ...{ kernels: backend, optimizer: cell.config.optimizer, epochs, seed, methods },
      schedule: { kind: 'cosine', warmup: 0.02, floor: 0 },
    });
    const onEvent = (event) => {
      if (event.event === 'method') {
        const values = training.participants[0].gated.map(({ gates: { gates: g } }) => g);
        course.push({ ...event.what, histogram: histogram(values, { bins: 20, from: 0, to: 1 }) });
      }
      if (event.event === 'evaluation')
        console.error(
          `  epoch ${event.epoch}: ${(100 * event.accuracy).toFixed(2)} % of the validation images`,
        );
    };
    await network.runNetwork(training, { onEvent, evaluate: 'validation', evaluateEvery: epochs / 2 });
    return training;
  };
  const dense = await trained(undefined);
  const gated = await trained((parts) => [new gates.GateTraining(parts, cell.config.gates)]);
  const [method] = gated.participants;
  const layers = method.shares();
  method.finish();
  const { learner } = gated.instance;
  const total = learner.parameters().reduce((sum, { size }) => sum + size, 0);
  const removed = layers.reduce((sum, { kept, of }) => sum + of - kept, 0);
  // Forms are chosen and compared on one thread: two of them would race with whatever else the machine does.
  const single = kernels.selectKernels({ threads: 1 });
  const small = sparse.sparseNetwork(single, learner, { input: [1, 28, 28], forms: 'measure' });
  const score = (split) => ({ dense: dense.evaluate(split).accuracy, gates: gated.evaluate(split).accuracy });
  return {
    config: cell.config,
    validation: score('validation'),
    test: { ...score('test'), exported: network.scoreModule(task, small, backend, 'test').accuracy },
    ...{ course, layers, total, removed, kernels: backend.name },
    bytes: { dense: 4 * total, sparse: await sizeOf(small) },
    latency: sparse.compareLatency(new Device(single), dense.instance.learner, small),
    forms: Object.fromEntries(small.weighted().map(({ step, forms }) => [step.name, forms])),
    survivors: survivors(learner),
  };
}

async function sizeOf(small) {
  const home = await mkdtemp(join(tmpdir(), 'espalier-export-'));
  try {
    const path = join(home, 'model.safetensors');
    await sparse.saveSparse(path, small);
    return (await stat(path)).size;
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

/** Of the first layer, per pixel of its input or of its filters: how many weights are left. */
function survivors(learner) {
  const [, { shape, data }] = [...learner.namedParameters()].find(([, { shape }]) => shape.length >= 2);
  const columns = data.length / shape[0];
  const counts = new Array(columns).fill(0);
  for (let i = 0; i < data.length; i++) if (data[i] !== 0) counts[i % columns]++;
  const side = Math.round(Math.sqrt(columns));
  return { rows: side, counts };
}
