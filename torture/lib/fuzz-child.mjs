/**
 * `node --expose-gc fuzz-child.mjs READER SEED FROM COUNT HOME`: reads cases, and tells on standard output, a JSON line
 * each, where it is and what went wrong. Its parent notices when it hangs or dies.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EspalierError } from '../../dist/errors.js';
import { modules } from './fuzz-modules.mjs';
import { clear, fuzzTargets } from './fuzz-targets.mjs';
import { caseOf } from './mutate.mjs';

const [reader, seedText, fromText, countText, home] = process.argv.slice(2);
const [seed, from, count] = [seedText, fromText, countText].map(Number);
/** What a case may take beside what reading valid files takes. */
const allowance = 64 * 2 ** 20 + 2 ** 20;
const tell = (/** @type {object} */ line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const target = (await fuzzTargets(modules, join(home, 'valid')))[reader];
const place = join(home, 'target');
await mkdir(place, { recursive: true });
for (const bytes of target.corpus) await target.read(bytes, place).catch(() => {});
globalThis.gc?.();
/** Most resident bytes since `restartPeak`, as the kernel counts them; 0 where it does not say. */
const peak = () => {
  try {
    return 1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
};
/** Collects, starts the peak anew, and returns what is resident now. */
const restartPeak = () => {
  globalThis.gc?.();
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {}
  return process.memoryUsage.rss();
};
let base = restartPeak();
const outside = () => readdirSync(home).sort().join();
const around = outside();
const prototypes = [Object.prototype, Array.prototype, Function.prototype, String.prototype];
const members = () => prototypes.map((one) => Object.getOwnPropertyNames(one).length).join();
const clean = members();
let index = from;
process.on('unhandledRejection', (error) =>
  tell({ index, wrong: `a rejection that nobody handles: ${error}` }),
);
let [accepted, refused] = [0, 0];
const codes = /** @type {Record<string, number>} */ ({});
for (; index < from + count; index++) {
  if (index % 64 === 0) tell({ at: index });
  const bytes = caseOf(target, seed, index);
  const began = process.cpuUsage();
  try {
    await target.read(bytes, place);
    accepted++;
  } catch (error) {
    refused++;
    if (!(error instanceof EspalierError)) {
      tell({
        index,
        wrong: `not an EspalierError: ${error instanceof Error ? (error.stack ?? error.message).slice(0, 600) : error}`,
      });
    } else codes[error.code] = (codes[error.code] ?? 0) + 1;
  }
  const { user, system } = process.cpuUsage(began);
  if (user + system > 2e6)
    tell({ index, wrong: `it took ${((user + system) / 1e6).toFixed(1)} s of processor time` });
  if (members() !== clean || Object.hasOwn(Object.prototype, 'polluted')) {
    tell({ index, wrong: 'a prototype was changed' });
    process.exit(3);
  }
  if (index % 16 === 0) {
    if (outside() !== around)
      tell({ index, wrong: `something was written outside of the target directory: ${outside()}` });
    if (peak() > base + allowance) {
      // Perhaps what many cases left to the collector: each of them by itself tells.
      for (let one = Math.max(from, index - 16); one <= index; one++) {
        const again = caseOf(target, seed, one);
        const before = restartPeak();
        await target.read(again, place).catch(() => {});
        const rise = peak() - before;
        if (rise > allowance) tell({ index: one, wrong: `it took ${(rise / 2 ** 20).toFixed(0)} MiB` });
      }
      base = restartPeak();
    }
    if (index % 256 === 0) {
      await clear(place);
      base = restartPeak();
    }
  }
}
tell({ done: true, accepted, refused, codes });
