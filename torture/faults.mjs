// What a failing machine does to files and runs: one clear refusal, and what was there before is whole. After
// `npm run build`:  npm run torture -- faults [--only disk,permission,...] [--seed 1]
// As root: the parts `disk` and `permission` mount small file systems and give up rights; without root they are skipped.
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ingest } from '../dist/data/index.js';
import { Device, EspalierError, kernels, load } from '../dist/index.js';
import { CheckpointStore, openModel } from '../dist/store/index.js';
import { filesOf } from './lib/files.mjs';
import { argumentsFor, gapOrRepeat, makeData, recordsOf } from './lib/methods.mjs';
import { espalier, sleep, start } from './lib/program.mjs';
import { check, chosen, generator, tell, verdict } from './lib/report.mjs';

const { values: options } = parseArgs({
  options: { only: { type: 'string' }, seed: { type: 'string', default: '1' } },
});
const random = generator(Number(options.seed));
const home = await mkdtemp(join(tmpdir(), 'espalier-torture-faults-'));
// Read by a child without rights too.
await chmod(home, 0o755);
const data = join(home, 'data');
const preload = new URL('./lib/faults-preload.mjs', import.meta.url).href;
const epochs = 8;
const isRoot = process.getuid?.() === 0;
const mounted = /** @type {string[]} */ ([]);

/** Trains the tiny classifier `name` in `run`, or goes on with it. */
const training = async (run, how = {}, name = 'fan-in-set', more = epochs) =>
  start(await argumentsFor(name, { home, data, run, epochs: more }), how);

/** A refusal as users should see them: exit code 1, a code, a hint, no stack. */
const refused = ({ code, err }, expected) =>
  code === 1 && err.includes(expected) && err.includes('what to do:') && !/\n\s+at /.test(err);

const lastLine = ({ code, err }) =>
  `code ${code}: ${err.trim().split('\n').slice(-3).join(' | ').slice(0, 300)}`;

/** The uninterrupted run, once. */
let reference = /** @type {{ files: Record<string, string>, log: any[], run: string } | null} */ (null);
async function whole() {
  if (reference !== null) return reference;
  const run = join(home, 'whole');
  const end = await (await training(run)).ended;
  if (end.code !== 0) throw new Error(end.err);
  reference = { files: await filesOf(join(run, 'model')), log: await recordsOf(run), run };
  return reference;
}

async function sameAsWhole(run) {
  const { files, log } = await whole();
  const found = await filesOf(join(run, 'model'));
  return JSON.stringify(found) === JSON.stringify(files)
    ? gapOrRepeat(await recordsOf(run), log)
    : 'other bits';
}

function mount(path, size) {
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path]);
  if (status !== 0) tell(`skipped: no file system can be mounted here (${String(stderr).trim()})`);
  else mounted.push(path);
  return status === 0;
}
const remount = (path, what) => spawnSync('mount', ['-o', `remount,${what}`, path]).status === 0;
function unmount(path) {
  spawnSync('umount', [path]);
  mounted.splice(mounted.indexOf(path), 1);
}

/** A disk of every size from too small to large enough; with room again, the run goes on to the same bits. */
async function disk() {
  if (!isRoot) return tell('skipped: a small disk is mounted as root only');
  await whole();
  const disk = join(home, 'disk');
  await mkdir(disk);
  const wrong = [];
  let [full, finished] = [0, 0];
  for (let kilobytes = 8; finished === 0; kilobytes = Math.ceil(1.4 * kilobytes)) {
    if (!mount(disk, `${kilobytes}k`)) return;
    const run = join(disk, 'run');
    const end = await (await training(run)).ended;
    if (end.code === 0) finished++;
    else {
      full++;
      if (!refused(end, 'FILE_DISK_FULL')) wrong.push(`${kilobytes} KiB: ${lastLine(end)}`);
      if (!remount(disk, 'size=64m')) wrong.push('no room could be made');
      const again = await (await training(run)).ended;
      const problem = again.code === 0 ? await sameAsWhole(run) : lastLine(again);
      if (problem !== null) wrong.push(`${kilobytes} KiB, then room: ${problem}`);
    }
    unmount(disk);
  }
  for (const one of wrong.slice(0, 4)) tell(one);
  check(
    'a full disk ends training with FILE_DISK_FULL, and with room it goes on to the same bits',
    wrong.length === 0 && full > 3,
    `${full} disks from 8 KiB on were too small, ${wrong.length} went wrong`,
  );
}

