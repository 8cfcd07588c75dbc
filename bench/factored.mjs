// The factored output layer: `node bench/factored.mjs` after `npm run build`. Its step must not depend on the number
// of labels, must keep near the rate of sgemm, and must leave dense steps of the same loss far behind.
import { parseArgs } from 'node:util';
import { loadNative } from '../dist/kernels/index.js';
import { RandomStream } from '../dist/kernels/random.js';
import { DenseTwin, FactoredOutput, sphericalLoss } from '../dist/methods/factored/index.js';
import { Device } from '../dist/tensor/device.js';
import { duel, local, printDuel, printMachine } from './lib/harness.mjs';
import { reluBatch } from './lib/relu-batches.mjs';
import { startRival } from './lib/rival.mjs';

const { values: options } = parseArgs({
  options: {
    labels: { type: 'string', default: '10000,100000,1000000' },
    rival: { type: 'string', default: '200000' },
    batch: { type: 'string', default: '128' },
    inputs: { type: 'string', default: '512' },
    targets: { type: 'string', default: '5' },
    rate: { type: 'string', default: '0.1' },
    loss: { type: 'string', default: 'squaredError' },
    steps: { type: 'string', default: '600' },
    rounds: { type: 'string', default: '11' },
    threads: { type: 'string', default: '2' },
  },
});
const number = (/** @type {string} */ name) => Number(options[name]);
const sizes = options.labels.split(',').map(Number);
const [batch, inputs, targets, rate] = ['batch', 'inputs', 'targets', 'rate'].map(number);
const [rivalLabels, steps, rounds, threads] = ['rival', 'steps', 'rounds', 'threads'].map(number);
const loss = sphericalLoss(options.loss);

// Floors are what the project promises, not what this machine reaches.
const FLOORS = { size: 1 / 1.3, gemm: 0.5, stabilisation: 0.25, torch: 100, dense: 50 };
const BATCHES = 20;
// Seven products with the d x d factors and six with m x m matrices, two operations per multiply-add.
const flops = 2 * batch * inputs * (7 * inputs + 6 * batch);

const draws = RandomStream.named(1, 'bench/factored');
const gauss = () => Math.sqrt(-2 * Math.log(1 - draws.uniform())) * Math.cos(2 * Math.PI * draws.uniform());

/** Batches of hidden vectors as a relu leaves them, of length 1: they share a strong common direction. */
function batches(/** @type {number} */ labels) {
  const shape = { batch, inputs, labels, targets };
  return Array.from({ length: BATCHES }, () => reluBatch(shape, draws, () => Math.max(0, gauss())));
}

/** A layer and its steps, taken in turns over the batches. */
function trainee(
  /** @type {typeof FactoredOutput | typeof DenseTwin} */ Layer,
  /** @type {number} */ labels,
) {
  const device = new Device(loadNative({ threads }));
  const optimizer = { kind: /** @type {const} */ ('sgd'), rate };
  const stream = RandomStream.named(2, 'output');
  const layer = new Layer(device, { inputs, labels, loss, optimizer, stream });
  const data = batches(labels);
  let taken = 0;
  const step = async () => {
    const one = data[taken++ % BATCHES];
    device.arena.reset();
    return layer.step(device.fromArray([batch, inputs], one.h), one.positives, { rate });
  };
  const sample = async (/** @type {number} */ repeat) => {
    const cpu = process.cpuUsage();
    const start = performance.now();
    for (let i = 0; i < repeat; i++) await step();
    const wall = (performance.now() - start) / 1000;
    const used = process.cpuUsage(cpu);
    return { seconds: wall / repeat, busy: (used.user + used.system) / 1e6 / (wall * threads) };
  };
  return { layer, step, sample };
}

/**
 * Parts of a step run on one thread: what counts as undisturbed is its own best share.
 * @param {ReturnType<typeof trainee>} subject
 */
