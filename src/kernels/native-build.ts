/**
 * Builds `build/espalier.node` from `native/` with nothing but a C++ compiler: no CMake, no node-gyp.
 * Kernels are compiled once per instruction set; only what changed is compiled again.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { basename, delimiter, dirname, extname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EspalierError } from '../errors.js';

export interface BuildOptions {
  /** The folder that holds `native/`; default: this package. */
  readonly packageRoot?: string;
  /** Default: `build` below the package. */
  readonly outDir?: string;
  /** Compilers at a time; default: one per core. */
  readonly jobs?: number;
  /** One line per step. */
  readonly log?: (line: string) => void;
}

export interface BuildResult {
  readonly addon: string;
  readonly compiler: Compiler;
  readonly compiled: number;
  readonly reused: number;
  readonly seconds: number;
}

export interface Compiler {
  readonly path: string;
  /** First line of `--version`. */
  readonly version: string;
}

interface Unit {
  readonly source: string;
  readonly object: string;
  readonly flags: readonly string[];
}

const COMMON = ['-std=c++17', '-O3', '-fPIC', '-fno-exceptions', '-fvisibility=hidden', '-Wall', '-Wextra'];
// GCC 12 warns of uninitialised values in its own intrinsics. Fused multiply-adds only where the source says so: results must not depend on the compiler's mood.
const KERNEL = [
  '-ffp-contract=off',
  '-fno-math-errno',
  '-fno-trapping-math',
  '-fno-rtti',
  '-Wno-uninitialized',
  '-Wno-maybe-uninitialized',
];
const RUNTIME = ['-std=c++17', '-O2', '-fPIC', '-fvisibility=hidden', '-Wall', '-Wextra', '-pthread'];
const ISA_FLAGS: Readonly<Record<string, readonly string[]>> = {
  scalar: [],
  avx2: ['-mavx2', '-mfma'],
  avx512: ['-mavx2', '-mfma', '-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl'],
};

/** The root of the installed package, from `src/kernels` as from `dist/kernels`. */
export function packageRoot(): string {
  return resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');
}

/** Where the addon of a package lives. */
export function addonPath(root = packageRoot()): string {
  return join(root, 'build', 'espalier.node');
}

/**
 * Compiles and links the native kernels.
 * @throws EspalierError BUILD_NO_COMPILER, BUILD_PLATFORM, BUILD_HEADERS, BUILD_SOURCES, BUILD_COMPILE, BUILD_LINK
 * @example const { addon } = await buildNative({ log: console.log });
 */
export async function buildNative(options: BuildOptions = {}): Promise<BuildResult> {
  const started = performance.now();
  const root = options.packageRoot ?? packageRoot();
  const outDir = options.outDir ?? join(root, 'build');
  const log = options.log ?? (() => {});
  if (process.platform === 'win32') throw unsupported();
  const compiler = await findCompiler();
  log(`compiler: ${compiler.path} (${compiler.version})`);

  const native = join(root, 'native');
  if (!existsSync(native)) {
    throw failure('BUILD_SOURCES', 'the C++ sources are missing', {
      expected: native,
      hint: 'reinstall the package',
    });
  }
  const objects = join(outDir, 'objects');
  await mkdir(objects, { recursive: true });
  const units = planUnits(native, objects, nodeHeaders());
  const headers = listFiles(native).filter((file) => extname(file) === '.h');
  const shared = createHash('sha256').update(`${compiler.version}\0${process.arch}\0`);
  for (const header of headers) shared.update(relative(native, header)).update(readFileSync(header));
  const headerHash = shared.digest('hex');

  let compiled = 0;
  await inParallel(options.jobs ?? availableParallelism(), units, async (unit) => {
    const hash = createHash('sha256')
      .update(headerHash)
      .update(unit.flags.join('\0'))
      .update(await readFile(unit.source))
      .digest('hex');
    const stamp = `${unit.object}.sha256`;
    if (existsSync(unit.object) && (await readText(stamp)) === hash) return;
    await rm(stamp, { force: true });
    // Aside, then renamed: two builds at once do not mix their objects.
    const aside = `${unit.object}.${process.pid}.tmp`;
    const problem = `${relative(root, unit.source)} does not compile`;
    await run(compiler, [...unit.flags, '-c', unit.source, '-o', aside], 'BUILD_COMPILE', problem);
    await rename(aside, unit.object);
    await writeFile(stamp, hash);
    compiled++;
    log(`compiled ${basename(unit.object, '.o')}`);
  });

  const addon = join(outDir, 'espalier.node');
  const list = units.map((unit) => unit.object);
  const linkStamp = join(objects, 'link.txt');
  const linked = list.join('\n');
  if (compiled > 0 || !existsSync(addon) || (await readText(linkStamp)) !== linked) {
    await rm(linkStamp, { force: true });
    const aside = join(outDir, `espalier.node.${process.pid}.tmp`);
    await run(
      compiler,
      [...linkFlags(), ...list, '-o', aside],
      'BUILD_LINK',
      'the native kernels do not link',
    );
    // A running process keeps the old file open; a rename never shows a half-written addon.
    await rename(aside, addon);
    await writeFile(linkStamp, linked);
  }
  const seconds = (performance.now() - started) / 1000;
  const bytes = (await stat(addon)).size;
  log(`built ${addon} (${Math.round(bytes / 1024)} KiB) in ${seconds.toFixed(1)} s`);
  return { addon, compiler, compiled, reused: units.length - compiled, seconds };
}

