/**
 * The output layer of labels in groups: the labels of a group share one list of F inputs and keep weights of their
 * own, so that a step gathers F inputs once per group and is made of small dense products.
 * z[b,l] = bias[l] + sum_k w[l,k] h[b, columns[g(l),k]]. HASTE (arXiv 2606.01117), section on grouped fan-in. Longer than
 * other files, as slots, groups and columns must follow each other in every method.
 */
import type {
  Columns,
  Floats,
  OutputStepCommon,
  Positives,
  RandomKey,
  WorkspaceShape,
} from '../../kernels/face.js';
import { RandomStream } from '../../kernels/random.js';
import { LabelMatrixOutput } from '../../output/base.js';
import { checkLabelMap } from '../../output/check.js';
import type {
  Connections,
  GrowthSource,
  NamedArray,
  OutputCapabilities,
  RewireReport,
  StepOptions,
  StepResult,
} from '../../output/layer.js';
import { overSlabs } from '../../output/slabs.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type EvolvingLayer, type Rewired, rewireLayer } from '../dynamic-sparse/evolve.js';
import { Explored } from '../dynamic-sparse/explored.js';
import { gatheredLogits } from '../dynamic-sparse/logits.js';
import { growsBy, type PruneRule } from '../dynamic-sparse/options.js';
import { checkColumns, columnType, drawColumns, largestInputs } from '../dynamic-sparse/topology.js';
import { checkGroupedOptions, type GroupedOutputOptions } from './options.js';
import {
  addSay,
  checkPlaces,
  groupOf,
  identity,
  orderInto,
  plainStarts,
  type Run,
  regroup,
  runsFrom,
  startsInto,
  wholeGroups,
} from './places.js';
import { beginGroupedRewiring, type GroupedRewireTarget, scoreGroups } from './rewire.js';

/** Groups worked on at once: enough that threads share work evenly, few enough for small layers. */
const defaultChunk = 4;

export class GroupedFanInOutput extends LabelMatrixOutput {
  readonly kind = 'grouped';
  readonly width: number;
  readonly capabilities: OutputCapabilities;
  /** G, the size that groups are filled up to. */
  readonly groupSize: number;
  readonly #options: GroupedOutputOptions;
  #groups: number;
  /** [groups, F] */
  #columns: Columns;
  /** [groups + 1] */
  #starts: Uint32Array;
  /** [L], of labels; weights, biases and their moments are in the order of slots. */
  #slotOf: Uint32Array;
  /** [L], of slots */
  #labelOf: Uint32Array;
  #explored: Explored | null = null;
  /** Of the step before, where labels were left out. */
  #runs: { readonly from: number; readonly runs: readonly Run[] } | null = null;

