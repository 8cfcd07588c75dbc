/**
 * The typed face of the kernels: everything that Espalier asks of a machine.
 *
 * Two backends implement it, `native` (C++: scalar, AVX2+FMA, AVX-512) and `reference` (plain TypeScript,
 * float32 or float64: the slow twin and the oracle). Shapes are row-major. Callers own every buffer; a kernel
 * allocates nothing. Sizes are checked by the callers in TypeScript; the native side only guards.
 * Results never depend on timing. On the thread count depend only the sums that an output step makes over labels:
 * `dh`, the loss and `squares`, whose terms the threads group differently; and, with softmax, all that follows from log Z.
 */

import type { NetworkKernels } from './face-networks.js';
import type { OutputLayerKernels } from './face-outputs.js';

export * from './face-outputs.js';

export type Floats = Float32Array | Float64Array;
/** Columns of a sparse layer: 16 bits up to 65,536 inputs, 32 above. */
export type Columns = Uint16Array | Uint32Array;

export type Activation = 'none' | 'relu';

/** c[m,n] = activation(op(a)[m,k] * op(b)[k,n] + bias[n] (+ c when `accumulate`)). */
export interface GemmArgs {
  /** a is stored [k,m] when set, [m,k] otherwise. */
  readonly transA?: boolean;
  /** b is stored [n,k] when set, [k,n] otherwise. */
  readonly transB?: boolean;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Floats;
  readonly b: Floats;
  readonly c: Floats;
  readonly accumulate?: boolean;
  /** [n], added to every row. */
  readonly bias?: Floats | null;
  readonly activation?: Activation;
  /**
   * `bf16`: a and b may be rounded to bfloat16, as they are where the processor multiplies pairs of it
   * (`NativeOptions.bf16Pairs`) and there are enough rows to pay for it; sums stay float32. Off by at most
   * 2^-8 |op(a)| |op(b)| and float32's own error. Default: float32.
   */
  readonly products?: 'float32' | 'bf16';
}

/**
 * A block-sparse matrix [rows, cols] (BSR): `block` x `block` blocks (8, 16 or 32) by block row, columns ascending
 * within one; blocks that are not held are zeros. Blocks at the edges are stored whole, zeros beyond the matrix.
 */
export interface BsrArgs {
  readonly rows: number;
  readonly cols: number;
  readonly block: number;
  /** [entries, block, block] */
  readonly values: Floats;
  /** [entries] block columns */
  readonly columns: Uint32Array;
  /** [ceil(rows / block) + 1], from 0 to the number of entries */
  readonly rowPointers: Uint32Array;
}

/**
 * The blocks of x with the largest l2 norm, NaN above all, ties to the smaller index: `kept` of them, of the whole or,
 * with `perRow`, of every block row. Compared are the sums of squares as stored. Linear time.
 */
export interface BsrCompressArgs extends BsrArgs {
  /** [rows, cols] */
  readonly x: Floats;
  /** At most as many as there are blocks; out `values`, `columns` hold so many, per block row with `perRow`. */
  readonly kept: number;
  readonly perRow: boolean;
  /** out [block rows, block columns]: sum of squares of every block */
  readonly squares: Floats;
}

/** out[end - begin, cols] = rows [begin, end) of the matrix, dense. */
export interface BsrExpandArgs extends BsrArgs {
  readonly begin: number;
  readonly end: number;
  readonly out: Floats;
}

/** c[rows, n] = x b[cols, n] (+ c); with `transX` c[cols, n] = x^T b[rows, n] (+ c). Work in proportion to the blocks. */
export interface BsrDenseArgs {
  readonly x: BsrArgs;
  readonly transX?: boolean;
  readonly n: number;
  readonly b: Floats;
  readonly c: Floats;
  readonly accumulate?: boolean;
}

/** c[m, cols] = op(a)[m, rows] x (+ c): with a = dy stored [rows, m] and `transA` the weight gradient dy^T x. */
export interface DenseBsrArgs {
  readonly transA?: boolean;
  readonly m: number;
  readonly a: Floats;
  readonly x: BsrArgs;
  readonly c: Floats;
  readonly accumulate?: boolean;
}

/** Rows of sparse numbers; `values` null means all ones. */
export interface CsrArgs {
  readonly rows: number;
  /** [rows + 1] */
  readonly indptr: Int32Array;
  /** [nnz], each < the number of columns that the kernel is told. */
  readonly indices: Uint32Array;
  /** [nnz] */
  readonly values: Floats | null;
}

/** out[rows,dim] = csr[rows,vocab] * table[vocab,dim] + bias[dim]. */
export interface BagForwardArgs extends CsrArgs {
  readonly vocab: number;
  readonly dim: number;
  readonly table: Floats;
  readonly bias: Floats | null;
  readonly out: Floats;
}

