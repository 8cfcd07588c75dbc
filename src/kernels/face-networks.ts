/**
 * The part of the kernels' face that networks of dense layers need: losses over classes, layers of images and of
 * sequences. What `face.ts` says of shapes, buffers and repeatability holds here too. Longer than other files, as an
 * interface that both backends implement is read as one.
 */
import type { Activation, Floats, Moments, RandomKey, UpdateRule } from './face.js';

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
  /** out [rows, dim]; may be x */
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

/** out[b, c, i, j] = scale[c] * pixel + shift[c]; a pixel from beyond the edge counts as 0. */
export interface LoadImagesArgs {
  readonly batch: number;
  /** Images that `ids` may name. */
  readonly rows: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** [rows, channels, height, width] */
  readonly pixels: Uint8Array;
  /** [batch] */
  readonly ids: Uint32Array;
  /**
   * [batch, 3], the pixel at (i, j) comes from (i + moves[0], j + moves[1]), after a flip from left to right where
   * moves[2] is not 0; null: nothing moves.
   */
  readonly moves: Int32Array | null;
  /** [channels] */
  readonly scale: Floats;
  /** [channels] */
  readonly shift: Floats;
  /** out [batch, channels, height, width] */
  readonly out: Floats;
}

/** A correlation, as in every framework: y[b,o,i,j] = bias[o] + sum w[o,c,p,q] x[b, c, i*stride+p-padding, ...]. */
export interface Conv2dShape {
  readonly batch: number;
  readonly inChannels: number;
  readonly height: number;
  readonly width: number;
  readonly outChannels: number;
  readonly kernelHeight: number;
  readonly kernelWidth: number;
  readonly stride: number;
  /** Zeros around the image, on every side. */
  readonly padding: number;
  /** Output channel o sees the input channels of its group alone; divides both numbers of channels. */
  readonly groups: number;
}

export interface Conv2dArgs extends Conv2dShape {
  /** [batch, inChannels, height, width] */
  readonly x: Floats;
  /** [outChannels, inChannels / groups, kernelHeight, kernelWidth] */
  readonly weight: Floats;
  /** [outChannels] */
  readonly bias: Floats | null;
  readonly activation: Activation;
  /** out [batch, outChannels, outHeight, outWidth], outHeight = floor((height + 2 padding - kernelHeight) / stride) + 1 */
  readonly y: Floats;
}

export interface Conv2dBackwardInputArgs extends Conv2dShape {
  readonly weight: Floats;
  readonly dy: Floats;
  /** out [batch, inChannels, height, width] */
  readonly dx: Floats;
  readonly accumulate: boolean;
}

export interface Conv2dBackwardWeightArgs extends Conv2dShape {
  readonly x: Floats;
  readonly dy: Floats;
  /** out, as weight */
  readonly dweight: Floats;
  /** out [outChannels] */
  readonly dbias: Floats | null;
  /** Adds to dweight and dbias. */
  readonly accumulate: boolean;
  /** Length from conv2dWorkspace. */
  readonly workspace: Floats;
}

/** Square windows over each plane; out = floor((size + 2 padding - kernel) / stride) + 1, padding <= kernel / 2. */
export interface PoolShape {
  readonly planes: number;
  readonly height: number;
  readonly width: number;
  /** At most 255. */
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
}

/** Padding never wins; of equal numbers the first in the order of rows counts, and a NaN is the largest. */
export interface MaxPoolArgs extends PoolShape {
  readonly x: Floats;
  readonly y: Floats;
  /** out, as y: where in its window each number came from, row * kernel + column. */
  readonly places: Uint16Array;
}

export interface MaxPoolBackwardArgs extends PoolShape {
  readonly dy: Floats;
  readonly places: Uint16Array;
  /** out, overwritten */
  readonly dx: Floats;
}

/** Means over kernel * kernel numbers, padding counted as 0. */
export interface AvgPoolArgs extends PoolShape {
  readonly x: Floats;
  readonly y: Floats;
}

export interface AvgPoolBackwardArgs extends PoolShape {
  readonly dy: Floats;
  /** out, overwritten */
  readonly dx: Floats;
}

export interface BatchNormShape {
  readonly batch: number;
  readonly channels: number;
  /** Numbers of a channel in one example: height * width. */
  readonly plane: number;
}

