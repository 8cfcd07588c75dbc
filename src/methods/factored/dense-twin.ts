/**
 * The same training the plain way: W [L, d] held and updated in full, all m x L outputs formed, the same losses. The
 * oracle of the factored layer and the control of its experiments; O(m L d) per step.
 */
import type { Floats, Positives } from '../../kernels/face.js';
import { RandomStream } from '../../kernels/random.js';
import {
  checkFrom,
  checkGradients,
  checkHidden,
  checkLabel,
  checkLabelMap,
  checkPairs,
  checkStart,
} from '../../output/check.js';
import type {
  Connections,
  LabelStart,
  NamedArray,
  OutputCapabilities,
  OutputLayer,
  OutputPlan,
  RewireReport,
  StepOptions,
  StepResult,
  StepShape,
  TopK,
} from '../../output/layer.js';
import { breathe } from '../../output/slabs.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import { emptyStep } from './factored-output.js';
import { checkFactored, checkValues, type FactoredOptions, sphericalLossNames } from './options.js';
import { topLabels } from './score.js';
import { eachExample } from './step.js';

export class DenseTwin implements OutputLayer {
  readonly kind = 'factored-dense';
  readonly inputs: number;
  readonly loss: string;
  readonly capabilities: OutputCapabilities = {
    learnsFrom: false,
    losses: sphericalLossNames,
    optimizers: ['sgd'],
    rewireEvery: 0,
    growsBy: 'chance',
  };
  steps = 0;
  readonly #device: Device;
  readonly #options: FactoredOptions;
  #labels: number;
  #weights: Floats;

  constructor(device: Device, options: FactoredOptions) {
    checkFactored('DenseTwin', options);
    this.#device = device;
    this.#options = options;
    this.inputs = options.inputs;
    this.loss = options.loss.name;
    this.#labels = options.labels;
    this.#weights = device.persistent('weights', [this.#labels, this.inputs]).data;
    this.#draw(this.#weights, this.weightCount);
  }

  get labels(): number {
    return this.#labels;
  }

  get weightCount(): number {
    return this.#labels * this.inputs;
  }

  /** [L, d] */
  plainWeights(): Floats {
    return this.#weights;
  }

  #draw(out: Floats, n: number): void {
    const bound = (this.#options.startScale ?? 1) / Math.sqrt(this.inputs);
    this.#device.kernels.uniform({ ...this.#options.stream.reserve(n), n, low: -bound, high: bound, out });
  }