/** The batch by columns, only the columns that occur, ascending; rows ascending within a column. */
export interface CsrTransposeArgs extends CsrArgs {
  readonly vocab: number;
  /** out [nnz], the first `count` filled: occurring columns, ascending. */
  readonly columns: Uint32Array;
  /** out [nnz + 1], the first `count + 1` filled. */
  readonly colptr: Int32Array;
  /** out [nnz] */
  readonly rowOf: Uint32Array;
  /** out [nnz]; ones where `values` is null. */
  readonly valueOf: Floats;
  /** scratch [2 * nnz] */
  readonly scratch: Uint32Array;
}

/** grad[t,dim] = sum over entries e of column t: valueOf[e] * dy[rowOf[e],dim]. The row-sparse weight gradient. */
export interface BagBackwardArgs {
  readonly count: number;
  readonly dim: number;
  readonly colptr: Int32Array;
  readonly rowOf: Uint32Array;
  readonly valueOf: Floats;
  /** [rows, dim] */
  readonly dy: Floats;
  /** out [count, dim] */
  readonly grad: Floats;
}

/**
 * One level of balanced spherical 2-means: the list `order` of unit rows is cut into segments, and each segment of
 * n >= 2 rows becomes two halves of ceil(n / 2) and floor(n / 2) rows, side by side in its place. The first centres
 * are two rows; then rows go to the half whose centre they favour most (score difference, the largest ceil(n / 2)
 * left, ties in the order of the list) and centres become the normalised sums of their rows, while the mean
 * similarity of a row to its centre gains at least `minGain`. Rows keep their order within a half.
 * All sums are doubles in a fixed order: the same halves on every backend and for any number of threads.
 */
export interface BalancedSplitArgs extends CsrArgs {
  readonly features: number;
  readonly segments: number;
  /** in and out, of at least bounds[segments] rows, each < rows, none twice */
  readonly order: Uint32Array;
  /** [segments + 1], positions in `order`, never falling */
  readonly bounds: Int32Array;
  /** [2 * segments], two positions within each segment, the first centres; ignored where n < 2 */
  readonly starts: Uint32Array;
  /** > 0 */
  readonly minGain: number;
  /** scratch [2 * features * k], k >= 1: up to k threads then work on segments of their own */
  readonly sums: Float64Array;
  /** scratch [3 * order.length] */
  readonly scores: Float64Array;
  /** scratch [order.length] */
  readonly sides: Uint32Array;
  /** out [segments]: mean similarity of a row to the centre of its half; 0 where n < 2 */
  readonly similarity: Float64Array;
}

/** y = (x - mean) * rstd * gamma + beta, per row; mean and rstd are kept for backward. */
export interface LayerNormArgs {
  readonly rows: number;
  readonly dim: number;
  readonly eps: number;
  readonly x: Floats;
  readonly gamma: Floats;
  readonly beta: Floats;
  readonly y: Floats;
  /** out [rows] */
  readonly mean: Floats;
  /** out [rows] */
  readonly rstd: Floats;
}

export interface LayerNormBackwardArgs {
  readonly rows: number;
  readonly dim: number;
  readonly x: Floats;
  readonly gamma: Floats;
  readonly mean: Floats;
  readonly rstd: Floats;
  readonly dy: Floats;
  readonly dx: Floats;
  /** out [dim], overwritten */
  readonly dgamma: Floats;
  /** out [dim], overwritten */
  readonly dbeta: Floats;
}

/**
 * A counter-based stream of random bits (Philox4x32-10, Salmon et al. 2011): element `i` of a call uses
 * 32-bit word `i & 3` of block `counter + (i >> 2)`; key = (key0, key1), block counter low word first, as
 * words (lo, hi, 0, 0). A uniform is (word >>> 8) * 2^-24 in [0, 1). The same bits on every backend.
 */
export interface RandomKey {
  readonly key0: number;
  readonly key1: number;
  /** A whole number below 2^53. */
  readonly counter: number;
}

export interface UniformArgs extends RandomKey {
  readonly n: number;
  readonly low: number;
  readonly high: number;
  /** out[i] = low + (high - low) * u_i, computed in double, rounded once. */
  readonly out: Floats;
}

/** y_i = u_i < p ? 0 : x_i / (1 - p). Backward is the same call on dy: the mask is recomputed, never stored. */
export interface DropoutArgs extends RandomKey {
  readonly n: number;
  readonly p: number;
  readonly x: Floats;
  readonly y: Floats;
}

/** m <- momentum*m + (g + weightDecay*w); w <- w - rate*m (nesterov: w - rate*(g' + momentum*m)). No m: plain SGD. */
export interface SgdRule {
  readonly kind: 'sgd';
  readonly rate: number;
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;
}

/** Adam (Kingma & Ba 2015); `decoupled` decay is AdamW: w <- w - rate*weightDecay*w, outside the moments. */
export interface AdamRule {
  readonly kind: 'adam';
  readonly rate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  readonly decoupled: boolean;
  /** 1 - beta1^t and 1 - beta2^t of this step. w <- w - rate * (m/c1) / (sqrt(v/c2) + eps). */
  readonly correction1: number;
  readonly correction2: number;
}

