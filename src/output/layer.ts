/**
 * The output layer: the extension point where labels meet the network. It trains itself, chunk by chunk over
 * labels, and hands the gradient of the hidden vectors back to the tape; B x L logits never exist.
 */
import type { Columns, Floats, Positives } from '../kernels/face.js';
import type { Device } from '../tensor/device.js';
import type { BytesByTag } from '../tensor/memory.js';
import type { Shape, Tensor } from '../tensor/tensor.js';

export interface StepOptions {
  /** Learning rate of this step. */
  readonly rate: number;
  /** Weight of this loss in the objective; default 1. */
  readonly scale?: number;
  /** false: gradients only, the weights stay; default true. */
  readonly update?: boolean;
  /** Multiplies the gradients inside the update (clipping); default 1. */
  readonly updateScale?: number;
  /** Labels before this one stay as they are, moments included; default 0. See `OutputCapabilities.learnsFrom`. */
  readonly from?: number;
  /** false: no gradient to the hidden vectors (second pass of clipping); default true. */
  readonly inputGradient?: boolean;
  /** Measure the sum of squares of the layer's own gradient; default false. */
  readonly measureSquares?: boolean;
  /** Where to write the layer's gradients, for checks; by default they never exist beyond a chunk. */
  readonly gradients?: { readonly weights: Floats; readonly bias: Floats };
  /**
   * Of softmax, for a layer that is a part of another: [2, B], log Z over all labels and the share of one positive
   * (see SoftmaxNorms). By default the layer finds both itself.
   */
  readonly norms?: Floats;
}

export interface StepResult {
  /** Mean over examples of the loss summed over labels, before `scale`. */
  readonly loss: number;
  /** [B, d], gradient of scale * loss; null when not asked for. Void after the step. */
  readonly dh: Tensor | null;
  /** Sum of squares of the layer's gradient, when measured. */
  readonly squares: number | null;
}

/** The best k labels of every row, best first; shape [B, k]. */
export interface TopK {
  readonly k: number;
  /** Ties: the smaller label first. 0xFFFFFFFF beyond the number of labels. */
  readonly labels: Uint32Array;
  /** Logits. */
  readonly scores: Floats;
}

/** The incoming connections of one label: logit = bias + sum weights[i] * h[inputs[i]]. */
export interface Connections {
  readonly inputs: Uint32Array;
  readonly weights: Float64Array;
  readonly bias: number;
}

/** Where labels start: weights over all inputs; a sparse layer keeps those that it has connections for. */
export interface LabelStart {
  /** [n, d] */
  readonly weights: Floats;
  /** [n]; without meaning where a layer has no biases. */
  readonly bias: ArrayLike<number>;
}

export interface NamedArray {
  readonly name: string;
  readonly shape: Shape;
  readonly data: Floats | Columns;
  /** What files call the numbers, where the array does not say it: raw bits of bfloat16. */
  readonly dtype?: 'BF16';
}

export interface OutputCapabilities {
  /** Whether a step can leave the labels before one as they are (`StepOptions.from`). */
  readonly learnsFrom: boolean;
  /** Names of losses; those of `LabelLoss` see every label by itself. */
  readonly losses: readonly string[];
  readonly optimizers: readonly string[];
  /** Steps between changes of connections; 0: they stay. */
  readonly rewireEvery: number;
  /** Whether `rewire` asks for a source of gradients: of a batch, or of all positives beside it. */
  readonly growsBy: 'chance' | 'batch' | 'positives';
}

export interface RewireReport {
  readonly step: number;
  /** Connections replaced. */
  readonly replaced: number;
  readonly connections: number;
  /** The magnitude below which weights were pruned, where one threshold decided. */
  readonly threshold: number | null;
  /** Share of all possible connections that have existed at some time, over a sample of labels. */
  readonly explored: number;
}

/** log Z of softmax before anything was rewired. */
export interface GrowthLogSums {
  /** [B] */
  readonly batch: Float64Array;
  /** [examples], where they were asked for. */
  readonly rows: Float64Array | null;
}

