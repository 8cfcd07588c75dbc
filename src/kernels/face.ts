/**
 * The typed face of the kernels: everything that Espalier asks of a machine.
 *
 * Two backends implement it, `native` (C++: scalar, AVX2+FMA, AVX-512) and `reference` (plain TypeScript,
 * float32 or float64: the slow twin and the oracle). Shapes are row-major. Callers own every buffer; a kernel
 * allocates nothing. Sizes are checked by the callers in TypeScript; the native side only guards.
 * Results never depend on timing. On the thread count depend only the sums that an output step makes over labels:
 * `dh`, the loss and `squares`, whose terms the threads group differently.
 */

import type { NetworkKernels } from './face-networks.js';

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
  /** [2 * segments]: two positions within each segment, the first centres; ignored where n < 2 */
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

/**
 * Losses over all labels, positives given sparsely, every other label a negative (y = 0).
 * bce: softplus(z) - y z, G = sigmoid(z) - y. squaredHinge: max(0, 1-(2y-1)z)^2, G its derivative.
 */
/** Losses that take every label by itself. */
export type IndependentLoss = 'bce' | 'squaredHinge';
/** softmax: the target is a distribution over the labels; see SoftmaxNorms. */
export type LabelLoss = IndependentLoss | 'softmax';

/**
 * Softmax walks the labels twice: the slabs of a first step, without backward, sum e^z per row; those of a second use
 * it. Logits of all labels never exist together.
 *   loss = sum over positives of share_b (log Z_b - z_bl),   G_bl = e^(z_bl - log Z_b) - share_b at the positives
 * A row with share 0 has no target: no loss, no gradient.
 */
export interface SoftmaxNorms {
  /** sum: log Z_b is written by the last slab, and nothing else. use: it is read. */
  readonly pass: 'sum' | 'use';
  /** [2, batch]: log Z, and the share of the target that each positive of the row has (1 / their number). */
  readonly values: Floats;
}

/** The positives of a batch, sorted by label, then row; no pair twice. */
export interface Positives {
  readonly count: number;
  /** How many there may be, for those who keep room for copies; by default `count`. */
  readonly capacity?: number;
  /** [count], each < labels */
  readonly label: Uint32Array;
  /** [count], each < batch */
  readonly row: Uint32Array;
  /** [count] target values; absent: all ones. Only layers with real-valued targets accept them. */
  readonly values?: Floats | null;
}

/** What to do with the gradient of a chunk while it is in cache. */
export interface OutputUpdate {
  /** null: leave the weights alone. */
  readonly rule: UpdateRule | null;
  /** Moments of the weights and of the bias, as the rule needs them. */
  readonly weightMoments: Moments;
  readonly biasMoments: Moments;
  /** Where to write the gradients, or null: they then never exist beyond a chunk. */
  readonly dWeights: Floats | null;
  readonly dBias: Floats | null;
  /** Multiplies the gradients inside the update only (clipping); dh and dWeights are not scaled by it. */
  readonly updateScale: number;
  /** Weight decay is never applied to the bias. */
}

/**
 * One slab [begin, end) of labels of a fused output step: logits, loss, dh, gradients and update, chunk by
 * chunk; B x L logits never exist. The slabs of a step run in ascending order: `begin === 0` clears the
 * private dh sums in `workspace`, `end === labels` reduces them into `dh` in a fixed order. begin and end are
 * multiples of `chunk`, except end === labels; a first slab that does not begin at 0 is refused.
 * Returns the loss of the slab, summed over rows and labels, unscaled.
 */
export interface OutputStepCommon {
  readonly batch: number;
  /** d, the width of h. */
  readonly inputs: number;
  /** L */
  readonly labels: number;
  readonly begin: number;
  readonly end: number;
  /** Labels worked on at once by one thread. */
  readonly chunk: number;
  /** [batch, inputs] */
  readonly h: Floats;
  /** out [batch, inputs], overwritten by the last slab; null when not wanted. */
  readonly dh: Floats | null;
  readonly positives: Positives;
  readonly loss: LabelLoss;
  /** Of softmax; else null. */
  readonly norms: SoftmaxNorms | null;
  /** Multiplies G: scale / batch for a mean over examples. */
  readonly gradScale: number;
  readonly update: OutputUpdate;
  /** false: loss only (evaluation); no gradient of any kind. */
  readonly backward: boolean;
  /** out [2]: += sum of squares of the weight and bias gradients of the slab (for clipping); null when not wanted. */
  readonly squares: Float64Array | null;
  /** Length from fanInWorkspace / denseWorkspace. Keeps the private dh between the slabs of one step. */
  readonly workspace: Floats;
}

