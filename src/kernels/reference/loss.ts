import type { Floats, LabelLoss, OutputStepCommon, Positives, SoftmaxNorms } from '../face.js';

export type LossShape = Pick<OutputStepCommon, 'loss' | 'norms' | 'positives' | 'batch' | 'begin' | 'end'>;

/**
 * Loss and gradient of one label after the other, begin to end: finds the label's positives, turns its logits
 * z [batch] into G = dLoss/dz * gradScale in place, and returns its loss, summed over rows in order.
 */
export class LabelLosses {
  /** Of the next positive not yet passed. */
  #next: number;
  /** y of the current label, [batch]; all zeros between labels. */
  readonly #isPositive: Uint8Array;
  readonly #kind: LabelLoss;
  readonly #norms: SoftmaxNorms | null;
  readonly #positives: Positives;
  readonly #batch: number;
  readonly #end: number;
  /** [batch], log Z of the labels so far, in the first walk of softmax. */
  readonly #logSum: Float64Array;

  constructor({ loss, norms, positives, batch, begin, end }: LossShape) {
    this.#kind = loss;
    this.#norms = norms;
    this.#positives = positives;
    this.#batch = batch;
    this.#next = firstAtLeast(positives, begin);
    this.#isPositive = new Uint8Array(batch);
    this.#end = end;
    const sums = norms?.pass === 'sum';
    this.#logSum = new Float64Array(sums ? batch : 0).fill(-Infinity);
    if (sums && begin > 0) this.#logSum.set(norms.values.subarray(0, batch));
  }

  /** Labels must come in ascending order. */
  of(label: number, z: Float64Array, gradScale: number): number {
    const positives = this.#positives;
    const batch = this.#batch;
    const norms = this.#norms;
    if (norms?.pass === 'sum') {
      addToLogSum(this.#logSum, z);
      if (label === this.#end - 1) norms.values.set(this.#logSum);
      return 0;
    }
    const first = this.#next;
    let next = first;
    while (next < positives.count && positives.label[next] === label)
      this.#isPositive[positives.row[next++]] = 1;
    const y = this.#isPositive;
    const loss =
      this.#kind === 'bce'
        ? bce(batch, y, z, gradScale)
        : this.#kind === 'squaredHinge'
          ? squaredHinge(batch, y, z, gradScale)
          : softmax(batch, y, z, gradScale, (norms as SoftmaxNorms).values);
    for (let i = first; i < next; i++) y[positives.row[i]] = 0;
    this.#next = next;
    return loss;
  }
}

/**
 * With s = 2y - 1: loss = log(1 + exp(-s z)), G = -s sigmoid(-s z), which equals sigmoid(z) - y without its
 * cancellation. exp only of -|z|, so that nothing overflows.
 */
function bce(batch: number, y: Uint8Array, z: Float64Array, gradScale: number): number {
  let loss = 0;
  for (let b = 0; b < batch; b++) {
    const margin = y[b] === 1 ? z[b] : -z[b];
    const e = Math.exp(-Math.abs(margin));
    loss += Math.log1p(e) + (margin < 0 ? -margin : 0);
    const miss = margin < 0 ? 1 / (1 + e) : e / (1 + e);
    z[b] = gradScale * (y[b] === 1 ? -miss : miss);
  }
  return loss;
}

/** loss = max(0, 1 - s z)^2, G = -2 s max(0, 1 - s z): zero, and continuous, at the margin. */
function squaredHinge(batch: number, y: Uint8Array, z: Float64Array, gradScale: number): number {
  let loss = 0;
  for (let b = 0; b < batch; b++) {
    const s = y[b] === 1 ? 1 : -1;
    const r = Math.max(0, 1 - s * z[b]); // a NaN stays one
    loss += r * r;
    z[b] = gradScale * (-2 * s * r);
  }
  return loss;
}

/** loss = sum over positives of share (log Z - z), G = e^(z - log Z) - share y. norms: log Z, then the shares. */
function softmax(batch: number, y: Uint8Array, z: Float64Array, gradScale: number, norms: Floats): number {
  let loss = 0;
  for (let b = 0; b < batch; b++) {
    const share = norms[batch + b];
    const below = norms[b] - z[b];
    if (y[b] === 1) loss += share * below;
    z[b] = share === 0 ? 0 : gradScale * (Math.exp(-below) - (y[b] === 1 ? share : 0));
  }
  return loss;
}

/** log Z_b = log(e^(log Z_b) + e^(z_b)), of which only the smaller one's exponential is taken. */
function addToLogSum(logSum: Float64Array, z: Float64Array): void {
  for (let b = 0; b < logSum.length; b++) {
    const [low, high] = z[b] < logSum[b] ? [z[b], logSum[b]] : [logSum[b], z[b]];
    logSum[b] = low === -Infinity ? high : high + Math.log1p(Math.exp(low - high));
  }
}

/** The first positive whose label is not below `label`. */
function firstAtLeast(positives: Positives, label: number): number {
  let low = 0;
  let high = positives.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (positives.label[middle] < label) low = middle + 1;
    else high = middle;
  }
  return low;
}
