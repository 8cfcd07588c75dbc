/**
 * How fast is the fused output step (forward, BCE, all gradients, SGD), against the multiply-add peak of this machine
 * measured in the same run and against a dense step in PyTorch? Everything takes turns; medians and ratios are printed.
 *
 *   npm run build && node bench/output-step.mjs [--labels 131072,670091] [--batch 64] [--inputs 768] [--fan-in 32]
 *     [--chunk 128] [--rounds 9] [--isa avx512] [--torch /usr/bin/python3 | --torch none] [--json]
 *
 * GFLOP/s of a fixed fan-in step count 6 * batch * labels * fanIn operations; "of peak" divides by the peak on as many
 * threads. The rival needs Python with PyTorch and is skipped by name without it.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadNative } from '../dist/kernels/native.js';
import { nativeBackend } from '../dist/kernels/native-addon.js';

const { values: options } = parseArgs({
  options: {
    labels: { type: 'string', default: '131072,670091' },
    batch: { type: 'string', default: '64' },
    inputs: { type: 'string', default: '768' },
    'fan-in': { type: 'string', default: '32' },
    chunk: { type: 'string', default: '128' },
    rounds: { type: 'string', default: '9' },
    isa: { type: 'string' },
    torch: { type: 'string', default: '/usr/bin/python3' },
    json: { type: 'boolean', default: false },
  },
});
const [batch, inputs, fanIn, chunk, rounds] = ['batch', 'inputs', 'fan-in', 'chunk', 'rounds'].map((name) =>
  Number(options[name]),
);
const sizes = options.labels.split(',').map(Number);
const say = (line) => options.json || console.log(line);

let word = 0x9e3779b9;
/** Uniform in [0, 1): xorshift32. */
function random() {
  word ^= word << 13;
  word ^= word >>> 17;
  word ^= word << 5;
  return (word >>> 0) / 2 ** 32;
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const floats = (n, scale = 0) => Float32Array.from({ length: n }, () => (2 * random() - 1) * scale);

/** A layer of random, distinct columns, and a batch with four positives per row. */
function problem(labels) {
  const columns = new Uint16Array(labels * fanIn);
  const seen = new Int32Array(inputs).fill(-1);
  for (let l = 0; l < labels; l++) {
    for (let k = 0; k < fanIn; k++) {
      let column;
      do column = Math.floor(random() * inputs);
      while (seen[column] === l);
      seen[column] = l;
      columns[l * fanIn + k] = column;
    }
  }
  const pairs = new Set(
    Array.from({ length: 4 * batch }, (_, i) => Math.floor(random() * labels) * batch + (i % batch)),
  );
  const sorted = [...pairs].sort((a, b) => a - b);
  return {
    columns,
    weights: floats(labels * fanIn, 1 / Math.sqrt(fanIn)),
    bias: new Float32Array(labels).fill(-3),
    h: floats(batch * inputs, 1),
    positives: {
      count: sorted.length,
      label: Uint32Array.from(sorted, (x) => Math.floor(x / batch)),
      row: Uint32Array.from(sorted, (x) => x % batch),
    },
  };
}

const none = { m: null, v: null };
const sgd = { kind: 'sgd', rate: 1e-3, momentum: 0, nesterov: false, weightDecay: 0 };

function stepArgs(kernels, labels, data, index) {
  const workspace = new Float32Array(kernels.fanInWorkspace({ batch, inputs, labels, chunk, fanIn }));
  return {
    ...{ batch, inputs, labels, begin: 0, end: labels, chunk, fanIn, index, workspace, ...data },
    dh: new Float32Array(batch * inputs),
    loss: 'bce',
    gradScale: 1 / batch,
    backward: true,
    squares: null,
    update: {
      rule: sgd,
      weightMoments: none,
      biasMoments: none,
      dWeights: null,
      dBias: null,
      updateScale: 1,
    },
  };
}

/** One dense step per call in a Python process, or why not. */
async function torchRival(labels, threads) {
  const python = options.torch;
  if (python === 'none') return 'skipped: --torch none';
  const found = spawnSync(python, ['-c', 'import torch; print(torch.__version__)'], { encoding: 'utf8' });
  if (found.status !== 0) return `skipped: ${python} has no PyTorch`;
  const script = fileURLToPath(new URL('output-step-torch.py', import.meta.url));
  // NOTE: OpenBLAS packages that do not know this processor fall back to SSE kernels: a win against that is no win.
  const env = { ...process.env, OPENBLAS_CORETYPE: 'SkylakeX', OPENBLAS_NUM_THREADS: String(threads) };
  const child = spawn(python, [script, labels, batch, inputs, threads].map(String), {
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  if ((await lines.next()).value !== 'ready') return 'skipped: the PyTorch step failed';
  return {
    version: found.stdout.trim(),
    step: async () => {
      child.stdin.write('step\n');
      return Number((await lines.next()).value);
    },
    end: () => child.stdin.end(),
  };
}

async function compare(labels, rival) {
  const data = problem(labels);
  const contenders = [];
  let indexMs = 0;
  for (const threads of [1, 2]) {
    const kernels = loadNative({ isa: options.isa, threads });
    const shape = { inputs, labels, fanIn, chunk };
    const length = kernels.fanInIndexLength(shape);
    const index = length > 0 ? new Uint16Array(length) : null;
    if (index !== null) {
      const build = () =>
        kernels.fanInIndexBuild({ ...shape, columns: data.columns, index, begin: 0, end: labels });
      build();
      const started = performance.now();
      build();
      if (threads === 1) indexMs = performance.now() - started;
    }
    for (const form of index === null ? ['compact'] : ['fast', 'compact']) {
      const args = stepArgs(kernels, labels, data, form === 'fast' ? index : null);
      const bytes =
        4 + data.columns.BYTES_PER_ELEMENT + (form === 'fast' ? (2 * length) / (labels * fanIn) : 0);
      contenders.push({
        name: kernels.name,
        form,
        threads,
        bytes,
        ms: [],
        run: () => kernels.fanInStep(args),
      });
    }
  }
  const torch = rival ? await torchRival(labels, 2) : 'skipped: too large';
  const torchMs = [];
  const peaks = { 1: [], 2: [] };
  for (let round = 0; round <= rounds; round++) {
    for (const threads of [1, 2]) peaks[threads].push(peakOf(contenders[0].name, threads));
    for (const contender of contenders) {
      const started = performance.now();
      contender.run();
      if (round > 0) contender.ms.push(performance.now() - started);
    }
    if (typeof torch !== 'string') torchMs.push(await torch.step());
  }
  if (typeof torch !== 'string') torch.end();
  return { labels, contenders, indexMs, peaks, torch, torchMs };
}

/** GFLOP/s of multiply-adds in registers. */
function peakOf(name, threads) {
  const addon = nativeBackend(name.replace('native/', ''), threads).use();
  const flops = new Float64Array(1);
  const started = performance.now();
  addon.fma_peak(2_000_000, flops);
  return flops[0] / (performance.now() - started) / 1e6;
}

function report({ labels, contenders, indexMs, peaks, torch, torchMs }) {
  const flops = 6 * batch * labels * fanIn;
  // The best round: a ceiling is not lowered by a neighbour that took the processor away.
  const peak = { 1: Math.max(...peaks[1]), 2: Math.max(...peaks[2]) };
  say(`\nlabels ${labels}, batch ${batch}, inputs ${inputs}, fan-in ${fanIn}, chunk ${chunk}`);
  say(`multiply-add peak: ${peak[1].toFixed(0)} GFLOP/s on one thread, ${peak[2].toFixed(0)} on two`);
  const rows = contenders.map(({ name, form, threads, bytes, ms }) => {
    const time = median(ms);
    const rate = flops / time / 1e6;
    const one = contenders.find((c) => c.form === form && c.threads === 1);
    const row = {
      ...{ kernels: name, form, threads, ms: time, gflops: rate, ofPeak: rate / peak[threads] },
      ...{ overOneThread: median(one.ms) / time, bytesPerConnection: bytes },
    };
    say(
      `${name} ${form.padEnd(7)} ${threads} thread${threads > 1 ? 's' : ' '}  ${time.toFixed(2).padStart(7)} ms  ` +
        `${rate.toFixed(1).padStart(5)} GFLOP/s  ${(100 * row.ofPeak).toFixed(1)} % of peak` +
        `  ${row.overOneThread.toFixed(2)}x one thread  ${bytes.toFixed(2)} bytes per connection`,
    );
    return row;
  });
  if (indexMs > 0) say(`index build, one thread: ${indexMs.toFixed(1)} ms`);
  const best = rows.find((row) => row.threads === 2);
  const torchTime = torchMs.length > 0 ? median(torchMs) : null;
  if (torchTime === null) say(`dense PyTorch step: ${torch}`);
  else {
    say(
      `dense PyTorch ${torch.version} step, two threads: ${torchTime.toFixed(0)} ms, ` +
        `${(torchTime / best.ms).toFixed(1)}x the ${best.form} form on two threads`,
    );
  }
  return { labels, batch, inputs, fanIn, chunk, peak, rows, indexMs, torchMs: torchTime };
}

const results = [];
for (const [i, labels] of sizes.entries()) results.push(report(await compare(labels, i === 0)));
if (options.json) console.log(JSON.stringify(results, null, 2));
