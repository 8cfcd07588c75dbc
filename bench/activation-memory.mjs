/**
 * `node bench/activation-memory.mjs [--batch 256 --dim 96 --depth 6 --steps 4] [--json]`: peak resident memory of training
 * a ResMLP, one process per way to keep activations, on images that are noise. Dense keeps every tensor once. Growth is
 * what the process gained over what it held before the training was made; shares are of the dense growth.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const bsr = (keep) => ({ kind: 'bsr', block: 16, keep });
const recompute = { op: 'linear', form: { kind: 'recompute' } };
const settings = {
  dense: { inputs: { kind: 'dense' }, masks: false },
  'keep 0.3': { inputs: bsr(0.3), masks: false },
  'keep 0.3 + recompute + masks': { inputs: bsr(0.3), rules: [recompute], masks: true },
  'keep 0.3 + recompute + masks + GELU pruned': {
    ...{ inputs: bsr(0.3), masks: true },
    rules: [recompute, { op: 'gelu', form: bsr(0.3) }],
  },
  'dense warm-up, then keep 0.3 + recompute': {
    ...{ inputs: bsr(0.3), rules: [recompute], masks: true, warmup: 2 },
  },
};
const MiB = 2 ** 20;

const { values } = parseArgs({
  options: {
    batch: { type: 'string', default: '256' },
    dim: { type: 'string', default: '96' },
    depth: { type: 'string', default: '6' },
    steps: { type: 'string', default: '4' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
    child: { type: 'string' },
  },
});

if (values.child !== undefined) await child(JSON.parse(values.child));
else parent();

function parent() {
  const shape = Object.fromEntries(
    ['batch', 'dim', 'depth', 'steps'].map((key) => [key, Number(values[key])]),
  );
  const results = {};
  for (const [name, saved] of Object.entries(settings)) {
    if (values.only !== undefined && !values.only.split('|').includes(name)) continue;
    const args = [fileURLToPath(import.meta.url), '--child', JSON.stringify({ ...shape, saved })];
    const ended = spawnSync(process.execPath, args, { encoding: 'utf8' });
    if (ended.status !== 0) throw new Error(ended.stderr);
    results[name] = JSON.parse(ended.stdout);
  }
  if (values.json) {
    console.log(JSON.stringify(results));
    return;
  }
  console.log(
    `ResMLP, ${JSON.stringify(shape)}; MiB: peak growth of the process, accounted peak, resident after the last step`,
  );
  const dense = results.dense?.growth;
  for (const [name, { growth, accounted, after, phases }] of Object.entries(results)) {
    const share = dense === undefined ? '' : `${((100 * growth) / dense).toFixed(0).padStart(4)} %`;
    const figures = [growth, accounted, after].map((bytes) => (bytes / MiB).toFixed(0).padStart(6)).join('');
    const parts =
      phases.length < 2
        ? ''
        : `  (${phases.map((one) => `${one.name} ${(one.residentBytes / MiB).toFixed(0)}`).join(', ')})`;
    console.log(`${name.padEnd(44)} ${figures} ${share}${parts}`);
  }
}

/** Trains for some steps and says what the process held. */
async function child({ batch, dim, depth, steps, saved }) {
  const { blockSparse, kernels, network, nn } = await import('../dist/index.js');
  const [side, classes] = [28, 10];
  const train = {
    ...{ name: 'noise', rows: batch, channels: 1, height: side, width: side, classes },
    pixels: Uint8Array.from({ length: batch * side * side }, (_, i) => (i * 2654435761) >>> 24),
    labels: Uint8Array.from({ length: batch }, (_, i) => i % classes),
  };
  const task = network.imageTask({
    ...{ train, batch, seed: 1 },
    model: (device, stream) =>
      new nn.ResMLP(device, {
        ...{ stream, channels: 1, height: side, width: side, classes, patch: 4, dim, depth },
        layerScale: 0.1,
      }),
  });
  const backend = kernels.selectKernels();
  const before = process.memoryUsage.rss();
  const training = new network.NetworkTraining(task, {
    ...{ kernels: backend, optimizer: { kind: 'adam', rate: 1e-3 }, epochs: steps, seed: 1 },
    saved: new blockSparse.SavedActivations(saved),
  });
  let loss = 0;
  while (training.taken < steps) loss = training.step();
  const peaks = training.peaks;
  console.log(
    JSON.stringify({
      loss,
      before,
      growth: process.resourceUsage().maxRSS * 1024 - before,
      after: process.memoryUsage.rss() - before,
      accounted: Math.max(...peaks.map(({ accountedBytes }) => accountedBytes)),
      arena: training.device.arena.reservedBytes,
      kept: training.saved.report().bytes,
      phases: peaks.map((one) => ({ ...one, residentBytes: one.residentBytes - before })),
    }),
  );
}
