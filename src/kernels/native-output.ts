/** The native kernels of the output layers: args objects in, positional calls out, lengths guarded. */
import type { Kernels } from './face.js';
import type { NativeBackend } from './native-addon.js';

export type OutputKernels = Pick<
  Kernels,
  | 'fanInStep'
  | 'fanInLogits'
  | 'fanInTopK'
  | 'fanInIndexLength'
  | 'fanInIndexBuild'
  | 'denseStep'
  | 'denseTopK'
  | 'fanInWorkspace'
  | 'denseWorkspace'
  | 'topKWorkspace'
>;

export function outputKernels(_backend: NativeBackend): OutputKernels {
  throw new Error('not linked yet');
}
