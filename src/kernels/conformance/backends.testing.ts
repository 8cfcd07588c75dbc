import { EspalierError } from '../../errors.js';
import type { Kernels } from '../face.js';
import { referenceKernels } from '../reference/index.js';

export interface Backend {
  /** e.g. `native/avx2 x 2` */
  readonly name: string;
  /** The kernels, or why they cannot run here. */
  readonly kernels: Kernels | string;
  /** The same backend on one thread, when this one has more. */
  readonly onOneThread?: Kernels;
}

const ISAS = ['scalar', 'avx2', 'avx512'] as const;
const THREADS = [1, 2] as const;

/** Every backend, precision, instruction set and thread count that the suite knows; those missing here say why. */
export async function allBackends(): Promise<Backend[]> {
  const backends: Backend[] = (['float64', 'float32'] as const).map((precision) => {
    const kernels = referenceKernels(precision);
    return { name: kernels.name, kernels };
  });
  const { loadNative } = await import('../native.js');
  for (const isa of ISAS) {
    const load = (threads: number): Kernels | string => {
      try {
        return loadNative({ isa, threads });
      } catch (error) {
        if (error instanceof EspalierError && ['NATIVE_MISSING', 'NATIVE_ISA'].includes(error.code)) {
          return error.facts.problem;
        }
        throw error;
      }
    };
    const single = load(1);
    for (const threads of THREADS) {
      const kernels = load(threads);
      const onOneThread = threads > 1 && typeof single !== 'string' ? single : undefined;
      backends.push({ name: `native/${isa} x ${threads}`, kernels, onOneThread });
    }
  }
  return backends;
}