/** Label l owns fanIn slots: z[b,l] = bias[l] + sum_k weights[l,k] * h[b, columns[l,k]]. */
export interface FanInWeights {
  readonly fanIn: number;
  /** [labels, fanIn]; no column twice in a row. */
  readonly columns: Columns;
  /** [labels, fanIn] */
  readonly weights: Floats;
  /** [labels] */
  readonly bias: Floats;
}

export interface FanInStepArgs extends OutputStepCommon, FanInWeights {
  /**
   * The backward index of the fast form, from fanInIndexBuild with the same chunk; null: the compact form.
   * Both forms give results equal to float32 rounding.
   */
  readonly index: Uint16Array | null;
}

export interface FanInIndexShape {
  readonly inputs: number;
  readonly labels: number;
  readonly fanIn: number;
  readonly chunk: number;
}

export interface FanInIndexArgs extends FanInIndexShape {
  readonly columns: Columns;
  /** out, of fanInIndexLength elements. Begin and end as in a step: only these labels' chunks are rebuilt. */
  readonly index: Uint16Array;
  readonly begin: number;
  readonly end: number;
}

export interface FanInLogitsArgs extends FanInWeights {
  readonly batch: number;
  readonly inputs: number;
  readonly labels: number;
  readonly begin: number;
  readonly end: number;
  readonly h: Floats;
  /** out [batch, end - begin] */
  readonly out: Floats;
  /** Length from topKWorkspace. */
  readonly workspace: Floats;
}

export interface TopKCommon {
  readonly batch: number;
  readonly inputs: number;
  readonly labels: number;
  readonly h: Floats;
  readonly k: number;
  /** out [batch, k], best first; ties: the smaller label first. Beyond `labels`: 0xFFFFFFFF. */
  readonly topLabels: Uint32Array;
  /** out [batch, k] logits; beyond `labels`: -Infinity. A NaN logit sorts below everything else. */
  readonly topScores: Floats;
  /** Length from topKWorkspace. */
  readonly workspace: Floats;
}

export interface FanInTopKArgs extends TopKCommon, FanInWeights {}

/**
 * Positive pairs of a sample wider than the batch, sorted by label; their hidden vectors are rows of `h`.
 * `weight` makes up for pairs that the sample left out.
 */
export interface GrowthEvidence {
  readonly count: number;
  /** [count], each in [begin, end) */
  readonly label: Uint32Array;
  /** [count], each < rows */
  readonly row: Uint32Array;
  /** [count] */
  readonly weight: Floats;
  readonly rows: number;
  /** [rows, inputs] */
  readonly h: Floats;
}

/**
 * Prunes by magnitude and grows where the dense gradient dW[l, :] = sum_b G[b,l] h[b, :] is largest (RigL, Evci et al.
 * 2020) on labels [begin, end); dW exists for a few labels at a time. What grows starts at 0, its moments too; a
 * column that goes and comes back stays as it is; where too few gradients differ from 0 the rest grows at random.
 * With evidence, the batch stands for the negatives alone (G = 0 at its positives) and each evidence pair adds
 * weight * dloss/dz(z) * h[row], z being its logit.
 */
export interface FanInRegrowArgs extends FanInWeights {
  readonly batch: number;
  readonly inputs: number;
  readonly labels: number;
  readonly begin: number;
  readonly end: number;
  /** [batch, inputs] */
  readonly h: Floats;
  readonly positives: Positives;
  readonly loss: IndependentLoss;
  readonly weightMoments: Moments;
  readonly evidence: GrowthEvidence | null;
  /**
   * The `perRow` smallest of every row (of equals the earlier slot), or every weight below `threshold` and, in the
   * order of slots, the first `ties` equal to it (magnitudes as float32).
   */
  readonly prune: { readonly perRow: number } | { readonly threshold: number; readonly ties: number };
  /** The `i`-th grown connection of label l may use draw l * fanIn + i. */
  readonly key: RandomKey;
  /** Length from fanInRegrowWorkspace. */
  readonly workspace: Floats;
}

