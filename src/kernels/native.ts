/** The native backend: C++ kernels behind the face, one instance per instruction set and thread count. */
import { availableParallelism } from 'node:os';
import { EspalierError } from '../errors.js';
import type { Kernels } from './face.js';
import { ISA_NAMES, type Isa, loadAddon, MAX_THREADS, nativeBackend } from './native-addon.js';
import { basicKernels } from './native-basic.js';
import { bsrKernels } from './native-bsr.js';
import { factoredKernels } from './native-factored.js';
import { networkKernels } from './native-networks.js';
import { outputKernels } from './native-output.js';

export interface NativeOptions {
  /** Default: ESPALIER_ISA, else the best that processor and build offer. */
  readonly isa?: Isa;
  /** Default: one per core that this process may use. */
  readonly threads?: number;
  /**
   * Multiply bfloat16 weights, and where products in bfloat16 are asked for, in pairs where the processor can
   * (AVX512-BF16), which rounds what they are multiplied with too; default true. false: in float32, as on all other
   * processors.
   */
  readonly bf16Pairs?: boolean;
}

/**
 * The native kernels: float32, multi-threaded.
 * @throws EspalierError NATIVE_MISSING, NATIVE_ISA, NATIVE_THREADS
 * @example const kernels = loadNative({ threads: 2 }); // kernels.name === 'native/avx512'
 */
export function loadNative(options: NativeOptions = {}): Kernels {
  const { addon } = loadAddon();
  const isa = chooseIsa(options.isa, addon.best_isa());
  const threads = options.threads ?? Math.min(availableParallelism(), MAX_THREADS);
  if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS) {
    throw new EspalierError({
      code: 'NATIVE_THREADS',
      kind: 'usage',
      op: 'loadNative',
      problem: 'the number of threads is out of range',
      expected: `a whole number from 1 to ${MAX_THREADS}`,
      received: String(threads),
    });
  }
  const backend = nativeBackend(isa, threads);
  const { bf16Pairs = true } = options;
  return {
    name: `native/${isa}`,
    precision: 'float32',
    threads,
    ...basicKernels(backend, bf16Pairs),
    ...bsrKernels(backend),
    ...factoredKernels(backend),
    ...networkKernels(backend),
    ...outputKernels(backend, bf16Pairs),
  };
}

/** The instruction sets that loadNative accepts here, weakest first. */
export function availableIsas(): Isa[] {
  return ISA_NAMES.slice(0, loadAddon().addon.best_isa() + 1);
}

function chooseIsa(option: Isa | undefined, best: number): Isa {
  const forced = process.env.ESPALIER_ISA;
  const wanted = option ?? (forced === '' ? undefined : forced);
  if (wanted === undefined) return ISA_NAMES[best];
  const level = ISA_NAMES.indexOf(wanted as Isa);
  if (level < 0 || level > best) {
    throw new EspalierError({
      code: 'NATIVE_ISA',
      kind: 'usage',
      op: 'loadNative',
      problem: level < 0 ? 'unknown instruction set' : 'this machine does not offer that instruction set',
      expected: ISA_NAMES.slice(0, best + 1).join(', '),
      received: option === undefined ? `ESPALIER_ISA=${wanted}` : wanted,
    });
  }
  return ISA_NAMES[level];
}
