/**
 * Sampled softmax over a dense layer (Bengio & Senecal 2003; Jean et al. 2015, arXiv 1412.2007): a step sees the
 * positives of its batch and some labels drawn at random instead of all.
 *   Z_b ~ sum over the batch's positives of e^z + sum over other labels drawn of e^z / p_l
 * which is Z_b in the mean. Only rows of those labels learn: optimiser moments of the others stand still. Evaluation
 * and prediction use all labels.
 */
import { ensure } from '../errors.js';
import type { Floats, Positives } from '../kernels/face.js';
import { RandomStream } from '../kernels/random.js';
import { ruleAt } from '../optim/rules.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkHidden, checkPositives } from './check.js';
import { DenseOutput, type DenseOutputOptions } from './dense.js';
import type { OutputCapabilities, StepOptions, StepResult } from './layer.js';
import { Sampler } from './sampler.js';
import { breathe } from './slabs.js';
import { shareTargets } from './softmax.js';

export interface SampledSoftmaxOptions extends Omit<DenseOutputOptions, 'loss' | 'precision'> {
  /** Labels drawn for every step, with replacement. */
  readonly samples: number;
  /** [L], shares of the labels in the data; frequent ones are drawn more often. Absent: all alike. */
  readonly shares?: ArrayLike<number>;
}

export class SampledSoftmaxOutput extends DenseOutput {
  override readonly capabilities: OutputCapabilities = {
    losses: ['softmax'],
    optimizers: ['sgd', 'adam', 'adamw', 'adagrad'],
    rewireEvery: 0,
    growsBy: 'chance',
  };
  readonly #own: SampledSoftmaxOptions;
  readonly #seed: { readonly key0: number; readonly key1: number };
  #sampler: Sampler;

  constructor(device: Device, options: SampledSoftmaxOptions) {
    const { samples } = options;
    ensure(Number.isInteger(samples) && samples >= 1 && samples <= 2 ** 26, () => ({
      code: 'SAMPLES_RANGE',
      kind: 'usage',
      op: 'SampledSoftmaxOutput',
      problem: 'the number of labels drawn per step is out of range',
      expected: '1 to 2^26',
      received: `${samples}`,
    }));
    super(device, { ...options, loss: 'softmax' });
    this.#own = options;
    // Draws belong to the step, not to what was drawn before: a resumed run draws the same.
    const { key0, key1 } = options.stream.state();
    this.#seed = { key0: (key0 ^ 0x5a3b1e77) >>> 0, key1 };
    this.#sampler = this.#newSampler();
  }

