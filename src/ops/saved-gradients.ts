/** Gradients of parameters from activations as they were kept: dense, block-sparse, pooled, or computed again. */
import { type Kept, unreadable } from '../autograd/saved.js';
import type { Saved, SavedRows } from '../autograd/saved-forms.js';
import { matrixShape } from '../tensor/bsr.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';

/** Numbers computed again at once: they stay in a cache between their making and their product. */
const chunkNumbers = 2 ** 18;
const chunkRows = (cols: number): number => Math.max(64, Math.floor(chunkNumbers / Math.max(1, cols)));

/** Where a gradient goes, as GradientSink.place says. */
export interface Place {
  readonly target: Tensor;
  readonly accumulate: boolean;
}

/** target [out, in] = dy^T x (+ target), dy [rows, out] and x [rows, in] as it was kept (arXiv 2311.16883, eq. 4). */
export function weightGradient(device: Device, kept: Kept, x: Tensor, dy: Tensor, place: Place): void {
  savedGradient(device, kept, x, place, (saved, to) => product(device, saved, x, dy, to));
}

/** target [in] = sum over rows of dy * x (+ target), both [rows, in], x as it was kept. */
export function scaleGradient(device: Device, kept: Kept, x: Tensor, dy: Tensor, place: Place): void {
  savedGradient(device, kept, x, place, (saved, to) => columnDots(device, saved, x, dy, to));
}

/** Computes from the copy that is kept; where the exact tensor is there too, measures what the copy lost. */
export function savedGradient(
  device: Device,
  kept: Kept,
  x: Tensor,
  place: Place,
  compute: (saved: Saved, to: Place) => void,
): void {
  const { kernels } = device;
  const saved = kept.values(x);
  compute(saved, place);
  const exact = kept.exact(x);
  if (exact === null) return;
  const alone = () => ({
    target: device.temporary('workspace', place.target.shape),
    accumulate: false,
  });
  const [pruned, full] = [alone(), alone()];
  compute(saved, pruned);
  compute(exact, full);
  const [a, b] = [pruned.target, full.target];
  const squares = (t: Tensor) => kernels.sumSquares(t.size, t.data);
  const [aa, bb] = [squares(a), squares(b)];
  kernels.add(a.size, a.data, b.data, -1, a.data);
  // |a - b|^2 = |a|^2 + |b|^2 - 2 a.b
  kept.measured(x, (aa + bb - squares(a)) / (2 * Math.sqrt(aa * bb)));
  device.release(a);
  device.release(b);
}

function product(device: Device, saved: Saved, x: Tensor, dy: Tensor, { target, accumulate }: Place): void {
  const { kernels } = device;
  const { rows } = matrixShape(x.shape);
  const [m, n] = target.shape;
  const rounded = saved.kind === 'rows' && saved.rounded ? ({ products: 'bf16' } as const) : {};
  const dense = (k: number, a: Tensor, b: Tensor, add: boolean) =>
    kernels.gemm({
      ...{ transA: true, m, n, k, a: a.data, b: b.data, c: target.data, accumulate: add },
      ...rounded,
    });
  if (saved.kind === 'dense') dense(rows, dy, saved.tensor, accumulate);
  else if (saved.kind === 'bsr')
    kernels.denseBsr({
      transA: true,
      m,
      a: dy.data,
      x: saved.bsr.args,
      c: target.data,
      accumulate,
    });
  else if (saved.kind === 'pooled') {
    // Within a group every row has the mean for x: dW = sum over groups of (sum of dy)^T mean.
    const sums = pooled(device, saved.size, rows, m, dy);
    dense(saved.means.shape[0], sums, saved.means, accumulate);
    device.release(sums);
  } else {
    for (const [begin, end, part] of chunks(device, saved, rows, n)) {
      dense(end - begin, device.rows(matrix(device, dy, rows, m), begin, end), part, accumulate || begin > 0);
    }
  }
}

function columnDots(
  device: Device,
  saved: Saved,
  x: Tensor,
  dy: Tensor,
  { target, accumulate }: Place,
): void {
  const { kernels } = device;
  const { rows, cols } = matrixShape(x.shape);
  const dense = (count: number, a: Tensor, b: Tensor, add: boolean) => {
    // affineBackward overwrites.
    const sums = add ? device.temporary('workspace', [cols]) : target;
    const dgamma = sums.data;
    kernels.affineBackward({
      rows: count,
      dim: cols,
      x: b.data,
      gamma: dgamma,
      dy: a.data,
      dx: null,
      dgamma,
      dbeta: null,
    });
    if (!add) return;
    kernels.add(cols, target.data, dgamma, 1, target.data);
    device.release(sums);
  };
  if (saved.kind === 'dense') dense(rows, dy, saved.tensor, accumulate);
  else if (saved.kind === 'bsr') kernels.bsrColumnDots(saved.bsr.args, dy.data, target.data, accumulate);
  else if (saved.kind === 'pooled') {
    const sums = pooled(device, saved.size, rows, cols, dy);
    dense(saved.means.shape[0], sums, saved.means, accumulate);
    device.release(sums);
  } else {
    for (const [begin, end, part] of chunks(device, saved, rows, cols)) {
      dense(
        end - begin,
        device.rows(matrix(device, dy, rows, cols), begin, end),
        part,
        accumulate || begin > 0,
      );
    }
  }
}

/** The sums of groups of rows. */
function pooled(device: Device, size: number, rows: number, cols: number, dy: Tensor): Tensor {
  const sums = device.temporary('workspace', [Math.ceil(rows / size), cols]);
  device.kernels.poolRows(rows, cols, size, dy.data, 'sum', sums.data);
  return sums;
}

const matrix = (device: Device, x: Tensor, rows: number, cols: number) => device.alias(x, [rows, cols]);

/** Rows as they are wanted, some at a time, in one small buffer. */
function* chunks(
  device: Device,
  saved: SavedRows,
  rows: number,
  cols: number,
): Generator<[begin: number, end: number, part: Tensor]> {
  const step = Math.ceil(chunkRows(cols) / saved.group) * saved.group;
  const buffer = device.temporary('workspace', [Math.min(step, rows), cols]);
  for (let begin = 0; begin < rows; begin += step) {
    const end = Math.min(rows, begin + step);
    saved.fill(begin, end, buffer);
    yield [begin, end, buffer];
  }
  device.release(buffer);
}

/**
 * Rows [begin, end) of what was kept, for operations that go over them once, beside the same rows of dy: dense ones
 * where they lie, rounded and block-sparse ones expanded some at a time, zeros where nothing is held.
 */
export function* savedRows(
  device: Device,
  op: string,
  saved: Saved,
  x: Tensor,
  dy: Tensor,
): Generator<{ readonly x: Tensor; readonly dy: Tensor }> {
  const { rows, cols } = matrixShape(x.shape);
  if (saved.kind === 'dense') {
    yield { x: saved.tensor, dy };
    return;
  }
  const all = matrix(device, dy, rows, cols);
  if (saved.kind === 'rows') {
    for (const [begin, end, part] of chunks(device, saved, rows, cols))
      yield { x: device.rows(part, 0, end - begin), dy: device.rows(all, begin, end) };
    return;
  }
  if (saved.kind !== 'bsr') throw unreadable(op, x, saved.kind);
  const step = chunkRows(cols);
  for (let begin = 0; begin < rows; begin += step) {
    const end = Math.min(rows, begin + step);
    const part = saved.bsr.expand(device, begin, end);
    yield { x: part, dy: device.rows(all, begin, end) };
    device.release(part);
  }
}
