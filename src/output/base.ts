/**
 * What dense and sparse output layers share: weights [L, width] with a bias per label, optimiser moments of
 * the same shape, the slab loop of a step, and the bookkeeping around it. Longer than other files: the template of a step
 * and everything that a layer may override in it stand together.
 */
import { ensure } from '../errors.js';
import { nearestBf16, roundingOfStep, widenBf16 } from '../kernels/bf16.js';
import type {
  Bf16Weights,
  Floats,
  LabelLoss,
  Moments,
  OutputStepCommon,
  OutputUpdate,
  Positives,
  RandomKey,
  WorkspaceShape,
} from '../kernels/face.js';
import type { RandomStream } from '../kernels/random.js';
import { makeMoments, type OptimizerSpec, ruleAt } from '../optim/rules.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import type { OutputBaseOptions, WeightPrecision } from './base-options.js';
import {
  checkFrom,
  checkGradients,
  checkHidden,
  checkLabel,
  checkLabelMap,
  checkPositives,
  checkShift,
  checkStart,
  checkTopK,
} from './check.js';
import type {
  Connections,
  GrowthSource,
  LabelStart,
  NamedArray,
  OutputCapabilities,
  OutputPlan,
  PlannableOutput,
  RewireReport,
  StepOptions,
  StepResult,
  StepShape,
  TopK,
} from './layer.js';
import { partFrom } from './part.js';
import { bytesOfStep } from './planned.js';
import { drawRows, type LabelRows, rowMover, rowsState } from './rows.js';
import { type Draws, type SampledLayer, SampledSoftmax } from './sampled-softmax.js';
import { breathe, overSlabs, slabLabels } from './slabs.js';
import { shareTargets } from './softmax.js';

const forwardOnly = {
  dh: null,
  squares: null,
  backward: false,
  gradScale: 0,
  update: {
    rule: null,
    weightMoments: { m: null, v: null },
    biasMoments: { m: null, v: null },
    dWeights: null,
    dBias: null,
    updateScale: 1,
  },
} as const;

export abstract class LabelMatrixOutput implements PlannableOutput {
  abstract readonly kind: string;
  abstract readonly capabilities: OutputCapabilities;
  /** Weights per label: d for a dense layer, the fan-in for a sparse one. */
  abstract readonly width: number;

  readonly inputs: number;
  readonly loss: LabelLoss;
  readonly optimizer: OptimizerSpec;
  readonly chunk: number;
  protected readonly startScale: number;
  steps = 0;

  protected readonly device: Device;
  /** Empty where `short` is not null. */
  protected weights!: Floats;
  /** The weights as raw bits of bfloat16, where they are stored so. */
  protected short: Uint16Array | null = null;
  readonly #precision: WeightPrecision;
  protected bias!: Floats;
  protected weightMoments!: Moments;
  protected biasMoments!: Moments;
  #labels: number;
  /** Of labels that come later. */
  #newBias = 0;
  /** Where steps look at labels drawn instead of all. */
  #sampled: { readonly softmax: SampledSoftmax; readonly stage: SampledLayer['stage'] } | null = null;

  constructor(device: Device, options: OutputBaseOptions) {
    this.device = device;
    this.inputs = options.inputs;
    this.#labels = options.labels;
    this.loss = options.loss;
    this.optimizer = options.optimizer;
    this.chunk = options.chunk;
    this.startScale = options.startScale ?? 1;
    this.#precision = options.precision ?? 'float32';
  }

  get labels(): number {
    return this.#labels;
  }

  get weightCount(): number {
    return this.#labels * (this.width + 1);
  }