/**
 * The C++ compiler that a build would use: the CXX variable, else c++, g++, clang++ from PATH.
 * @throws EspalierError BUILD_NO_COMPILER
 */
export async function findCompiler(): Promise<Compiler> {
  const wanted = process.env.CXX;
  const names = wanted ? [wanted] : ['c++', 'g++', 'clang++'];
  for (const name of names) {
    const path = which(name);
    if (path === undefined) continue;
    const { code, output } = await capture(path, ['--version']);
    if (code === 0) return { path, version: output.split('\n')[0].trim() };
  }
  throw failure('BUILD_NO_COMPILER', 'no C++ compiler was found', {
    expected: 'a compiler with C++17 (g++ 9 or clang++ 9, or newer)',
    received: wanted ? `CXX=${wanted}, which does not run` : `none of ${names.join(', ')} on PATH`,
    hint:
      process.platform === 'darwin'
        ? 'run `xcode-select --install`, then build again'
        : 'run `apt install g++` (or `dnf install gcc-c++`, `apk add g++`), then build again',
  });
}

/** The instruction sets compiled on this processor family. */
export function isaLevels(): string[] {
  return process.arch === 'x64' ? Object.keys(ISA_FLAGS) : ['scalar'];
}

function planUnits(native: string, objects: string, headers: string): Unit[] {
  const units: Unit[] = [];
  for (const source of listFiles(native)) {
    if (extname(source) !== '.cpp') continue;
    const place = relative(native, source).split(sep);
    const name = place.join('-').replace(/\.cpp$/, '');
    const unit = (suffix: string, flags: readonly string[]) =>
      units.push({ source, object: join(objects, `${name}${suffix}.o`), flags });
    if (place[0] === 'kernels') {
      for (const isa of isaLevels()) {
        unit(`-${isa}`, [...COMMON, ...KERNEL, `-DES_NS=es_${isa}`, ...ISA_FLAGS[isa]]);
      }
    } else {
      unit('', [...RUNTIME, '-I', headers]);
    }
  }
  return units;
}

function linkFlags(): string[] {
  const flags = ['-shared', '-pthread'];
  if (process.platform === 'darwin') return [...flags, '-undefined', 'dynamic_lookup'];
  return [...flags, '-Wl,--gc-sections', '-Wl,-z,nodelete', '-ldl'];
}

function nodeHeaders(): string {
  try {
    const api = createRequire(import.meta.url)('node-api-headers') as { include_dir: string };
    if (existsSync(join(api.include_dir, 'node_api.h'))) return api.include_dir;
  } catch (cause) {
    throw failure('BUILD_HEADERS', 'the package node-api-headers is missing', {
      hint: 'run `npm install` again',
      cause,
    });
  }
  throw failure('BUILD_HEADERS', 'node-api-headers holds no node_api.h', { hint: 'run `npm install` again' });
}

function unsupported(): EspalierError {
  return failure('BUILD_PLATFORM', 'native kernels cannot be built on Windows yet', {
    received: 'win32',
    hint: 'use WSL, or the reference backend (slow): ESPALIER_BACKEND=reference',
  });
}

async function run(compiler: Compiler, args: readonly string[], code: string, problem: string) {
  const result = await capture(compiler.path, args);
  if (result.code === 0) return;
  throw failure(code, problem, {
    received: `exit status ${result.code} of ${compiler.path}\n${tail(result.output, 30)}\n`,
    hint: 'CXX=/path/to/another/compiler selects another one',
  });
}

function capture(path: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((done) => {
    const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-100_000);
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.on('error', (error) => done({ code: -1, output: error.message }));
    child.on('close', (code) => done({ code: code ?? -1, output }));
  });
}

async function inParallel<T>(jobs: number, items: readonly T[], work: (item: T) => Promise<void>) {
  let next = 0;
  const lane = async () => {
    while (next < items.length) await work(items[next++]);
  };
  // One failure ends the build, but only after the compilers that already run have ended.
  const results = await Promise.allSettled(Array.from({ length: Math.max(1, jobs) }, lane));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

function which(name: string): string | undefined {
  if (name.includes('/')) return existsSync(name) ? name : undefined;
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (folder !== '' && existsSync(join(folder, name))) return join(folder, name);
  }
  return undefined;
}

function listFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) =>
      entry.isDirectory() ? listFiles(join(folder, entry.name)) : [join(folder, entry.name)],
    )
    .sort();
}

async function readText(path: string): Promise<string | undefined> {
  return existsSync(path) ? readFile(path, 'utf8') : undefined;
}

function tail(text: string, lines: number): string {
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}

function failure(
  code: string,
  problem: string,
  more: { expected?: string; received?: string; hint?: string; cause?: unknown },
): EspalierError {
  return new EspalierError({ code, kind: 'system', op: 'build', problem, ...more });
}
