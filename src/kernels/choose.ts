/** Picks a backend, and says why. */
import { EspalierError, ensure } from '../errors.js';
import type { Kernels } from './face.js';
import { loadNative } from './native.js';
import type { Isa } from './native-addon.js';
import { referenceKernels } from './reference/index.js';

export type Backend = 'auto' | 'native' | 'reference';

export interface KernelOptions {
  /** Default: ESPALIER_BACKEND, else `auto`: native where it loads, else reference. */
  readonly backend?: Backend;
  readonly isa?: Isa;
  readonly threads?: number;
  /** float64 exists on the reference backend only. Default: float32. */
  readonly precision?: 'float32' | 'float64';
}

export interface KernelChoice {
  readonly kernels: Kernels;
  /** One sentence: why this backend and not the other. */
  readonly reason: string;
  /** What kept the native backend from running, when `auto` fell back. */
  readonly fallback?: EspalierError;
}

const BACKENDS: readonly string[] = ['auto', 'native', 'reference'];

/**
 * Picks the kernels and tells why.
 * @throws EspalierError KERNEL_BACKEND, KERNEL_PRECISION, NATIVE_MISSING, NATIVE_ISA, NATIVE_THREADS
 * @example const { kernels, reason } = chooseKernels({ threads: 2 });
 */
export function chooseKernels(options: KernelOptions = {}): KernelChoice {
  const { precision = 'float32' } = options;
  const variable = process.env.ESPALIER_BACKEND;
  const forced = variable !== undefined && variable !== '';
  const backend = options.backend ?? (forced ? variable : 'auto');
  const asked = options.backend !== undefined ? `asked for by the caller` : `ESPALIER_BACKEND=${variable}`;
  ensure(BACKENDS.includes(backend), () => ({
    code: 'KERNEL_BACKEND',
    kind: 'usage',
    op: 'selectKernels',
    problem: 'unknown backend',
    expected: BACKENDS.join(', '),
    received: backend,
  }));

  if (backend === 'reference') return { kernels: referenceKernels(precision), reason: asked };
  if (precision === 'float64') {
    ensure(backend === 'auto', () => ({
      code: 'KERNEL_PRECISION',
      kind: 'usage',
      op: 'selectKernels',
      problem: 'native kernels compute in float32 only',
      hint: "use backend 'reference' (or 'auto') for float64",
    }));
    return { kernels: referenceKernels('float64'), reason: 'float64 exists on the reference backend only' };
  }
  try {
    const kernels = loadNative(options);
    return { kernels, reason: backend === 'native' ? asked : 'the native kernels load on this machine' };
  } catch (error) {
    // Only a missing addon may fall back; a wrong option stays the caller's error.
    if (backend === 'native' || !(error instanceof EspalierError) || error.code !== 'NATIVE_MISSING')
      throw error;
    return { kernels: referenceKernels('float32'), reason: error.message, fallback: error };
  }
}

/** The kernels of chooseKernels without the reason; `kernels.name` tells which they are. */
export function selectKernels(options: KernelOptions = {}): Kernels {
  return chooseKernels(options).kernels;
}
