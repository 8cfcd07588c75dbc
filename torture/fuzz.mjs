// Every reader on hostile input: damaged valid files (half of them with checksums that fit again) and texts grown from the
// words of the format. After `npm run build`:
//   npm run torture -- fuzz [--cases 100000] [--only csv,npz,...] [--seed 1] [--home DIR]
// Only EspalierError, no crash, no hang (2 s of processor time), at most 65 MiB more memory, no prototype changed, nothing
// written outside. Readers run in processes of their own, which are started again behind a case that ends them.

import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { modules } from './lib/fuzz-modules.mjs';
import { fuzzTargets } from './lib/fuzz-targets.mjs';
import { caseOf } from './lib/mutate.mjs';
import { check, chosen, tell, verdict } from './lib/report.mjs';

const { values: options } = parseArgs({
  options: {
    cases: { type: 'string', default: '100000' },
    only: { type: 'string' },
    seed: { type: 'string', default: '1' },
    home: { type: 'string' },
  },
});
const cases = Number(options.cases);
const seed = Number(options.seed);
const home = options.home ?? (await mkdtemp(join(tmpdir(), 'espalier-torture-fuzz-')));
const child = fileURLToPath(new URL('./lib/fuzz-child.mjs', import.meta.url));
const doneFile = join(home, 'fuzz.json');
const done = existsSync(doneFile) ? JSON.parse(readFileSync(doneFile, 'utf8')) : {};

/** Processor time of a process, in seconds; NaN once it has ended. */
async function processorTime(/** @type {number} */ pid) {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Runs cases from `from` on; how far it came, and what went wrong. */
function piece(reader, from, count, wrong, codes) {
  return new Promise((resolve) => {
    const place = join(home, reader);
    const process_ = spawn(
      process.execPath,
      [
        '--expose-gc',
        '--max-semi-space-size=2',
        '--max-old-space-size=512',
        child,
        reader,
        String(seed),
        String(from),
        String(count),
        place,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let [at, hung, finished, err] = [from, false, false, ''];
    let spent = 0;
    process_.stderr.on('data', (part) => {
      err = (err + part).slice(-2_000);
    });
    createInterface({ input: process_.stdout }).on('line', async (line) => {
      const message = JSON.parse(line);
      if (message.at !== undefined) at = message.at;
      if (message.wrong !== undefined) wrong.push(message);
      if (message.done === true) {
        finished = true;
        for (const [code, n] of Object.entries(message.codes)) codes[code] = (codes[code] ?? 0) + n;
      }
      // NOTE: nothing behind this line is done before the process is told to have ended.
      spent = (await processorTime(process_.pid ?? 0)) || spent;
    });
    const timer = setInterval(async () => {
      // 64 cases and the start of a process, with room.
      if (!((await processorTime(process_.pid ?? 0)) >= spent + 20)) return;
      hung = true;
      process_.kill('SIGKILL');
    }, 1_000);
    process_.on('close', (code, signal) => {
      clearInterval(timer);
      resolve({ at, finished, hung, how: signal ?? `code ${code}`, err });
    });
  });
}

async function torment(reader, target) {
  const wrong = [];
  const codes = {};
  await mkdir(join(home, reader), { recursive: true });
  for (let from = 0; from < cases; ) {
    const { at, finished, hung, how, err } = await piece(reader, from, cases - from, wrong, codes);
    if (finished) break;
    // It ended within the 64 cases from `at` on: one process for each finds which.
    let found = false;
    for (let one = at; one < Math.min(cases, at + 64) && !found; one++) {
      const alone = await piece(reader, one, 1, [], {});
      if (alone.finished) continue;
      wrong.push({
        index: one,
        wrong: `${alone.hung ? 'it hangs' : `the process ended (${alone.how})`} ${alone.err.slice(-400)}`,
      });
      found = true;
      from = one + 1;
    }
    if (!found) {
      wrong.push({
        index: at,
        wrong: `${hung ? 'it hangs' : `the process ended (${how})`}, but no case alone does it ${err.slice(-400)}`,
      });
      from = at + 64;
    }
    if (wrong.length > 20) break;
  }
  for (const { index, wrong: what } of wrong.slice(0, 5)) {
    const file = join(tmpdir(), `espalier-fuzz-${reader}-${seed}-${index}`);
    await writeFile(file, caseOf(target, seed, index));
    tell(`case ${index} (kept as ${file}): ${what}`);
  }
  const kinds = Object.entries(codes).sort((a, b) => b[1] - a[1]);
  const figures = `${cases} cases, ${kinds.reduce((sum, [, n]) => sum + n, 0)} refused by ${kinds.length} codes, ${wrong.length} went wrong`;
  check(`${reader}`, wrong.length === 0, figures);
  await rm(join(home, reader), { recursive: true, force: true });
  if (wrong.length === 0) {
    done[reader] = figures;
    await writeFile(doneFile, JSON.stringify(done, null, 2));
  }
}

try {
  await mkdir(home, { recursive: true });
  const targets = await fuzzTargets(modules, join(home, 'valid'));
  for (const reader of chosen(options.only, Object.keys(targets))) {
    if (done[reader] !== undefined) tell(`${reader} was done before: ${done[reader]}`);
    else await torment(reader, targets[reader]);
  }
} finally {
  if (options.home === undefined) await rm(home, { recursive: true, force: true });
}
verdict('fuzz');
