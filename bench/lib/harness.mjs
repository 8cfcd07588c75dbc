// Fair timing on a shared machine: contenders take turns in one run, samples taken while something else had the
// processor are thrown away, and what counts is the median of the ratios of neighbouring samples.
import { availableParallelism, cpus, loadavg } from 'node:os';

/**
 * One sample of a contender: seconds per operation, and which part of wall time x threads it really computed.
 * @typedef {{ seconds: number, busy: number }} Sample
 * @typedef {{ name: string, sample: () => Promise<Sample> | Sample }} Contender
 */

// A sample below this was interrupted by something else.
const CLEAN = 0.85;
// OpenBLAS and PyTorch threads spin for a while after their work; ours must not be timed against that.
const SETTLE_MS = 60;
// How long a duel may wait for the machine to fall idle, in all.
const PATIENCE_MS = 1000 * Number(process.env.BENCH_WAIT ?? 10);

/** Prints what the figures depend on, and warns when the machine is busy. */
export function printMachine() {
  const [load] = loadavg();
  console.log(
    `${cpus()[0]?.model ?? 'unknown'}, ${availableParallelism()} cores, node ${process.version}, load ${load.toFixed(2)}`,
  );
  if (load > 0.5)
    console.log('WARNING: the machine is busy; interrupted samples are dropped, but doubt the rest');
}

/**
 * Times `work` in this process, repeated so that a sample lasts at least `atLeast` seconds.
 * @param {string} name
 * @param {number} threads
 * @param {() => void} work
 * @returns {Contender}
 */
export function local(name, threads, work, atLeast = 0.02) {
  let repeat = 0;
  const once = () => {
    const cpu = process.cpuUsage();
    const start = performance.now();
    for (let i = 0; i < repeat; i++) work();
    const wall = (performance.now() - start) / 1000;
    const used = process.cpuUsage(cpu);
    return { seconds: wall / repeat, busy: (used.user + used.system) / 1e6 / (wall * threads) };
  };
  return {
    name,
    sample() {
      if (repeat === 0) {
        repeat = 1;
        once();
        repeat = Math.max(1, Math.ceil(atLeast / once().seconds));
      }
      return once();
    },
  };
}

/**
 * Times work that is waited for, on one thread, `repeat` times a sample.
 * @param {string} name
 * @param {() => Promise<unknown>} work
 * @param {number} repeat
 * @returns {Contender}
 */
export function awaited(name, work, repeat) {
  return {
    name,
    async sample() {
      const cpu = process.cpuUsage();
      const start = performance.now();
      for (let i = 0; i < repeat; i++) await work();
      const wall = (performance.now() - start) / 1000;
      const { user, system } = process.cpuUsage(cpu);
      return { seconds: wall / repeat, busy: (user + system) / 1e6 / wall };
    },
  };
}

/**
 * Lets two contenders take turns until `rounds` clean pairs are in, or three times as many attempts.
 * @param {Contender} ours
 * @param {Contender} rival
 */
export async function duel(ours, rival, rounds = 15) {
  const all = [];
  let clean = 0;
  const patience = performance.now() + PATIENCE_MS;
  while (clean < rounds && all.length < 3 * rounds) {
    while (performance.now() < patience && (await idleShare()) < 0.9);
    const a = await ours.sample();
    await settle();
    const b = await rival.sample();
    await settle();
    const good = a.busy >= CLEAN && b.busy >= CLEAN;
    clean += good ? 1 : 0;
    all.push({ a: a.seconds, b: b.seconds, cpuRatio: (b.seconds * b.busy) / (a.seconds * a.busy), good });
  }
  const pairs = all.filter((pair) => pair.good);
  const ratios = pairs.map(({ a, b }) => b / a);
  return {
    ours: median(pairs.map((p) => p.a)),
    rival: median(pairs.map((p) => p.b)),
    /** How many times faster ours is. */
    ratio: median(ratios),
    /** Half the distance of the quartiles of the ratio, relative to it. */
    spread: (quantile(ratios, 0.75) - quantile(ratios, 0.25)) / 2 / median(ratios),
    /** Of the processor time of all pairs, clean or not: a hint where the machine is too busy for the clock. */
    cpuRatio: median(all.map((p) => p.cpuRatio)),
    clean,
    attempts: all.length,
  };
}

/** Of the command line `[threads, default 1 and 2] [isa]`. */
export function threadsAndIsa() {
  const [, , threads, isa] = process.argv;
  return { counts: threads ? [Number(threads)] : [1, 2], isa };
}

/** @param {number[]} values */
export function median(values) {
  return quantile(values, 0.5);
}

/** @param {number[]} values @param {number} q */
export function quantile(values, q) {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((x, y) => x - y);
  const at = q * (sorted.length - 1);
  const low = Math.floor(at);
  return sorted[low] + (at - low) * (sorted[Math.ceil(at)] - sorted[low]);
}

/**
 * One line of result; a ratio below the floor is marked and sets the exit code.
 * @param {string} name
 * @param {Awaited<ReturnType<typeof duel>>} result
 * @param {{ floor: number, unit: (seconds: number) => string }} how
 */
export function printDuel(name, result, { floor, unit }) {
  const counts = `(${result.clean} clean of ${result.attempts})`;
  if (result.clean < 5) {
    process.exitCode = 1;
    const hint = `processor time says ${result.cpuRatio.toFixed(2)}`;
    console.log(`${name.padEnd(30)} no verdict: the machine is too busy; ${hint}  ${counts}`);
    return;
  }
  const good = result.ratio >= floor;
  if (!good) process.exitCode = 1;
  console.log(
    `${name.padEnd(30)} ${unit(result.ours).padEnd(24)} rival ${unit(result.rival).padEnd(24)}` +
      ` ratio ${result.ratio.toFixed(2)} +-${(100 * result.spread).toFixed(0)} %` +
      `  ${good ? 'floor' : 'BELOW'} ${floor}  ${counts}`,
  );
}

/** The part of all processors that idled during the last tenth of a second. */
async function idleShare() {
  const count = () => {
    const all = cpus().map(({ times }) => times);
    const idle = all.reduce((sum, t) => sum + t.idle, 0);
    return { idle, total: all.reduce((sum, t) => sum + t.idle + t.user + t.sys + t.nice + t.irq, 0) };
  };
  const before = count();
  await new Promise((done) => setTimeout(done, 100));
  const after = count();
  return (after.idle - before.idle) / (after.total - before.total);
}

function settle() {
  return new Promise((done) => setTimeout(done, SETTLE_MS));
}
