// Files far larger than memory become datasets in memory that does not grow with them. After `npm run build`:
//   npm run torture -- stream [--gigabytes 2] [--only csv,jsonl] [--memory MiB] [--fresh 10] [--seed 1] [--home DIR]
// Synthetic rows of an eighth, a quarter, a half and all of so many GiB are written and imported one after the other; the
// disk needs about twice as much. The vocabulary never saturates: one word in `--fresh` is new. Where `prlimit` is (Linux),
// the import runs under a cap on the memory it may take. `--memory` is that of `espalier data`, for counting words.
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeLongFile } from './lib/long-file.mjs';
import { espalier, start } from './lib/program.mjs';
import { check, chosen, MiB, tell, verdict } from './lib/report.mjs';

const { values: options } = parseArgs({
  options: {
    gigabytes: { type: 'string', default: '2' },
    only: { type: 'string' },
    memory: { type: 'string' },
    fresh: { type: 'string', default: '10' },
    labels: { type: 'string', default: '100000' },
    sizes: { type: 'string', default: '0.125,0.25,0.5,1' },
    seed: { type: 'string', default: '1' },
    home: { type: 'string', default: tmpdir() },
  },
});
const CAP = 2 ** 31;
/** What one size may hold more than the one before, beside a twentieth: collectors have moods, rows have not. */
const SLACK = 2 ** 26;
const total = Number(options.gigabytes) * 2 ** 30;
const sizes = options.sizes.split(',').map(Number);
const formats = chosen(options.only, ['csv', 'jsonl']);

await mkdir(options.home, { recursive: true });
const home = await mkdtemp(join(options.home, 'espalier-torture-stream-'));
const preload = new URL('./lib/peak-preload.mjs', import.meta.url).href;
// Data segments and private mappings together; address space would count what V8 only reserves.
const hasCap = process.platform === 'linux' && spawnSync('prlimit', ['--version']).status === 0;
const wrap = hasCap ? ['prlimit', `--data=${CAP}`] : [];

/** Imports one file; its peak, and what the report says. */
async function importOf(file, out) {
  const peak = join(home, 'peak');
  const memory = options.memory === undefined ? [] : ['--memory', options.memory];
  const columns = ['--text', 'title,body', '--labels', 'tags', '--label-separator', '|', '--id', 'id'];
  const began = performance.now();
  const end = await start([espalier, 'data', '--from', file, '--out', out, ...columns, ...memory, '--json'], {
    env: { TORTURE_PEAK: peak },
    nodeOptions: ['--import', preload],
    limitMs: 2 ** 31 - 1,
    wrap,
  }).ended;
  const seconds = (performance.now() - began) / 1000;
  if (end.code !== 0) return { failed: `code ${end.code} ${end.signal ?? ''}: ${end.err.slice(-300)}` };
  const { report } = JSON.parse(
    await readFile(join(out, 'report.json'), 'utf8').then((r) => `{"report":${r}}`),
  );
  return { peak: Number(await readFile(peak, 'utf8')), seconds, report };
}

async function tryFormat(format) {
  const peaks = [];
  for (const share of sizes) {
    const [file, out] = [join(home, `rows.${format}`), join(home, 'data')];
    const of = {
      seed: Number(options.seed),
      labels: Number(options.labels),
      freshEvery: Number(options.fresh),
    };
    const made = await writeLongFile(file, { format, bytes: share * total, ...of });
    const done = await importOf(file, out);
    await rm(out, { recursive: true, force: true });
    await rm(file);
    const size = `${format}, ${(made.bytes / 2 ** 30).toFixed(2)} GiB`;
    if ('failed' in done) {
      check(`${size} is imported${hasCap ? ' under the cap' : ''}`, false, done.failed);
      return;
    }
    const { rows, duplicates } = done.report;
    const speed = `${(made.bytes / 2 ** 20 / done.seconds).toFixed(1)} MiB/s`;
    check(
      `${size}: every row arrives`,
      rows.read === made.rows && rows.kept + rows.labelless + rows.empty + rows.unlabelled === made.rows,
      `${rows.read} read, ${rows.kept} kept, ${speed}`,
    );
    check(
      `${size}: equal rows are counted within a tenth`,
      Math.abs(duplicates.rows - made.repeats) <= (duplicates.exact ? 0 : 0.1 * made.repeats),
      `${duplicates.rows} found, ${made.repeats} written${duplicates.exact ? '' : ' (sampled)'}`,
    );
    check(`${size}: the process stays below ${MiB(CAP)}`, done.peak < CAP, `${MiB(done.peak)} at most`);
    peaks.push(done.peak);
  }
  if (peaks.length < 2) return;
  const [before, last] = peaks.slice(-2);
  const [less, more] = sizes.slice(-2);
  check(
    `${format}: ${more / less} times the rows take no more memory`,
    last <= 1.05 * before + SLACK,
    `${peaks.map(MiB).join(', ')}`,
  );
}

try {
  const { bavail, bsize } = await statfs(home);
  if (bavail * bsize < 2.5 * total) {
    console.error(`${home} has room for ${MiB(bavail * bsize)}; this takes about ${MiB(2.5 * total)}`);
    process.exitCode = 2;
  } else {
    if (!hasCap) tell('there is no prlimit here: memory is measured, not capped');
    for (const format of formats) await tryFormat(format);
    verdict('stream');
  }
} finally {
  await rm(home, { recursive: true, force: true });
}
