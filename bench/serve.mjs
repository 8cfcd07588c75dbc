// Latency and throughput of `espalier serve` on a random model, under load. After `npm run build`:
//   node bench/serve.mjs [--labels 109000] [--inputs 512] [--fan-in 32] [--words 50000] [--rate 200] [--seconds 10]
//                        [--connections 10] [--workers N] [--threads N]
// Client and server share the machine, as the promise says: p50 under 3 ms and p99 under 15 ms at 200 requests/s,
// first answer within 1.5 s of the start. Requests at that rate arrive by chance; autocannon's own rate would send each
// second's share at once, back to back on every connection, which is printed too.
import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import autocannon from 'autocannon';
import { printMachine, quantile } from './lib/harness.mjs';
import { arriveByChance } from './lib/open-loop.mjs';
import { randomText, saveRandomModel, startServing } from './lib/served.mjs';

const { values: options } = parseArgs({
  options: {
    labels: { type: 'string', default: '109000' },
    inputs: { type: 'string', default: '512' },
    'fan-in': { type: 'string', default: '32' },
    words: { type: 'string', default: '50000' },
    rate: { type: 'string', default: '200' },
    seconds: { type: 'string', default: '10' },
    connections: { type: 'string', default: '10' },
    workers: { type: 'string' },
    threads: { type: 'string' },
  },
});
const number = (/** @type {keyof typeof options} */ name) => Number(options[name]);
const words = number('words');
const home = await mkdtemp(join(tmpdir(), 'espalier-bench-serve-'));

try {
  printMachine();
  const run = join(home, 'run');
  const shape = { labels: number('labels'), inputs: number('inputs'), fanIn: number('fan-in'), words };
  const { bytes } = await saveRandomModel(run, shape);
  console.log(
    `${shape.labels} labels, d=${shape.inputs}, F=${shape.fanIn}, ${words} words: ${(bytes / 1e6).toFixed(0)} MB`,
  );
  const flags = ['workers', 'threads'].flatMap((name) =>
    options[/** @type {'workers'} */ (name)] === undefined
      ? []
      : [`--${name}`, `${number(/** @type {'workers'} */ (name))}`],
  );
  const starts = [];
  for (let i = 0; i < 3; i++) {
    const server = await startServing(run, flags);
    starts.push(server.coldStart);
    await server.stop();
  }
  console.log(
    `process start to first answer: ${starts.map((ms) => `${ms.toFixed(0)} ms`).join(', ')} (promise: 1,500 ms)`,
  );
  const server = await startServing(run, flags);
  const url = `${server.url}/predict`;
  const bodies = Array.from({ length: 64 }, () => JSON.stringify({ text: randomText(words), k: 5 }));
  const load = (/** @type {object} */ more) =>
    autocannon({
      url,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      duration: number('seconds'),
      connections: number('connections'),
      requests: bodies.map((body) => ({ body })),
      ...more,
    });
  await load({ duration: 2, overallRate: number('rate') });
  const poisson = { url, bodies, rate: number('rate'), seconds: number('seconds') };
  const { latencies, late, failed } = await arriveByChance(poisson);
  const at = (/** @type {number[]} */ times, /** @type {number} */ q) => quantile(times, q).toFixed(1);
  const quantiles = [0.5, 0.9, 0.975, 0.99, 0.999].map((q) => `p${100 * q} ${at(latencies, q)}`);
  console.log(
    `${number('rate')} requests/s by chance: ${latencies.length} answers; ms ${quantiles.join(' ')} max ${at(latencies, 1)}; sent late by p50 ${at(late, 0.5)} p99 ${at(late, 0.99)}; ${failed} failed; load average ${loadavg()[0].toFixed(1)}`,
  );
  for (const [name, more] of [
    [`${number('rate')} requests/s, each second's at its start`, { overallRate: number('rate') }],
    ['one after the other', { connections: 1 }],
    ['as many as it takes, 10 connections', {}],
    ['as many as it takes, 64 connections', { connections: 64 }],
  ]) {
    const { latency, requests, non2xx, errors, timeouts } = await load(/** @type {object} */ (more));
    console.log(
      `${name}: ${requests.average.toFixed(0)} answers/s; ms p50 ${latency.p50} p90 ${latency.p90} p97.5 ${latency.p97_5} p99 ${latency.p99} p99.9 ${latency.p99_9} max ${latency.max}; ${non2xx} refused, ${errors + timeouts} failed; load average ${loadavg()[0].toFixed(1)}`,
    );
  }
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  for (const name of [
    'espalier_batch_rows_sum',
    'espalier_batch_rows_count',
    'process_resident_memory_bytes',
  ])
    console.log(metrics.split('\n').find((line) => line.startsWith(`${name} `)));
  await server.stop();
} finally {
  await rm(home, { recursive: true, force: true });
}