  constructor(device: Device, options: GroupedOutputOptions) {
    checkGroupedOptions(options);
    super(device, { ...options, chunk: options.chunk ?? defaultChunk });
    const { labels, group, fanIn, topology } = options;
    this.#options = options;
    this.width = fanIn;
    this.groupSize = group;
    this.#groups = options.groups ?? Math.ceil(labels / group);
    this.capabilities = {
      learnsFrom: true,
      losses: ['bce', 'squaredHinge', 'softmax'],
      optimizers: ['sgd', 'adam', 'adamw', 'adagrad'],
      rewireEvery: topology.kind === 'static' ? 0 : topology.every,
      growsBy: growsBy(topology),
    };
    this.#slotOf = this.#indices(labels);
    this.#labelOf = this.#indices(labels);
    this.#starts = this.#indices(this.#groups + 1);
    this.#columns = this.#newColumns(this.#groups);
    if (!device.dry) {
      orderInto(this.#slotOf, options.order ?? 'identity', options.stream);
      this.#nameSlots();
      startsInto(this.#starts, labels, group);
    }
    this.allocateWeights(this.#bySlot(options.initialBias ?? 0));
    const key = options.stream.reserve(labels * fanIn);
    if (!device.dry) {
      drawColumns(this.#columns, fanIn, this.inputs, 0, this.#groups, options.stream);
      this.#drawWeights(key, 0, labels);
    }
    this.#explored = this.#startExploring();
  }

  /** F */
  get fanIn(): number {
    return this.width;
  }

  get groups(): number {
    return this.#groups;
  }

  /** [groups, F] */
  get columns(): Columns {
    return this.#columns;
  }

  /** [L], the place of every label; labels of neighbouring slots share inputs. */
  get slotOf(): Uint32Array {
    return this.#slotOf;
  }

  protected override get units(): number {
    return this.#groups;
  }

  #indices(length: number): Uint32Array {
    return this.device.allocator.allocate('indices', 'uint32', length);
  }

  #newColumns(groups: number): Columns {
    return this.device.allocator.allocate('indices', columnType(this.inputs), groups * this.width);
  }

  #startExploring(): Explored | null {
    if (this.capabilities.rewireEvery === 0) return null;
    this.#explored?.release();
    const { width: fanIn, inputs } = this;
    return new Explored(this.device, { rows: this.#groups, fanIn, inputs }, this.#columns);
  }

  #nameSlots(): void {
    this.#runs = null;
    for (let label = 0; label < this.#slotOf.length; label++) this.#labelOf[this.#slotOf[label]] = label;
  }

  /** Numbers of labels in the order of their slots. */
  #bySlot(ofLabels: number | Floats): number | Floats {
    // A wrong length is refused where it is used.
    if (typeof ofLabels === 'number' || this.device.dry || ofLabels.length !== this.labels) return ofLabels;
    return Float64Array.from(this.#labelOf, (label) => ofLabels[label]);
  }

  /** Start weights, U(-1/sqrt(F), 1/sqrt(F)), of slots [from, to). */
  #drawWeights(key: RandomKey, from: number, to: number): void {
    this.drawUniform(key, from, to, this.startScale / Math.sqrt(this.width));
  }

  override async step(h: Tensor, targets: Positives, options: StepOptions): Promise<StepResult> {
    const { gradients } = options;
    if (gradients === undefined || gradients.bias.length < this.labels || this.device.dry)
      return super.step(h, targets, options);
    // For checks: kernels write in the order of slots, callers read in that of labels.
    const bySlot = { weights: gradients.weights.slice(), bias: gradients.bias.slice() };
    const result = await super.step(h, targets, { ...options, gradients: bySlot });
    for (const [label, slot] of this.#slotOf.entries()) {
      const { width } = this;
      gradients.weights.set(bySlot.weights.subarray(slot * width, (slot + 1) * width), label * width);
      gradients.bias[label] = bySlot.bias[slot];
    }
    return result;
  }

  protected override placed(positives: Positives, batch: number) {
    const { device } = this;
    const { count, capacity = count } = positives;
    const pairs = device.temporary('workspace', [capacity], 'float64');
    const label = device.temporary('workspace', [capacity], 'uint32');
    const row = device.temporary('workspace', [capacity], 'uint32');
    const placed = { count, label: label.raw as Uint32Array, row: row.raw as Uint32Array };
    if (!device.dry) {
      // One number per pair, exact below 2^53.
      const keys = (pairs.raw as Float64Array).subarray(0, count);
      for (let i = 0; i < count; i++) keys[i] = this.#slotOf[positives.label[i]] * batch + positives.row[i];
      keys.sort();
      for (let i = 0; i < count; i++) {
        placed.label[i] = Math.floor(keys[i] / batch);
        placed.row[i] = keys[i] % batch;
      }
    }
    return { positives: placed, held: [pairs, label, row] };
  }

  #layer() {
    return {
      fanIn: this.width,
      groups: this.#groups,
      groupSize: this.groupSize,
      starts: this.#starts,
      columns: this.#columns,
      ...this.stored(),
    };
  }

  /** A label stands anywhere: groups of labels from `from` on at once, and runs of them within other groups one by one. */
  protected override async walk(
    from: number,
    slab: number,
    common: (begin: number, end: number, first: number) => OutputStepCommon,
  ): Promise<number> {
    if (from === 0) return super.walk(from, slab, common);
    const { width } = this;
    let total = 0;
    if (this.#runs?.from !== from) this.#runs = { from, runs: runsFrom(from, this.#labelOf, this.#starts) };
    for (const { group, groups, starts } of this.#runs.runs) {
      const columns = this.#columns.subarray(group * width, (group + groups) * width);
      const layer = { ...this.#layer(), groups, starts, columns };
      total += await overSlabs(groups, slab, (begin, end) =>
        this.device.kernels.groupedStep({ ...common(begin, end, 0), ...layer }),
      );
    }
    return total;
  }

  protected slab(common: OutputStepCommon): number {
    return this.device.kernels.groupedStep({ ...common, ...this.#layer() });
  }

  #groupedShape(batch: number) {
    const { inputs, width: fanIn, groupSize } = this;
    return { batch, inputs, fanIn, groupSize, bf16: this.short !== null };
  }

  protected workspaceShape(batch: number): WorkspaceShape {
    return { batch, inputs: this.inputs, labels: this.labels, chunk: this.chunk, fanIn: this.width };
  }

  protected workspaceLength(batch: number): number {
    return this.device.kernels.groupedWorkspace(this.#groupedShape(batch));
  }

  protected override topKWorkspaceLength(batch: number, k: number): number {
    return this.device.kernels.groupedTopKWorkspace(this.#groupedShape(batch), k);
  }

  protected topKInto(h: Tensor, k: number, topLabels: Uint32Array, topScores: Floats, workspace: Floats) {
    this.device.kernels.groupedTopK({
      ...this.#layer(),
      batch: h.shape[0],
      inputs: this.inputs,
      labels: this.labels,
      h: h.data,
      k,
      topLabels,
      topScores,
      workspace,
      labelOf: this.#labelOf,
    });
  }

  protected logitsOfAll(h: Tensor): Tensor {
    const all = this.device.dry ? [] : Array.from(this.#slotOf.keys());
    return this.#logits(h, all, this.labels);
  }

  protected logitsOf(h: Tensor, chosen: Uint32Array): Tensor {
    return this.#logits(h, chosen, chosen.length);
  }

  /** The chosen labels as a fixed fan-in layer, columns written out; a dry device counts them only. */
  #logits(h: Tensor, chosen: ArrayLike<number>, count: number): Tensor {
    const { width } = this;
    const shape = { ...this.workspaceShape(h.shape[0]), labels: count };
    return gatheredLogits(this.device, h, shape, ({ columns, weights, bias }, i) => {
      const slot = this.#slotOf[chosen[i]];
      const group = groupOf(this.#starts, slot);
      columns.set(this.#columns.subarray(group * width, (group + 1) * width), i * width);
      this.copyRow(slot, weights, i * width);
      bias[i] = this.bias[slot];
    });
  }

  override async rewire(
    step: number,
    totalSteps: number,
    growth?: GrowthSource,
  ): Promise<RewireReport | null> {
    const done = await rewireLayer(this.#evolving(), step, totalSteps, growth);
    if (done === null || this.device.dry) return null;
    this.#explored?.add(this.#columns);
    const explored = this.#explored?.share ?? 0;
    return { step, ...done, connections: this.labels * this.width, explored };
  }

  #evolving(): EvolvingLayer {
    const { device, labels, inputs, loss, weightMoments, width: fanIn } = this;
    return {
      ...{ op: 'GroupedFanInOutput.rewire', device, options: this.#options },
      regrowAtRandom: (rule, progress) => this.#regrowAtRandom(rule, progress),
      growing: (work) =>
        this.#scored((scores) =>
          work(
            {
              ...{ labels, inputs, fanIn, loss, weightMoments, scores },
              ...{ columns: this.#columns, ...this.stored(), labelOf: this.#labelOf },
              groups: { count: this.#groups, starts: this.#starts },
              placed: (positives, batch) => this.placed(positives, batch),
              logSums: (h, norms) => this.logSums(h, norms),
            },
            scores,
          ),
        ),
    };
  }

  /** Runs `work` on scores [groups, F] that live as long. */
  async #scored<T>(
    work: (scores: Floats, target: GroupedRewireTarget, atOnce: number) => Promise<T>,
  ): Promise<T> {
    const { device, width: fanIn } = this;
    const weights = this.short ?? this.weights;
    const target = { ...this.#layer(), weights, inputs: this.inputs, moments: this.weightMoments };
    const scores = device.allocator.allocate('workspace', device.precision, this.#groups * fanIn);
    // Plain TypeScript: about 30 ms at a time.
    const atOnce = Math.max(1, Math.floor(4_000_000 / (fanIn * this.groupSize)));
    if (!device.dry) {
      await overSlabs(this.#groups, atOnce, (from, to) => {
        scoreGroups(target, scores, from, to);
        return 0;
      });
    }
    const result = await work(scores, target, atOnce);
    device.allocator.release('workspace', scores);
    return result;
  }

  #regrowAtRandom(rule: PruneRule, progress: number): Promise<Rewired> {
    return this.#scored(async (scores, target, atOnce) => {
      if (this.device.dry) return { replaced: 0, threshold: null };
      const { rewireStream } = this.#options;
      const { threshold, replaceGroups } = beginGroupedRewiring(target, scores, rule, progress, rewireStream);
      return { threshold, replaced: await overSlabs(this.#groups, atOnce, replaceGroups) };
    });
  }

  connections(label: number): Connections {
    this.checkLabel('connections', label);
    const slot = this.#slotOf[label];
    const group = groupOf(this.#starts, slot);
    const columns = this.#columns.subarray(group * this.width, (group + 1) * this.width);
    return {
      inputs: Uint32Array.from(columns),
      weights: this.rowOf(slot),
      bias: this.bias[slot],
    };
  }

  resizeLabels(map: Int32Array): void {
    checkLabelMap(map, this.labels);
    const { width, groupSize, device } = this;
    const { stream } = this.#options;
    const old = [this.#slotOf, this.#labelOf, this.#starts, this.#columns] as const;
    const next = device.dry
      ? regroup(map, identity(this.labels), plainStarts(this.labels, this.#groups, groupSize), groupSize)
      : regroup(map, this.#slotOf, this.#starts, groupSize);
    const { slotFrom, groupFrom } = next;
    const fresh: number[] = [];
    this.resizeRows(slotFrom, (_weights, slot) => fresh.push(slot));
    this.#groups = groupFrom.length;
    this.#slotOf = this.#indices(map.length);
    this.#labelOf = this.#indices(map.length);
    this.#starts = this.#indices(this.#groups + 1);
    this.#columns = this.#newColumns(this.#groups);
    if (!device.dry) {
      this.#slotOf.set(next.slotOf);
      this.#nameSlots();
      this.#starts.set(next.starts);
      for (const [g, from] of groupFrom.entries()) {
        if (from < 0) drawColumns(this.#columns, width, this.inputs, g, g + 1, stream);
        else this.#columns.set(old[3].subarray(from * width, (from + 1) * width), g * width);
      }
    }
    for (const array of old) device.allocator.release('indices', array);
    for (const slot of fresh) {
      const key = stream.reserve(width);
      if (!device.dry) this.#drawWeights(key, slot, slot + 1);
    }
    this.#explored = this.#startExploring();
  }

  protected override rowAt(label: number): number {
    return this.#slotOf[label];
  }

  /** Groups of these labels alone choose together, every label with the same say. */
  protected override chooseInputs(labels: Uint32Array, weights: Floats): void {
    const { width, inputs } = this;
    const groups = wholeGroups(this.#slotOf, this.#starts, labels);
    for (const [group, own] of groups) {
      const say = new Float64Array(inputs);
      for (const i of own) addSay(say, weights.subarray(i * inputs, (i + 1) * inputs));
      this.#columns.set(largestInputs(say, width), group * width);
    }
    this.#explored = this.#startExploring();
  }

  dryTwin(device: Device): GroupedFanInOutput {
    // NOTE: copies of the streams: planning must not shift the draws of training.
    const stream = RandomStream.from(this.#options.stream.state());
    const { labels } = this;
    return new GroupedFanInOutput(device, {
      ...this.#options,
      ...{ stream, labels, initialBias: 0, order: 'identity', groups: this.#groups },
    });
  }

  override state(): { readonly model: NamedArray[]; readonly optimizer: NamedArray[] } {
    const { model, optimizer } = super.state();
    if (this.#explored !== null) optimizer.push(this.#explored.array);
    return {
      model: [
        ...model,
        { name: 'columns', shape: [this.#groups, this.width], data: this.#columns },
        { name: 'starts', shape: [this.#groups + 1], data: this.#starts },
        { name: 'slots', shape: [this.labels], data: this.#slotOf },
      ],
      optimizer,
    };
  }

  /** Checks groups, slots and columns that came from a file. */
  override loaded(): void {
    checkPlaces(this.#slotOf, this.#starts, this.groupSize);
    const { width: fanIn, inputs } = this;
    checkColumns('GroupedFanInOutput.loaded', this.#columns, {
      rows: this.#groups,
      fanIn,
      inputs,
      row: 'group',
    });
    this.#nameSlots();
  }
}