  #newSampler(): Sampler {
    const { samples: draws, shares } = this.#own;
    // Labels that came later are drawn as all alike.
    const known = shares !== undefined && shares.length === this.labels ? shares : undefined;
    return new Sampler(this.device, { labels: this.labels, draws, shares: known });
  }

  override async step(h: Tensor, targets: Positives, options: StepOptions): Promise<StepResult> {
    const { device, inputs: d, labels } = this;
    const batch = checkHidden('sampled-softmax.step', h, d);
    if (!device.dry) checkPositives('sampled-softmax.step', targets, batch, labels);
    ensure(options.gradients === undefined, () => ({
      code: 'SAMPLED_GRADIENTS',
      kind: 'usage',
      op: 'sampled-softmax.step',
      problem: 'this layer forms gradients of the labels it has drawn, not of all',
      hint: 'use a dense layer with loss softmax for gradients of all weights',
    }));
    const capacity = this.#own.samples + (targets.capacity ?? targets.count);
    const floats = (...shape: number[]) => device.temporary('workspace', shape);
    const [w, dw, b, db, norms] = [
      floats(capacity, d),
      floats(capacity, d),
      floats(capacity),
      floats(capacity),
      floats(2, batch),
    ];
    const [own, label] = [0, 1].map(() => device.temporary('workspace', [capacity], 'uint32'));
    const workspace = floats(
      device.kernels.denseWorkspace({ batch, inputs: d, labels: capacity, chunk: this.chunk, fanIn: 0 }),
    );
    const wantsInput = options.inputGradient ?? true;
    const dh = wantsInput ? device.temporary('gradients', [batch, d]) : null;
    const count = device.dry
      ? capacity
      : this.#gather(targets, own.raw as Uint32Array, label.raw as Uint32Array, w, b);
    const squares = options.measureSquares ? new Float64Array(2) : null;
    if (!device.dry) shareTargets(targets, norms.data, batch);
    const common = {
      ...{ batch, inputs: d, labels: count, begin: 0, end: count, chunk: this.chunk, h: h.data },
      positives: { ...targets, label: label.raw as Uint32Array },
      loss: 'softmax' as const,
      gradScale: (options.scale ?? 1) / Math.max(1, batch),
      update: {
        ...{ rule: null, weightMoments: none, biasMoments: none, dWeights: dw.data, dBias: db.data },
        updateScale: 1,
      },
      ...{ squares, workspace: workspace.data, weights: w.data, bias: b.data, bf16: null },
    };
    const { denseStep } = device.kernels;
    const walk = { ...common, backward: false, squares: null, dh: null };
    denseStep({ ...walk, norms: { pass: 'sum', values: norms.data } });
    const loss = denseStep({
      ...{ ...common, backward: true, dh: dh?.data ?? null },
      norms: { pass: 'use', values: norms.data },
    });
    if (options.update ?? true) {
      this.steps++;
      this.#update(own.raw as Uint32Array, count, dw.data, db.data, options);
    }
    for (const used of [w, dw, b, db, norms, own, label, workspace]) device.release(used);
    await breathe();
    return { loss: loss / Math.max(1, batch), dh, squares: squares && squares[0] + squares[1] };
  }

  /**
   * own: the batch's positives and the labels drawn, ascending; label: the positives as they are numbered among them;
   * w, b: their rows, the biases with the correction of those that are there by chance. Returns how many.
   */
  #gather(targets: Positives, own: Uint32Array, label: Uint32Array, w: Tensor, b: Tensor): number {
    const stream = RandomStream.from({ ...this.#seed, counter: 0 });
    stream.restore({ ...this.#seed, counter: (this.steps + 1) * this.#own.samples * 8 });
    const drawn = this.#sampler.draw(stream);
    let [count, next] = [0, 0];
    const take = (l: number, correction: number) => {
      own[count] = l;
      this.copyRow(l, w.data, count * this.width);
      b.data[count++] = this.bias[l] + correction;
    };
    for (let i = 0; i < targets.count; i++) {
      const l = targets.label[i];
      if (i > 0 && l === targets.label[i - 1]) {
        label[i] = count - 1;
        continue;
      }
      for (; next < drawn.length && drawn[next] < l; next++)
        take(drawn[next], this.#sampler.correction(drawn[next]));
      if (drawn[next] === l) next++;
      label[i] = count;
      take(l, 0);
    }
    for (; next < drawn.length; next++) take(drawn[next], this.#sampler.correction(drawn[next]));
    return count;
  }

  #update(
    own: Uint32Array,
    count: number,
    dw: Floats,
    db: Floats,
    { rate, updateScale = 1 }: StepOptions,
  ): void {
    const { device, width: dim } = this;
    const rule = ruleAt(this.optimizer, rate, this.steps);
    const rows = { count, rows: own.subarray(0, count), rule, gradScale: updateScale };
    const { m, v } = this.weightMoments;
    device.kernels.updateRows({ ...rows, dim, w: this.weights, g: dw, m, v });
    const bias = { ...rule, weightDecay: 0 };
    device.kernels.updateRows({ ...rows, rule: bias, dim: 1, w: this.bias, g: db, ...this.biasMoments });
  }

  override resizeLabels(map: Int32Array): void {
    super.resizeLabels(map);
    this.#sampler.release(this.device);
    this.#sampler = this.#newSampler();
  }

  override dryTwin(device: Device): SampledSoftmaxOutput {
    const stream = RandomStream.from(this.#own.stream.state());
    return new SampledSoftmaxOutput(device, { ...this.#own, stream, labels: this.labels, initialBias: 0 });
  }
}

const none = { m: null, v: null };
