// Weight gradients from block-sparse activations against dense products: `node bench/bsr.mjs [threads, default 1 and 2]
// [isa]` after `npm run build`. dy^T x, x [4096, 384] or [4096, 1536] in blocks of 16, against OpenBLAS and against
// our own dense product; with and without the compression of x.
import { loadNative, referenceKernels } from '../dist/kernels/index.js';
import { duel, local, printDuel, printMachine, threadsAndIsa } from './lib/harness.mjs';
import { fastestBlas } from './lib/openblas.mjs';

const ROWS = 4096;
const BLOCK = 16;
const SIDES = [
  { inputs: 384, outputs: 1536 },
  { inputs: 1536, outputs: 384 },
];
// Largest share of the dense product's time: alone, and with compression.
const CEILINGS = [
  { keep: 0.5, alone: 0.55, whole: 0.75 },
  { keep: 0.3, alone: 0.35, whole: 0.55 },
];

printMachine();
const { counts, isa } = threadsAndIsa();
const startBlas = await fastestBlas();
for (const threads of counts) {
  const kernels = loadNative({ threads, isa });
  for (const { inputs, outputs } of SIDES) {
    const x = uniform(kernels, ROWS * inputs, 1);
    const dy = uniform(kernels, ROWS * outputs, 2);
    const c = new Float32Array(outputs * inputs);
    const product = { transA: true, m: outputs, n: inputs, k: ROWS };
    const rivals = [local('our dense product', threads, () => kernels.gemm({ ...product, a: dy, b: x, c }))];
    const blas = await startBlas?.({ ...product, transB: false, threads });
    if (blas) rivals.unshift(blas);
    for (const { keep, alone, whole } of CEILINGS) {
      const kept = room(inputs, keep);
      const compress = () => kernels.bsrCompress({ ...kept, x, perRow: false });
      const gradient = () => kernels.denseBsr({ transA: true, m: outputs, a: dy, x: kept, c });
      compress();
      check(gradient, kept, dy, c, outputs);
      const contenders = [
        { what: 'alone', work: gradient, ceiling: alone },
        {
          what: '+ compression',
          work: () => {
            compress();
            gradient();
          },
          ceiling: whole,
        },
      ];
      for (const { what, work, ceiling } of contenders) {
        for (const rival of rivals) {
          const name = `${inputs}->${outputs} keep ${keep} ${what} T${threads}, ${rival.name}`;
          const unit = (/** @type {number} */ s) => `${(s * 1e3).toFixed(2)} ms`;
          const result = await duel(local(kernels.name, threads, work), rival, 9);
          printDuel(name.padEnd(64), result, { floor: Number((1 / ceiling).toFixed(2)), unit });
        }
      }
    }
    blas?.stop();
  }
}

/** Buffers for the blocks kept of [ROWS, cols]. @param {number} cols @param {number} keep */
function room(cols, keep) {
  const blocks = (ROWS / BLOCK) * (cols / BLOCK);
  const kept = Math.round(keep * blocks);
  return {
    rows: ROWS,
    cols,
    block: BLOCK,
    kept,
    squares: new Float32Array(blocks),
    values: new Float32Array(kept * BLOCK * BLOCK),
    columns: new Uint32Array(kept),
    rowPointers: new Uint32Array(ROWS / BLOCK + 1),
  };
}

/** @param {import('../dist/kernels/index.js').Kernels} kernels @param {number} n @param {number} key0 */
function uniform(kernels, n, key0) {
  const out = new Float32Array(n);
  kernels.uniform({ n, key0, key1: 0, counter: 0, low: -0.5, high: 0.5, out });
  return out;
}

/** The last rows of dW against the twin in double. @type {(work: () => void, x: any, dy: Float32Array, c: Float32Array, outputs: number) => void} */
function check(work, x, dy, c, outputs) {
  work();
  const m = 3;
  const few = new Float64Array(m * ROWS);
  for (let i = 0; i < ROWS; i++)
    for (let l = 0; l < m; l++) few[i * m + l] = dy[i * outputs + outputs - m + l];
  const expected = new Float64Array(m * x.cols);
  referenceKernels('float64').denseBsr({ transA: true, m, a: few, x, c: expected });
  const got = c.subarray((outputs - m) * x.cols);
  const worst = expected.reduce((most, e, i) => Math.max(most, Math.abs(e - got[i])), 0);
  // Sums of ROWS products of numbers below 1/2.
  if (!(worst <= 1e-6 * Math.sqrt(ROWS))) throw new Error(`denseBsr is wrong: off by ${worst}`);
}
