/**
 * Two output layers as one: frequent labels in a head (usually dense), all others in a tail (usually sparse). Loss
 * and gradients are sums, the best labels a merge. The split of HASTE (arXiv 2606.01117), for any two layers.
 */
import { ensure } from '../errors.js';
import type { Floats, Positives } from '../kernels/face.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkFrom, checkLabel, checkLabelMap, checkPositives, checkStart } from './check.js';
import { checkPartGradients, joinGradients, partGradients, splitPositives } from './head-tail-parts.js';
import { mergeTopK } from './head-tail-top-k.js';
import type {
  Connections,
  GrowthLogSums,
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
import { growthLogSums } from './log-sums.js';
import { bytesOfStep } from './planned.js';
import { shareTargets } from './softmax.js';

export interface HeadTailOptions {
  /** L */
  readonly labels: number;
  /** [H] the labels of the head, ascending. */
  readonly headLabels: Uint32Array;
  /** Of H labels: number i of it is headLabels[i]. */
  readonly head: PlannableOutput;
  /** Of the L - H others, in ascending order. */
  readonly tail: PlannableOutput;
}

export class HeadTailOutput implements PlannableOutput {
  readonly kind = 'head-tail';
  readonly head: PlannableOutput;
  readonly tail: PlannableOutput;
  readonly inputs: number;
  readonly loss: string;
  readonly capabilities: OutputCapabilities;
  readonly #device: Device;
  /** [H], ascending */
  #headLabels: Uint32Array;
  /** [L - H], ascending */
  #tailLabels: Uint32Array;
  /** [L], the number within the head, or ~ the number within the tail. */
  #place: Int32Array;
  /** Of a dry layer, whose accounted arrays are empty: the labels of its head, for resizing. */
  #dryHeadLabels: Uint32Array;

  constructor(device: Device, { labels, headLabels, head, tail }: HeadTailOptions) {
    this.#device = device;
    this.head = head;
    this.tail = tail;
    this.inputs = head.inputs;
    this.loss = head.loss;
    const fits =
      head.inputs === tail.inputs && head.loss === tail.loss && head.labels + tail.labels === labels;
    ensure(fits && headLabels.length === head.labels, () => ({
      code: 'HEAD_TAIL_SHAPE',
      kind: 'usage',
      op: 'HeadTailOutput',
      problem: 'head and tail do not make one layer',
      expected: `the same inputs and loss, ${headLabels.length} labels in the head and ${labels - headLabels.length} in the tail`,
      received: `${head.inputs} and ${tail.inputs} inputs, ${head.loss} and ${tail.loss}, ${head.labels} and ${tail.labels} labels`,
    }));
    const [a, b] = [head.capabilities, tail.capabilities];
    this.capabilities = {
      learnsFrom: false,
      losses: a.losses.filter((loss) => b.losses.includes(loss)),
      optimizers: a.optimizers.filter((name) => b.optimizers.includes(name)),
      rewireEvery: b.rewireEvery || a.rewireEvery,
      growsBy: b.growsBy === 'chance' ? a.growsBy : b.growsBy,
    };
    this.#headLabels = device.allocator.allocate('indices', 'uint32', head.labels);
    this.#tailLabels = device.allocator.allocate('indices', 'uint32', tail.labels);
    this.#place = device.allocator.allocate('indices', 'int32', labels);
    this.#dryHeadLabels = device.dry ? headLabels : new Uint32Array(0);
    if (device.dry) return;
    this.#headLabels.set(headLabels);
    this.#derive();
  }

  /** Places and tail labels from the labels of the head. */
  #derive(): void {
    let next = 0;
    let tail = 0;
    for (let label = 0; label < this.#place.length; label++) {
      if (this.#headLabels[next] === label) this.#place[label] = next++;
      else if (tail < this.#tailLabels.length) {
        this.#place[label] = ~tail;
        this.#tailLabels[tail++] = label;
      }
    }
    ensure(next === this.#headLabels.length && next + tail === this.#place.length, () => ({
      code: 'HEAD_LABELS',
      kind: 'data',
      op: 'HeadTailOutput',
      problem: 'the labels of the head are not ascending labels of the layer',
      expected: `${this.#headLabels.length} different labels below ${this.#place.length}, ascending`,
      hint: 'a model file that says otherwise is damaged: restore it from a copy',
    }));
  }

  get labels(): number {
    return this.head.labels + this.tail.labels;
  }

  /** [H] the labels of the head, ascending. */
  get headLabels(): Uint32Array {
    return this.#headLabels;
  }

  get weightCount(): number {
    return this.head.weightCount + this.tail.weightCount;
  }

  get steps(): number {
    return this.head.steps;
  }

  set steps(taken: number) {
    this.head.steps = taken;
    this.tail.steps = taken;
  }

  async step(h: Tensor, targets: Positives, options: StepOptions): Promise<StepResult> {
    checkFrom('head-tail.step', this, options.from);
    const device = this.#device;
    const { gradients } = options;
    if (!device.dry) {
      checkPositives('head-tail.step', targets, h.shape[0], this.labels);
      if (gradients !== undefined) checkPartGradients('head-tail.step', this, gradients);
    }
    const { head, tail, release } = splitPositives(device, this.#place, targets);
    const own = await this.#normsOf(h, targets, options.norms);
    const norms = own?.data ?? options.norms;
    const parts = gradients === undefined ? null : partGradients(this, gradients);
    const a = await this.head.step(h, head, { ...options, norms, gradients: parts?.head });
    const b = await this.tail.step(h, tail, { ...options, norms, gradients: parts?.tail });
    if (parts !== null && gradients !== undefined && !device.dry) {
      joinGradients(this, this.#place, parts, gradients);
    }
    if (a.dh !== null && b.dh !== null) {
      device.kernels.add(a.dh.size, a.dh.data, b.dh.data, 1, a.dh.data);
      device.release(b.dh);
    }
    if (own !== null) device.release(own);
    release();
    const squares = a.squares === null || b.squares === null ? null : a.squares + b.squares;
    return { loss: a.loss + b.loss, dh: a.dh, squares };
  }

  /** Of softmax: log Z over the labels of both parts, and the shares of positives, where nobody gave them. */
  async #normsOf(h: Tensor, targets: Positives, given: Floats | undefined): Promise<Tensor | null> {
    if (this.loss !== 'softmax' || given !== undefined) return null;
    const batch = h.shape[0];
    const norms = this.#device.temporary('workspace', [2, batch]);
    if (!this.#device.dry) shareTargets(targets, norms.data, batch);
    await this.logSums(h, norms.data);
    return norms;
  }

  async logSums(h: Tensor, norms: Floats): Promise<void> {
    const batch = h.shape[0];
    const other = this.#device.temporary('workspace', [2, batch]);
    await this.head.logSums(h, norms);
    await this.tail.logSums(h, other.data);
    for (let b = 0; b < batch && !this.#device.dry; b++) norms[b] = addLogs(norms[b], other.data[b]);
    this.#device.release(other);
  }

  async evaluate(h: Tensor, targets: Positives, given?: Floats): Promise<number> {
    if (!this.#device.dry) checkPositives('head-tail.evaluate', targets, h.shape[0], this.labels);
    const { head, tail, release } = splitPositives(this.#device, this.#place, targets);
    const own = await this.#normsOf(h, targets, given);
    const norms = own?.data ?? given;
    const loss = (await this.head.evaluate(h, head, norms)) + (await this.tail.evaluate(h, tail, norms));
    if (own !== null) this.#device.release(own);
    release();
    return loss;
  }

  prepareTopK(): void {
    this.head.prepareTopK?.();
    this.tail.prepareTopK?.();
  }

  async topK(h: Tensor, k: number): Promise<TopK> {
    const head = await this.head.topK(h, k);
    const tail = await this.tail.topK(h, k);
    return mergeTopK(head, this.#headLabels, tail, this.#tailLabels, h.shape[0]);
  }

  async scores(h: Tensor, labels?: Uint32Array): Promise<Tensor> {
    const device = this.#device;
    if (!device.dry) for (const label of labels ?? []) checkLabel('scores', label, this.labels);
    const chosen = labels ?? Uint32Array.from({ length: device.dry ? 0 : this.labels }, (_, l) => l);
    const columns = { head: [] as number[], tail: [] as number[] };
    const locals = { head: [] as number[], tail: [] as number[] };
    for (const [i, label] of device.dry ? [] : chosen.entries()) {
      const place = this.#place[label];
      const part = place >= 0 ? 'head' : 'tail';
      columns[part].push(i);
      locals[part].push(place >= 0 ? place : ~place);
    }
    const width = labels?.length ?? this.labels;
    const out = device.temporary('activations', [h.shape[0], width]);
    for (const part of ['head', 'tail'] as const) {
      const z = await this[part].scores(h, Uint32Array.from(locals[part]));
      const n = columns[part].length;
      for (let b = 0; b < h.shape[0] && n > 0; b++) {
        for (let i = 0; i < n; i++) out.data[b * width + columns[part][i]] = z.data[b * n + i];
      }
      device.release(z);
    }
    return out;
  }

  async rewire(step: number, totalSteps: number, growth?: GrowthSource): Promise<RewireReport | null> {
    const reports: RewireReport[] = [];
    let sums: Promise<GrowthLogSums> | null = null;
    // Asked for by the first part that grows: the second must not see its changes.
    const logSums = (source: GrowthSource) => {
      const ofRows = [this.head, this.tail].some(({ capabilities }) => capabilities.growsBy === 'positives');
      const own = (h: Tensor, norms: Floats) => this.logSums(h, norms);
      sums ??= source.logSums?.() ?? growthLogSums(this.#device, source, own, ofRows);
      return sums;
    };
    for (const part of ['head', 'tail'] as const) {
      const own = growth && { ...this.#growthOf(part, growth), logSums: () => logSums(growth) };
      const report = await this[part].rewire(step, totalSteps, own);
      if (report !== null) reports.push(report);
    }
    if (reports.length < 2) return reports[0] ?? null;
    const [a, b] = reports;
    const connections = a.connections + b.connections;
    const explored = (a.explored * a.connections + b.explored * b.connections) / connections;
    return { step, replaced: a.replaced + b.replaced, connections, threshold: null, explored };
  }

  /** A part sees its own labels only. */
  #growthOf(part: 'head' | 'tail', growth: GrowthSource): GrowthSource {
    const labels = part === 'head' ? this.#headLabels : this.#tailLabels;
    return {
      examples: growth.examples,
      evidenceRows: growth.evidenceRows,
      batch: () => {
        const { h, positives, targets = positives } = growth.batch();
        return { h, positives: splitPositives(this.#device, this.#place, positives)[part], targets };
      },
      rowsOf: (label) => growth.rowsOf(labels[label]),
      labelsOf: (row) => growth.labelsOf(row),
      hidden: (rows) => growth.hidden(rows),
    };
  }

  connections(label: number): Connections {
    checkLabel('connections', label, this.labels);
    const place = this.#place[label];
    return place >= 0 ? this.head.connections(place) : this.tail.connections(~place);
  }

  /** Labels stay in the part they are in; new ones are rare, and go to the tail. */
  resizeLabels(map: Int32Array): void {
    checkLabelMap(map, this.labels);
    const device = this.#device;
    const places = device.dry ? this.#dryPlaces() : this.#place;
    const maps = { head: [] as number[], tail: [] as number[] };
    const heads: number[] = [];
    for (const [label, from] of map.entries()) {
      if (from >= 0 && places[from] >= 0) {
        heads.push(label);
        maps.head.push(places[from]);
      } else {
        maps.tail.push(from < 0 ? -1 : ~places[from]);
      }
    }
    this.head.resizeLabels(Int32Array.from(maps.head));
    this.tail.resizeLabels(Int32Array.from(maps.tail));
    for (const old of [this.#headLabels, this.#tailLabels, this.#place]) {
      device.allocator.release('indices', old);
    }
    this.#headLabels = device.allocator.allocate('indices', 'uint32', maps.head.length);
    this.#tailLabels = device.allocator.allocate('indices', 'uint32', maps.tail.length);
    this.#place = device.allocator.allocate('indices', 'int32', map.length);
    if (device.dry) {
      this.#dryHeadLabels = Uint32Array.from(heads);
      return;
    }
    this.#headLabels.set(heads);
    this.#derive();
  }

  startLabels(labels: Uint32Array, { weights, bias }: LabelStart): void {
    checkStart('head-tail.startLabels', labels, { weights, bias }, this);
    if (this.#device.dry) return;
    for (const part of ['head', 'tail'] as const) {
      const own = Array.from(labels.keys()).filter((i) => this.#place[labels[i]] >= 0 === (part === 'head'));
      const places = Uint32Array.from(own, (i) => {
        const place = this.#place[labels[i]];
        return place >= 0 ? place : ~place;
      });
      const rows = new Float64Array(own.length * this.inputs);
      for (const [at, i] of own.entries())
        rows.set(weights.subarray(i * this.inputs, (i + 1) * this.inputs), at * this.inputs);
      this[part].startLabels(places, { weights: rows, bias: own.map((i) => bias[i]) });
    }
  }

  #dryPlaces(): Int32Array {
    const places = new Int32Array(this.labels).fill(-1);
    for (const [i, label] of this.#dryHeadLabels.entries()) places[label] = i;
    let tail = 0;
    return places.map((place) => (place >= 0 ? place : ~tail++));
  }

  dryTwin(device: Device): HeadTailOutput {
    return new HeadTailOutput(device, {
      labels: this.labels,
      headLabels: this.#device.dry ? this.#dryHeadLabels : this.#headLabels,
      head: this.head.dryTwin(device),
      tail: this.tail.dryTwin(device),
    });
  }

  async plan(shape: StepShape): Promise<OutputPlan> {
    const device = this.#device.dryTwin();
    const twin = this.dryTwin(device);
    const bytes = await bytesOfStep(device, twin, shape);
    const [head, tail] = [await this.head.plan(shape), await this.tail.plan(shape)];
    return {
      ...bytes,
      flopsPerExample: head.flopsPerExample + tail.flopsPerExample,
    };
  }

  state(): { readonly model: NamedArray[]; readonly optimizer: NamedArray[] } {
    const [head, tail] = [this.head.state(), this.tail.state()];
    const named = (part: string, arrays: NamedArray[]) =>
      arrays.map((array) => ({ ...array, name: `${part}.${array.name}` }));
    const labels = { name: 'head.labels', shape: [this.#headLabels.length], data: this.#headLabels };
    return {
      model: [labels, ...named('head', head.model), ...named('tail', tail.model)],
      optimizer: [...named('head', head.optimizer), ...named('tail', tail.optimizer)],
    };
  }

  loaded(): void {
    this.#derive();
    this.head.loaded();
    this.tail.loaded();
  }
}

/** log(e^a + e^b) */
function addLogs(a: number, b: number): number {
  const [low, high] = a < b ? [a, b] : [b, a];
  return low === -Infinity ? high : high + Math.log1p(Math.exp(low - high));
}
