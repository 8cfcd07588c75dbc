// The five best of many labels for few rows: computed one after the other, or screened by upper bounds in bytes first
// (the same answers; native/kernels/fan_in/screen.h). After `npm run build`:
//   node bench/top-k.mjs [--labels 109000] [--inputs 512] [--fan-in 32] [--threads 1] [--rounds 15]
import { parseArgs } from 'node:util';
import { loadNative } from '../dist/kernels/index.js';
import { problem } from './lib/fan-in-problem.mjs';
import { duel, local, printDuel, printMachine } from './lib/harness.mjs';

const { values: options } = parseArgs({
  options: {
    labels: { type: 'string', default: '109000' },
    inputs: { type: 'string', default: '512' },
    'fan-in': { type: 'string', default: '32' },
    threads: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '15' },
  },
});
const [labels, inputs, fanIn, threads, rounds] = [
  ...[options.labels, options.inputs, options['fan-in'], options.threads, options.rounds].map(Number),
];
const k = 5;
/** How many times faster, by the batch. */
const floors = { 1: 2.5, 2: 2.5, 4: 2, 8: 1.3 };

printMachine();
const kernels = loadNative({ threads });
const data = problem({ labels, fanIn, inputs, batch: 16 });
// What a ReLU leaves.
const hidden = data.h.map((x) => Math.max(0, x));
const layer = { labels, inputs, fanIn, columns: data.columns, weights: data.weights, bias: data.bias };
const screen = new Uint8Array(kernels.fanInScreenLength(layer));
if (screen.length === 0) {
  console.log(
    `${kernels.name}: this processor does not permute bytes (AVX512-VBMI), labels are not screened`,
  );
  process.exit();
}
const began = performance.now();
kernels.fanInScreenBuild({ ...layer, screen });
const built = performance.now() - began;
console.log(
  `${kernels.name}, ${threads} threads, L ${labels}, d ${inputs}, F ${fanIn}: a screen of ${(screen.length / 1e6).toFixed(1)} MB beside weights and columns of ${((data.weights.byteLength + data.columns.byteLength) / 1e6).toFixed(1)} MB, built in ${built.toFixed(0)} ms`,
);
for (const batch of /** @type {const} */ ([1, 2, 4, 8])) {
  const h = hidden.subarray(0, batch * inputs);
  const workspace = new Float32Array(kernels.topKWorkspace({ batch, inputs, labels, fanIn, chunk: 64 }, k));
  const answers = [null, screen].map((own) => {
    const topLabels = new Uint32Array(batch * k);
    const topScores = new Float32Array(batch * k);
    const args = { ...layer, batch, h, k, topLabels, topScores, workspace, screen: own };
    return { topLabels, topScores, find: () => kernels.fanInTopK(args) };
  });
  const [plain, screened] = answers;
  for (const { find } of answers) find();
  const same = ['topLabels', 'topScores'].every((name) => `${plain[name]}` === `${screened[name]}`);
  if (!same) throw new Error(`batch ${batch}: the screen changed the answers`);
  const result = await duel(
    local('screened', threads, screened.find),
    local('every label', threads, plain.find),
    rounds,
  );
  printDuel(`B=${batch}`, result, { floor: floors[batch], unit: (s) => `${(1e3 * s).toFixed(2)} ms` });
}
