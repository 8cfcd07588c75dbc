/**
 * The part of the kernels' face that networks of dense layers need: losses over classes, layers of images and of
 * sequences. What `face.ts` says of shapes, buffers and repeatability holds here too.
 */
import type { Floats } from './face.js';

/**
 * Softmax cross-entropy against one class per row, targets (1 - smoothing) 1[label] + smoothing / classes:
 * loss = log sum_j e^(z_j) - (1 - smoothing) z_label - smoothing mean(z).
 */
export interface SoftmaxCrossEntropyArgs {
  readonly rows: number;
  readonly classes: number;
  /** [rows, classes] */
  readonly z: Floats;
  /** [rows], each < classes */
  readonly labels: Uint32Array;
  /** In [0, 1); 0: none. */
  readonly smoothing: number;
  /** Multiplies dz: 1 / rows for a mean. */
  readonly gradScale: number;
  /** out [rows, classes] = gradScale (softmax(z) - targets), may be `z`; null when not wanted. */
  readonly dz: Floats | null;
  /** out [rows] */
  readonly losses: Floats;
  /** out [2]: the sum of `losses`; how many rows have their label as the first of their largest logits. */
  readonly totals: Float64Array;
}

/** y = x * gamma + beta, per row. */
export interface AffineArgs {
  readonly rows: number;
  readonly dim: number;
  /** [rows, dim] */
  readonly x: Floats;
  /** [dim] */
  readonly gamma: Floats;
  /** [dim]; null: none. */
  readonly beta: Floats | null;
  /** out [rows, dim] */
  readonly y: Floats;
}

/** dx = dy * gamma; dgamma = sum over rows of dy * x; dbeta = sum over rows of dy. Null ones are not computed. */
export interface AffineBackwardArgs {
  readonly rows: number;
  readonly dim: number;
  readonly x: Floats;
  readonly gamma: Floats;
  readonly dy: Floats;
  /** out [rows, dim], may be `dy` */
  readonly dx: Floats | null;
  /** out [dim], overwritten */
  readonly dgamma: Floats | null;
  /** out [dim], overwritten */
  readonly dbeta: Floats | null;
}

/** y[o, j, i, :] = x[o, i, j, :]. With inner = 1: transposes of `outer` matrices. */
export interface SwapAxesArgs {
  readonly outer: number;
  readonly a: number;
  readonly b: number;
  readonly inner: number;
  /** [outer, a, b, inner] */
  readonly x: Floats;
  /** out [outer, b, a, inner] */
  readonly y: Floats;
}

export interface NetworkKernels {
  /** y[i] = mean of x[i, :] (0 for cols = 0). x [rows, cols], y [rows] */
  rowMean(rows: number, cols: number, x: Floats, y: Floats): void;
  /** dx[i, :] = dy[i] / cols. */
  rowMeanBackward(rows: number, cols: number, dy: Floats, dx: Floats): void;
  softmaxCrossEntropy(args: SoftmaxCrossEntropyArgs): void;
  affine(args: AffineArgs): void;
  affineBackward(args: AffineBackwardArgs): void;
  swapAxes(args: SwapAxesArgs): void;
}
