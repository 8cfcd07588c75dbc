// A million steps of a small model for each method: memory, numbers, drift and the log stay within bounds. After
// `npm run build`:  npm run torture -- long [--steps 1000000] [--only dense,...] [--threads 2] [--home DIR]
// With --home it goes on where it was stopped: runs are resumed from their checkpoints, methods that are done skipped.
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { argumentsFor, makeData, methods } from './lib/methods.mjs';
import { start } from './lib/program.mjs';
import { check, chosen, MiB, tell, verdict } from './lib/report.mjs';

const { values: options } = parseArgs({
  options: {
    steps: { type: 'string', default: '1000000' },
    only: { type: 'string' },
    threads: { type: 'string', default: '2' },
    home: { type: 'string' },
  },
});
const steps = Number(options.steps);
const home = options.home ?? (await mkdtemp(join(tmpdir(), 'espalier-torture-long-')));
const doneFile = join(home, 'long.json');
const done = existsSync(doneFile) ? JSON.parse(readFileSync(doneFile, 'utf8')) : {};
const stepsPerEpoch = { classifier: 38, network: 25 };
/** A log may grow with the run, but by no more than five progress records a second and what the method reports. */
const logBytesPerStep = 400;

/** Resident bytes of a child, now and then; the kernel says them, not the child. */
function watchMemory(child, samples) {
  return setInterval(async () => {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '');
    const kilobytes = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]);
    if (kilobytes > 0) samples.push(1024 * kilobytes);
  }, 500);
}

const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];

/** Every record of a log, one at a time: logs of long runs are not held whole. */
async function* records(path) {
  const handle = await open(path);
  try {
    for await (const line of handle.readLines()) yield JSON.parse(line);
  } finally {
    await handle.close();
  }
}

async function run(name) {
  const directory = join(home, name);
  const epochs = steps / stepsPerEpoch[methods[name].network === undefined ? 'classifier' : 'network'];
  // A checkpoint a minute; networks count epochs, of which a minute has some hundreds.
  const { child, ended } = start(
    await argumentsFor(name, {
      home,
      data: join(home, 'data'),
      run: directory,
      epochs,
      threads: Number(options.threads),
      checkpointMs: 60_000,
      saveEvery: 400,
    }),
    { limitMs: 2 ** 31 - 1 },
  );
  const samples = [];
  const timer = watchMemory(child, samples);
  const stop = () => child.kill('SIGTERM');
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const end = await ended;
  clearInterval(timer);
  process.off('SIGINT', stop);
  process.off('SIGTERM', stop);
  if (end.code === 1 && /go on with/.test(end.err)) {
    tell(`${name}: stopped; go on with the same command and --home ${home}`);
    return process.exit(1);
  }
  check(`${name}: trains to the end`, end.code === 0, end.code === 0 ? 'code 0' : end.err.slice(-300));
  if (end.code !== 0) return;
  const log = join(directory, 'log.jsonl');
  let [last, worst, drift, bad, lines] = [0, 0, 0, 0, 0];
  for await (const record of records(log)) {
    lines++;
    last = Math.max(last, record.step);
    if (record.event === 'progress') {
      if (!Number.isFinite(record.loss)) bad++;
      worst = Math.max(worst, record.loss);
    }
    // Monitors of factored layers: the relative distance of what is kept from what it stands for.
    for (const [key, value] of Object.entries(record)) {
      if (/drift|defect/i.test(key) && typeof value === 'number') drift = Math.max(drift, value);
    }
  }
  const { size } = await stat(log);
  // The first tenth is the start: code is compiled, buffers find their size.
  const settled = samples.slice(Math.floor(samples.length / 10));
  const third = Math.max(1, Math.floor(settled.length / 3));
  const [early, late] = [median(settled.slice(0, third)), median(settled.slice(-third))];
  const figures = [
    check(
      `${name}: all steps, all losses finite`,
      bad === 0 && last >= 0.99 * steps,
      `${last} steps, largest mean loss ${worst.toFixed(3)}`,
    ),
    check(
      `${name}: memory does not grow`,
      late < 1.1 * early + 2 ** 24,
      `median of the first third ${MiB(early)}, of the last ${MiB(late)}, ${samples.length} samples`,
    ),
    check(
      `${name}: the log is bounded`,
      size < logBytesPerStep * steps + 2 ** 20,
      `${MiB(size)} in ${lines} records`,
    ),
    check(
      `${name}: drift stays within its bound`,
      drift < 1e-2,
      drift === 0 ? 'none is measured' : drift.toExponential(1),
    ),
  ];
  if (!figures.every(Boolean)) return;
  done[name] = `${last} steps, ${MiB(early)} to ${MiB(late)}, log ${MiB(size)}`;
  await writeFile(doneFile, JSON.stringify(done, null, 2));
  await rm(directory, { recursive: true });
}

try {
  await mkdir(home, { recursive: true });
  if (!existsSync(join(home, 'data'))) await makeData(join(home, 'data'));
  for (const name of chosen(options.only, Object.keys(methods))) {
    if (done[name] !== undefined) tell(`${name} was done before: ${done[name]}`);
    else await run(name);
  }
} finally {
  if (options.home === undefined) await rm(home, { recursive: true, force: true });
}
verdict('long');
