// An output layer of your own: every label is a point, and its logit says how near the hidden vector is to it,
// z_l = -|h - w_l|^2 / 2, under softmax. It has what the training loop of the package asks of a layer: a step that
// returns the loss and the gradient to h, and moves its own weights.
import { autograd, Device, kernels, nn, optim } from 'espalier';

const { RandomStream } = kernels;

class NearestPoint {
  constructor(device, { inputs, labels, stream }) {
    this.device = device;
    this.inputs = inputs;
    this.labels = labels;
    this.points = Float32Array.from({ length: labels * inputs }, () => stream.uniform() - 0.5);
  }

  /** [L] logits of one hidden vector. */
  logits(h) {
    return Float64Array.from({ length: this.labels }, (_, l) => {
      let square = 0;
      for (let j = 0; j < this.inputs; j++) square += (h[j] - this.points[l * this.inputs + j]) ** 2;
      return -square / 2;
    });
  }

  /**
   * h [B, d], label [B]. With p = softmax(z) and G = (p - onehot) / B: dz_l/dh = w_l - h and dz_l/dw_l = h - w_l, so
   * dh = sum_l G_l w_l (the h cancels, as G sums to 0) and dw_l = sum_b G_bl (h_b - w_l).
   */
  step(h, label, rate) {
    const [batch, d] = h.shape;
    const dh = this.device.temporary('gradients', [batch, d]);
    dh.data.fill(0);
    const change = new Float64Array(this.points.length);
    let loss = 0;
    for (let b = 0; b < batch; b++) {
      const row = h.data.subarray(b * d, (b + 1) * d);
      const z = this.logits(row);
      const most = Math.max(...z);
      const norm = z.reduce((sum, x) => sum + Math.exp(x - most), 0);
      loss += most + Math.log(norm) - z[label[b]];
      for (let l = 0; l < this.labels; l++) {
        const g = (Math.exp(z[l] - most) / norm - (l === label[b] ? 1 : 0)) / batch;
        for (let j = 0; j < d; j++) {
          const w = this.points[l * d + j];
          dh.data[b * d + j] += g * w;
          change[l * d + j] += g * (row[j] - w);
        }
      }
    }
    for (let i = 0; i < change.length; i++) this.points[i] -= rate * change[i];
    return { loss: loss / batch, dh };
  }
}

// Rows of three words each; a word belongs to one of six topics, and the label is the topic most of them belong to.
const [topics, words, batch, d] = [6, 300, 64, 16];
const device = new Device(kernels.selectKernels());
const draws = RandomStream.named(1, 'rows');
function rows(count) {
  const indices = new Uint32Array(3 * count);
  const label = new Uint32Array(count);
  for (let row = 0; row < count; row++) {
    label[row] = draws.below(topics);
    const own = () => topics * draws.below(words / topics) + label[row];
    const any = () => draws.below(words);
    const chosen = new Set([own(), own()]);
    while (chosen.size < 3) chosen.add(chosen.size < 2 ? own() : any());
    indices.set(
      [...chosen].sort((a, b) => a - b),
      3 * row,
    );
  }
  const indptr = Int32Array.from({ length: count + 1 }, (_, i) => 3 * i);
  return { label, features: { rows: count, nnz: 3 * count, width: words, indptr, indices, values: null } };
}

const encoder = new nn.EmbeddingBag(device, words, d, { stream: RandomStream.named(1, 'encoder') });
const output = new NearestPoint(device, {
  inputs: d,
  labels: topics,
  stream: RandomStream.named(1, 'points'),
});
const optimizer = new optim.Optimizer(device, encoder.namedParameters(), { kind: 'adam', rate: 0.01 });
for (let step = 1; step <= 300; step++) {
  const { features, label } = rows(batch);
  device.arena.reset();
  for (const [, parameter] of encoder.namedParameters()) parameter.zeroGrad();
  const tape = new autograd.Tape(device);
  const h = encoder.forward(features, { tape, training: true });
  const { loss, dh } = output.step(h, label, 0.5);
  tape.backward(h, dh);
  optimizer.step(0.01);
  if (step % 100 === 0) console.log(`step ${step}: loss ${loss.toFixed(3)}`);
}

const { features, label } = rows(1000);
device.arena.reset();
const h = encoder.forward(features, { tape: new autograd.Tape(device), training: false });
let right = 0;
for (let row = 0; row < 1000; row++) {
  const z = output.logits(h.data.subarray(row * d, (row + 1) * d));
  if (z.indexOf(Math.max(...z)) === label[row]) right++;
}
console.log(`right for ${((100 * right) / 1000).toFixed(1)} % of new rows`);
