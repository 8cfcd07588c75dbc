import type { PadPlanesArgs, ShiftedSumsArgs, SparseDotsArgs } from '../../face-networks.js';

export function sparseDots(args: SparseDotsArgs): void {
  const { batch, inputs, rows, indptr, indices, values, bias, relu, x, y } = args;
  for (let b = 0; b < batch; b++) {
    for (let r = 0; r < rows; r++) {
      let sum = bias?.[r] ?? 0;
      for (let e = indptr[r]; e < indptr[r + 1]; e++) sum += values[e] * x[b * inputs + indices[e]];
      y[b * rows + r] = relu ? Math.max(0, sum) : sum;
    }
  }
}

export function padPlanes({ planes, height, width, padding, stride, x, y }: PadPlanesArgs): void {
  const down = Math.ceil((height + 2 * padding) / stride);
  const across = Math.ceil((width + 2 * padding) / stride);
  y.fill(0, 0, planes * stride * stride * down * across);
  for (let plane = 0; plane < planes; plane++) {
    for (let i = padding; i < height + padding; i++) {
      for (let j = padding; j < width + padding; j++) {
        const phase = (plane * stride + (i % stride)) * stride + (j % stride);
        const to = (phase * down + Math.floor(i / stride)) * across + Math.floor(j / stride);
        y[to] = x[(plane * height + i - padding) * width + j - padding];
      }
    }
  }
}

export function shiftedSums(args: ShiftedSumsArgs): void {
  const { batch, inputs, rows, down, across, pitch, indptr, offsets, values, bias, relu, x, y } = args;
  for (let at = 0; at < batch * rows; at++) {
    const [b, r] = [Math.floor(at / rows), at % rows];
    for (let i = 0; i < down; i++) {
      for (let j = 0; j < across; j++) {
        let sum = bias?.[r] ?? 0;
        for (let e = indptr[r]; e < indptr[r + 1]; e++)
          sum += values[e] * x[b * inputs + offsets[e] + i * pitch + j];
        y[(at * down + i) * across + j] = relu ? Math.max(0, sum) : sum;
      }
    }
  }
}
