/** A random model of a given shape on disk, and `espalier serve` over it as a process: what load is put on. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Featurizer } from '../../dist/data/index.js';
import { loadNative } from '../../dist/kernels/index.js';
import { Classifier } from '../../dist/model/classifier.js';
import { saveClassifier } from '../../dist/model/model-io.js';
import { modelSpec } from '../../dist/model/spec.js';
import { Device } from '../../dist/tensor/device.js';

const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const word = (/** @type {number} */ i) => `w${i.toString(36)}`;

/**
 * Saves a random fan-in classifier of text in `run`; `seed` makes models that differ.
 * @param {string} run
 * @param {{ labels: number, inputs: number, fanIn: number, words: number, seed?: number }} shape
 */
export async function saveRandomModel(run, { labels, inputs, fanIn, words, seed = 1 }) {
  const rows = Array.from({ length: words }, (_, i) => ({ text: `${word(i)} ${word((7 * i + 1) % words)}` }));
  const featurizer = Featurizer.fit(rows, { text: ['text'], vocabulary: { minDocuments: 1 } });
  const spec = modelSpec.parse({
    encoder: { embedding: inputs },
    output: { kind: 'fan-in', fanIn, topology: { kind: 'static' } },
  });
  const shape = { features: featurizer.features, labels };
  const device = new Device(loadNative());
  const classifier = new Classifier(device, shape, spec, {
    seed,
    outputOptimizer: { kind: 'sgd', rate: 1 },
  });
  return saveClassifier(run, classifier, {
    training: null,
    metrics: null,
    version: '0.0.0',
    labelNames: Array.from({ length: labels }, (_, l) => `label number ${l}`),
    featurizer,
  });
}

/** A text of `length` words of the model's vocabulary. */
export function randomText(/** @type {number} */ words, length = 12) {
  return Array.from({ length }, () => word(Math.floor(Math.random() * words))).join(' ');
}

/**
 * Starts `espalier serve` and waits for its first answer.
 * @param {string} run
 * @param {string[]} [options]
 */
export async function startServing(run, options = []) {
  const started = performance.now();
  const port = await freePort();
  const child = spawn(
    process.execPath,
    [program, 'serve', run, '--port', String(port), '--log-level', 'error', ...options],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const url = `http://127.0.0.1:${port}`;
  const exited = new Promise((resolve) => child.on('exit', (code, signal) => resolve(code ?? signal)));
  let gone = false;
  exited.then(() => {
    gone = true;
  });
  for (;;) {
    if (gone) throw new Error('the server ended before its first answer');
    const answer = await fetch(`${url}/predict`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"text":"w1 w2"}',
    }).catch(() => null);
    if (answer?.status === 200) break;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const coldStart = performance.now() - started;
  const stop = async () => {
    child.kill('SIGTERM');
    return exited;
  };
  return { url, port, child, coldStart, exited, stop };
}

async function freePort() {
  const { createServer } = await import('node:net');
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(null)));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}
