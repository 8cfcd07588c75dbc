/**
 * The factored output layer: exact plain SGD on a dense W [L, d] at a cost that does not depend on L, for losses of
 * q = |o|^2, s = sum o and the outputs at K targets. Vincent, de Brebisson & Bouthillier 2015 (arXiv 1412.7091).
 */
import { ensure } from '../../errors.js';
import type { Floats, Positives } from '../../kernels/face.js';
import { RandomStream } from '../../kernels/random.js';
import { checkFrom, checkHidden, checkLabel, checkPairs, checkStart } from '../../output/check.js';
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
import { bytesOfStep } from '../../output/planned.js';
import { breathe } from '../../output/slabs.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import { Factors } from './factors.js';
import { Guard, type StabilityEvent, type StabilityReport } from './guard.js';
import { checkFactored, checkValues, type FactoredOptions, sphericalLossNames } from './options.js';
import { resizedFactors, startedFactors } from './resize.js';
import { allScores, someScores, topFactored } from './score.js';
import { backward, forward, lossOf, outputGram } from './step.js';
import { applyUpdate, stepFactor } from './update.js';
import { mostWaiting } from './waiting.js';

export class FactoredOutput implements OutputLayer {
  readonly kind = 'factored';
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
  readonly #factors: Factors;
  readonly #guard: Guard;
  /** Arrays came from a file: what is derived from the weights may be of others. */
  #unverified = false;

  constructor(device: Device, options: FactoredOptions) {
    checkFactored('FactoredOutput', options);
    this.#device = device;
    this.#options = options;
    this.inputs = options.inputs;
    this.loss = options.loss.name;
    this.#factors = new Factors(device, options.labels, options.inputs);
    this.#factors.draw(options.stream, this.#bound);
    this.#guard = new Guard(this.#factors, options);
    this.#factors.recount();
  }

  get labels(): number {
    return this.#factors.labels;
  }

  get weightCount(): number {
    return this.labels * this.inputs;
  }

  get #bound(): number {
    return (this.#options.startScale ?? 1) / Math.sqrt(this.inputs);
  }

  /** What kept the factors sound so far, with times. */
  get stability(): StabilityReport {
    return this.#guard.report;
  }

  /** What happened to the factors since the last call. */
  drainEvents(): readonly StabilityEvent[] {
    return this.#guard.drain();
  }

  /** All rows of V take the changes that wait for them: before many predictions, which else copy rows for it. */
  async settle(): Promise<void> {
    await this.#factors.settleAll();
  }

  /** V <- V U, U <- I, in one pass over V: what the guard does where all else fails. */
  async reset(): Promise<void> {
    await this.#verified();
    await this.#guard.reset();
  }

  /** Measures how far Q and wbar are from the weights (one pass over V), and repairs them where needed. */
  async probe(): Promise<StabilityReport> {
    await this.#verified();
    await this.#guard.probe();
    return this.stability;
  }