/** What growing connections by gradients may ask of the training run. Tensors are of the step arena. */
export interface GrowthSource {
  /** Rows that train. */
  readonly examples: number;
  /** A batch, hidden as prediction sees it; `targets` are the positives of all labels where the layer has only some. */
  batch(): { readonly h: Tensor; readonly positives: Positives; readonly targets?: Positives };
  /** Most rows that `hidden` takes. */
  readonly evidenceRows: number;
  /** Rows with this label, ascending. */
  rowsOf(label: number): Uint32Array;
  /** How many labels a row has. */
  labelsOf(row: number): number;
  /** Of softmax, over the labels of a layer of which the growing one is a part. By default over its own. */
  logSums?(): Promise<GrowthLogSums>;
  /** Hidden vectors [rows.length, d] of different training rows. */
  hidden(rows: Uint32Array): Tensor;
}

/** Something that a layer did to itself, for the run log. */
export interface LayerEvent {
  readonly what: string;
  readonly seconds: number;
  readonly directions?: number;
  readonly condition?: number;
  readonly residual?: number;
  readonly drift?: number;
}

/** What one step costs, known before it exists. */
export interface OutputPlan {
  /** Bytes at the worst moment of a step, by tag. */
  readonly bytes: BytesByTag;
  readonly totalBytes: number;
  /** Per example: forward and both gradients; multiply-adds count as two. */
  readonly flopsPerExample: number;
}

export interface StepShape {
  readonly batch: number;
  /** Largest number of positives in a batch. */
  readonly positives: number;
}

export interface OutputLayer {
  /** e.g. `dense` or `fan-in`. */
  readonly kind: string;
  /** d */
  readonly inputs: number;
  /** L */
  readonly labels: number;
  readonly loss: string;
  /** Learnt numbers: weights and biases. */
  readonly weightCount: number;
  readonly capabilities: OutputCapabilities;

  /**
   * One training step on hidden vectors h [B, d]: loss, gradient to h, and the layer's own update, fused.
   * A step that meets NaN may have written weights already: recovery is the last checkpoint.
   */
  step(h: Tensor, targets: Positives, options: StepOptions): Promise<StepResult>;
  /** Mean over examples of the loss, nothing updated. */
  evaluate(h: Tensor, targets: Positives): Promise<number>;
  /** Logits [B, n] of some labels; of all labels when none are named (then [B, L]: small layers only). */
  scores(h: Tensor, labels?: Uint32Array): Promise<Tensor>;
  topK(h: Tensor, k: number): Promise<TopK>;
  /** Spends memory to make `topK` of few rows faster, until weights change; absent where nothing would be gained. */
  prepareTopK?(): void;
  /**
   * Called once before the first step (step 0) and after every step, with the step arena empty; changes connections
   * when its schedule says so.
   */
  rewire(step: number, totalSteps: number, growth?: GrowthSource): Promise<RewireReport | null>;
  /** New label j continues old label map[j]; -1 starts a new one. Optimiser state follows. */
  resizeLabels(map: Int32Array): void;
  /**
   * Gives labels, each named once, start weights instead of drawn ones, and forgets what the optimiser knew of them.
   * Connections that belong to these labels alone go where their weights are largest.
   */
  startLabels(labels: Uint32Array, start: LabelStart): void;
  /** Adds `by` to the bias of every label from `from` on; always there where `capabilities.learnsFrom`. */
  shiftLogits?(from: number, by: number): void;
  connections(label: number): Connections;
  /** The cost of a step of this shape, from a dry run of the same code. */
  plan(shape: StepShape): Promise<OutputPlan>;
  /** Everything that training changes: model arrays first, optimiser state after. Shared, not copied. */
  state(): { readonly model: NamedArray[]; readonly optimizer: NamedArray[] };
  /** Told after `state()` arrays were overwritten from a file: rebuilds what is derived; refuses bad indices. */
  loaded(): void;
  /** What happened since the last call; absent where nothing ever does. */
  drainEvents?(): readonly LayerEvent[];
  /** Steps taken, for optimisers that count. */
  steps: number;
}

/** A layer that others can be composed of: they plan by running twins of their parts. */
export interface PlannableOutput extends OutputLayer {
  /** The same layer on a dry device. It holds nothing and shifts no stream of random numbers. */
  dryTwin(device: Device): PlannableOutput;
  /** norms[b] = log sum over the labels of e^logit, for h [B, d]; norms: [2, B], whose second row stays. */
  logSums(h: Tensor, norms: Floats): Promise<void>;
  /** Mean over examples of the loss, nothing updated; norms as in `StepOptions`. */
  evaluate(h: Tensor, targets: Positives, norms?: Floats): Promise<number>;
}
