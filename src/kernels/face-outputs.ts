/**
 * The part of the kernels' face that output layers need: fixed fan-in, dense and grouped steps over slabs of labels, and
 * the products of the factored layer. What `face.ts` says of shapes, buffers and repeatability holds here too. Longer than
 * other files, as an interface that both backends implement is read as one.
 */
import type { Columns, Floats, Moments, RandomKey, UpdateRule } from './face.js';

/**
 * Losses that take every label by itself: positives given sparsely, every other label a negative (y = 0).
 * bce: softplus(z) - y z, G = sigmoid(z) - y. squaredHinge: max(0, 1-(2y-1)z)^2, G its derivative.
 */
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
  /** [2, batch], log Z, and the share of the target that each positive of the row has (1 / their number). */
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
  /** Widened before they are multiplied: h and G are never rounded here. */
  readonly bf16?: Bf16Weights | null;
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

export interface FanInTopKArgs extends TopKCommon, FanInWeights {
  /**
   * From fanInScreenBuild of these very weights: few rows are then answered by upper bounds of their logits, and only
   * labels that could be among the best are computed. The answers are those without it, to the bit. Default null.
   */
  readonly screen?: Uint8Array | null;
}

export interface FanInScreenShape {
  readonly inputs: number;
  readonly labels: number;
  readonly fanIn: number;
}

/** A copy of the layer in whole numbers of 8 bits (about 2.75 bytes a connection), with what it may be off. */
export interface FanInScreenArgs extends FanInScreenShape, FanInWeights {
  /** out, of fanInScreenLength bytes */
  readonly screen: Uint8Array;
}

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
  /** Of softmax: [2, rows], log Z and the share of one positive, as in SoftmaxNorms. */
  readonly norms?: Floats | null;
}

/**
 * Prunes by magnitude and grows where the dense gradient dW[l, :] = sum_b G[b,l] h[b, :] is largest (RigL, Evci et al.
 * 2020) on labels [begin, end); dW exists for a few labels at a time. What grows starts at 0, its moments too; a
 * column that goes and comes back stays as it is; where too few gradients differ from 0 the rest grows at random.
 * With evidence, the batch stands for the negatives alone (G = 0 at its positives) and each evidence pair adds
 * weight * dloss/dz(z) * h[row], z being its logit.
 * Labels in groups (`groups`) share a row of columns: scores say what goes, and what grows has the largest sum over
 * the labels of the group of |dW[l, :]|. `begin` and `end` count groups then, as do rows of scores and draws.
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
  readonly loss: LabelLoss;
  /** Of softmax, complete: [2, batch], see SoftmaxNorms. */
  readonly norms?: Floats | null;
  readonly weightMoments: Moments;
  readonly evidence: GrowthEvidence | null;
  /** starts [groups + 1] as in GroupedWeights; columns are then [groups, fanIn]. Default: every label its own. */
  readonly groups?: { readonly count: number; readonly starts: Uint32Array } | null;
  /** [rows of columns, fanIn], what pruning goes by, in place of |weights|. Groups need them. */
  readonly scores?: Floats | null;
  /**
   * bf16: h and G are rounded by at most 2^-8 of themselves for the dense gradient, and pairs multiplied, where the
   * processor can: twice the speed, and near ties may fall the other way. Default float32.
   */
  readonly products?: 'float32' | 'bf16';
  /**
   * The `perRow` smallest of every row (of equals the earlier slot), or every weight below `threshold` and, in the
   * order of slots, the first `ties` equal to it (magnitudes as float32).
   */
  readonly prune: { readonly perRow: number } | { readonly threshold: number; readonly ties: number };
  /** Slots [0, stays) of every row are never pruned; default 0. */
  readonly stays?: number;
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
 * Changes of rank 1 that every row x of a table takes in order, x <- x + (x . left[r]) right[r]. The i-th row named
 * has taken the first stamps[i] of them, and takes the rest. Where several are one change, their left sides all see
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
  /** [count], ascending; of repeats the first counts; null: the first `count` rows. */
  readonly label: Uint32Array | null;
  /** [count] */
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
  /** [labels], the label of every slot, which results name and ties compare. */
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
  /** Whether the weights are bfloat16; default false. */
  readonly bf16?: boolean;
}

export interface OutputLayerKernels {
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
  /** Bytes of the screen; 0 where this backend or processor has no use for one. */
  fanInScreenLength(shape: FanInScreenShape): number;
  fanInScreenBuild(args: FanInScreenArgs): void;
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
