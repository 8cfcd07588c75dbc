// One RigL rewiring (dense gradient of a batch, label by label; prune and grow; the backward index anew) against a
// training step of the same layer, both fused and on all threads; the gradient by float32 products and by pairs of
// bfloat16 (`topology.products`), where the processor has them; its parts, from a rewiring that replaces nothing and from
// the index alone. After `npm run build`:
//   node bench/rewire.mjs [--labels 670091] [--batch 64] [--inputs 768] [--threads 2] [--rounds 7] [--isa avx512]
import { parseArgs } from 'node:util';
import { loadNative } from '../dist/kernels/index.js';
import { problem } from './lib/fan-in-problem.mjs';
import { duel, local, printDuel, printMachine } from './lib/harness.mjs';

const { values: options } = parseArgs({
  options: {
    labels: { type: 'string', default: '670091' },
    batch: { type: 'string', default: '64' },
    inputs: { type: 'string', default: '768' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '7' },
    isa: { type: 'string' },
  },
});
const number = (/** @type {string} */ name) => Number(options[name]);
const [labels, batch, inputs, threads, rounds] = ['labels', 'batch', 'inputs', 'threads', 'rounds'].map(
  number,
);

// A rewiring may cost so many steps, at most: the promise of the project.
const STEPS = { 32: 6, 128: 3 };
const none = { m: null, v: null };
const rule = { kind: 'sgd', rate: 1e-3, momentum: 0, nesterov: false, weightDecay: 0 };

printMachine();
const kernels = loadNative({ isa: options.isa, threads });
console.log(`${kernels.name}, ${threads} threads, labels ${labels}, batch ${batch}, inputs ${inputs}`);
for (const [fanIn, steps] of Object.entries(STEPS).map(([f, s]) => [Number(f), s])) {
  const data = problem({ labels, fanIn, inputs, batch });
  const chunk = 128;
  const shape = { inputs, labels, fanIn, chunk };
  const index = new Uint16Array(kernels.fanInIndexLength(shape));
  const build = () =>
    kernels.fanInIndexBuild({ ...shape, columns: data.columns, index, begin: 0, end: labels });
  build();
  const whole = { ...data, ...{ batch, inputs, begin: 0, end: labels, fanIn }, loss: 'bce', norms: null };
  const step = {
    ...whole,
    ...{ chunk, index, gradScale: 1 / batch, backward: true, squares: null },
    workspace: new Float32Array(kernels.fanInWorkspace({ ...shape, batch })),
    dh: new Float32Array(batch * inputs),
    update: {
      ...{ rule, weightMoments: none, biasMoments: none, updateScale: 1 },
      ...{ dWeights: null, dBias: null },
    },
  };
  const rewiring = {
    ...whole,
    ...{ weightMoments: none, evidence: null, key: { key0: 1, key1: 2, counter: 0 } },
    prune: { perRow: Math.floor(0.15 * fanIn) },
    workspace: new Float32Array(kernels.fanInRegrowWorkspace({ batch, inputs, fanIn })),
  };
  const train = local('step', threads, () => kernels.fanInStep(step));
  const unit = (/** @type {number} */ s) => `${(1e3 * s).toFixed(0)} ms`;
  /** @param {string} name @param {() => void} work @param {number} [floor] promised by the project */
  const inSteps = async (name, work, floor = 0) => {
    const result = await duel(local(name, threads, work), train, rounds);
    printDuel(`F=${fanIn}: ${name} in steps`, result, { floor, unit });
    return 1 / result.ratio;
  };
  for (const products of ['float32', 'bf16']) {
    const cost = await inSteps(
      `a rewiring, ${products}`,
      () => {
        kernels.fanInRegrow({ ...rewiring, products });
        build();
      },
      products === 'bf16' ? 1 / steps : 0,
    );
    const told = Number.isNaN(cost) ? 'no verdict' : `${cost.toFixed(1)} steps`;
    console.log(`F=${fanIn}, ${products}: ${told}; at most ${steps} are promised`);
  }
  const gradients = { ...rewiring, prune: { perRow: 0 } };
  await inSteps('gradients alone, float32', () => kernels.fanInRegrow(gradients));
  await inSteps('gradients alone, bf16', () => kernels.fanInRegrow({ ...gradients, products: 'bf16' }));
  await inSteps('the index alone', build);
}
