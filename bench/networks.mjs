// Training steps of small networks against PyTorch, same batch, same threads, taking turns; and those of an MLP against
// TensorFlow.js on WASM, which has no kernel for the weight gradient of a convolution, so that no other model has a row:
// `node bench/networks.mjs [threads] [MODEL]` after `npm run build`. A step: the batch from bytes, forward, backward, Adam.
import { loadNative } from '../dist/kernels/index.js';
import * as nn from '../dist/nn/index.js';
import { imageTask, NetworkTraining, textTask } from '../dist/train/network/index.js';
import { duel, local, median, printDuel, printMachine } from './lib/harness.mjs';
import { startRival } from './lib/rival.mjs';

// No slower than 1.2 times PyTorch.
const FLOOR = 1 / 1.2;
const FLOOR_TFJS = 5;
const STEPS = 10;
const TEXT = { symbols: 65, embedding: 64, hidden: 256, length: 64 };

/** @param {any} model */
const image = (model, batch = 64) => ({
  batch,
  task: imageTask({ train: noise(6000), batch, seed: 1, model }),
});

/** @type {Record<string, () => { batch: number, task: import('../dist/train/network/index.js').NetworkTask }>} */
const MODELS = {
  lenet300: () =>
    image((/** @type {any} */ device, /** @type {any} */ stream) => new nn.LeNet300100(device, { stream })),
  lenet5: () =>
    image((/** @type {any} */ device, /** @type {any} */ stream) => new nn.LeNet5(device, { stream })),
  resnet: () =>
    image((/** @type {any} */ device, /** @type {any} */ stream) => new nn.SmallResNet(device, { stream })),
  charlstm: () => {
    const [batch, { symbols, embedding, hidden, length }] = [32, TEXT];
    const train = Uint16Array.from({ length: 400_000 }, (_, i) => (i * i * 7 + (i >> 3)) % symbols);
    const model = (/** @type {any} */ device, /** @type {any} */ stream) =>
      new nn.CharacterModel(device, { stream, symbols, batch, carry: batch, embedding, hidden });
    return { batch, task: textTask({ train, symbols, batch, steps: length, seed: 1, model }) };
  },
};

const unit = (/** @type {number} */ s) => `${((s * 1e3) / STEPS).toFixed(3)} ms/step`;
const counts = process.argv[2] ? [Number(process.argv[2])] : [1, 2];
const asked = process.argv[3] ? [process.argv[3]] : Object.keys(MODELS);
printMachine();
for (const threads of counts) {
  for (const name of asked) {
    const { batch, task } = MODELS[name]();
    const training = new NetworkTraining(task, {
      kernels: loadNative({ threads }),
      optimizer: { kind: 'adam', rate: 1e-4 },
      epochs: 10_000,
      seed: 1,
    });
    const ours = local('espalier', threads, () => {
      for (let i = 0; i < STEPS; i++) training.step();
    });
    const setup = { ...TEXT, model: name, batch, steps: STEPS, threads };
    const env = {
      OPENBLAS_CORETYPE: 'SkylakeX',
      OPENBLAS_NUM_THREADS: `${threads}`,
      OMP_NUM_THREADS: `${threads}`,
    };
    if (name === 'lenet300') await againstTfjs(`${name} batch ${batch} T${threads}`, ours, setup);
    const rival = await startRival('torch_network.py', setup, env);
    if (rival === null) {
      const samples = [];
      for (let i = 0; i < 15; i++) samples.push((await ours.sample()).seconds);
      console.log(`${name.padEnd(30)} ${unit(median(samples))}`);
      continue;
    }
    printDuel(`${name} batch ${batch} T${threads}`, await duel(ours, rival), { floor: FLOOR, unit });
    rival.stop();
  }
}

/**
 * One thread on its side whatever is asked for: in Node its WASM has no threads.
 * @param {string} name
 * @param {import('./lib/harness.mjs').Contender} ours
 * @param {Record<string, unknown>} setup
 */
async function againstTfjs(name, ours, setup) {
  const rival = await startRival('tfjs_network.mjs', setup);
  if (rival === null) return;
  console.log(`against ${rival.name}`);
  printDuel(name, await duel(ours, rival), { floor: FLOOR_TFJS, unit });
  rival.stop();
}

/** Images of noise: the time of a step does not depend on what is in them. @param {number} rows */
function noise(rows) {
  const pixels = Uint8Array.from({ length: rows * 784 }, (_, i) => (i * 2654435761) >>> 24);
  const labels = Uint8Array.from({ length: rows }, (_, i) => i % 10);
  return { name: 'noise', rows, channels: 1, height: 28, width: 28, classes: 10, pixels, labels };
}
