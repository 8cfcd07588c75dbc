// Drift of the factored layer in float32: its weights against those of its dense twin after many steps, and against
// what it knows of them (Q, wbar, U^-T). `node bench/factored-drift.mjs [--steps 100000] [--double]
// [--only zLoss]` after `npm run build`; --double compares with the same run in float64 too, which takes several times as long.
import { parseArgs } from 'node:util';
import { loadNative } from '../dist/kernels/index.js';
import { RandomStream } from '../dist/kernels/random.js';
import { referenceKernels } from '../dist/kernels/reference/index.js';
import { DenseTwin, FactoredOutput, sphericalLoss } from '../dist/methods/factored/index.js';
import { Device } from '../dist/tensor/device.js';
import { reluBatch } from './lib/relu-batches.mjs';

const { values: options } = parseArgs({
  options: {
    steps: { type: 'string', default: '20000' },
    double: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
  },
});
const steps = Number(options.steps);
const [labels, inputs, batch, targets] = [2000, 48, 24, 3];
const shape = { batch, inputs, labels, targets };
/** Rates from small to where every step is nearly singular. */
const runs = [
  { name: 'squaredError', rate: 0.05 },
  { name: 'squaredError', rate: 0.2 },
  { name: 'squaredError', rate: 1 },
  { name: 'taylorSoftmax', rate: 10 },
  { name: 'zLoss', rate: 1 },
  { name: 'sphericalSoftmax', rate: 2 },
];
const LIMIT = 1e-3;

function distance(/** @type {ArrayLike<number>} */ a, /** @type {ArrayLike<number>} */ b) {
  let [off, size] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    off += (a[i] - b[i]) ** 2;
    size += b[i] ** 2;
  }
  return Math.sqrt(off / size);
}

for (const { name, rate } of runs) {
  if (!name.includes(options.only)) continue;
  const device = new Device(loadNative({ threads: 1 }));
  const optimizer = { kind: /** @type {const} */ ('sgd'), rate };
  const stream = () => RandomStream.named(1, 'output');
  const settings = { inputs, labels, loss: sphericalLoss(name), optimizer, allowUnstable: true };
  const layer = new FactoredOutput(device, { ...settings, stream: stream() });
  const twin = new DenseTwin(device, { ...settings, stream: stream() });
  const double = new Device(referenceKernels('float64'));
  const exact = options.double ? new FactoredOutput(double, { ...settings, stream: stream() }) : null;
  const draws = RandomStream.named(2, `drift/${name}`);
  console.log(
    `${name}, rate ${rate}: weights against the dense twin, Q and wbar against the weights, largest residual`,
  );
  for (let t = 1; t <= steps; t++) {
    const { h, positives } = reluBatch(shape, draws, () => Math.max(0, draws.uniform() - 0.45));
    for (const form of [layer, twin]) {
      device.arena.reset();
      await form.step(device.fromArray([batch, inputs], h), positives, { rate });
    }
    if (exact !== null) {
      double.arena.reset();
      await exact.step(double.fromArray([batch, inputs], h), positives, { rate });
    }
    if (t !== steps && (t < 100 || Math.log10(t) % 1 !== 0)) continue;
    const off = distance(layer.plainWeights(), twin.plainWeights());
    const from64 = exact === null ? 0 : distance(layer.plainWeights(), exact.plainWeights());
    const { drift, residual, moves, singular, passes } = await layer.probe();
    if (!(Math.max(off, from64) <= LIMIT)) process.exitCode = 1;
    const against64 = exact === null ? '' : `${from64.toExponential(1)} of float64  `;
    console.log(
      `${String(t).padStart(8)} steps  ${off.toExponential(1)} ${off <= LIMIT ? '(limit' : '(ABOVE'} ${LIMIT})  ${against64}` +
        `${drift.toExponential(1)}  ${residual.toExponential(1)}  ${moves.directions} directions moved, ` +
        `${singular.count} singular steps, ${passes.count} passes`,
    );
  }
}
