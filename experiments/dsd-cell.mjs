/** One cell of `dsd`: dense, sparse, dense, and its dense control of equal budget, each scored on the test split once. */
import { denseSparseDense, kernels, network } from '../dist/index.js';
import { histogram, recipes, taskOf } from './lib/networks.mjs';

/** @param {{ network: string, images: string, config: { seed: number, phases: object } }} cell */
export async function run(cell) {
  const { seed, phases: how } = cell.config;
  const backend = kernels.selectKernels();
  const task = await taskOf({ ...cell, seed });
  const phases = denseSparseDense.densePhases(how);
  const epochs = phases.reduce((sum, phase) => sum + phase.epochs, 0);
  const make = (methods) =>
    new network.NetworkTraining(task, {
      ...{ kernels: backend, optimizer: recipes[cell.network].optimizer, epochs, seed, methods },
      schedule: cell.config.schedule,
      clip: recipes[cell.network].clip ?? null,
    });
  const course = [];
  const onEvent = (event) => {
    if (event.event === 'evaluation')
      console.error(`  epoch ${event.epoch}: loss ${event.loss.toFixed(4)} on validation`);
  };
  const own = make((parts) => [new denseSparseDense.PhasedMasks(parts, { phases })]);
  const [method] = own.participants;
  // Phase by phase: weights and validation at the end of each.
  for (const { name, end, sparsity = 0 } of method.spans) {
    await network.runNetwork(own, { until: end, onEvent });
    const arrays = method.chosen.map(({ parameter }) => parameter.data);
    const limit = course[0]?.limit ?? Number((4 * deviation(arrays)).toPrecision(1));
    const zeros = arrays.reduce((sum, array) => sum + array.filter((w) => w === 0).length, 0);
    course.push({
      ...{ name, sparsity, limit, validation: own.evaluate('validation') },
      zeros: zeros / arrays.reduce((sum, { length }) => sum + length, 0),
      histogram: histogram(arrays, { bins: 61, from: -limit, to: limit }),
    });
  }
  const dense = make(undefined);
  await network.runNetwork(dense);
  const score = (training, split) => training.evaluate(split);
  return {
    ...{ config: cell.config, epochs, course, kernels: backend.name },
    validation: { dense: score(dense, 'validation'), dsd: score(own, 'validation') },
    test: { dense: score(dense, 'test'), dsd: score(own, 'test') },
  };
}

function deviation(arrays) {
  let [sum, count] = [0, 0];
  for (const array of arrays) {
    for (const w of array) sum += w * w;
    count += array.length;
  }
  return Math.sqrt(sum / count);
}
