// A training step of softmax through a fixed fan-in layer, labels drawn against all labels, taking turns; the same of a
// dense layer with labels drawn. After `npm run build`:
//   node bench/sampled-softmax.mjs [--labels 109103] [--inputs 1024] [--fan-in 64] [--batch 128] [--samples 4096] [--threads 2]
import { parseArgs } from 'node:util';
import { loadNative } from '../dist/kernels/index.js';
import { RandomStream } from '../dist/kernels/random.js';
import { FixedFanInOutput } from '../dist/methods/dynamic-sparse/fan-in-output.js';
import { DenseOutput } from '../dist/output/dense.js';
import { Device } from '../dist/tensor/device.js';
import { duel, printDuel, printMachine } from './lib/harness.mjs';

const { values: options } = parseArgs({
  options: {
    labels: { type: 'string', default: '109103' },
    inputs: { type: 'string', default: '1024' },
    'fan-in': { type: 'string', default: '64' },
    batch: { type: 'string', default: '128' },
    samples: { type: 'string', default: '4096' },
    threads: { type: 'string', default: '2' },
  },
});
const number = (/** @type {keyof typeof options} */ name) => Number(options[name]);
const [labels, inputs, fanIn, batch] = [
  number('labels'),
  number('inputs'),
  number('fan-in'),
  number('batch'),
];
const [samples, threads] = [number('samples'), number('threads')];

const kernels = loadNative({ threads });
const draws = RandomStream.named(1, 'problem');
const hidden = Float32Array.from({ length: batch * inputs }, () => draws.uniform() - 0.5);
// Three positives a row.
const pairs = Array.from({ length: 3 * batch }, (_, i) => [draws.below(labels), i % batch]).sort(
  (a, b) => a[0] - b[0] || a[1] - b[1],
);
const positives = {
  count: pairs.length,
  label: Uint32Array.from(pairs, ([label]) => label),
  row: Uint32Array.from(pairs, ([, row]) => row),
};
const shape = { inputs, labels, startScale: 0.1, optimizer: { kind: 'adagrad', rate: 0.05 } };
const streams = () => ({ stream: RandomStream.named(1, 'a'), rewireStream: RandomStream.named(1, 'b') });
const topology = { kind: 'static' };

/** @param {string} name @param {(device: Device) => import('../dist/output/layer.js').OutputLayer} make */
function contender(name, make) {
  const device = new Device(kernels);
  const layer = make(device);
  return {
    name,
    async sample() {
      device.arena.reset();
      const h = device.fromArray([batch, inputs], hidden);
      const cpu = process.cpuUsage();
      const start = performance.now();
      await layer.step(h, positives, { rate: 1e-3 });
      const wall = (performance.now() - start) / 1000;
      const { user, system } = process.cpuUsage(cpu);
      // Drawing, gathering and updating rows run on one thread.
      return { seconds: wall, busy: Math.min(1, (user + system) / 1e6 / wall) };
    },
  };
}

const softmax = { ...shape, loss: /** @type {const} */ ('softmax') };
const sparse = { ...softmax, fanIn, topology };
const sampled = contender(
  'fan-in, drawn',
  (device) => new FixedFanInOutput(device, { ...sparse, ...streams(), sampling: { samples } }),
);
/** @type {Record<string, { floor: number, make: (device: Device) => import('../dist/output/layer.js').OutputLayer }>} */
const rivals = {
  'fan-in, all labels': {
    floor: 4,
    make: (device) => new FixedFanInOutput(device, { ...sparse, ...streams() }),
  },
  [`dense, ${samples} drawn`]: {
    floor: 2,
    make: (device) =>
      new DenseOutput(device, { ...softmax, stream: RandomStream.named(1, 'a'), sampling: { samples } }),
  },
};
printMachine();
console.log(`L=${labels}, d=${inputs}, F=${fanIn}, B=${batch}, ${samples} labels drawn, ${threads} threads`);
const unit = (/** @type {number} */ s) => `${(s * 1e3).toFixed(1)} ms/step`;
for (const [name, { floor, make }] of Object.entries(rivals)) {
  const rival = contender(name, make);
  for (let i = 0; i < 3; i++) for (const one of [sampled, rival]) await one.sample();
  printDuel(`against ${name}`, await duel(sampled, rival), { floor, unit });
}
