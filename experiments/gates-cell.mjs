/** One cell of `gates`: a network with gates and its dense control, both scored on the test split once. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gates, kernels, network, sparse } from '../dist/index.js';
import { histogram, recipes, taskOf } from './lib/networks.mjs';

/** @param {{ network: string, dataset: string, config: { seed: number, epochs: number, gates: object } }} cell */
export async function run(cell) {
  const { seed, epochs } = cell.config;
  const backend = kernels.selectKernels();
  const task = await taskOf({ ...cell, seed });
  const common = {
    ...{ kernels: backend, optimizer: recipes[cell.network].optimizer, epochs, seed },
    schedule: { kind: 'cosine', warmup: 0.02, floor: 0 },
  };
  const methods = (parts) => [new gates.GateTraining(parts, cell.config.gates)];
  const course = [];
  let training = null;
  const watch = (event) => {
    if (event.event === 'method') {
      const all = { bins: 20, from: 0, to: 1 };
      const values = training.participants[0].gated.map(({ gates: { gates: g } }) => g);
      course.push({ epoch: event.what.epoch, layers: event.what.layers, gates: histogram(values, all) });
    }
    if (event.event === 'evaluation')
      console.error(`  epoch ${event.epoch}: ${(100 * event.accuracy).toFixed(2)} % on validation images`);
  };
  const one = async (own) => {
    training = new network.NetworkTraining(task, { ...common, methods: own });
    await network.runNetwork(training, { onEvent: watch, evaluate: 'validation', evaluateEvery: epochs / 4 });
    return training;
  };
  const dense = await one(undefined);
  const gated = await one(methods);
  const validation = { dense: dense.evaluate('validation'), gates: gated.evaluate('validation') };
  const test = { dense: dense.evaluate('test'), gates: gated.evaluate('test') };
  const [method] = gated.participants;
  const layers = method.shares();
  const total = gated.instance.learner.parameters().reduce((sum, { size }) => sum + size, 0);
  const removed = layers.reduce((sum, { kept, of }) => sum + of - kept, 0);
  method.finish();
  return { config: cell.config, validation, test, course, layers, total, removed, exported: await exported(gated) };
}

/** Sizes on disk and milliseconds of the dense and of the sparse form; the answers of both on the test split. */
async function exported(training) {
  const home = await mkdtemp(join(tmpdir(), 'espalier-export-'));
  try {
    const { learner } = training.instance;
    const input = [1, 28, 28];
    const model = sparse.sparseNetwork(training.device, learner, { input });
    const files = await sparse.writeBoth(home, learner, model);
    return { ...files, ...sparse.compareForms(training.device, learner, model, { input, batches: [1, 64] }) };
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}
