// sgemm against OpenBLAS, and products of bfloat16 pairs against sgemm where the processor has them:
// `node bench/gemm.mjs [threads, default 1 and 2] [isa]` after `npm run build`.
import { loadNative, measurePeak, referenceKernels } from '../dist/kernels/index.js';
import { nativeBackend } from '../dist/kernels/native-addon.js';
import { duel, local, median, printDuel, printMachine, threadsAndIsa } from './lib/harness.mjs';
import { fastestBlas } from './lib/openblas.mjs';

const FLOOR = 0.9;
const PAIRS_FLOOR = 1.2;
const SHAPES = [
  { m: 256, n: 1024, k: 1024, transB: false },
  { m: 256, n: 1024, k: 1024, transB: true },
  { m: 64, n: 512, k: 2048, transB: false },
  { m: 64, n: 512, k: 2048, transB: true },
  { m: 8, n: 1024, k: 1024, transB: true },
];

/** Also a gradient of weights of a narrow layer, from many rows. */
const PAIRED = [...SHAPES.slice(0, 4), { m: 256, n: 64, k: 4096, transB: false, transA: true }];

printMachine();
const { counts, isa } = threadsAndIsa();
const startBlas = await fastestBlas();
for (const threads of counts) {
  const kernels = loadNative({ threads, isa });
  const { gflops } = measurePeak(kernels.name.split('/')[1], threads);
  console.log(
    `${kernels.name}, ${threads} thread(s): multiply-adds in registers ${gflops.toFixed(0)} GFLOP/s`,
  );
  for (const shape of SHAPES) {
    const { m, n, k, transB } = shape;
    const a = uniform(kernels, m * k, 1);
    const b = uniform(kernels, k * n, 2);
    const c = new Float32Array(m * n);
    const args = { m, n, k, a, b, c, transB };
    check(kernels, args);
    const ours = local(kernels.name, threads, () => kernels.gemm(args));
    const name = `${m}x${n}x${k}${transB ? ' b transposed' : ''} T${threads}`;
    const rival = startBlas === null ? null : await startBlas({ ...shape, threads });
    const unit = (/** @type {number} */ s) =>
      `${(s * 1e3).toFixed(3)} ms (${((2e-9 * m * n * k) / s).toFixed(0)} GFLOP/s)`;
    if (rival === null) {
      const samples = Array.from({ length: 15 }, () => ours.sample());
      console.log(`${name.padEnd(30)} ${unit(median((await Promise.all(samples)).map((s) => s.seconds)))}`);
      continue;
    }
    printDuel(name, await duel(ours, rival), { floor: FLOOR, unit });
    rival.stop();
  }
  if (kernels.name === 'native/avx512' && nativeBackend('scalar', 1).use().has_bf16() === 1) {
    for (const shape of PAIRED) {
      const { m, n, k } = shape;
      const [a, b, c] = [uniform(kernels, m * k, 1), uniform(kernels, k * n, 2), new Float32Array(m * n)];
      const of = (/** @type {'float32' | 'bf16'} */ products) =>
        local(products, threads, () => kernels.gemm({ ...shape, a, b, c, products }));
      const unit = (/** @type {number} */ s) => `${((2e-9 * m * n * k) / s).toFixed(0)} GFLOP/s`;
      const name = `bf16 ${m}x${n}x${k}${shape.transB ? ' b transposed' : ''}${shape.transA ? ' a transposed' : ''}`;
      printDuel(`${name} T${threads}`, await duel(of('bf16'), of('float32')), { floor: PAIRS_FLOOR, unit });
    }
  }
}

/** @param {import('../dist/kernels/index.js').Kernels} kernels @param {number} n @param {number} key0 */
function uniform(kernels, n, key0) {
  const out = new Float32Array(n);
  kernels.uniform({ n, key0, key1: 0, counter: 0, low: -0.5, high: 0.5, out });
  return out;
}

/** @param {import('../dist/kernels/index.js').Kernels} kernels @param {any} args */
function check(kernels, args) {
  kernels.gemm(args);
  const { m, n, k } = args;
  const c = new Float64Array(m * n);
  referenceKernels('float64').gemm({
    ...args,
    a: Float64Array.from(args.a),
    b: Float64Array.from(args.b),
    c,
  });
  let worst = 0;
  for (let i = 0; i < m * n; i++) worst = Math.max(worst, Math.abs(args.c[i] - c[i]));
  // Entries are sums of k products of numbers below 1/2.
  if (!(worst <= 1e-6 * Math.sqrt(k))) throw new Error(`gemm is wrong: off by ${worst}`);
}
