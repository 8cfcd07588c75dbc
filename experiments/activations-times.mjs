/**
 * The times of `activations`: steps of a network with every way to keep activations, each in turns with dense in one
 * process, so that what else the machine does meets both. Returns the median of the ratios and half their quartiles.
 */
import { join } from 'node:path';
import { data, kernels } from '../dist/index.js';
import { dense, training } from './activations-cell.mjs';

const rounds = 25;

/** @param {{ images: string, config: any, settings: Record<string, { saved: object, products?: 'bf16' }> }} cell */
export async function run({ images, config, settings }) {
  const splits = await data.readMnist(join(process.env.ESPALIER_DATA ?? '../shared/data', images), images);
  const backend = kernels.selectKernels();
  const make = (saved, products) => {
    const how = { ...config, products, seed: 1 };
    const own = training(splits, backend, how, config.batch, { ...saved, sampleEvery: 0 });
    for (let i = 0; i < 3; i++) own.step();
    return own;
  };
  const rival = make(dense);
  const timed = (own) => {
    const start = performance.now();
    own.step();
    own.step();
    return (performance.now() - start) / 2;
  };
  const found = {};
  for (const [name, { saved, products }] of Object.entries(settings)) {
    const own = make(saved, products);
    const ratios = Array.from({ length: rounds }, () => timed(own) / timed(rival)).sort((a, b) => a - b);
    const at = (share) => ratios[Math.round(share * (rounds - 1))];
    found[name] = { ratio: at(0.5), spread: (at(0.75) - at(0.25)) / 2 };
    console.error(`  ${name}: ${found[name].ratio.toFixed(3)} of dense`);
  }
  return { config, kernels: backend.name, times: found };
}