/** v <- v + g^2; w <- w - rate * g / (sqrt(v) + eps), g including weightDecay*w (Duchi et al. 2011). */
export interface AdagradRule {
  readonly kind: 'adagrad';
  readonly rate: number;
  readonly eps: number;
  readonly weightDecay: number;
}

export type UpdateRule = SgdRule | AdamRule | AdagradRule;

/** State per weight: sgd with momentum: m. adam: m and v. adagrad: v. Unused ones are null. */
export interface Moments {
  readonly m: Floats | null;
  readonly v: Floats | null;
}

export interface UpdateArgs extends Moments {
  readonly rule: UpdateRule;
  readonly n: number;
  readonly w: Floats;
  readonly g: Floats;
  /** Multiplies g before use (global-norm clipping). */
  readonly gradScale: number;
}

/** The same rule on some rows of w[*, dim] only: g is [count, dim], row t of g belongs to row rows[t] of w, m, v. */
export interface UpdateRowsArgs extends Moments {
  readonly rule: UpdateRule;
  readonly count: number;
  readonly dim: number;
  readonly rows: Uint32Array;
  readonly w: Floats;
  readonly g: Floats;
  readonly gradScale: number;
}

export interface Kernels extends NetworkKernels, OutputLayerKernels {
  /** e.g. `native/avx512` or `reference/float64`. */
  readonly name: string;
  readonly precision: 'float32' | 'float64';
  readonly threads: number;

  gemm(args: GemmArgs): void;
  bsrCompress(args: BsrCompressArgs): void;
  bsrExpand(args: BsrExpandArgs): void;
  bsrDense(args: BsrDenseArgs): void;
  denseBsr(args: DenseBsrArgs): void;
  /** out[cols] = (accumulate ? out : 0) + sum over rows of x * dy, dy [rows, cols] dense. */
  bsrColumnDots(x: BsrArgs, dy: Floats, out: Floats, accumulate: boolean): void;
  /** out[ceil(rows / size), cols] = sums, or means, of `size` rows each; the last group may be smaller. */
  poolRows(rows: number, cols: number, size: number, x: Floats, how: 'sum' | 'mean', out: Floats): void;
  /** Bit i & 31 of mask[i >> 5] = y_i > 0; mask [ceil(n / 32)]. */
  signMask(n: number, y: Floats, mask: Uint32Array): void;
  /** dx = bit ? dy : 0; may be in place. */
  maskBackward(n: number, mask: Uint32Array, dy: Floats, dx: Floats): void;
  /** The bits of the nearest numbers in bfloat16, ties to even. */
  bf16Round(n: number, x: Floats, y: Uint16Array): void;
  bf16Widen(n: number, x: Uint16Array, y: Floats): void;
  bagForward(args: BagForwardArgs): void;
  /** Returns the number of columns that occur. */
  csrTranspose(args: CsrTransposeArgs): number;
  bagBackward(args: BagBackwardArgs): void;
  balancedSplit(args: BalancedSplitArgs): void;

  layerNorm(args: LayerNormArgs): void;
  layerNormBackward(args: LayerNormBackwardArgs): void;
  /** y = max(x, 0); may be in place. */
  relu(n: number, x: Floats, y: Floats): void;
  /** dx = y > 0 ? dy : 0 (relu'(0) = 0); may be in place on dy. */
  reluBackward(n: number, y: Floats, dy: Floats, dx: Floats): void;
  /** y = x * Phi(x), exact (erf); may be in place. */
  gelu(n: number, x: Floats, y: Floats): void;
  /** dx = dy * (Phi(x) + x * phi(x)) */
  geluBackward(n: number, x: Floats, dy: Floats, dx: Floats): void;
  /** out = a + alpha * b; may be in place. */
  add(n: number, a: Floats, b: Floats, alpha: number, out: Floats): void;
  /** out = a * b, element by element. */
  multiply(n: number, a: Floats, b: Floats, out: Floats): void;
  /** out = alpha * x; may be in place. */
  scale(n: number, alpha: number, x: Floats, out: Floats): void;
  /** out[cols] = (accumulate ? out : 0) + sum over rows of x[rows, cols]. */
  columnSum(rows: number, cols: number, x: Floats, out: Floats, accumulate: boolean): void;
  /** out[i, :] = factors[i] * x[i, :], plus what `out` held when `accumulate`; may be in place. */
  scaleRows(rows: number, cols: number, x: Floats, factors: Floats, out: Floats, accumulate: boolean): void;
  /** Sum of x in double precision; fixed order for a given n. */
  sum(n: number, x: Floats): number;
  /** Sum of squares in double precision: NaN or infinite exactly when some element is not finite (or overflows). */
  sumSquares(n: number, x: Floats): number;
  uniform(args: UniformArgs): void;
  dropout(args: DropoutArgs): void;

  update(args: UpdateArgs): void;
  updateRows(args: UpdateRowsArgs): void;
}

/** The names of all kernels, for tables that must not miss one. */
export type KernelName = {
  [K in keyof Kernels]: Kernels[K] extends (...args: never[]) => unknown ? K : never;
}[keyof Kernels];
