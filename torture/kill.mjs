// Training that is killed again and again ends with the bits of training that was left alone. After `npm run build`:
//   npm run torture -- kill [--times 100] [--only dense,gates] [--seed 1] [--epochs 24] [--home DIR]
// Every method is killed `--times` times (kill -9): some at random moments, some while a checkpoint is being written;
// beside that it is asked to stop by SIGINT and SIGTERM. With --home what is done is kept there, and skipped next time.
import { existsSync, readdirSync, readFileSync, watch } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { filesOf } from './lib/files.mjs';
import { argumentsFor, gapOrRepeat, makeData, methods, recordsOf } from './lib/methods.mjs';
import { sleep, start } from './lib/program.mjs';
import { check, chosen, generator, tell, verdict } from './lib/report.mjs';

const { values: options } = parseArgs({
  options: {
    times: { type: 'string', default: '100' },
    only: { type: 'string' },
    seed: { type: 'string', default: '1' },
    epochs: { type: 'string', default: '24' },
    home: { type: 'string' },
  },
});
const times = Number(options.times);
const epochs = Number(options.epochs);
const home = options.home ?? (await mkdtemp(join(tmpdir(), 'espalier-torture-kill-')));
const data = join(home, 'data');
const doneFile = join(home, 'kill.json');
/** @type {Record<string, string>} */
const done = existsSync(doneFile) ? JSON.parse(readFileSync(doneFile, 'utf8')) : {};

/** Kills `child` soon after the `nth` checkpoint from now begins to be written; no kill when it ends before. */
function aim(child, run, nth, afterMs) {
  const checkpoints = join(run, 'checkpoints');
  let [seen, watcher] = [0, null];
  const look = setInterval(() => {
    if (watcher !== null || !existsSync(checkpoints)) return;
    watcher = watch(checkpoints, (_, name) => {
      if (name === null || !name.startsWith('.step-') || ++seen !== nth) return;
      const until = performance.now() + afterMs;
      while (performance.now() < until);
      child.kill('SIGKILL');
    });
    watcher.on('error', () => {});
  }, 2);
  return () => {
    clearInterval(look);
    watcher?.close();
  };
}

const halfWritten = (run) =>
  existsSync(join(run, 'checkpoints')) &&
  readdirSync(join(run, 'checkpoints')).some((name) => name.startsWith('.step-'));

async function torment(name) {
  const random = generator(Number(options.seed));
  const next = async (run) => start(await argumentsFor(name, { home, data, run, epochs }));
  const whole = join(home, `${name}-whole`);
  await rm(whole, { recursive: true, force: true });
  const began = performance.now();
  const reference = await (await next(whole)).ended;
  if (reference.code !== 0) throw new Error(`${name} does not train:\n${reference.err}`);
  const length = performance.now() - began;
  const expected = { files: await filesOf(join(whole, 'model')), log: await recordsOf(whole) };

  const counts = { kills: 0, during: 0, asked: 0, saved: 0, runs: 0 };
  const wrong = [];
  while (counts.kills < times) {
    const run = join(home, `${name}-${counts.runs++}`);
    await rm(run, { recursive: true, force: true });
    for (;;) {
      const { child, ended } = await next(run);
      const lot = counts.kills < times ? random() : 1;
      let leave = () => {};
      let asked = false;
      if (lot < 0.45)
        leave = aim(child, run, 1 + Math.floor(6 * random()), random() < 0.5 ? 0 : 12 * random());
      else if (lot < 0.9) {
        const timer = setTimeout(() => child.kill('SIGKILL'), length * random());
        leave = () => clearTimeout(timer);
      } else if (lot < 1) {
        const signal = random() < 0.5 ? 'SIGINT' : 'SIGTERM';
        const timer = setTimeout(() => {
          asked = true;
          child.kill(signal);
        }, length * random());
        leave = () => clearTimeout(timer);
      }
      const { code, signal, err } = await ended;
      leave();
      if (code === 0) break;
      if (signal === 'SIGKILL') {
        counts.kills++;
        if (halfWritten(run)) counts.during++;
      } else if (asked) {
        counts.asked++;
        // A program that has not begun to listen dies of a signal.
        if (code === 1 && /go on with/.test(err)) counts.saved++;
        else if (signal === null) wrong.push(`asked to stop, it ended with code ${code}: ${err.slice(-300)}`);
      } else {
        wrong.push(`it ended by itself with code ${code}, signal ${signal}: ${err.slice(-500)}`);
        break;
      }
    }
    const problem = gapOrRepeat(await recordsOf(run), expected.log);
    if (problem !== null) wrong.push(`${run}: log: ${problem}`);
    const found = await filesOf(join(run, 'model'));
    for (const [file, digest] of Object.entries(expected.files)) {
      if (found[file] !== digest) wrong.push(`${run}: ${file} has other bits`);
    }
    const left = (await readdir(run, { recursive: true })).filter((path) => /(^|\/)\.[^/]*$/.test(path));
    if (left.length > 0) wrong.push(`${run}: left behind ${left.join(' ')}`);
    await rm(run, { recursive: true, force: true });
    if (wrong.length > 3) break;
  }
  await rm(whole, { recursive: true, force: true });
  for (const one of wrong.slice(0, 4)) tell(one);
  const { kills, during, asked, saved, runs } = counts;
  const figures = `${kills} kills, ${during} of them while a checkpoint was half written, ${asked} requests to stop (${saved} saved and said so), ${runs} whole runs`;
  check(`${name} ends with the same bits, and a log without gap or repeat`, wrong.length === 0, figures);
  return wrong.length === 0 ? figures : null;
}

/** The first signal saves and leaves with a message; a second one does not wait for that. */
async function signals() {
  for (const [first, second] of [
    ['SIGINT', 'SIGTERM'],
    ['SIGTERM', 'SIGINT'],
  ]) {
    const run = join(home, 'signals');
    await rm(run, { recursive: true, force: true });
    const { child, ended, said } = start(await argumentsFor('dense', { home, data, run, epochs: 100_000 }));
    while (!/training on/.test(said())) await sleep(5);
    await sleep(300);
    child.kill(first);
    child.kill(second);
    const at = performance.now();
    const end = await ended;
    const seconds = ((performance.now() - at) / 1000).toFixed(2);
    check(
      `${second} after ${first} leaves at once`,
      [130, 143].includes(end.code ?? 0),
      `code ${end.code} after ${seconds} s`,
    );
    const again = start(await argumentsFor('dense', { home, data, run, epochs: 100_000 }));
    while (!/training on/.test(again.said())) await sleep(5);
    await sleep(300);
    again.child.kill(first);
    const { code: left, err } = await again.ended;
    const good = left === 1 && err.includes(`espalier train --resume ${run}`);
    check(`${first} saves and says how to go on`, good, `code ${left}: ${err.trim().split('\n').at(-1)}`);
    await rm(run, { recursive: true, force: true });
  }
}

try {
  await mkdir(home, { recursive: true });
  await makeData(data);
  for (const name of chosen(options.only, [...Object.keys(methods), 'signals'])) {
    if (done[name] !== undefined) {
      tell(`${name} was done before: ${done[name]}`);
    } else if (name === 'signals') await signals();
    else {
      const figures = await torment(name);
      if (figures !== null) {
        done[name] = figures;
        await writeFile(doneFile, JSON.stringify(done, null, 2));
      }
    }
  }
} finally {
  if (options.home === undefined) await rm(home, { recursive: true, force: true });
}
verdict('kill');
