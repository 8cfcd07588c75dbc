// A network that learns which of its weights it needs: one gate per weight, trained with it, closed where it does not pay
// (Srinivas, Subramanya & Babu 2017). The rest is exported, and runs, without its zeros.
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Device, gates, kernels, network, nn, sparse } from 'espalier';
import { inScratch } from './lib/scratch.mjs';

const side = 28;
const shapes = ['bar', 'column', 'box', 'cross'];

/** Drawn by hand, so to say: shapes of some size at some place under noise. */
function drawn(rows, stream) {
  const pixels = new Uint8Array(rows * side * side);
  const labels = new Uint8Array(rows);
  for (let row = 0; row < rows; row++) {
    const kind = stream.below(shapes.length);
    labels[row] = kind;
    const size = 7 + stream.below(7);
    const [top, left] = [stream.below(side - size), stream.below(side - size)];
    const middle = size >> 1;
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const [i, j] = [y - top, x - left];
        const inside = i >= 0 && j >= 0 && i < size && j < size;
        const edge = i === 0 || j === 0 || i === size - 1 || j === size - 1;
        const ink = [i === middle, j === middle, edge, i === j || i + j === size - 1][kind];
        pixels[(row * side + y) * side + x] = stream.below(80) + (inside && ink ? 150 : 0);
      }
    }
  }
  return {
    name: 'shapes',
    rows,
    channels: 1,
    height: side,
    width: side,
    classes: shapes.length,
    pixels,
    labels,
  };
}

const backend = kernels.selectKernels();
const stream = kernels.RandomStream.named(1, 'shapes');
const task = network.imageTask({
  ...{ train: drawn(6000, stream), test: drawn(1000, stream), batch: 64, seed: 1 },
  model: (device, weights) => new nn.LeNet300100(device, { stream: weights, classes: shapes.length }),
});
const training = new network.NetworkTraining(task, {
  ...{ kernels: backend, optimizer: { kind: 'sgd', rate: 0.1, momentum: 0.9 }, epochs: 8, seed: 1 },
  schedule: { kind: 'cosine', warmup: 0.02, floor: 0 },
  methods: (parts) => [new gates.GateTraining(parts, { rate: 100, spread: 1e-5, bimodal: 2e-6 })],
});
await network.runNetwork(training, {});

const [method] = training.participants;
const layers = method.shares();
method.finish();
const { accuracy } = training.evaluate('test');
for (const { name, kept, of } of layers) console.log(`${name}: ${kept} of ${of} weights are left`);

const small = sparse.sparseNetwork(backend, training.instance.learner, {
  input: [1, side, side],
  forms: 'measure',
});
const exported = network.scoreModule(task, small, backend, 'test').accuracy;
console.log(`accuracy ${(100 * accuracy).toFixed(1)} %, of the sparse file ${(100 * exported).toFixed(1)} %`);
await inScratch(async (home) => {
  const path = join(home, 'shapes.safetensors');
  await sparse.saveSparse(path, small);
  const dense = training.instance.learner.parameters().reduce((sum, { size }) => sum + 4 * size, 0);
  console.log(
    `${(dense / 1024).toFixed(0)} KiB dense, ${((await stat(path)).size / 1024).toFixed(0)} KiB sparse`,
  );
});
const { dense, sparse: thin } = sparse
  .compareLatency(new Device(backend), training.instance.learner, small)
  .at(-1);
console.log(`latency, dense over sparse: ${(dense / thin).toFixed(1)}x`);
