import type { LabelLoss, Positives } from '../face.js';

/**
 * Loss and gradient of one label after the other, begin to end: finds the label's positives, turns its logits
 * z [batch] into G = dLoss/dz * gradScale in place, and returns its loss, summed over rows in order.
 */
export class LabelLosses {
  /** Of the next positive not yet passed. */
  #next: number;
  /** y of the current label, [batch]; all zeros between labels. */
  readonly #isPositive: Uint8Array;

  constructor(
    private readonly kind: LabelLoss,
    private readonly positives: Positives,
    private readonly batch: number,
    begin: number,
  ) {
    this.#next = firstAtLeast(positives, begin);
    this.#isPositive = new Uint8Array(batch);
  }

  /** Labels must come in ascending order. */
  of(label: number, z: Float64Array, gradScale: number): number {
    const { positives, batch } = this;
    const first = this.#next;
    let next = first;
    while (next < positives.count && positives.label[next] === label)
      this.#isPositive[positives.row[next++]] = 1;
    const y = this.#isPositive;
    const loss = this.kind === 'bce' ? bce(batch, y, z, gradScale) : squaredHinge(batch, y, z, gradScale);
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