export interface FanInRegrown {
  /** Connections that changed their column. */
  readonly replaced: number;
  /** Weights equal to the threshold, where there were ties to give: what the next slab must not give again. */
  readonly ties: number;
}

export interface DenseWeights {
  /** [labels, inputs] */
  readonly weights: Floats;
  readonly bf16?: Bf16Weights | null;
  /** [labels] */
  readonly bias: Floats;
}

export interface DenseStepArgs extends OutputStepCommon, DenseWeights {}
export interface DenseTopKArgs extends TopKCommon {
  /** [labels, inputs] */
  readonly weights: Floats;
  readonly bf16?: Bf16Weights | null;
  /** [labels]; null: none. */
  readonly bias: Floats | null;
}

/** Pairs (label, row): rows of a large table against rows of a small matrix. */
export interface PairArgs {
  readonly count: number;
  readonly labels: number;
  readonly rows: number;
  readonly dim: number;
  /** [count], each < labels */
  readonly label: Uint32Array;
  /** [count], each < rows */
  readonly row: Uint32Array;
  /** [labels, dim] */
  readonly table: Floats;
}

/** out[i] = table[label[i]] . x[row[i]] */
export interface PairDotsArgs extends PairArgs {
  /** [rows, dim] */
  readonly x: Floats;
  /** out [count] */
  readonly out: Floats;
}

/** out[r] = sum over pairs i with row[i] = r, in order, of coefficients[i] * table[label[i]]; rows without pairs: 0. */
export interface PairGatherArgs extends PairArgs {
  /** [count] */
  readonly coefficients: Floats;
  /** out [rows, dim] */
  readonly out: Floats;
}

/** table[label[i]] += alpha * coefficients[i] * x[row[i]], pair after pair: labels may repeat. */
export interface PairScatterArgs extends PairArgs {
  readonly alpha: number;
  /** [count] */
  readonly coefficients: Floats;
  /** [rows, dim] */
  readonly x: Floats;
}

/**
 * Changes of rank 1 that every row x of a table takes in order, x <- x + (x . left[r]) right[r]. A row has taken the
 * first stamps[row] of them; rows named here take the rest. Where several are one change, their left sides all see
 * the row before it: cross[f, r] = 0 between them, and right[f] . left[r] otherwise.
 */
export interface SettleRowsArgs {
  readonly count: number;
  readonly labels: number;
  readonly dim: number;
  /** At most 32. */
  readonly rank: number;
  /** [rank, dim] */
  readonly left: Floats;
  /** [rank, dim] */
  readonly right: Floats;
  /** [32, 32], filled to [rank, rank] above its diagonal. */
  readonly cross: Floats;
  /** [count], ascending, repeats allowed; null: the first `count` rows. */
  readonly label: Uint32Array | null;
  /** [labels]; becomes `rank` for the rows named. */
  readonly stamps: Uint16Array;
  /** [labels, dim] */
  readonly table: Floats;
}

/** master <- keep * master + alpha * x (or x + x^T of a square x), in double; copy <- master, rounded. */
export interface AccumulateArgs {
  readonly x: Floats;
  readonly keep: number;
  readonly alpha: number;
  readonly master: Float64Array;
  readonly copy: Floats;
}

/**
 * Weights in bfloat16, in place of `weights`, which is then empty. They enter products as the numbers they are; where
 * the processor multiplies pairs of bfloat16 (`NativeOptions.bf16Pairs`), h and G are rounded too, each by at most
 * 2^-8 of itself, and only sums are float32. After an update weight i is rounded up, away from 0, when the 16 bits cut off plus
 * a draw pass 2^16: right in the mean. Its draw is half i & 1 (low first) of word (i >> 1) & 3 of Philox block
 * counter + (i >> 3).
 */
