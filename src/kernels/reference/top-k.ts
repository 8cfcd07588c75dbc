import type { Floats, TopKCommon } from '../face.js';
import { noLabel } from '../no-label.js';

/**
 * The k best labels of every row, kept sorted in the output while the labels stream by in ascending order: a
 * label enters only where its score is strictly better, so ties keep the smaller label first.
 */
export class TopK {
  readonly #batch: number;
  readonly #k: number;
  readonly #labels: Uint32Array;
  readonly #scores: Floats;
  /** [batch], in the precision of the scores: compared before rounding, ties after it would be in the wrong order. */
  readonly #rounded: Floats;
  #offered = 0;

  constructor({ batch, k, topLabels, topScores, workspace }: TopKCommon) {
    this.#batch = batch;
    this.#k = k;
    this.#labels = topLabels;
    this.#scores = topScores;
    this.#rounded = workspace;
    topLabels.fill(noLabel, 0, batch * k);
    topScores.fill(-Infinity, 0, batch * k);
  }

  /** z [batch]: the logits of `label`; labels come in ascending order. */
  offer(label: number, z: Float64Array): void {
    const batch = this.#batch;
    const k = this.#k;
    const rounded = this.#rounded;
    // Every label offered so far is in the list until it is full; after that, only a better one gets in.
    const held = Math.min(this.#offered++, k);
    for (let b = 0; b < batch; b++) {
      rounded[b] = z[b];
      const score = rounded[b];
      const at = b * k;
      if (held === k && (k === 0 || !better(score, this.#scores[at + k - 1]))) continue;
      this.#insert(at, held, label, score);
    }
  }

  #insert(at: number, held: number, label: number, score: number): void {
    const labels = this.#labels;
    const scores = this.#scores;
    let i = at + Math.min(held, this.#k - 1);
    while (i > at && better(score, scores[i - 1])) {
      labels[i] = labels[i - 1];
      scores[i] = scores[i - 1];
      i--;
    }
    labels[i] = label;
    scores[i] = score;
  }
}

/** Strictly better; a NaN is worse than everything else. */
function better(a: number, b: number): boolean {
  return a > b || (Number.isNaN(b) && !Number.isNaN(a));
}