/** y = (x - mean) * rstd * gamma + beta, moments per channel over batch and plane (Ioffe & Szegedy 2015). */
export interface BatchNormArgs extends BatchNormShape {
  readonly eps: number;
  /** running <- (1 - momentum) * running + momentum * of this batch */
  readonly momentum: number;
  readonly relu: boolean;
  /** [batch, channels, plane] */
  readonly x: Floats;
  /** [channels] */
  readonly gamma: Floats;
  readonly beta: Floats;
  /** in and out [channels] */
  readonly runningMean: Floats;
  /** in and out [channels], of variances with n / (n - 1) */
  readonly runningVar: Floats;
  readonly y: Floats;
  /** out [channels] */
  readonly mean: Floats;
  /** out [channels] */
  readonly rstd: Floats;
}

/** The same with moments that are given. */
export interface BatchNormApplyArgs extends BatchNormShape {
  readonly eps: number;
  readonly relu: boolean;
  readonly x: Floats;
  readonly gamma: Floats;
  readonly beta: Floats;
  readonly mean: Floats;
  readonly variance: Floats;
  readonly y: Floats;
}

export interface BatchNormBackwardArgs extends BatchNormShape {
  readonly x: Floats;
  /** The output where relu was applied: dy counts where y > 0. null: no relu. */
  readonly y: Floats | null;
  readonly gamma: Floats;
  readonly mean: Floats;
  readonly rstd: Floats;
  readonly dy: Floats;
  /** out, may be `dy`; null when not wanted */
  readonly dx: Floats | null;
  /** out [channels], overwritten */
  readonly dgamma: Floats;
  /** out [channels], overwritten */
  readonly dbeta: Floats;
}

/** c = f * cBefore + i * g, h = o * tanh(c), with i, f, o = sigmoid and g = tanh of the sums in `gates`. */
export interface LstmCellArgs {
  readonly batch: number;
  readonly hidden: number;
  /** in [batch, 4, hidden]: sums of i, f, g, o; out: their values */
  readonly gates: Floats;
  /** [batch, hidden] */
  readonly cBefore: Floats;
  /** out [batch, hidden] */
  readonly c: Floats;
  /** out [batch, hidden] */
  readonly h: Floats;
}

export interface LstmCellBackwardArgs {
  readonly batch: number;
  readonly hidden: number;
  /** Values, as the cell left them. */
  readonly gates: Floats;
  readonly cBefore: Floats;
  readonly c: Floats;
  /** [batch, hidden], from the layer above */
  readonly dh: Floats;
  /** From the step after; null: none. */
  readonly dhNext: Floats | null;
  /** in: of c; out: of cBefore */
  readonly dc: Floats;
  /** out [batch, 4, hidden]: of the sums, may be `gates` */
  readonly dgates: Floats;
}

/** r, z = sigmoid(x + h), n = tanh(x_n + r h_n), h' = (1 - z) n + z h. */
export interface GruCellArgs {
  readonly batch: number;
  readonly hidden: number;
  /** in [batch, 3, hidden]: sums of r, z, n from the input; out: their values */
  readonly gates: Floats;
  /** [batch, 3, hidden], sums from hBefore */
  readonly fromH: Floats;
  readonly hBefore: Floats;
  /** out [batch, hidden] */
  readonly h: Floats;
}

export interface GruCellBackwardArgs {
  readonly batch: number;
  readonly hidden: number;
  readonly gates: Floats;
  readonly fromH: Floats;
  readonly hBefore: Floats;
  readonly dh: Floats;
  readonly dhNext: Floats | null;
  /** out [batch, 3, hidden]: of the sums from the input, may be `gates` */
  readonly dgates: Floats;
  /** out [batch, 3, hidden]: of the sums from hBefore, may be `fromH` */
  readonly dfromH: Floats;
  /** out [batch, hidden]: what goes past the gates */
  readonly dhBefore: Floats;
}

/** A bit per weight: bit i & 31 of word i >> 5. */
export interface GateApplyArgs {
  readonly n: number;
  /** null: bit i is g > 1/2; otherwise a uniform draw below g_i (element i of the key's stream, as in `uniform`). */
  readonly key: RandomKey | null;
  readonly w: Floats;
  readonly g: Floats;
  /** out [ceil(n / 32)] */
  readonly bits: Uint32Array;
  /** out [n]: w where the bit is set, 0 elsewhere */
  readonly effective: Floats;
}

/**
 * One step of weights and their gates from the gradient of what they made together, straight through the bits
 * (Srinivas et al. 2016): dw = grad * bit, dg = grad * w + bimodal (1 - 2 g) + spread; g is cut to [0, 1] after it.
 */