  /**
   * @throws EspalierError `RATE_UNSTABLE` with the largest stable rate; nothing was changed then. A loss that is not
   * finite changes nothing either.
   */
  async step(h: Tensor, targets: Positives, options: StepOptions): Promise<StepResult> {
    checkFrom('factored.step', this, options.from);
    const m = this.#check('step', h, targets);
    ensure(options.gradients === undefined, () => ({
      code: 'FACTORED_GRADIENTS',
      kind: 'usage',
      op: 'factored.step',
      problem: 'this layer never forms the gradient of its weights',
      hint: 'the dense twin (form: "dense") makes the same update the plain way',
    }));
    const update = options.update ?? true;
    const decay = update ? 1 - options.rate * (this.#options.optimizer.weightDecay ?? 0) : 1;
    ensure(Number.isFinite(options.rate) && decay > 0, () => ({
      code: 'RATE_RANGE',
      kind: 'usage',
      op: 'factored.step',
      problem: 'the learning rate is not a number, or weight decay would turn the weights around',
      expected: 'a finite rate with rate * weightDecay below 1',
      received: `${options.rate}`,
    }));
    await this.#verified();
    if (update) this.steps++;
    const dry = this.#device.dry;
    if (m === 0 && !dry) return emptyStep(this.#device, this.inputs, options);

    const factors = this.#factors;
    const outputs = await forward(factors, h, targets);
    const { loss } = this.#options;
    const gradScale = (options.scale ?? 1) / m;
    const gradient = lossOf(this.#device, loss, this.labels, m, targets, outputs, gradScale);
    const mean = gradient.loss / Math.max(1, m);
    const { Z, dh } = backward(factors, m, targets, outputs, gradient);
    const result = (squares: number | null): StepResult => ({
      loss: mean,
      dh: (options.inputGradient ?? true) ? dh : null,
      squares,
    });
    const measure = options.measureSquares ?? false;
    if (!update && !measure) return this.#finish([Z, ...Object.values(outputs)], gradient, result(null));

    const gram = outputGram(factors, h, targets, outputs, gradient, Z);
    const squares = measure ? this.#squares(h, gram) : null;
    if (update && (dry || Number.isFinite(mean))) {
      const rate = (options.rate * (options.updateScale ?? 1)) / decay;
      const job = { h, targets, outputs, gradient, dh, outputGram: gram, rate, keep: decay };
      await this.#update(job, options.rate);
    }
    return this.#finish([gram, Z, ...Object.values(outputs)], gradient, result(squares));
  }

  async #update(job: Parameters<typeof applyUpdate>[1], userRate: number): Promise<void> {
    const factors = this.#factors;
    const allowUnstable = this.#options.allowUnstable ?? false;
    const step = this.#prepare(job, { allowUnstable, userRate });
    const start = performance.now();
    await applyUpdate(factors, job, step);
    const directions = step.weights.length;
    if (directions > 0) this.#guard.tookSingular(directions, (performance.now() - start) / 1000);
    this.#device.release(step.solve);
    await this.#guard.after(step.smallest, step.largest);
  }

  #prepare(
    job: Parameters<typeof applyUpdate>[1],
    options: { readonly allowUnstable: boolean; readonly userRate: number },
  ): ReturnType<typeof stepFactor> {
    try {
      return stepFactor(this.#factors, job, options);
    } catch (error) {
      this.steps--;
      throw error;
    }
  }

  async #finish(
    used: readonly Tensor[],
    { gq, sides, ga }: { readonly gq: Tensor; readonly sides: Tensor; readonly ga: Tensor },
    result: StepResult,
  ): Promise<StepResult> {
    for (const tensor of [...used, gq, sides, ga]) this.#device.release(tensor);
    await breathe();
    return result;
  }

  /** |G h|^2 of the derivatives G by the outputs: the sum over all pairs of examples of B and h h^T. */
  #squares(h: Tensor, gram: Tensor): number {
    const { kernels } = this.#device;
    const [m, d] = h.shape;
    const inner = this.#device.temporary('workspace', [m, m]);
    kernels.gemm({ transB: true, m, n: m, k: d, a: h.data, b: h.data, c: inner.data });
    kernels.multiply(m * m, inner.data, gram.data, inner.data);
    const squares = kernels.sum(m * m, inner.data);
    this.#device.release(inner);
    return squares;
  }

