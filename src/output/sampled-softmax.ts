/**
 * Sampled softmax (Bengio & Senecal 2003; Jean et al. 2015, arXiv 1412.2007): a step sees the positives of its batch
 * and some labels drawn at random instead of all.
 *   Z_b ~ sum over the batch's positives of e^z + sum over other labels drawn of e^z / p_l
 * which is Z_b in the mean. The rows of those labels are taken out, run by the layer's own fused step, and put back:
 * only they learn, and optimiser moments of the others stand still. Evaluation and prediction use all labels.
 */
import { ensure } from '../errors.js';
import type { Floats, Moments, OutputStepCommon, Positives } from '../kernels/face.js';
import { RandomStream } from '../kernels/random.js';
import { type OptimizerSpec, ruleAt } from '../optim/rules.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkHidden, checkPositives } from './check.js';
import type { StepOptions, StepResult } from './layer.js';
import { Sampler } from './sampler.js';
import { breathe } from './slabs.js';
import { shareTargets } from './softmax.js';

export interface Draws {
  /** Labels drawn for every step, with replacement. */
  readonly samples: number;
  /** [L], shares of the labels in the data; frequent ones are drawn more often. Absent: all alike. */
  readonly shares?: ArrayLike<number>;
}

export interface SamplingOptions extends Draws {
  readonly labels: number;
  readonly stream: RandomStream;
}

/** A layer whose rows a step takes out. */
export interface SampledLayer {
  readonly kind: string;
  readonly inputs: number;
  readonly labels: number;
  readonly width: number;
  readonly chunk: number;
  readonly optimizer: OptimizerSpec;
  readonly weights: Floats;
  readonly bias: Floats;
  readonly weightMoments: Moments;
  readonly biasMoments: Moments;
  /** Room for at most so many rows. */
  stage(batch: number, capacity: number): SampledStage;
}

export interface SampledStage {
  readonly workspaceLength: number;
  /** Takes out what a row has beside weights and bias. */
  place?(label: number, at: number): void;
  /** The layer's fused step over the rows taken out. */
  run(
    common: OutputStepCommon & { readonly weights: Floats; readonly bias: Floats; readonly bf16: null },
  ): number;
  readonly held: readonly Tensor[];
}

export class SampledSoftmax {
  readonly #device: Device;
  readonly #options: SamplingOptions;
  readonly #seed: { readonly key0: number; readonly key1: number };
  #sampler: Sampler;

  constructor(device: Device, options: SamplingOptions) {
    const { samples, stream, labels } = options;
    ensure(Number.isInteger(samples) && samples >= 1 && samples <= 2 ** 26, () => ({
      code: 'SAMPLES_RANGE',
      kind: 'usage',
      op: 'SampledSoftmax',
      problem: 'the number of labels drawn per step is out of range',
      expected: '1 to 2^26',
      received: `${samples}`,
    }));
    this.#device = device;
    this.#options = options;
    // Draws belong to the step, not to what was drawn before: a resumed run draws the same.
    const { key0, key1 } = stream.state();
    this.#seed = { key0: (key0 ^ 0x5a3b1e77) >>> 0, key1 };
    this.#sampler = this.#newSampler(labels);
  }

  #newSampler(labels: number): Sampler {
    const { samples: draws, shares } = this.#options;
    // Labels that came later are drawn as all alike.
    const known = shares !== undefined && shares.length === labels ? shares : undefined;
    return new Sampler(this.#device, { labels, draws, shares: known });
  }

  resize(labels: number): void {
    this.#sampler.release(this.#device);
    this.#sampler = this.#newSampler(labels);
  }

  /** Most rows that a step takes out. */
  capacity(positives: number): number {
    return this.#options.samples + positives;
  }

