// A training step of a ResMLP with what backward needs kept dense (each tensor once) against block-sparse, taking turns:
//   node bench/activation-step.mjs [--batch 128] [--dim 64] [--depth 4] [--threads 2]   after `npm run build`
import { parseArgs } from 'node:util';
import { loadNative } from '../dist/kernels/index.js';
import { duel, local, printDuel, printMachine } from './lib/harness.mjs';
import { noiseTraining, settings } from './lib/noise-resmlp.mjs';

const { values } = parseArgs({
  options: {
    batch: { type: 'string', default: '128' },
    dim: { type: 'string', default: '64' },
    depth: { type: 'string', default: '4' },
    threads: { type: 'string', default: '2' },
  },
});
const threads = Number(values.threads);
const shape = {
  ...{ batch: Number(values.batch), dim: Number(values.dim), depth: Number(values.depth) },
  epochs: 1e6,
};

const kernels = loadNative({ threads });
printMachine();
console.log(`ResMLP, ${JSON.stringify(values)}; no slower than dense is wanted`);
const contender = (/** @type {string} */ name) => {
  const training = noiseTraining(shape, settings[name], kernels);
  return local(name, threads, () => void training.step(), 0.2);
};
const dense = contender('dense');
const unit = (/** @type {number} */ s) => `${(s * 1e3).toFixed(1)} ms/step`;
for (const name of Object.keys(settings)) {
  if (name === 'dense' || name.includes('warm-up')) continue;
  printDuel(name, await duel(contender(name), dense), { floor: 1, unit });
}
