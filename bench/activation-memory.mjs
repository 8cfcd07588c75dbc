/**
 * `node bench/activation-memory.mjs [--batch 256 --dim 96 --depth 6 --steps 4] [--json]`: peak resident memory of training
 * a ResMLP, one process per way to keep activations, on images that are noise. Dense keeps every tensor once. Growth is
 * what the process gained over what it held before the training was made; shares are of the dense growth.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { selectKernels } from '../dist/kernels/index.js';
import { noiseTraining, settings } from './lib/noise-resmlp.mjs';

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
  const backend = selectKernels();
  const before = process.memoryUsage.rss();
  const training = noiseTraining({ batch, dim, depth, epochs: steps }, saved, backend);
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
