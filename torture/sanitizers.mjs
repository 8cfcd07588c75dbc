// The native kernels under sanitizers: the conformance suite in Node over an addon compiled with AddressSanitizer and
// UndefinedBehaviorSanitizer, then with ThreadSanitizer, and a fuzzer on the kernels that see indices out of files.
//   npm run torture -- sanitizers [--only address,thread,indices] [--runs 1000000] [--tests src/kernels/conformance]
// Needs g++ with its sanitizers; the fuzzer is libFuzzer where clang++ is (CLANG names it), else a plain random loop.
// Builds go to build/sanitizers/ and are reused. What Node itself needs:
//   LD_PRELOAD           the runtime of the sanitizer must be loaded before Node, which is not compiled with it
//   detect_leaks=0       Node and V8 free little at their end: leaks of theirs would drown ours
//   setarch -R           ThreadSanitizer wants addresses where V8 does not put its heap at random
//   ignore_noninstrumented_modules=1   races inside of Node are not looked for
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildNative } from '../dist/kernels/native-build.js';
import { check, chosen, tell, verdict } from './lib/report.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const out = join(root, 'build', 'sanitizers');
const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    runs: { type: 'string', default: '1000000' },
    tests: { type: 'string', default: 'src/kernels/conformance/conformance.test.ts' },
    seed: { type: 'string', default: '1' },
  },
});
const log = (/** @type {string} */ line) => console.error(line);
const libraryOf = (/** @type {string} */ name) =>
  spawnSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim();

/** Runs the suite over an addon compiled with `flags`. */
async function suite(name, flags, runtime, env, wrap = []) {
  const { addon, seconds } = await buildNative({ packageRoot: root, outDir: join(out, name), flags, log });
  tell(`${addon} in ${seconds.toFixed(0)} s`);
  const [command, ...args] = [
    ...wrap,
    process.execPath,
    join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    options.tests,
    '--reporter=default',
    '--no-file-parallelism',
    '--testTimeout=3600000',
  ];
  const { status, signal, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    env: { ...process.env, ...env, NO_COLOR: '1', ESPALIER_ADDON: addon, LD_PRELOAD: libraryOf(runtime) },
  });
  const said = `${stdout}${stderr}`;
  const reports = said.match(/(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:).*/g) ?? [];
  for (const report of reports.slice(0, 5)) tell(report);
  if (status !== 0 && reports.length === 0) tell(said.trim().split('\n').slice(-8).join('\n'));
  const tests = /Tests\s+(.*)/.exec(said)?.[1] ?? 'no tests';
  check(
    `${options.tests} under ${name}`,
    status === 0 && reports.length === 0,
    `${tests}${signal ? `, ${signal}` : ''}, ${reports.length} reports`,
  );
}

const address = () =>
  suite(
    'address',
    [
      '-O1',
      '-g',
      '-fno-omit-frame-pointer',
      '-fsanitize=address,undefined',
      '-fno-sanitize-recover=undefined',
    ],
    'libasan.so',
    { ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1', UBSAN_OPTIONS: 'print_stacktrace=1' },
  );

const thread = () =>
  suite(
    'thread',
    ['-O1', '-g', '-fsanitize=thread'],
    'libtsan.so',
    { TSAN_OPTIONS: 'halt_on_error=1:ignore_noninstrumented_modules=1' },
    ['setarch', '-R'],
  );

/** Every source of the kernels but the binding, compiled once per instruction set, with the harness. */
async function indices() {
  const clang = [process.env.CLANG, 'clang++', 'clang++-14'].find(
    (name) => name !== undefined && spawnSync(name, ['--version']).status === 0,
  );
  const guided = clang !== undefined;
  const compiler = clang ?? 'g++';
  const folder = join(out, guided ? 'fuzzer' : 'random');
  mkdirSync(folder, { recursive: true });
  const common = ['-std=c++17', '-O1', '-g', '-pthread', '-fno-sanitize-recover=undefined', '-w'];
  const watch = guided ? ['-fsanitize=fuzzer-no-link,address,undefined'] : ['-fsanitize=address,undefined'];
  const isas = {
    scalar: [],
    avx2: ['-mavx2', '-mfma'],
    avx512: ['-mavx2', '-mfma', '-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl'],
  };
  const objects = [];
  // Headers of all: whatever changed, everything is compiled again.
  let changed = 0;
  for (const file of await readdir(join(root, 'native'), { recursive: true })) {
    changed = Math.max(changed, statSync(join(root, 'native', file)).mtimeMs);
  }
  const compile = (source, object, flags) => {
    objects.push(object);
    if (existsSync(object) && statSync(object).mtimeMs > changed) return;
    const { status, stderr } = spawnSync(
      compiler,
      [...common, ...watch, ...flags, '-c', source, '-o', object],
      { encoding: 'utf8' },
    );
    if (status !== 0) throw new Error(stderr);
  };
  for (const part of ['kernels', 'runtime']) {
    for (const file of (await readdir(join(root, 'native', part), { recursive: true })).sort()) {
      if (!file.endsWith('.cpp')) continue;
      const name = `${part}-${file.replaceAll('/', '-').replace('.cpp', '')}`;
      const source = join(root, 'native', part, file);
      if (part === 'runtime') compile(source, join(folder, `${name}.o`), []);
      else
        for (const [isa, flags] of Object.entries(isas))
          compile(source, join(folder, `${name}-${isa}.o`), [
            `-DES_NS=es_${isa}`,
            '-ffp-contract=off',
            ...flags,
          ]);
    }
  }
  const program = join(folder, 'guards');
  const finish = guided
    ? ['-fsanitize=fuzzer,address,undefined']
    : ['-fsanitize=address,undefined', '-DES_PLAIN_MUTATION'];
  const linked = spawnSync(
    compiler,
    [...common, ...finish, join(root, 'torture/native/guards.cpp'), ...objects, '-ldl', '-o', program],
    { encoding: 'utf8' },
  );
  if (linked.status !== 0) throw new Error(linked.stderr);
  const args = guided
    ? [`-runs=${options.runs}`, `-seed=${options.seed}`, '-max_len=512', '-print_final_stats=1']
    : [options.runs, options.seed];
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' },
  });
  const tail = `${stdout}${stderr}`.trim().split('\n');
  if (status !== 0) tell(tail.slice(-25).join('\n'));
  const cover = /cov: (\d+)/.exec(tail.filter((line) => line.includes('cov:')).at(-1) ?? '')?.[1];
  check(
    'kernels that see indices out of files stay within their arrays',
    status === 0,
    guided
      ? `${options.runs} runs of libFuzzer, ${cover} edges`
      : `${options.runs} random inputs, not guided by coverage: no clang++ is here`,
  );
}

const parts = { address, thread, indices };
for (const name of chosen(options.only, Object.keys(parts))) {
  console.log(`\n== ${name}`);
  await parts[name]();
}
verdict('sanitizers');