/** As a user without rights: a run directory that may not be written from the start, or from the middle on. */
async function permission() {
  if (!isRoot) return tell('skipped: rights are given up as root only');
  await whole();
  const nobody = { uid: 65534, gid: 65534, env: { HOME: home } };
  const place = join(home, 'place');
  await mkdir(place);
  await chmod(place, 0o555);
  const at = join(place, 'run');
  const first = await (await training(at, nobody)).ended;
  check('a directory without the right to write is refused', refused(first, 'FILE_ACCESS'), lastLine(first));
  await chmod(place, 0o755);
  await chown(place, 65534, 65534);
  const { child, ended } = await training(at, nobody, 'fan-in-set', epochs);
  const checkpoints = join(at, 'checkpoints');
  let locked = false;
  while (child.exitCode === null && !locked) {
    await sleep(2);
    const saved = existsSync(checkpoints)
      ? (await readdir(checkpoints)).filter((n) => n.startsWith('step-'))
      : [];
    if (saved.length === 0) continue;
    await chmod(checkpoints, 0o555);
    locked = true;
  }
  const lost = await ended;
  if (locked) await chmod(checkpoints, 0o755);
  check(
    'a right lost in the middle ends training with FILE_ACCESS',
    locked && refused(lost, 'FILE_ACCESS'),
    lastLine(lost),
  );
  const again = await (await training(at, nobody)).ended;
  const problem = again.code === 0 ? await sameAsWhole(at) : lastLine(again);
  check('with the right given back it goes on to the same bits', problem === null, problem ?? 'the same');

  const disk = join(home, 'read-only');
  await mkdir(disk);
  if (!mount(disk, '8m') || !remount(disk, 'ro')) return;
  const end = await (await training(join(disk, 'run'))).ended;
  check('a read-only file system is refused', refused(end, 'FILE_READ_ONLY'), lastLine(end));
  unmount(disk);
}

/** Writes that take some of their bytes, and a clock that runs backwards, change nothing. */
async function quirks() {
  await whole();
  for (const [fault, claim] of [
    ['short', 'writes that take only some of their bytes change nothing'],
    ['clock', 'a clock that jumps back at every look changes nothing'],
  ]) {
    const run = join(home, `quirk-${fault}`);
    const env = { FAULT: fault, FAULT_SEED: options.seed };
    const end = await (await training(run, { env, nodeOptions: ['--import', preload] })).ended;
    const problem = end.code === 0 ? await sameAsWhole(run) : lastLine(end);
    check(claim, problem === null, problem ?? 'same bits, same log');
  }
}

/** Every file of a checkpoint cut off at every 4 kB: passed over for the one before. */
async function truncated() {
  const run = join(home, 'truncated');
  const store = await CheckpointStore.open(run, { keep: 2 });
  const arrays = (step) => [{ name: 'w', shape: [30_000], data: new Float32Array(30_000).fill(step) }];
  await store.save({ step: 1, arrays: arrays(1), state: { text: 'x'.repeat(9_000) } });
  const { directory } = await store.save({ step: 2, arrays: arrays(2), state: { text: 'x'.repeat(9_000) } });
  let cuts = 0;
  const wrong = [];
  for (const file of await readdir(directory)) {
    const path = join(directory, file);
    const { size } = await stat(path);
    const bytes = await readFile(path);
    for (let at = 0; at < size; at += 4096, cuts++) {
      await truncate(path, at);
      const { checkpoint, broken } = await (await CheckpointStore.open(run)).latest();
      if (checkpoint?.step !== 1 || broken.length !== 1 || !(broken[0].error instanceof EspalierError))
        wrong.push(`${file} cut at ${at}: step ${checkpoint?.step}`);
      await checkpoint?.tensors.close();
      await writeFile(path, bytes);
    }
  }
  const { checkpoint } = await store.latest();
  await checkpoint?.tensors.close();
  check(
    'a checkpoint cut off at any 4 kB is noticed, and the one before is taken',
    wrong.length === 0 && checkpoint?.step === 2,
    `${cuts} cuts, ${wrong.length} went wrong ${wrong.slice(0, 3).join('; ')}`,
  );
  // And as users meet it: the run goes on, and says what it passed over.
  const { run: from } = await whole();
  const broken = join(home, 'broken');
  await cp(from, broken, { recursive: true });
  const checkpoints = join(broken, 'checkpoints');
  const last = (await readdir(checkpoints)).sort().at(-1) ?? '';
  await truncate(join(checkpoints, last, 'arrays.safetensors'), 4096);
  await writeFile(
    join(broken, 'config.json'),
    (await readFile(join(broken, 'config.json'), 'utf8')).replaceAll(from, broken),
  );
  const end = await (await training(broken)).ended;
  const said = end.err.includes('passed over the damaged checkpoint');
  const problem = end.code === 0 ? await sameAsWhole(broken) : lastLine(end);
  check(
    'training resumes before a damaged checkpoint, and says so',
    said && problem === null,
    problem ?? `said so: ${said}`,
  );
}