  async evaluate(h: Tensor, targets: Positives): Promise<number> {
    const m = this.#check('evaluate', h, targets);
    if (m === 0) return 0;
    await this.#verified();
    const outputs = await forward(this.#factors, h, targets);
    const gradient = lossOf(this.#device, this.#options.loss, this.labels, m, targets, outputs, 0);
    await this.#finish(Object.values(outputs), gradient, { loss: 0, dh: null, squares: null });
    return gradient.loss / m;
  }

  async scores(h: Tensor, labels?: Uint32Array): Promise<Tensor> {
    checkHidden('factored.scores', h, this.inputs);
    if (labels === undefined) return allScores(this.#factors, h);
    for (const label of labels) checkLabel('scores', label, this.labels);
    return someScores(this.#factors, h, labels);
  }

  async topK(h: Tensor, k: number): Promise<TopK> {
    checkHidden('factored.topK', h, this.inputs);
    return topFactored(this.#factors, h, k);
  }

  async rewire(_step: number, _totalSteps: number): Promise<RewireReport | null> {
    return null;
  }

  connections(label: number): Connections {
    checkLabel('connections', label, this.labels);
    const { inputs: d } = this;
    const { U, edge } = this.#factors;
    const weights = edge.master.slice(d, 2 * d);
    const scratch = this.#factors.settledScratch(1);
    const row = this.#factors.settled(label, label + 1, scratch);
    for (let i = 0; i < d; i++) {
      const v = row[i];
      for (let j = 0; j < d; j++) weights[j] += v * U.master[i * d + j];
    }
    if (scratch !== null) this.#device.release(scratch);
    return { inputs: Uint32Array.from({ length: d }, (_, j) => j), weights, bias: 0 };
  }

  /** The plain weights W [L, d], for a dense layer or another program. */
  plainWeights(): Floats {
    const { labels, inputs: d, weightCount: n } = this;
    const factors = this.#factors;
    const out = this.#device.precision === 'float32' ? new Float32Array(n) : new Float64Array(n);
    const scratch = factors.settledScratch(factors.slabRows);
    for (let begin = 0; begin < labels; begin += factors.slabRows) {
      const end = Math.min(labels, begin + factors.slabRows);
      const rows = factors.settled(begin, end, scratch);
      factors.weightsInto(rows, end - begin, out.subarray(begin * d, end * d));
    }
    if (scratch !== null) this.#device.release(scratch);
    return out;
  }

  /** New labels start like those of a new layer; Q and wbar lose and gain exactly what left and came. */
  resizeLabels(map: Int32Array): void {
    this.#inverted();
    resizedFactors(this.#factors, map, this.#options.stream, this.#bound);
  }

  /** Q and wbar follow exactly; this layer has no biases. */
  startLabels(labels: Uint32Array, start: LabelStart): void {
    checkStart('factored.startLabels', labels, start, this);
    this.#inverted();
    startedFactors(this.#factors, labels, start.weights);
  }

  async plan(shape: StepShape): Promise<OutputPlan> {
    const device = this.#device.dryTwin();
    // NOTE: a copy of the stream: planning must not shift the draws of training.
    const stream = RandomStream.from(this.#options.stream.state());
    const twin = new FactoredOutput(device, { ...this.#options, stream, labels: this.labels });
    return {
      ...(await bytesOfStep(device, twin, shape)),
      flopsPerExample: 2 * this.inputs * (7 * this.inputs + 6 * shape.batch),
    };
  }

  state(): { readonly model: NamedArray[]; readonly optimizer: NamedArray[] } {
    const { inputs: d, labels } = this;
    const { V, U, Q, edge, inverse, waiting } = this.#factors;
    return {
      model: [
        { name: 'weights', shape: [labels, d], data: V },
        { name: 'mixing', shape: [d, d], data: U.master },
        { name: 'edge', shape: [2, d], data: edge.master },
        { name: 'changes', shape: [2 * mostWaiting, d], data: waiting.sides },
        { name: 'changesBetween', shape: [mostWaiting, mostWaiting], data: waiting.cross },
        { name: 'changesWaiting', shape: [1], data: waiting.count },
        { name: 'changesTakenBy', shape: [waiting.taken.rows.length], data: waiting.taken.rows },
        { name: 'changesTaken', shape: [waiting.taken.counts.length], data: waiting.taken.counts },
      ],
      optimizer: [
        { name: 'gram', shape: [d, d], data: Q.master },
        { name: 'inverse', shape: [d, d], data: inverse },
        { name: 'guard', shape: [4], data: this.#guard.state },
      ],
    };
  }

  loaded(): void {
    ensure(this.#factors.waiting.sound(), () => ({
      code: 'FACTORED_STATE',
      kind: 'data',
      op: 'FactoredOutput.loaded',
      problem: 'the changes that wait for rows of the weights are not those of a layer',
      hint: 'the model file is damaged or was made by another program: restore it from a copy',
    }));
    this.#factors.round();
    this.#unverified = true;
  }

  /** Rows that are written need U^-T, which a model file does not hold. */
  #inverted(): void {
    if (!this.#unverified || this.#device.dry) return;
    ensure(this.#factors.invert() !== null, () => ({
      code: 'FACTORED_SINGULAR',
      kind: 'data',
      op: 'FactoredOutput',
      problem: 'the weights that were loaded cannot take new rows: their mixing matrix has no inverse',
      hint: 'write them out with `espalier export`, or train the model again',
    }));
  }

  /** After loading: Q, wbar and U^-T belong to these weights, or are made anew (a model file has no Q). */
  async #verified(): Promise<void> {
    if (!this.#unverified || this.#device.dry) return;
    this.#unverified = false;
    if (this.#guard.updates > 0 && (await this.#factors.consistent())) return;
    this.#guard.forget();
    this.#factors.recount();
    await this.#guard.check();
  }

  #check(op: string, h: Tensor, targets: Positives): number {
    const batch = checkHidden(`factored.${op}`, h, this.inputs);
    if (!this.#device.dry) {
      checkPairs(`factored.${op}`, targets, batch, this.labels);
      checkValues(`factored.${op}`, targets.count, targets.values);
    }
    return batch;
  }
}

/** What a step on no examples answers. */
export function emptyStep(device: Device, inputs: number, options: StepOptions): StepResult {
  const dh = (options.inputGradient ?? true) ? device.temporary('gradients', [0, inputs]) : null;
  return { loss: 0, dh, squares: (options.measureSquares ?? false) ? 0 : null };
}
