/**
 * The fixed fan-in output layer: every label owns F connections to the hidden vector,
 * z[b,l] = bias[l] + sum_k w[l,k] h[b, columns[l,k]], with topology that is static or evolves (SET).
 * Ullah et al. 2024, section 3; Schultheis & Babbar 2023.
 */
import type { Columns, Floats, OutputStepCommon, Positives, WorkspaceShape } from '../../kernels/face.js';
import { RandomStream } from '../../kernels/random.js';
import { LabelMatrixOutput } from '../../output/base.js';
import type {
  Connections,
  GrowthSource,
  NamedArray,
  OutputCapabilities,
  RewireReport,
  StepOptions,
  StepResult,
} from '../../output/layer.js';
import type { SampledStage } from '../../output/sampled-softmax.js';
import { overSlabs } from '../../output/slabs.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type EvolvingLayer, type Rewired, rewireLayer } from './evolve.js';
import { Explored } from './explored.js';
import { gatheredLogits, rowLogits } from './logits.js';
import {
  checkFanIn,
  checkTopology,
  type FanInForm,
  type FanInOutputOptions,
  growsBy,
  type PruneRule,
} from './options.js';
import { beginRewiring } from './rewire.js';
import { checkColumns, columnType, drawColumns, largestInputs } from './topology.js';

export class FixedFanInOutput extends LabelMatrixOutput {
  readonly kind = 'fan-in';
  readonly width: number;
  readonly form: FanInForm;
  readonly capabilities: OutputCapabilities;
  readonly #options: FanInOutputOptions;
  /** S */
  readonly #shared: number;
  #columns: Columns;
  #index: Uint16Array | null = null;
  /** Elements of the index: a dry device has them counted, not held. */
  #indexLength = 0;
  #explored: Explored | null = null;
  /** Of the weights as they are, or null. */
  #screen: Uint8Array | null = null;

  constructor(device: Device, options: FanInOutputOptions) {
    const { fanIn, inputs } = options;
    checkFanIn(options);
    checkTopology(options.topology);
    super(device, {
      ...options,
      chunk: options.chunk ?? chunkLabels(inputs, fanIn),
    });
    this.#options = options;
    this.width = fanIn;
    this.#shared = options.shared ?? 0;
    const { sampling, topology } = options;
    // The backward index names columns of all labels; the rows that a sampled step takes out have none.
    this.form = sampling === undefined ? (options.form ?? 'fast') : 'compact';
    this.capabilities = {
      learnsFrom: options.sampling === undefined,
      losses: sampling === undefined ? ['bce', 'squaredHinge', 'softmax'] : ['softmax'],
      optimizers: ['sgd', 'adam', 'adamw', 'adagrad'],
      rewireEvery: topology.kind === 'static' ? 0 : topology.every,
      growsBy: growsBy(topology),
    };
    this.allocateWeights(options.initialBias ?? 0);
    this.#columns = this.#newColumns(options.labels);
    this.#drawRows(0, options.labels);
    this.#buildIndex();
    this.#explored = this.#startExploring();
    this.sampleLabels(sampling, options.stream, (batch, capacity) => this.#stage(batch, capacity));
  }

  /** F */
  get fanIn(): number {
    return this.width;
  }

  /** [L, F] */
  get columns(): Columns {
    return this.#columns;
  }

  #newColumns(labels: number): Columns {
    return this.device.allocator.allocate('indices', columnType(this.inputs), labels * this.width);
  }

