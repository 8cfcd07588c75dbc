/** The native kernels outside of the output layers: args objects in, positional calls out, lengths guarded. */
import type { Kernels } from './face.js';
import { f32, type NativeBackend } from './native-addon.js';

export type BasicKernels = Pick<Kernels, 'relu' | 'add' | 'multiply' | 'scale'>;

export function basicKernels(b: NativeBackend): BasicKernels {
  return {
    relu(n, x, y) {
      b.use().relu(n, f32('relu', 'x', x, n), f32('relu', 'y', y, n));
    },
    add(n, a, c, alpha, out) {
      b.use().add(n, f32('add', 'a', a, n), f32('add', 'b', c, n), alpha, f32('add', 'out', out, n));
    },
    multiply(n, a, c, out) {
      b.use().multiply(n, f32('multiply', 'a', a, n), f32('multiply', 'b', c, n), f32('multiply', 'out', out, n));
    },
    scale(n, alpha, x, out) {
      b.use().scale(n, alpha, f32('scale', 'x', x, n), f32('scale', 'out', out, n));
    },
  };
}