  async step(h: Tensor, targets: Positives, options: StepOptions): Promise<StepResult> {
    checkFrom('factored-dense.step', this, options.from);
    const m = this.#check('step', h, targets);
    checkGradients('factored-dense.step', options.gradients, this.weightCount, 0);
    const update = options.update ?? true;
    if (update) this.steps++;
    if (m === 0 && !this.#device.dry) return emptyStep(this.#device, this.inputs, options);
    const { inputs: d, labels: L } = this;
    const { kernels } = this.#device;
    const take = (shape: number[]) => this.#device.temporary('workspace', shape);
    const { loss, O, sides } = this.#outputs(h, targets, (options.scale ?? 1) / m);

    // dh = G W, G = 2 diag(gq) O + gs 1^T + Y^T; O now holds all of it but gs.
    const dh = this.#device.temporary('gradients', [m, d]);
    const sums = take([d]);
    kernels.columnSum(L, d, this.#weights, sums.data, false);
    kernels.gemm({ m, n: d, k: L, a: O.data, b: this.#weights, c: dh.data });
    kernels.gemm({ m, n: d, k: 1, a: sides.data, b: sums.data, c: dh.data, accumulate: true });

    // dW = G^T h: the part of gs is the same for every label.
    kernels.gemm({ m: 1, n: d, k: m, a: sides.data, b: h.data, c: sums.data });
    const product = { transA: true, m: L, n: d, k: m, a: O.data };
    const into = options.gradients?.weights ?? (options.measureSquares ? take([L, d]).data : null);
    if (into !== null) kernels.gemm({ ...product, b: h.data, c: into, bias: sums.data });
    const squares = options.measureSquares && into !== null ? kernels.sumSquares(L * d, into) : null;
    if (update && (this.#device.dry || Number.isFinite(loss))) {
      const rate = -options.rate * (options.updateScale ?? 1);
      const keep = 1 - options.rate * (this.#options.optimizer.weightDecay ?? 0);
      if (keep !== 1) kernels.scale(L * d, keep, this.#weights, this.#weights);
      const scaled = take([m, d]);
      kernels.scale(m * d, rate, h.data, scaled.data);
      kernels.scale(d, rate, sums.data, sums.data);
      kernels.gemm({ ...product, b: scaled.data, c: this.#weights, bias: sums.data, accumulate: true });
      this.#device.release(scaled);
    }
    for (const used of [O, sides, sums]) this.#device.release(used);
    await breathe();
    return { loss: loss / Math.max(1, m), dh: (options.inputGradient ?? true) ? dh : null, squares };
  }

  /** The loss, then in O [m, L] its derivatives by the outputs, without those by their sum in `sides` [m]. */
  #outputs(h: Tensor, targets: Positives, gradScale: number) {
    const { kernels, dry } = this.#device;
    const { inputs: d, labels: L } = this;
    const m = h.shape[0];
    const O = this.#device.temporary('workspace', [m, L]);
    const sides = this.#device.temporary('workspace', [m]);
    const twice = this.#device.temporary('workspace', [m]);
    kernels.gemm({ transB: true, m, n: L, k: d, a: h.data, b: this.#weights, c: O.data });
    const ga = new Float64Array(targets.count);
    let loss = 0;
    if (!dry) {
      const row = (j: number) => O.data.subarray(j * L, (j + 1) * L);
      loss = eachExample(this.#options.loss, L, m, targets, {
        q: (j) => kernels.sumSquares(L, row(j)),
        s: (j) => kernels.sum(L, row(j)),
        a: (i) => O.data[targets.row[i] * L + targets.label[i]],
        take(j, example, first, order) {
          twice.data[j] = 2 * gradScale * example.dq;
          sides.data[j] = gradScale * example.ds;
          for (let k = 0; k < example.count; k++) ga[order[first + k]] = gradScale * example.da[k];
        },
      });
    }
    kernels.scaleRows(m, L, O.data, twice.data, O.data, false);
    for (let i = 0; i < targets.count && !dry; i++) O.data[targets.row[i] * L + targets.label[i]] += ga[i];
    this.#device.release(twice);
    return { loss, O, sides };
  }

  async evaluate(h: Tensor, targets: Positives): Promise<number> {
    const m = this.#check('evaluate', h, targets);
    if (m === 0) return 0;
    const { loss, O, sides } = this.#outputs(h, targets, 0);
    for (const used of [O, sides]) this.#device.release(used);
    return loss / m;
  }

  async scores(h: Tensor, labels?: Uint32Array): Promise<Tensor> {
    const m = checkHidden('factored-dense.scores', h, this.inputs);
    const { inputs: d } = this;
    for (const label of labels ?? []) checkLabel('scores', label, this.#labels);
    const n = labels?.length ?? this.#labels;
    const out = this.#device.temporary('activations', [m, n]);
    const rows = labels === undefined ? null : this.#device.temporary('workspace', [n, d]);
    for (const [i, label] of rows === null ? [] : (labels ?? []).entries()) {
      rows?.data.set(this.#weights.subarray(label * d, (label + 1) * d), i * d);
    }
    const b = rows?.data ?? this.#weights;
    this.#device.kernels.gemm({ transB: true, m, n, k: d, a: h.data, b, c: out.data });
    if (rows !== null) this.#device.release(rows);
    return out;
  }

  async topK(h: Tensor, k: number): Promise<TopK> {
    checkHidden('factored-dense.topK', h, this.inputs);
    const { inputs: d } = this;
    const rows = (begin: number, end: number) => this.#weights.subarray(begin * d, end * d);
    return topLabels(this.#device, this.#labels, h, k, rows);
  }

  async rewire(): Promise<RewireReport | null> {
    return null;
  }

  connections(label: number): Connections {
    checkLabel('connections', label, this.#labels);
    const { inputs: d } = this;
    return {
      inputs: Uint32Array.from({ length: d }, (_, j) => j),
      weights: Float64Array.from(this.#weights.subarray(label * d, (label + 1) * d)),
      bias: 0,
    };
  }

  resizeLabels(map: Int32Array): void {
    const { inputs: d } = this;
    const old = this.#weights;
    checkLabelMap(map, this.#labels);
    this.#weights = this.#device.persistent('weights', [map.length, d]).data;
    for (let j = 0; j < map.length && !this.#device.dry; j++) {
      const row = this.#weights.subarray(j * d, (j + 1) * d);
      if (map[j] >= 0) row.set(old.subarray(map[j] * d, (map[j] + 1) * d));
      else this.#draw(row, d);
    }
    this.#device.allocator.release('weights', old);
    this.#labels = map.length;
  }

  startLabels(labels: Uint32Array, start: LabelStart): void {
    checkStart('factored-dense.startLabels', labels, start, this);
    if (this.#device.dry) return;
    const { inputs: d } = this;
    for (const [i, label] of labels.entries())
      this.#weights.set(start.weights.subarray(i * d, (i + 1) * d), label * d);
  }

  async plan({ batch, positives }: StepShape): Promise<OutputPlan> {
    const device = this.#device.dryTwin();
    // NOTE: a copy of the stream: planning must not shift the draws of training.
    const stream = RandomStream.from(this.#options.stream.state());
    const twin = new DenseTwin(device, { ...this.#options, stream, labels: this.#labels });
    const nothing = new Uint32Array(0);
    const h = device.temporary('activations', [batch, this.inputs]);
    device.temporary('data', [2 * positives], 'uint32');
    await twin.step(h, { count: positives, label: nothing, row: nothing }, { rate: 0 });
    const flopsPerExample = 6 * this.weightCount;
    return { bytes: device.ledger.atPeak(), totalBytes: device.ledger.peakBytes, flopsPerExample };
  }

  state(): { readonly model: NamedArray[]; readonly optimizer: NamedArray[] } {
    const shape = [this.#labels, this.inputs];
    return { model: [{ name: 'weights', shape, data: this.#weights }], optimizer: [] };
  }

  loaded(): void {}

  #check(op: string, h: Tensor, targets: Positives): number {
    const batch = checkHidden(`factored-dense.${op}`, h, this.inputs);
    if (!this.#device.dry) {
      checkPairs(`factored-dense.${op}`, targets, batch, this.#labels);
      checkValues(`factored-dense.${op}`, targets.count, targets.values);
    }
    return batch;
  }
}
