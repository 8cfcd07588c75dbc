/** The backends that output layers must agree on: the float64 twin, and the native kernels where they are built. */
import type { Kernels } from '../kernels/face.js';
import { loadNative } from '../kernels/native.js';
import { referenceKernels } from '../kernels/reference/index.js';

export interface Backend {
  readonly name: string;
  /** Null where it is not built. */
  readonly kernels: Kernels | null;
  /** |a - b| <= tolerance * (1 + |b|) */
  readonly tolerance: number;
  readonly exact: boolean;
}

function native(threads: number): Kernels | null {
  try {
    return loadNative({ threads });
  } catch {
    return null;
  }
}

export const backends: readonly Backend[] = [
  { name: 'reference/float64', kernels: referenceKernels('float64'), tolerance: 1e-11, exact: true },
  { name: 'reference/float32', kernels: referenceKernels('float32'), tolerance: 3e-5, exact: false },
  { name: 'native, 1 thread', kernels: native(1), tolerance: 3e-5, exact: false },
  { name: 'native, 2 threads', kernels: native(2), tolerance: 3e-5, exact: false },
];

/**
 * The same for weights in bfloat16: an update may leave each 2^-7 of itself away, later gradients see that, and Adam
 * makes a whole step of the sign of a gradient near 0; squared hinge at these rates doubles errors from step to step. How close one step is, the kernels' suite says; here only gross
 * mistakes show.
 */
export const bf16Backends: readonly Backend[] = backends.map((backend) => ({
  ...backend,
  tolerance: 0.2,
  exact: false,
}));
