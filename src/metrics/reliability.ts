/**
 * How far probabilities are from what happens: predictions in bins of equal width by their probability, the expected
 * calibration error over them (Naeini, Cooper & Hauskrecht 2015; Guo et al. 2017, arXiv 1706.04599).
 */
export interface ReliabilityBin {
  /** Bounds of the probabilities. */
  readonly from: number;
  readonly to: number;
  readonly count: number;
  /** Mean probability, and the share that was right; 0 in an empty bin. */
  readonly confidence: number;
  readonly accuracy: number;
}

export interface Reliability {
  readonly count: number;
  /** Mean over predictions of |confidence - accuracy| of their bin, in [0, 1]. */
  readonly ece: number;
  readonly bins: readonly ReliabilityBin[];
}

/** @example const bins = new ReliabilityBins(); bins.add(0.8, true); bins.report().ece; */
export class ReliabilityBins {
  readonly #count: Float64Array;
  readonly #sum: Float64Array;
  readonly #right: Float64Array;

  constructor(bins = 15) {
    this.#count = new Float64Array(bins);
    this.#sum = new Float64Array(bins);
    this.#right = new Float64Array(bins);
  }

  add(probability: number, right: boolean): void {
    const bins = this.#count.length;
    const bin = Math.max(0, Math.min(bins - 1, Math.floor(probability * bins)));
    this.#count[bin]++;
    this.#sum[bin] += probability;
    if (right) this.#right[bin]++;
  }

  report(): Reliability {
    const bins = Array.from(this.#count, (count, b) => ({
      ...{ from: b / this.#count.length, to: (b + 1) / this.#count.length, count },
      confidence: count === 0 ? 0 : this.#sum[b] / count,
      accuracy: count === 0 ? 0 : this.#right[b] / count,
    }));
    const count = bins.reduce((sum, bin) => sum + bin.count, 0);
    const off = bins.reduce((sum, bin) => sum + bin.count * Math.abs(bin.confidence - bin.accuracy), 0);
    return { count, ece: count === 0 ? 0 : off / count, bins };
  }
}