  /** The step `steps` of a layer, counted from 1. */
  async step(
    layer: SampledLayer,
    steps: number,
    h: Tensor,
    targets: Positives,
    options: StepOptions,
  ): Promise<StepResult> {
    const device = this.#device;
    const { inputs: d, labels, width, chunk, kind } = layer;
    const batch = checkHidden(`${kind}.step`, h, d);
    if (!device.dry) checkPositives(`${kind}.step`, targets, batch, labels);
    ensure(options.gradients === undefined, () => ({
      code: 'SAMPLED_GRADIENTS',
      kind: 'usage',
      op: `${kind}.step`,
      problem: 'a step over drawn labels forms their gradients, not those of all',
      hint: 'use a layer without samples for gradients of all weights',
    }));
    const capacity = this.capacity(targets.capacity ?? targets.count);
    const floats = (...shape: number[]) => device.temporary('workspace', shape);
    const [w, dw, b, db, norms] = [
      floats(capacity, width),
      floats(capacity, width),
      floats(capacity),
      floats(capacity),
      floats(2, batch),
    ];
    const [own, label] = [0, 1].map(() => device.temporary('workspace', [capacity], 'uint32'));
    const stage = layer.stage(batch, capacity);
    const workspace = floats(stage.workspaceLength);
    const wantsInput = options.inputGradient ?? true;
    const dh = wantsInput ? device.temporary('gradients', [batch, d]) : null;
    const taken = { own: own.raw as Uint32Array, label: label.raw as Uint32Array, w: w.data, b: b.data };
    const count = device.dry ? capacity : this.#gather(layer, steps, targets, taken, stage);
    const squares = options.measureSquares ? new Float64Array(2) : null;
    if (!device.dry) shareTargets(targets, norms.data, batch);
    const common = {
      ...{ batch, inputs: d, labels: count, begin: 0, end: count, chunk, h: h.data },
      positives: { ...targets, label: taken.label },
      loss: 'softmax' as const,
      gradScale: (options.scale ?? 1) / Math.max(1, batch),
      update: {
        ...{ rule: null, weightMoments: none, biasMoments: none, dWeights: dw.data, dBias: db.data },
        updateScale: 1,
      },
      ...{ squares, workspace: workspace.data, weights: w.data, bias: b.data, bf16: null },
    };
    const walk = { ...common, backward: false, squares: null, dh: null };
    stage.run({ ...walk, norms: { pass: 'sum', values: norms.data } });
    const loss = stage.run({
      ...{ ...common, backward: true, dh: dh?.data ?? null },
      norms: { pass: 'use', values: norms.data },
    });
    if (options.update ?? true)
      this.#update(layer, steps, taken.own.subarray(0, count), dw.data, db.data, options);
    for (const used of [w, dw, b, db, norms, own, label, workspace, ...stage.held]) device.release(used);
    await breathe();
    return { loss: loss / Math.max(1, batch), dh, squares: squares && squares[0] + squares[1] };
  }

  /**
   * own: the batch's positives and the labels drawn, ascending; label: the positives as they are numbered among them;
   * w, b: their rows, the biases with the correction of those that are there by chance. Returns how many.
   */
  #gather(
    { weights, bias, width }: SampledLayer,
    steps: number,
    targets: Positives,
    { own, label, w, b }: { own: Uint32Array; label: Uint32Array; w: Floats; b: Floats },
    stage: SampledStage,
  ): number {
    const stream = RandomStream.from({ ...this.#seed, counter: 0 });
    stream.restore({ ...this.#seed, counter: steps * this.#options.samples * 8 });
    const drawn = this.#sampler.draw(stream);
    let [count, next] = [0, 0];
    const take = (l: number, correction: number) => {
      own[count] = l;
      w.set(weights.subarray(l * width, (l + 1) * width), count * width);
      b[count] = bias[l] + correction;
      stage.place?.(l, count);
      count++;
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
    { width: dim, optimizer, weights, bias, weightMoments, biasMoments }: SampledLayer,
    steps: number,
    own: Uint32Array,
    dw: Floats,
    db: Floats,
    { rate, updateScale = 1 }: StepOptions,
  ): void {
    const rule = ruleAt(optimizer, rate, steps);
    const rows = { count: own.length, rows: own, rule, gradScale: updateScale };
    const { updateRows } = this.#device.kernels;
    updateRows({ ...rows, dim, w: weights, g: dw, ...weightMoments });
    updateRows({ ...rows, rule: { ...rule, weightDecay: 0 }, dim: 1, w: bias, g: db, ...biasMoments });
  }
}

const none = { m: null, v: null };
