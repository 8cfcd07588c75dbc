// TensorFlow.js's training step of LeNet-300-100 on its WASM backend: batch from bytes, forward, backward, Adam.
// Answers as the rivals in Python do. The packages are found in BENCH_TFJS, a folder that has them installed.
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

/** @param {unknown} line */
const answer = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const home = resolve(process.env.BENCH_TFJS ?? '.');
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { batch, steps, threads } = JSON.parse((await lines.next()).value);

/** @type {any} */
let tf;
/** @type {any} */
let wasm;
try {
  const require = createRequire(join(home, 'package.json'));
  tf = require('@tensorflow/tfjs');
  wasm = require('@tensorflow/tfjs-backend-wasm');
} catch {
  answer({
    missing: 'npm install --prefix DIR @tensorflow/tfjs @tensorflow/tfjs-backend-wasm, then BENCH_TFJS=DIR',
  });
  process.exit(0);
}
wasm.setThreadsCount(threads);
await tf.setBackend('wasm');
await tf.ready();
const features = ['WASM_HAS_SIMD_SUPPORT', 'WASM_HAS_MULTITHREAD_SUPPORT'].map((name) => tf.env().get(name));

const sizes = [784, 300, 100, 10];
const weights = sizes.slice(1).map((n, i) => tf.variable(tf.randomUniform([sizes[i], n], -0.05, 0.05)));
const biases = sizes.slice(1).map((n) => tf.variable(tf.zeros([n])));
const adam = tf.train.adam(1e-4);
const pixels = Uint8Array.from({ length: batch * 784 }, (_, i) => (i * 2654435761) >>> 24);
const classes = Int32Array.from({ length: batch }, (_, i) => i % 10);

function step() {
  tf.tidy(() => {
    const x = tf.tensor2d(
      Float32Array.from(pixels, (byte) => byte / 255),
      [batch, 784],
    );
    const y = tf.oneHot(tf.tensor1d(classes, 'int32'), 10);
    const loss = () => {
      let h = x;
      for (const [i, w] of weights.entries()) {
        h = tf.add(tf.matMul(h, w), biases[i]);
        if (i < 2) h = tf.relu(h);
      }
      return tf.mean(tf.neg(tf.sum(tf.mul(y, tf.logSoftmax(h)), 1)));
    };
    adam.minimize(loss, false, [...weights, ...biases]);
  });
}

// Reading a weight waits for what came before it.
const done = () => weights[0].dataSync()[0];
for (let i = 0; i < 20; i++) step();
done();
answer({ name: `tfjs ${tf.version_core} wasm, simd ${features[0]}, threads ${features[1] ? threads : 1}` });
for await (const _ of lines) {
  const cpu = process.cpuUsage();
  const start = performance.now();
  for (let i = 0; i < steps; i++) step();
  done();
  const wall = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  answer({ seconds: wall, busy: (user + system) / 1e6 / wall });
}
