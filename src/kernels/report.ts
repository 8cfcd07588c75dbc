/** What runs on this machine and why: data for `espalier doctor`. */
import { existsSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { EspalierError } from '../errors.js';
import { chooseKernels, type KernelOptions } from './choose.js';
import { availableIsas } from './native.js';
import { type AddonCandidate, addonCandidates, type Isa, loadAddon, nativeBackend } from './native-addon.js';
import { type Compiler, findCompiler } from './native-compiler.js';

export interface BackendReport {
  /** Name of the kernels that run, e.g. `native/avx512`; null when the options allow none. */
  readonly backend: string | null;
  readonly threads: number;
  /** Why this backend. */
  readonly reason: string;
  /** What to do for more speed; null when there is nothing to do. */
  readonly remedy: string | null;
  /** Files that are tried, in order: where each comes from, and why one that is there is not taken. */
  readonly addon: (AddonCandidate & { readonly exists: boolean })[];
  /** Instruction sets that processor and addon offer; empty without an addon. */
  readonly isas: readonly Isa[];
  readonly compiler: Compiler | null;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly platform: string;
    readonly node: string;
  };
}

/**
 * Which backend runs, which could, and what keeps a better one away. Never throws.
 * @example const { backend, reason, remedy } = await backendReport();
 */
export async function backendReport(options: KernelOptions = {}): Promise<BackendReport> {
  const compiler = await findCompiler().catch(() => null);
  const machine = {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    platform: `${process.platform}-${process.arch}`,
    node: process.version,
  };
  const addon = addonCandidates().map((one) => ({ ...one, exists: existsSync(one.path) }));
  const common = { addon, isas: isasOrNone(), compiler, machine };
  try {
    const { kernels, reason } = chooseKernels(options);
    const slow = kernels.name.startsWith('reference/');
    const remedy = slow ? remedyFor(compiler, common.isas.length > 0) : null;
    return { backend: kernels.name, threads: kernels.threads, reason, remedy, ...common };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const hint = error instanceof EspalierError ? (error.facts.hint ?? null) : null;
    return { backend: null, threads: 0, reason, remedy: hint, ...common };
  }
}

function isasOrNone(): Isa[] {
  try {
    return availableIsas();
  } catch {
    return [];
  }
}

function remedyFor(compiler: Compiler | null, loads: boolean): string {
  if (loads)
    return 'the native kernels load: unset ESPALIER_BACKEND, or do not ask for the reference backend';
  if (compiler !== null) return 'run `npx espalier build`';
  return 'install a C++ compiler (`apt install g++`, or `xcode-select --install`), then `npx espalier build`';
}

export interface Peak {
  readonly isa: Isa;
  readonly threads: number;
  /** Multiply-adds in registers, 2 operations each. */
  readonly gflops: number;
  /** Copy of a large array: bytes read plus bytes written. */
  readonly copyGBs: number;
}

/**
 * Measures the ceilings of this machine in about a quarter of a second: best of several short runs.
 * @throws EspalierError NATIVE_MISSING
 */
export function measurePeak(isa: Isa, threads: number): Peak {
  const backend = nativeBackend(isa, threads);
  const flops = new Float64Array(1);
  let gflops = 0;
  for (let round = 0; round < 8; round++) {
    flops[0] = 0;
    const seconds = timed(() => backend.use().fma_peak(1_000_000, flops));
    gflops = Math.max(gflops, flops[0] / seconds / 1e9);
  }
  const n = 8 << 20;
  const from = new Float32Array(n).fill(1);
  const to = new Float32Array(n).fill(1);
  let copyGBs = 0;
  for (let round = 0; round < 8; round++) {
    const seconds = timed(() => backend.use().scale(n, 1, from, to));
    copyGBs = Math.max(copyGBs, (8 * n) / seconds / 1e9);
  }
  return { isa, threads, gflops, copyGBs };
}

/** Bytes of grow-only scratch that the native kernels hold outside of JavaScript; 0 without an addon. */
export function nativeScratchBytes(): number {
  try {
    return loadAddon().addon.scratch_bytes();
  } catch {
    return 0;
  }
}

function timed(work: () => void): number {
  const start = performance.now();
  work();
  return (performance.now() - start) / 1000;
}