/** One bit of every byte of every file of a model, and all bits of the first and last bytes. */
async function flips() {
  const run = join(home, 'whole');
  await whole();
  const stored = await openModel(run);
  await stored.close();
  const copy = join(home, 'flips', 'run');
  await mkdir(copy, { recursive: true });
  const name = stored.directory.split('/').at(-1);
  const directory = join(copy, name);
  await cp(stored.directory, directory, { recursive: true });
  let flipped = 0;
  const missed = [];
  const strange = [];
  for (const file of await readdir(directory)) {
    const path = join(directory, file);
    const bytes = await readFile(path);
    const flip = async (at, bit) => {
      bytes[at] ^= 1 << bit;
      await writeFile(path, bytes);
      bytes[at] ^= 1 << bit;
      flipped++;
      try {
        await (await openModel(directory, { checksums: true })).close();
        missed.push(`${file} byte ${at} bit ${bit}`);
      } catch (error) {
        if (!(error instanceof EspalierError)) strange.push(`${file} byte ${at} bit ${bit}: ${error}`);
      }
    };
    const step = Math.max(1, Math.floor(bytes.length / 2_000));
    for (let at = 0; at < bytes.length; at += step) await flip(at, Math.floor(8 * random()));
    for (const at of [0, 1, 7, 8, bytes.length - 1]) for (let bit = 0; bit < 8; bit++) await flip(at, bit);
    await writeFile(path, bytes);
  }
  check(
    'a bit that flips in a model file is noticed',
    missed.length === 0 && strange.length === 0,
    `${flipped} flips in ${(await readdir(directory)).length} files, ${missed.length} missed, ${strange.length} with another error ${[...missed, ...strange].slice(0, 3).join('; ')}`,
  );
  // What users load with checks checksums by itself.
  const path = join(directory, 'model.safetensors');
  const bytes = await readFile(path);
  bytes[bytes.length - 1] ^= 1;
  await writeFile(path, bytes);
  const error = await load(directory).then(
    () => null,
    (cause) => cause,
  );
  check('load() notices it without being asked', error?.code === 'FILE_DAMAGED', `${error?.code}`);
}

/** Files that change while they are read: refused, or read as they were, never a wrong dataset. */
async function changing() {
  const file = join(home, 'rows.csv');
  const row = (i) => `"words number ${i % 97} and ${i % 31}",label${i % 13}\n`;
  const text = (n) => `text,label\n${Array.from({ length: n }, (_, i) => row(i)).join('')}`;
  const outcomes = /** @type {Record<string, string>} */ ({});
  const wrong = [];
  const changes = {
    'rows appended': () => appendFileSync(file, row(1).repeat(500)),
    'cut off': () => truncateSync(file, 40_000),
    'same rows, other labels': () => writeFileSync(file, text(60_000).replaceAll('label1', 'labelX')),
    'same rows, other words': () => writeFileSync(file, text(60_000).replaceAll('words', 'terms')),
    removed: () => rmSync(file),
  };
  for (const [what, change] of Object.entries(changes)) {
    for (const stage of ['counting', 'featurizing']) {
      await writeFile(file, text(60_000));
      const out = join(home, 'ingested');
      await rm(out, { recursive: true, force: true });
      let changed = false;
      const end = await ingest(
        {
          ...{ from: file, text: ['text'], labels: ['label'], threads: 1 },
          onProgress: (at) => {
            if (at.stage === stage && !changed) change();
            changed ||= at.stage === stage;
          },
        },
        out,
      ).then(
        () => 'read',
        (error) => (error instanceof EspalierError ? error.code : `${error}`),
      );
      outcomes[`${what} while ${stage}`] = end;
      if (!['DATA_CHANGED', 'CSV_QUOTE', 'CSV_FIELDS', 'FILE_MISSING', 'read'].includes(end))
        wrong.push(`${what} while ${stage}: ${end}`);
      // What was read before the change may be kept; what was changed between the passes must not.
      if (end === 'read' && stage === 'counting' && changed && what !== 'rows appended')
        wrong.push(`${what} while ${stage}: taken`);
      if (end !== 'read' && existsSync(out)) wrong.push(`${what} while ${stage}: half a dataset was left`);
    }
  }
  for (const one of wrong) tell(one);
  check('a file that changes while it is read is refused', wrong.length === 0, JSON.stringify(outcomes));
}

/** More than the machine has: refused with the plan's numbers, or with one line where no plan could know. */
async function memory() {
  await whole();
  const huge = ['--set', 'model.encoder.embedding=500000000'];
  const run = join(home, 'huge');
  const end = await start([espalier, 'train', data, '--out', run, ...huge]).ended;
  check(
    'a run that cannot fit is refused with the numbers of its plan',
    refused(end, 'OUT_OF_MEMORY') && /weights [\d,]+ MiB/.test(end.err),
    lastLine(end),
  );
  const small = await start([
    espalier,
    'train',
    data,
    '--out',
    join(home, 'limited'),
    '--max-memory',
    '20MiB',
  ]).ended;
  check('--max-memory refuses likewise', refused(small, 'OUT_OF_MEMORY'), lastLine(small));
  // What no plan knew of.
  let refusal = null;
  try {
    new Device(kernels.selectKernels()).allocator.allocate('weights', 'float32', 2 ** 46);
  } catch (error) {
    refusal = error;
  }
  check(
    'an allocation that the system refuses is an EspalierError with its size',
    refusal instanceof EspalierError && refusal.code === 'OUT_OF_MEMORY',
    refusal?.message?.slice(0, 120) ?? 'no refusal',
  );
}

const parts = { disk, permission, quirks, truncated, flips, changing, memory };
try {
  await makeData(data);
  for (const name of chosen(options.only, Object.keys(parts))) {
    console.log(`\n== ${name}`);
    await parts[name]();
  }
} finally {
  for (const path of [...mounted]) unmount(path);
  await rm(home, { recursive: true, force: true });
}
verdict('faults');