async function contender(name, { sample }, repeat) {
  let best = 0;
  for (let i = 0; i < 3; i++) best = Math.max(best, (await sample(repeat)).busy);
  return {
    name,
    sample: async () => {
      const { seconds, busy } = await sample(repeat);
      best = Math.max(best, busy);
      return { seconds, busy: busy / best };
    },
  };
}

const unit = (/** @type {number} */ s) => `${(s * 1e3).toFixed(2)} ms`;
const show = async (name, ours, rival, floor) =>
  printDuel(name, await duel(ours, rival, rounds), { floor, unit });

printMachine();
console.log(`d ${inputs}, m ${batch}, K ${targets}, ${options.loss}, rate ${rate}, ${threads} threads`);
const trained = sizes.map((labels) => ({ labels, ...trainee(FactoredOutput, labels) }));
for (const one of trained) for (let i = 0; i < 5; i++) await one.step();
const [first, ...others] = trained;
const base = await contender(`L ${first.labels}`, first, 20);

// The common yardstick: as many operations by sgemm alone, in products of the step's own shape.
const kernels = loadNative({ threads });
const floats = (/** @type {number} */ n) => Float32Array.from({ length: n }, () => draws.uniform() - 0.5);
const [a, b, c] = [batch * inputs, inputs * inputs, batch * inputs].map(floats);
const products = Math.round(flops / (2 * batch * inputs * inputs));
const gemm = local('sgemm', threads, () => {
  for (let i = 0; i < products; i++) kernels.gemm({ m: batch, n: inputs, k: inputs, a, b, c });
});
await show(`L ${first.labels}, part of sgemm`, base, gemm, FLOORS.gemm);
for (const one of others) {
  const large = await contender(`L ${one.labels}`, one, 20);
  await show(`L ${one.labels} against L ${first.labels}`, large, base, FLOORS.size);
}

// What keeps the factors sound: its measured time, and a whole pass over V at the end for what still waits.
const repairs = (/** @type {import('../dist/methods/factored/index.js').StabilityReport} */ s) =>
  [s.checks, s.moves, s.singular, s.rescalings, s.resets, s.probes, s.recounts].reduce(
    (sum, { seconds }) => sum + seconds,
    0,
  );
for (const { labels, layer, step } of trained) {
  const before = repairs(layer.stability);
  const start = performance.now();
  for (let i = 0; i < steps; i++) await step();
  const stepped = (performance.now() - start) / 1000;
  await layer.settle();
  const seconds = (performance.now() - start) / 1000;
  const { stability: s } = layer;
  const share = (repairs(s) - before + seconds - stepped) / seconds;
  const good = share <= FLOORS.stabilisation;
  if (!good) process.exitCode = 1;
  console.log(
    `L ${labels}: keeping the factors sound takes ${(100 * share).toFixed(1)} % of ${steps} steps (${good ? 'limit' : 'ABOVE'} ` +
      `${100 * FLOORS.stabilisation} %): ${s.checks.count} checks, ${s.moves.directions} directions moved, ` +
      `the pass over V ${(1e3 * (seconds - stepped)).toFixed(0)} ms`,
  );
}
trained.length = 0;

const ours = trainee(FactoredOutput, rivalLabels);
for (let i = 0; i < 5; i++) await ours.step();
const fast = await contender(`factored, L ${rivalLabels}`, ours, 20);
const dense = await contender('dense twin', trainee(DenseTwin, rivalLabels), 1);
await show(`L ${rivalLabels}, our dense step`, fast, dense, FLOORS.dense);
const torch = await startRival(
  'torch_factored.py',
  { labels: rivalLabels, batch, inputs, targets, threads },
  { OPENBLAS_CORETYPE: 'SkylakeX', OPENBLAS_NUM_THREADS: String(threads) },
);
if (torch !== null) {
  await show(`L ${rivalLabels}, dense PyTorch step`, fast, torch, FLOORS.torch);
  torch.stop();
}
