/**
 * Builds `build/espalier.node` from `native/` with nothing but a C++ compiler: no CMake, no node-gyp.
 * Kernels are compiled once per instruction set; only what changed is compiled again.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { basename, dirname, extname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildError, type Compiler, compile, findCompiler } from './native-compiler.js';

export interface BuildOptions {
  /** The folder that holds `native/`; default: this package. */
  readonly packageRoot?: string;
  /** Default: `build` below the package. */
  readonly outDir?: string;
  /** Further flags for the compiler and the linker, e.g. of sanitizers; with another `outDir`. */
  readonly flags?: readonly string[];
  /** Where the addon goes; default: `espalier.node` in `outDir`. */
  readonly addon?: string;
  /** Further flags for the linker alone; with another `addon`. */
  readonly linkFlags?: readonly string[];
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

interface Unit {
  readonly source: string;
  readonly object: string;
  readonly flags: readonly string[];
}

const COMMON = ['-std=c++17', '-fPIC', '-fvisibility=hidden', '-Wall', '-Wextra'];
const RUNTIME = [...COMMON, '-O2', '-pthread'];
const KERNEL = [
  ...COMMON,
  '-O3',
  '-fno-exceptions',
  '-fno-rtti',
  // Fused multiply-adds only where the source says so: results must not depend on the compiler's mood.
  '-ffp-contract=off',
  '-fno-math-errno',
  '-fno-trapping-math',
  // GCC 12 warns of uninitialised values in its own intrinsics.
  '-Wno-uninitialized',
  '-Wno-maybe-uninitialized',
];
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
  if (process.platform === 'win32') {
    throw buildError('BUILD_PLATFORM', 'native kernels cannot be built on Windows yet', {
      received: 'win32',
      hint: 'use WSL, or the reference backend (slow): ESPALIER_BACKEND=reference',
    });
  }
  const compiler = await findCompiler();
  log(`compiler: ${compiler.path} (${compiler.version})`);

  const native = join(root, 'native');
  if (!existsSync(native)) {
    throw buildError('BUILD_SOURCES', 'the C++ sources are missing', {
      expected: native,
      hint: 'reinstall the package',
    });
  }
  const objects = join(outDir, 'objects');
  await mkdir(objects, { recursive: true });
  const { flags = [] } = options;
  const units = planUnits(native, objects, nodeHeaders()).map((unit) => ({
    ...unit,
    flags: [...unit.flags, ...flags],
  }));

  const stamps = new Map<Unit, string>();
  let compiled = 0;
  await inParallel(options.jobs ?? availableParallelism(), units, async (unit) => {
    const before = await stampOf(unit, compiler);
    if (before !== undefined && before === (await readText(`${unit.object}.stamp`))) {
      stamps.set(unit, before);
      return;
    }
    // Aside, then renamed: two builds at once do not mix their objects.
    const aside = `${unit.object}.${process.pid}.tmp`;
    const args = [...unit.flags, '-MMD', '-MF', `${unit.object}.d`, '-MT', 'object', '-c', unit.source];
    await compile(compiler, args, aside, 'BUILD_COMPILE', `${relative(root, unit.source)} does not compile`);
    await rm(`${unit.object}.stamp`, { force: true });
    await rename(aside, unit.object);
    const stamp = (await stampOf(unit, compiler)) ?? '';
    await writeFile(`${unit.object}.stamp`, stamp);
    stamps.set(unit, stamp);
    compiled++;
    log(`compiled ${basename(unit.object, '.o')}`);
  });

  const addon = options.addon ?? join(outDir, 'espalier.node');
  const linked = units.map((unit) => `${basename(unit.object)} ${stamps.get(unit)}\n`).join('');
  if (!existsSync(addon) || (await readText(`${addon}.stamp`)) !== linked) {
    const aside = `${addon}.${process.pid}.tmp`;
    const args = [
      ...linkFlags(),
      ...flags,
      ...(options.linkFlags ?? []),
      ...units.map((unit) => unit.object),
    ];
    await compile(compiler, args, aside, 'BUILD_LINK', 'the native kernels do not link');
    await rm(`${addon}.stamp`, { force: true });
    // A running process keeps the old file; a rename never shows a half-written addon.
    await rename(aside, addon);
    await writeFile(`${addon}.stamp`, linked);
  }
  const seconds = (performance.now() - started) / 1000;
  const bytes = (await stat(addon)).size;
  log(`built ${addon} (${Math.round(bytes / 1024)} KiB) in ${seconds.toFixed(1)} s`);
  return { addon, compiler, compiled, reused: units.length - compiled, seconds };
}

/** The instruction sets compiled on this processor family. */
export function isaLevels(): string[] {
  return process.arch === 'x64' ? Object.keys(ISA_FLAGS) : ['scalar'];
}

/** The flags of every build on this machine, by kind of source, and those of the linker. */
export function buildFlags(): Record<string, readonly string[]> {
  const isas = isaLevels().map((isa) => [`kernels for ${isa}`, [...KERNEL, ...ISA_FLAGS[isa]]] as const);
  return { runtime: RUNTIME, ...Object.fromEntries(isas), link: linkFlags() };
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
      for (const isa of isaLevels()) unit(`-${isa}`, [...KERNEL, `-DES_NS=es_${isa}`, ...ISA_FLAGS[isa]]);
    } else {
      unit('', [...RUNTIME, '-isystem', headers]);
    }
  }
  return units;
}

/** A hash of compiler, flags and every file that the object was made of; undefined when it was never made. */
async function stampOf(unit: Unit, compiler: Compiler): Promise<string | undefined> {
  const rule = await readText(`${unit.object}.d`);
  if (rule === undefined || !existsSync(unit.object)) return undefined;
  const hash = createHash('sha256').update([compiler.path, compiler.version, ...unit.flags].join('\0'));
  // `object: source header \<newline> header ...`, blanks in names escaped by a backslash.
  const files = rule.slice(rule.indexOf(': ') + 2).match(/(?:\\ |[^\s\\])+/g) ?? [];
  const names = files.map((file) => file.replaceAll('\\ ', ' '));
  // A build folder that was copied tells of the sources it was copied from.
  if (names[0] !== unit.source) return undefined;
  for (const name of names) {
    const text = await readText(name);
    if (text === undefined) return undefined;
    hash.update(`\0${text}`);
  }
  return hash.digest('hex');
}

function linkFlags(): string[] {
  const flags = ['-shared', '-pthread'];
  if (process.platform === 'darwin') return [...flags, '-undefined', 'dynamic_lookup'];
  // Node unloads an addon with the worker that loaded it, but pool threads run its code for ever: nodelete.
  return [...flags, '-Wl,-z,nodelete', '-ldl'];
}

function nodeHeaders(): string {
  const hint = 'run `npm install` again';
  try {
    const api = createRequire(import.meta.url)('node-api-headers') as { include_dir: string };
    if (existsSync(join(api.include_dir, 'node_api.h'))) return api.include_dir;
  } catch (cause) {
    throw buildError('BUILD_HEADERS', 'the package node-api-headers is missing', { hint, cause });
  }
  throw buildError('BUILD_HEADERS', 'node-api-headers holds no node_api.h', { hint });
}

async function inParallel<T>(jobs: number, items: readonly T[], work: (item: T) => Promise<void>) {
  let next = 0;
  let failed = false;
  const lane = async () => {
    while (next < items.length && !failed) {
      await work(items[next++]).catch((error) => {
        failed = true;
        throw error;
      });
    }
  };
  // One failure ends the build, but only after the compilers that already run have ended.
  const results = await Promise.allSettled(Array.from({ length: Math.max(1, jobs) }, lane));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
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
