/** The time of one training step of the factored layer and of its dense twin at one number of labels. */
import { kernels } from '../dist/index.js';
import { RandomStream } from '../dist/kernels/random.js';
import { DenseTwin, FactoredOutput, sphericalLoss } from '../dist/methods/factored/index.js';
import { Device } from '../dist/tensor/device.js';

const [d, m, K] = [512, 128, 5];
/** Above, one dense step takes seconds. */
const MOST_DENSE = 1e5;

export async function run({ labels }) {
  const device = new Device(kernels.selectKernels());
  const draws = RandomStream.named(1, 'step-time');
  const optimizer = { kind: 'sgd', rate: 1 };
  const settings = { inputs: d, labels, loss: sphericalLoss('zLoss'), optimizer };
  const layers = {
    factored: new FactoredOutput(device, { ...settings, stream: RandomStream.named(1, 'output') }),
    dense:
      labels > MOST_DENSE
        ? null
        : new DenseTwin(device, { ...settings, stream: RandomStream.named(1, 'output') }),
  };
  const h = new Float32Array(m * d);
  const times = { factored: [], dense: [] };
  // Forms interleaved, so that a busy moment of the machine meets both.
  for (let t = 0; t < 40; t++) {
    for (let i = 0; i < h.length; i++) h[i] = Math.max(0, draws.uniform() - 0.5) * 0.1;
    const pairs = new Set();
    for (let row = 0; row < m; row++) for (let k = 0; k < K; k++) pairs.add(draws.below(labels) * m + row);
    const sorted = Float64Array.from(pairs).sort();
    const positives = {
      count: sorted.length,
      label: Uint32Array.from(sorted, (pair) => Math.floor(pair / m)),
      row: Uint32Array.from(sorted, (pair) => pair % m),
    };
    for (const [form, layer] of Object.entries(layers)) {
      if (layer === null || (form === 'dense' && t % 5 !== 0)) continue;
      device.arena.reset();
      const hidden = device.fromArray([m, d], h);
      const start = performance.now();
      await layer.step(hidden, positives, { rate: 0.1 });
      if (t >= 5) times[form].push(performance.now() - start);
    }
  }
  const median = (list) => (list.length === 0 ? null : list.sort((a, b) => a - b)[list.length >> 1]);
  return { labels, d, m, K, factored: median(times.factored), dense: median(times.dense) };
}