export interface GateUpdateArgs {
  readonly n: number;
  readonly rule: UpdateRule;
  readonly w: Floats;
  readonly moments: Moments;
  /** null: the gates stay. */
  readonly gateRule: UpdateRule | null;
  readonly g: Floats;
  readonly gateMoments: Moments;
  readonly bits: Uint32Array;
  readonly grad: Floats;
  /** Multiplies grad (clipping), not the penalties. */
  readonly gradScale: number;
  /** lambda1: pushes gates to 0 or 1, a penalty sum g (1 - g). */
  readonly bimodal: number;
  /** lambda2: pushes gates to 0, a penalty sum g. */
  readonly spread: number;
}

/** A matrix by rows without its zeros, for products at inference. */
interface SparseProductArgs {
  readonly batch: number;
  /** Numbers of x per example. */
  readonly inputs: number;
  readonly rows: number;
  /** [rows + 1] */
  readonly indptr: Int32Array;
  /** [nnz] */
  readonly values: Floats;
  /** [rows] */
  readonly bias: Floats | null;
  readonly relu: boolean;
  /** [batch, inputs] */
  readonly x: Floats;
}

/** y[b, r] = act(bias[r] + sum over the entries e of row r of values[e] x[b, indices[e]]). */
export interface SparseDotsArgs extends SparseProductArgs {
  /** [nnz], each < inputs */
  readonly indices: Uint32Array;
  /** out [batch, rows] */
  readonly y: Floats;
}

/** y[plane, i % s, j % s, floor(i / s), floor(j / s)] = x[plane, i - padding, j - padding], 0 outside. */
export interface PadPlanesArgs {
  readonly planes: number;
  readonly height: number;
  readonly width: number;
  readonly padding: number;
  readonly stride: number;
  readonly x: Floats;
  /** out [planes, s, s, ceil((height + 2 padding) / s), ceil((width + 2 padding) / s)] */
  readonly y: Floats;
}

/**
 * y[b, r, i, j] = act(bias[r] + sum over the entries e of row r of values[e] x[b, offsets[e] + i pitch + j]): a
 * convolution whose taps are shifts of planes with rows of `pitch` numbers.
 */
export interface ShiftedSumsArgs extends SparseProductArgs {
  readonly down: number;
  readonly across: number;
  /** >= across */
  readonly pitch: number;
  /** [nnz], each at most inputs - (down - 1) pitch - across */
  readonly offsets: Uint32Array;
  /** out [batch, rows, down, across] */
  readonly y: Floats;
}

export interface NetworkKernels {
  sparseDots(args: SparseDotsArgs): void;
  padPlanes(args: PadPlanesArgs): void;
  shiftedSums(args: ShiftedSumsArgs): void;

  loadImages(args: LoadImagesArgs): void;

  conv2d(args: Conv2dArgs): void;
  conv2dBackwardInput(args: Conv2dBackwardInputArgs): void;
  conv2dBackwardWeight(args: Conv2dBackwardWeightArgs): void;
  /** Elements of the workspace of conv2dBackwardWeight. */
  conv2dWorkspace(shape: Conv2dShape): number;
  maxPool(args: MaxPoolArgs): void;
  maxPoolBackward(args: MaxPoolBackwardArgs): void;
  avgPool(args: AvgPoolArgs): void;
  avgPoolBackward(args: AvgPoolBackwardArgs): void;
  batchNorm(args: BatchNormArgs): void;
  batchNormApply(args: BatchNormApplyArgs): void;
  batchNormBackward(args: BatchNormBackwardArgs): void;

  tanh(n: number, x: Floats, y: Floats): void;
  /** dx = dy * (1 - y^2) */
  tanhBackward(n: number, y: Floats, dy: Floats, dx: Floats): void;
  lstmCell(args: LstmCellArgs): void;
  lstmCellBackward(args: LstmCellBackwardArgs): void;
  gruCell(args: GruCellArgs): void;
  gruCellBackward(args: GruCellBackwardArgs): void;

  /** y = bit ? x : 0, may be in place. bits [ceil(n / 32)] */
  maskApply(n: number, bits: Uint32Array, x: Floats, y: Floats): void;
  gateApply(args: GateApplyArgs): void;
  gateUpdate(args: GateUpdateArgs): void;

  /** y[i] = mean of x[i, :] (0 for cols = 0). x [rows, cols], y [rows] */
  rowMean(rows: number, cols: number, x: Floats, y: Floats): void;
  /** dx[i, :] = dy[i] / cols. */
  rowMeanBackward(rows: number, cols: number, dy: Floats, dx: Floats): void;
  softmaxCrossEntropy(args: SoftmaxCrossEntropyArgs): void;
  affine(args: AffineArgs): void;
  affineBackward(args: AffineBackwardArgs): void;
  swapAxes(args: SwapAxesArgs): void;
}