  /** Called by constructors once `width` is known. */
  protected allocateWeights(initialBias: number | Floats): void {
    const n = this.#labels * this.width;
    const short = this.#precision === 'bf16';
    this.weights = this.device.persistent('weights', [short ? 0 : n]).data;
    this.short = short ? this.device.allocator.allocate('weights', 'uint16', n) : null;
    this.bias = this.device.persistent('weights', [this.#labels]).data;
    this.weightMoments = makeMoments(this.device, this.optimizer, n);
    this.biasMoments = makeMoments(this.device, this.optimizer, this.#labels);
    if (this.device.dry) return;
    if (typeof initialBias === 'number') {
      this.bias.fill(initialBias);
      this.#newBias = initialBias;
      return;
    }
    ensure(initialBias.length === this.#labels, () => ({
      code: 'INITIAL_BIAS_LENGTH',
      kind: 'usage',
      op: this.kind,
      problem: 'there is not one start bias per label',
      expected: `${this.#labels}`,
      received: `${initialBias.length}`,
    }));
    this.bias.set(initialBias);
    this.#newBias = Infinity;
    for (const b of initialBias) this.#newBias = Math.min(this.#newBias, b);
  }

  /** Called by constructors of layers that can learn from labels drawn: `stage` makes room for their rows. */
  protected sampleLabels(draws: Draws | undefined, stream: RandomStream, stage: SampledLayer['stage']): void {
    if (draws === undefined) return;
    ensure(this.loss === 'softmax' && this.#precision === 'float32', () => ({
      code: 'SAMPLED_SOFTMAX',
      kind: 'usage',
      op: this.kind,
      problem: 'labels are drawn for the loss softmax over float32 weights alone',
      expected: 'loss "softmax" and precision "float32"; or samples 0, for steps over all labels',
      received: `loss ${this.loss}, precision ${this.#precision}`,
    }));
    const softmax = new SampledSoftmax(this.device, { ...draws, labels: this.#labels, stream });
    this.#sampled = { softmax, stage };
  }

  /** Start weights of rows [from, to), uniform within +-bound; one draw each from `key` on. */
  protected drawUniform(key: RandomKey, from: number, to: number, bound: number): void {
    drawRows(this.device, this.#rows(), key, from, to, bound);
  }

  #rows(): LabelRows {
    const { width, weights, short, bias, weightMoments, biasMoments } = this;
    return { width, weights, short, bias, weightMoments, biasMoments };
  }

  /** The weights from row `first` on, as kernels take them. */
  protected stored(first = 0): {
    readonly weights: Floats;
    readonly bf16: Bf16Weights | null;
    readonly bias: Floats;
  } {
    const at = first * this.width;
    const short = this.short?.subarray(at) ?? null;
    return {
      weights: this.weights.subarray(short === null ? at : 0),
      bf16: short && { weights: short, rounding: roundingOfStep(this.steps) },
      bias: this.bias.subarray(first),
    };
  }

  /** to[at...] = the weights of a row, as numbers. */
  protected copyRow(row: number, to: Floats, at = 0): void {
    const [from, end] = [row * this.width, (row + 1) * this.width];
    if (this.short === null) to.set(this.weights.subarray(from, end), at);
    else widenBf16(this.short.subarray(from, end), to, at);
  }

  protected rowOf(row: number): Float64Array {
    const out = new Float64Array(this.width);
    this.copyRow(row, out);
    return out;
  }

  /** What `chunk` counts and slabs cut: labels, or groups of them. */
  protected get units(): number {
    return this.#labels;
  }

  /** The positives as the kernels number them, with the temporaries that hold them. */
  protected placed(positives: Positives, _batch: number): { positives: Positives; held: readonly Tensor[] } {
    return { positives, held: [] };
  }

  /**
   * Walks labels from `from` on, slab by slab. `common` is what a slab of units [begin, end) is told, of the layer as if it
   * began with label `first`.
   */
  protected walk(
    from: number,
    slab: number,
    common: (begin: number, end: number, first: number) => OutputStepCommon,
  ): Promise<number> {
    return overSlabs(this.units - from, slab, (begin, end) => this.slab(common(begin, end, from), from));
  }

  /** Runs one slab of the fused step; with `first`, on the layer as if it began with that label. */
  protected abstract slab(common: OutputStepCommon, first: number): number;
  /** Fan-in 0 for a dense layer: the kernels choose by it. */
  protected abstract workspaceShape(batch: number): WorkspaceShape;
  protected abstract workspaceLength(batch: number): number;
  protected topKWorkspaceLength(batch: number, k: number): number {
    return this.device.kernels.topKWorkspace(this.workspaceShape(batch), k);
  }
  protected abstract topKInto(
    h: Tensor,
    k: number,
    labels: Uint32Array,
    scores: Floats,
    workspace: Floats,
  ): void;
  protected abstract logitsOf(h: Tensor, labels: Uint32Array): Tensor;
  protected abstract logitsOfAll(h: Tensor): Tensor;
  /** The same layer on a dry device. */
  abstract dryTwin(device: Device): LabelMatrixOutput;
  abstract connections(label: number): Connections;

  async rewire(_step: number, _totalSteps: number, _growth?: GrowthSource): Promise<RewireReport | null> {
    return null;
  }

  async step(h: Tensor, targets: Positives, options: StepOptions): Promise<StepResult> {
    checkFrom(`${this.kind}.step`, this, options.from);
    if (this.#sampled !== null) {
      const { softmax, stage } = this.#sampled;
      const { kind, inputs, labels, chunk, optimizer } = this;
      const rows = { kind, inputs, labels, chunk, optimizer, ...this.#rows(), stage };
      const result = await softmax.step(rows, this.steps + 1, h, targets, options);
      if (options.update ?? true) this.steps++;
      return result;
    }
    const [batch] = this.#checkHidden('step', h);
    if (!this.device.dry) {
      checkPositives(`${this.kind}.step`, targets, batch, this.#labels);
      checkGradients(`${this.kind}.step`, options.gradients, this.#labels * this.width, this.#labels);
    }
    const update = options.update ?? true;
    if (update) this.steps++;
    const rule = update ? ruleAt(this.optimizer, options.rate, this.steps) : null;
    const squares = options.measureSquares ? new Float64Array(2) : null;
    const wantsInput = options.inputGradient ?? true;
    const dh = wantsInput ? this.device.temporary('gradients', [batch, this.inputs]) : null;
    const sum = await this.#run(h, targets, {
      from: options.from,
      dh,
      squares,
      norms: options.norms,
      backward: true,
      gradScale: (options.scale ?? 1) / Math.max(1, batch),
      update: {
        rule,
        weightMoments: this.weightMoments,
        biasMoments: this.biasMoments,
        dWeights: options.gradients?.weights ?? null,
        dBias: options.gradients?.bias ?? null,
        updateScale: options.updateScale ?? 1,
      },
    });
    return { loss: sum / Math.max(1, batch), dh, squares: squares === null ? null : squares[0] + squares[1] };
  }

  async evaluate(h: Tensor, targets: Positives, norms?: Floats): Promise<number> {
    const [batch] = this.#checkHidden('evaluate', h);
    if (!this.device.dry) checkPositives(`${this.kind}.evaluate`, targets, batch, this.#labels);
    const sum = await this.#run(h, targets, { ...forwardOnly, norms });
    return sum / Math.max(1, batch);
  }

  async logSums(h: Tensor, norms: Floats): Promise<void> {
    const [batch] = this.#checkHidden('logSums', h);
    if (this.#labels === 0) {
      norms.fill(-Infinity, 0, batch);
      return;
    }
    const nothing = new Uint32Array(0);
    const none = { count: 0, label: nothing, row: nothing };
    await this.#run(h, none, { ...forwardOnly, norms, pass: 'sum' });
  }

  async #run(
    h: Tensor,
    positives: Positives,
    how: {
      readonly dh: Tensor | null;
      readonly squares: Float64Array | null;
      readonly backward: boolean;
      readonly gradScale: number;
      readonly update: OutputUpdate;
      /** Of softmax, from outside; by default found here. */
      readonly norms?: Floats;
      /** `sum`: only the walk that fills the norms. */
      readonly pass?: 'sum';
      /** Labels before it are left out, but for the norms. */
      readonly from?: number;
    },
  ): Promise<number> {
    const { device, chunk } = this;
    const batch = h.shape[0];
    const { units } = this;
    const { positives: placed, held } = this.placed(positives, batch);
    const workspace = device.temporary('workspace', [this.workspaceLength(batch)]);
    const slab = slabLabels({
      labels: units,
      chunk,
      threads: device.kernels.threads,
      flopsPerLabel: ((how.backward ? 6 : 2) * batch * this.width * this.#labels) / Math.max(1, units),
      slow: device.kernels.name.startsWith('reference'),
    });
    const softmax = this.loss === 'softmax';
    const own = softmax && how.norms === undefined ? device.temporary('workspace', [2, batch]) : null;
    if (own !== null && !device.dry) shareTargets(positives, own.data, batch);
    const norms = softmax ? (own?.data ?? how.norms ?? null) : null;
    const { from = 0, update } = how;
    let part: ReturnType<typeof partFrom> | null = null;
    const walk = (pass: 'sum' | 'use') =>
      this.walk(pass === 'use' ? from : 0, slab, (begin, end, first) => {
        if (first > 0) part ??= partFrom(first, this.width, placed, update);
        return {
          ...{ batch, inputs: this.inputs, labels: this.#labels - first, begin, end, chunk },
          ...{ h: h.data, dh: how.dh?.data ?? null },
          ...(part ?? { positives: placed, update }),
          ...{ loss: this.loss, norms: norms && { pass, values: norms }, gradScale: how.gradScale },
          ...{ backward: how.backward && pass === 'use', squares: how.squares, workspace: workspace.data },
        };
      });
    if (own !== null || how.pass === 'sum') await walk('sum');
    const total = how.pass === 'sum' ? 0 : await walk('use');
    for (const used of [...held, workspace, ...(own === null ? [] : [own])]) device.release(used);
    return total;
  }

  async topK(h: Tensor, k: number): Promise<TopK> {
    const [batch] = this.#checkHidden('topK', h);
    checkTopK(k);
    const { device } = this;
    const workspace = device.temporary('workspace', [this.topKWorkspaceLength(batch, k)]);
    const labels = new Uint32Array(batch * k);
    const scores = device.precision === 'float32' ? new Float32Array(batch * k) : new Float64Array(batch * k);
    this.topKInto(h, k, labels, scores, workspace.data);
    device.release(workspace);
    await breathe();
    return { k, labels, scores };
  }

  async scores(h: Tensor, labels?: Uint32Array): Promise<Tensor> {
    this.#checkHidden('scores', h);
    if (labels === undefined) return this.logitsOfAll(h);
    for (const label of labels) this.checkLabel('scores', label);
    return this.logitsOf(h, labels);
  }

  async plan(shape: StepShape): Promise<OutputPlan> {
    const device = this.device.dryTwin();
    const twin = this.dryTwin(device);
    return {
      ...(await bytesOfStep(device, twin, shape)),
      flopsPerExample: 6 * this.#labelsPerStep(shape.positives) * this.width,
    };
  }

  /** Labels that a step looks at, at most. */
  #labelsPerStep(positives: number): number {
    return Math.min(this.#labels, this.#sampled?.softmax.capacity(positives) ?? Infinity);
  }

  /** Weight rows and bias of new label j from old label map[j]; `fresh` fills the rows that have none. */
  protected resizeRows(map: Int32Array, fresh: (weights: Floats, row: number) => void): void {
    checkLabelMap(map, this.#labels);
    const { width } = this;
    const { moved, movedMoments } = rowMover(this.device, map);
    if (this.short === null) this.weights = moved(this.weights, 'weights', width);
    else this.short = moved(this.short, 'weights', width);
    this.bias = moved(this.bias, 'weights', 1);
    this.weightMoments = movedMoments(this.weightMoments, width);
    this.biasMoments = movedMoments(this.biasMoments, 1);
    this.#labels = map.length;
    this.#sampled?.softmax.resize(map.length);
    for (let j = 0; j < map.length; j++) {
      if (map[j] >= 0) continue;
      this.bias[j] = this.#newBias;
      fresh(this.weights, j);
    }
  }

  abstract resizeLabels(map: Int32Array): void;

  startLabels(labels: Uint32Array, start: LabelStart): void {
    checkStart(`${this.kind}.startLabels`, labels, start, this);
    if (this.device.dry) return;
    this.chooseInputs(labels, start.weights);
    const { width, inputs } = this;
    for (const [i, label] of labels.entries()) {
      const row = this.rowAt(label);
      for (const [k, input] of this.connections(label).inputs.entries()) {
        const weight = start.weights[i * inputs + input];
        if (this.short === null) this.weights[row * width + k] = weight;
        else this.short[row * width + k] = nearestBf16(weight);
      }
      this.bias[row] = start.bias[i];
      for (const moment of [this.weightMoments.m, this.weightMoments.v])
        moment?.fill(0, row * width, (row + 1) * width);
      for (const moment of [this.biasMoments.m, this.biasMoments.v]) moment?.fill(0, row, row + 1);
    }
  }

  shiftLogits(from: number, by: number): void {
    checkShift(`${this.kind}.shiftLogits`, this.#labels, from, by);
    if (this.device.dry) return;
    for (let label = from; label < this.#labels; label++) this.bias[this.rowAt(label)] += by;
  }

  /** The row of weights of a label. */
  protected rowAt(label: number): number {
    return label;
  }

  /** Connections of labels that are to have these weights [n, d]; nothing where all inputs are connected. */
  protected chooseInputs(_labels: Uint32Array, _weights: Floats): void {}

  state(): { readonly model: NamedArray[]; readonly optimizer: NamedArray[] } {
    return rowsState(this.#labels, this.#rows());
  }

  loaded(): void {}

  protected checkLabel(op: string, label: number): void {
    checkLabel(op, label, this.#labels);
  }

  #checkHidden(op: string, h: Tensor): [number] {
    return [checkHidden(`${this.kind}.${op}`, h, this.inputs)];
  }
}