export interface Bf16Weights {
  /** [labels, width], raw bits */
  readonly weights: Uint16Array;
  readonly rounding: RandomKey;
}

/**
 * Labels in groups that share their inputs: group g owns the slots starts[g] to starts[g + 1], one label each, and
 * z[b,s] = bias[s] + sum_k weights[s,k] * h[b, columns[g,k]]. Weights, biases and positives are in slot order.
 */
export interface GroupedWeights {
  readonly fanIn: number;
  readonly groups: number;
  /** No group is larger. */
  readonly groupSize: number;
  /** [groups + 1], ascending from 0 to `labels`. */
  readonly starts: Uint32Array;
  /** [groups, fanIn]; no column twice in a row. */
  readonly columns: Columns;
  /** [labels, fanIn] */
  readonly weights: Floats;
  readonly bf16?: Bf16Weights | null;
  /** [labels] */
  readonly bias: Floats;
}

/** `begin`, `end` and `chunk` count groups; the last slab ends at `groups`. */
export interface GroupedStepArgs extends OutputStepCommon, GroupedWeights {}

export interface GroupedTopKArgs extends TopKCommon, GroupedWeights {
  /** [labels]: the label of every slot, which results name and ties compare. */
  readonly labelOf: Uint32Array;
}

export interface GroupedShape {
  readonly batch: number;
  readonly inputs: number;
  readonly fanIn: number;
  readonly groupSize: number;
  /** Whether weights are bfloat16; default false. */
  readonly bf16?: boolean;
}

export interface WorkspaceShape {
  readonly batch: number;
  readonly inputs: number;
  readonly labels: number;
  readonly chunk: number;
  /** 0 for a dense layer. */
  readonly fanIn: number;
  /** Whether the weights of a dense layer are bfloat16; default false. */
  readonly bf16?: boolean;
}

export interface Kernels extends NetworkKernels {
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

  pairDots(args: PairDotsArgs): void;
  pairGather(args: PairGatherArgs): void;
  pairScatter(args: PairScatterArgs): void;
  settleRows(args: SettleRowsArgs): void;
  /** x, master, copy: [n] */
  accumulate(n: number, args: AccumulateArgs): void;
  /** The same with x + x^T: x, master, copy [n, n]; a symmetric master stays so to the bit. */
  accumulateSymmetric(n: number, args: AccumulateArgs): void;
  /**
   * a [n, n] <- its inverse, in double, by Gauss-Jordan elimination with partial pivoting. Returns the smallest
   * pivot relative to the largest; 0 for a singular a, whose contents are then unspecified; NaN where a has one.
   */
  invert(n: number, a: Float64Array): number;

  fanInStep(args: FanInStepArgs): number;
  fanInLogits(args: FanInLogitsArgs): void;
  fanInTopK(args: FanInTopKArgs): void;
  /** Elements of the backward index; 0 where the fast form does not apply (then only the compact form runs). */
  fanInIndexLength(shape: FanInIndexShape): number;
  fanInIndexBuild(args: FanInIndexArgs): void;
  fanInRegrow(args: FanInRegrowArgs): FanInRegrown;
  fanInRegrowWorkspace(shape: Pick<WorkspaceShape, 'batch' | 'inputs' | 'fanIn'>): number;
  denseStep(args: DenseStepArgs): number;
  denseTopK(args: DenseTopKArgs): void;
  groupedStep(args: GroupedStepArgs): number;
  groupedTopK(args: GroupedTopKArgs): void;
  /** Elements of `workspace` for a step of this shape (depends on the thread count). */
  fanInWorkspace(shape: WorkspaceShape): number;
  denseWorkspace(shape: WorkspaceShape): number;
  groupedWorkspace(shape: GroupedShape): number;
  topKWorkspace(shape: WorkspaceShape, k: number): number;
  groupedTopKWorkspace(shape: GroupedShape, k: number): number;
}

/** The names of all kernels, for tables that must not miss one. */
export type KernelName = {
  [K in keyof Kernels]: Kernels[K] extends (...args: never[]) => unknown ? K : never;
}[keyof Kernels];
