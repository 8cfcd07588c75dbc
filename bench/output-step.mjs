// The fused fixed fan-in output step (forward, BCE, all gradients, SGD) as ratios: to multiply-adds in registers, to one
// thread, to a smaller number of labels, and to a dense step in PyTorch. After `npm run build`:
//   node bench/output-step.mjs [--labels 131072] [--many 670091] [--batch 64] [--inputs 768] [--fan-in 32] [--chunk 128]
//     [--rounds 15] [--isa avx512]
// A step counts 6 * batch * labels * fan-in operations. The rival is skipped by name where PyTorch is missing.
import { parseArgs } from 'node:util';
import { loadNative } from '../dist/kernels/index.js';
import { nativeBackend } from '../dist/kernels/native-addon.js';
import { problem } from './lib/fan-in-problem.mjs';
import { duel, local, median, printDuel, printMachine } from './lib/harness.mjs';
import { startRival } from './lib/rival.mjs';

const { values: options } = parseArgs({
  options: {
    labels: { type: 'string', default: '131072' },
    many: { type: 'string', default: '670091' },
    batch: { type: 'string', default: '64' },
    inputs: { type: 'string', default: '768' },
    'fan-in': { type: 'string', default: '32' },
    chunk: { type: 'string', default: '128' },
    rounds: { type: 'string', default: '15' },
    isa: { type: 'string' },
  },
});
const number = (/** @type {string} */ name) => Number(options[name]);
const [labels, many, batch, inputs] = ['labels', 'many', 'batch', 'inputs'].map(number);
const [fanIn, chunk, rounds] = ['fan-in', 'chunk', 'rounds'].map(number);

// Floors are what the project promises, not what this machine reaches.
const FLOORS = { peak: 0.29, threads: 1.75, many: 0.9, torch: 30 };

const none = { m: null, v: null };
const plainSgd = { kind: 'sgd', rate: 1e-3, momentum: 0, nesterov: false, weightDecay: 0 };

/** @param {ReturnType<typeof problem>} data @param {number} threads @param {'fast' | 'compact'} form */
function step(data, threads, form) {
  const kernels = loadNative({ isa: options.isa, threads });
  const { labels, columns } = data;
  const shape = { inputs, labels, fanIn, chunk };
  const length = form === 'fast' ? kernels.fanInIndexLength(shape) : 0;
  const index = length > 0 ? new Uint16Array(length) : null;
  const build = () => kernels.fanInIndexBuild({ ...shape, columns, index, begin: 0, end: labels });
  if (index !== null) build();
  const args = {
    ...data,
    ...{ batch, inputs, begin: 0, end: labels, chunk, fanIn, index },
    workspace: new Float32Array(kernels.fanInWorkspace({ ...shape, batch })),
    dh: new Float32Array(batch * inputs),
    loss: 'bce',
    gradScale: 1 / batch,
    backward: true,
    norms: null,
    squares: null,
    update: {
      ...{ rule: plainSgd, weightMoments: none, biasMoments: none, updateScale: 1 },
      ...{ dWeights: null, dBias: null },
    },
  };
  const bytes = 4 + columns.BYTES_PER_ELEMENT + (2 * length) / (labels * fanIn);
  return { kernels, build, bytes, timed: local(kernels.name, threads, () => kernels.fanInStep(args), 0.05) };
}

/** As many multiply-adds in registers as a step of `labels` labels has: the ratio to it is the part of the peak. */
function ceiling(/** @type {string} */ name, /** @type {number} */ threads, /** @type {number} */ labels) {
  const backend = nativeBackend(name.replace('native/', ''), threads);
  const flops = new Float64Array(1);
  backend.use().fma_peak(1, flops);
  const turns = Math.round((6 * batch * labels * fanIn) / flops[0]);
  return local('multiply-adds in registers', threads, () => backend.use().fma_peak(turns, flops), 0.05);
}

/** The other contender's seconds counted for `factor` times the work. */
function scaled(
  /** @type {import('./lib/harness.mjs').Contender} */ contender,
  /** @type {number} */ factor,
) {
  const sample = async () => {
    const { seconds, busy } = await contender.sample();
    return { seconds: seconds * factor, busy };
  };
  return { name: contender.name, sample };
}

const unit = (/** @type {number} */ s) =>
  `${(s * 1e3).toFixed(2)} ms (${((6e-9 * batch * labels * fanIn) / s).toFixed(0)} GFLOP/s)`;
const show = async (name, ours, rival, floor) =>
  printDuel(name, await duel(ours, rival, rounds), { floor, unit });

printMachine();
console.log(`labels ${labels}, batch ${batch}, inputs ${inputs}, fan-in ${fanIn}, chunk ${chunk}`);
const shaped = (/** @type {number} */ labels) => problem({ labels, fanIn, inputs, batch });
const data = shaped(labels);
for (const form of ['fast', 'compact']) {
  const [one, two] = [1, 2].map((threads) => step(data, threads, form));
  console.log(`${form}: ${one.kernels.name}, ${one.bytes.toFixed(2)} bytes per connection`);
  const { name } = one.kernels;
  await show(`${form}, T1, part of peak`, one.timed, ceiling(name, 1, labels), FLOORS.peak);
  await show(`${form}, T2, part of peak`, two.timed, ceiling(name, 2, labels), FLOORS.peak);
  await show(`${form}, T2 against T1`, two.timed, one.timed, FLOORS.threads);
  if (form === 'compact') continue;
  const builds = Array.from({ length: 5 }, () => local('index', 1, one.build).sample());
  const seconds = (await Promise.all(builds)).map((sample) => sample.seconds);
  console.log(`building the index, T1: ${(1e3 * median(seconds)).toFixed(1)} ms`);
  const rival = await startRival(
    'torch_output_step.py',
    { labels, batch, inputs, threads: 2 },
    { OPENBLAS_CORETYPE: 'SkylakeX', OPENBLAS_NUM_THREADS: '2' },
  );
  if (rival === null) continue;
  await show('fast, T2, dense PyTorch step', two.timed, rival, FLOORS.torch);
  rival.stop();
}
const large = step(shaped(many), 2, 'fast');
const small = step(data, 2, 'fast');
await show(`rate at ${many} labels, T2`, scaled(large.timed, labels / many), small.timed, FLOORS.many);
