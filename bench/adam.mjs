// Adam over 50 million parameters against PyTorch: `node bench/adam.mjs [threads]` after `npm run build`.
import { availableParallelism } from 'node:os';
import { loadNative, measurePeak, referenceKernels } from '../dist/kernels/index.js';
import { duel, local, median, printDuel, printMachine } from './lib/harness.mjs';
import { startRival } from './lib/rival.mjs';

const N = 50_000_000;
const FLOOR = 4;
const rule = {
  kind: 'adam',
  rate: 1e-3,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  weightDecay: 0,
  decoupled: false,
  correction1: 0.1,
  correction2: 0.001,
};

const threads = Number(process.argv[2] ?? availableParallelism());
const kernels = loadNative({ threads });
printMachine();
const { copyGBs } = measurePeak(kernels.name.split('/')[1], threads);
console.log(`${kernels.name}, ${threads} thread(s): copy ${copyGBs.toFixed(1)} GB/s`);
check();

const [w, g, m, v] = Array.from({ length: 4 }, (_, i) => uniform(N, i, i === 3 ? 0 : -0.5));
const ours = local(kernels.name, threads, () => kernels.update({ rule, n: N, w, g, m, v, gradScale: 1 }));
// Reads w, g, m, v and writes w, m, v.
const unit = (/** @type {number} */ s) =>
  `${(s * 1e3).toFixed(1)} ms (${((28 * N) / s / 1e9).toFixed(1)} GB/s)`;
let compared = false;
for (const foreach of [false, true]) {
  const rival = await startRival(
    'torch_adam.py',
    { n: N, threads, foreach },
    { OMP_NUM_THREADS: `${threads}` },
  );
  if (rival === null) break;
  compared = true;
  printDuel(`50M T${threads} vs ${rival.name}`, await duel(ours, rival, 9), { floor: FLOOR, unit });
  rival.stop();
}
if (!compared) {
  const samples = Array.from({ length: 9 }, () => ours.sample());
  console.log(unit(median((await Promise.all(samples)).map((s) => s.seconds))));
}

/** @param {number} n @param {number} key0 @param {number} low */
function uniform(n, key0, low) {
  const out = new Float32Array(n);
  kernels.uniform({ n, key0, key1: 0, counter: 0, low, high: 0.5, out });
  return out;
}

function check() {
  const n = 10_007;
  const fast = {
    w: uniform(n, 1, -0.5),
    g: uniform(n, 2, -0.5),
    m: uniform(n, 3, -0.5),
    v: uniform(n, 4, 0),
  };
  const slow = Object.fromEntries(Object.entries(fast).map(([name, x]) => [name, Float64Array.from(x)]));
  kernels.update({ rule, n, gradScale: 1, ...fast });
  referenceKernels('float64').update({ rule, n, gradScale: 1, .../** @type {any} */ (slow) });
  for (let i = 0; i < n; i++) {
    if (!(Math.abs(fast.w[i] - slow.w[i]) <= 1e-6)) throw new Error(`Adam is wrong at ${i}`);
  }
}
