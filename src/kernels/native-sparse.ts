/** The native kernels of sparse inference: args objects in, positional calls out, lengths guarded. */
import type { NetworkKernels, ShiftedSumsArgs, SparseDotsArgs } from './face-networks.js';
import { f32, f32OrNull, guarded, type NativeBackend, need } from './native-addon.js';

type Call = (...args: unknown[]) => void;

export function sparseKernels(
  backend: NativeBackend,
): Pick<NetworkKernels, 'sparseDots' | 'padPlanes' | 'shiftedSums'> {
  const addon = () =>
    backend.use() as unknown as Readonly<Record<'sparse_dots' | 'pad_planes' | 'shifted_sums', Call>>;
  return {
    sparseDots(args) {
      const op = 'sparseDots';
      const { entries, matrix, tail } = product(op, args, args.indices, args.batch * args.rows);
      guarded(op, 'indptr must ascend and every index must be below `inputs`', () =>
        addon().sparse_dots(args.batch, args.inputs, args.rows, entries, ...matrix, ...tail),
      );
    },

    padPlanes({ planes, height, width, padding, stride, x, y }) {
      const op = 'padPlanes';
      const side = (size: number) => Math.ceil((size + 2 * padding) / stride);
      const room = planes * stride * stride * side(height) * side(width);
      const data = [f32(op, 'x', x, planes * height * width), f32(op, 'y', y, room)];
      guarded(op, 'sizes must not be negative and the stride at least 1', () =>
        addon().pad_planes(planes, height, width, padding, stride, ...data),
      );
    },

    shiftedSums(args) {
      const op = 'shiftedSums';
      const { batch, inputs, rows, down, across, pitch } = args;
      const { entries, matrix, tail } = product(op, args, args.offsets, batch * rows * down * across);
      guarded(op, 'every shift must stay within the inputs, and the pitch hold `across` numbers', () =>
        addon().shifted_sums(batch, inputs, rows, down, across, pitch, entries, ...matrix, ...tail),
      );
    },
  };
}

function product(op: string, args: SparseDotsArgs | ShiftedSumsArgs, places: Uint32Array, outputs: number) {
  const { batch, inputs, rows, indptr, values, bias, relu, x, y } = args;
  need(op, 'indptr', indptr, rows + 1);
  const entries = Math.min(places.length, values.length);
  const matrix = [indptr, places, f32(op, 'values', values, entries)];
  const out = [f32(op, 'x', x, batch * inputs), f32(op, 'y', y, outputs)];
  return { entries, matrix, tail: [f32OrNull(op, 'bias', bias, rows), relu, ...out] };
}