  #startExploring(): Explored | null {
    if (this.capabilities.rewireEvery === 0) return null;
    this.#explored?.release();
    const { labels: rows, width: fanIn, inputs } = this;
    return new Explored(this.device, { rows, fanIn, inputs, shared: this.#shared }, this.#columns);
  }

  /** Start connections and weights, U(-1/sqrt(F), 1/sqrt(F)), of labels [from, to). */
  #drawRows(from: number, to: number): void {
    const { stream } = this.#options;
    const n = (to - from) * this.width;
    const key = stream.reserve(n);
    if (this.device.dry) return;
    drawColumns(this.#columns, this.width, this.inputs, from, to, stream, this.#shared);
    this.drawUniform(key, from, to, this.startScale / Math.sqrt(this.width));
  }

  /** The backward index of the fast form, rebuilt whenever connections change. */
  #buildIndex(): void {
    if (this.form === 'compact') return;
    const { device, inputs, labels, chunk } = this;
    const shape = { inputs, labels, fanIn: this.width, chunk };
    const length = device.kernels.fanInIndexLength(shape);
    if (length !== this.#indexLength) {
      if (this.#index !== null) device.allocator.release('indices', this.#index);
      this.#index = length === 0 ? null : device.allocator.allocate('indices', 'uint16', length);
      this.#indexLength = length;
    }
    if (this.#index === null) return;
    device.kernels.fanInIndexBuild({
      ...shape,
      columns: this.#columns,
      index: this.#index,
      begin: 0,
      end: labels,
    });
  }

  /**
   * Keeps upper bounds of logits at hand, about 2.75 bytes a connection, until something is learnt: a row finds its best
   * labels in an eighth of the time, eight rows in half (bench/top-k.mjs), the answers the same to the bit.
   */
  prepareTopK(): void {
    const { device, labels, inputs, width: fanIn } = this;
    const length = device.kernels.fanInScreenLength({ inputs, labels, fanIn });
    if (this.#screen !== null || length === 0 || labels * fanIn < fewConnections) return;
    this.#screen = device.allocator.allocate('indices', 'uint8', length);
    this.#buildScreen();
  }

  #buildScreen(): void {
    const screen = this.#screen;
    if (screen === null || this.device.dry) return;
    const { inputs, labels } = this;
    this.device.kernels.fanInScreenBuild({ ...this.#fanInWeights(), inputs, labels, screen });
  }

  /** NOTE: whatever changes weights or connections must come by here, or `topK` answers by what they were. */
  #dropScreen(): void {
    if (this.#screen === null) return;
    this.device.allocator.release('indices', this.#screen);
    this.#screen = null;
  }

  override step(h: Tensor, targets: Positives, options: StepOptions): Promise<StepResult> {
    this.#dropScreen();
    return super.step(h, targets, options);
  }

  override shiftLogits(from: number, by: number): void {
    this.#dropScreen();
    super.shiftLogits(from, by);
  }

  /** Connections have changed. */
  #rearranged(): void {
    this.#dropScreen();
    this.#buildIndex();
  }

  override async rewire(
    step: number,
    totalSteps: number,
    growth?: GrowthSource,
  ): Promise<RewireReport | null> {
    const done = await rewireLayer(this.#evolving(), step, totalSteps, growth);
    if (done === null) return null;
    this.#rearranged();
    this.#explored?.add(this.#columns);
    const connections = this.labels * this.width;
    return { step, ...done, connections, explored: this.#explored?.share ?? 0 };
  }

  #evolving(): EvolvingLayer {
    const { device, labels, inputs, loss, weightMoments } = this;
    return {
      ...{ op: 'FixedFanInOutput.rewire', device, options: this.#options },
      regrowAtRandom: (rule, progress) => this.#regrowAtRandom(rule, progress),
      growing: (work) =>
        work(
          {
            ...this.#fanInWeights(),
            ...{ labels, inputs, loss, weightMoments, stays: this.#shared },
            placed: (positives, batch) => this.placed(positives, batch),
            logSums: (h, norms) => this.logSums(h, norms),
          },
          this.short ?? this.weights,
        ),
    };
  }

  async #regrowAtRandom(rule: PruneRule, progress: number): Promise<Rewired> {
    if (this.device.dry) return { replaced: 0, threshold: null };
    const { labels, width: fanIn, inputs, weightMoments: moments } = this;
    const weights = this.short ?? this.weights;
    const stored = { columns: this.#columns, weights, moments };
    const target = { labels, fanIn, inputs, shared: this.#shared, ...stored };
    const { threshold, replaceRows } = beginRewiring(target, rule, progress, this.#options.rewireStream);
    // A slow backend or a fast one: this is plain TypeScript, about 30 ms for so many connections.
    const rows = Math.max(1, Math.floor(400_000 / fanIn));
    return { threshold, replaced: await overSlabs(labels, rows, replaceRows) };
  }

  #fanInWeights(first = 0) {
    const { width: fanIn } = this;
    return { fanIn, columns: this.#columns.subarray(first * fanIn), ...this.stored(first) };
  }

  protected slab(common: OutputStepCommon, first: number): number {
    // The index numbers labels from 0 in chunks; without it a step is the same, its dh slower.
    const index = first === 0 ? this.#index : null;
    return this.device.kernels.fanInStep({ ...common, ...this.#fanInWeights(first), index });
  }

  #stage(batch: number, capacity: number): SampledStage {
    const { device, width: fanIn } = this;
    const held = device.temporary('workspace', [capacity, fanIn], columnType(this.inputs));
    const columns = held.raw as Columns;
    return {
      workspaceLength: device.kernels.fanInWorkspace({ ...this.workspaceShape(batch), labels: capacity }),
      place: (label, at) =>
        columns.set(this.#columns.subarray(label * fanIn, (label + 1) * fanIn), at * fanIn),
      run: (common) => device.kernels.fanInStep({ ...common, fanIn, columns, index: null }),
      held: [held],
    };
  }

  protected workspaceShape(batch: number): WorkspaceShape {
    const { inputs, labels, chunk, width: fanIn } = this;
    return { batch, inputs, labels, chunk, fanIn, bf16: this.short !== null };
  }

  protected workspaceLength(batch: number): number {
    return this.device.kernels.fanInWorkspace(this.workspaceShape(batch));
  }

  protected topKInto(
    h: Tensor,
    k: number,
    topLabels: Uint32Array,
    topScores: Floats,
    workspace: Floats,
  ): void {
    this.device.kernels.fanInTopK({
      ...this.#fanInWeights(),
      batch: h.shape[0],
      inputs: this.inputs,
      labels: this.labels,
      h: h.data,
      screen: this.#screen,
      k,
      topLabels,
      topScores,
      workspace,
    });
  }

  protected logitsOfAll(h: Tensor): Tensor {
    return rowLogits(this.device, h, this.workspaceShape(h.shape[0]), this.#fanInWeights());
  }

  protected logitsOf(h: Tensor, chosen: Uint32Array): Tensor {
    const { width } = this;
    const shape = { ...this.workspaceShape(h.shape[0]), labels: chosen.length };
    return gatheredLogits(this.device, h, shape, ({ columns, weights, bias }, i) => {
      const label = chosen[i];
      columns.set(this.#columns.subarray(label * width, (label + 1) * width), i * width);
      this.copyRow(label, weights, i * width);
      bias[i] = this.bias[label];
    });
  }

  connections(label: number): Connections {
    this.checkLabel('connections', label);
    const from = label * this.width;
    const to = from + this.width;
    return {
      inputs: Uint32Array.from(this.#columns.subarray(from, to)),
      weights: this.rowOf(label),
      bias: this.bias[label],
    };
  }

  resizeLabels(map: Int32Array): void {
    const old = this.#columns;
    const { width } = this;
    const fresh: number[] = [];
    this.resizeRows(map, (_weights, row) => fresh.push(row));
    this.#columns = this.#newColumns(map.length);
    for (let j = 0; j < map.length; j++) {
      if (map[j] >= 0 && !this.device.dry)
        this.#columns.set(old.subarray(map[j] * width, (map[j] + 1) * width), j * width);
    }
    this.device.allocator.release('indices', old);
    for (const row of fresh) this.#drawRows(row, row + 1);
    this.#rearranged();
    this.#explored = this.#startExploring();
  }

  protected override chooseInputs(labels: Uint32Array, weights: Floats): void {
    const { width, inputs } = this;
    const shared = this.#shared;
    for (const [i, label] of labels.entries()) {
      const own = weights.subarray(i * inputs, (i + 1) * inputs - shared);
      this.#columns.set(largestInputs(own, width - shared), label * width + shared);
    }
    this.#rearranged();
    this.#explored = this.#startExploring();
  }

  dryTwin(device: Device): FixedFanInOutput {
    // NOTE: copies of the streams: planning must not shift the draws of training.
    const stream = RandomStream.from(this.#options.stream.state());
    return new FixedFanInOutput(device, { ...this.#options, stream, labels: this.labels, initialBias: 0 });
  }

  override state(): { readonly model: NamedArray[]; readonly optimizer: NamedArray[] } {
    const { model, optimizer } = super.state();
    const columns = { name: 'columns', shape: [this.labels, this.width], data: this.#columns };
    if (this.#explored !== null) optimizer.push(this.#explored.array);
    return { model: [...model, columns], optimizer };
  }

  /** Checks columns that came from a file (in range, none twice in a row), then rebuilds the index. */
  override loaded(): void {
    const { labels: rows, width: fanIn, inputs } = this;
    const shape = { rows, fanIn, inputs, shared: this.#shared, row: 'label' } as const;
    checkColumns('FixedFanInOutput.loaded', this.#columns, shape);
    this.#buildIndex();
    this.#buildScreen();
  }
}

/** Fewer are all computed in some 0.04 ms: 3.5 million take 2 (bench/top-k.mjs). */
const fewConnections = 2 ** 16;

/**
 * Labels per chunk: 128 keep their gradients in the first-level cache; wide inputs take more, so that every input
 * occurs some six times in a chunk and the backward index pays (measured). A slot of a chunk is named by 16 bits.
 */
function chunkLabels(inputs: number, fanIn: number): number {
  const wanted = 64 * Math.floor((6 * inputs) / fanIn / 64);
  return Math.max(1, Math.min(Math.max(128, wanted), 1024, Math.floor(65_535 / fanIn)));
}
