/**
 * Draws labels for a sampled softmax, and says how likely each was to be drawn: label l is in the sample with
 * probability p_l = 1 - (1 - q_l)^n, and so sum_(l drawn) e^z / p_l is the sum over all labels in the mean
 * (Horvitz and Thompson).
 */
import type { RandomStream } from '../kernels/random.js';
import type { Device } from '../tensor/device.js';

export interface SamplerOptions {
  readonly labels: number;
  /** n, with replacement: a label drawn twice counts once. */
  readonly draws: number;
  /** [labels], how often each occurs, in any unit; q grows with its 3/4th power. Absent: all alike. */
  readonly shares?: ArrayLike<number>;
}

/** Of rare labels: what the rarest may have of the mean. */
const FLOOR = 0.05;

export class Sampler {
  readonly #labels: number;
  readonly #draws: number;
  /** Walker's alias method: slot i is label i with this probability, else its alias. Empty where all are alike. */
  readonly #keep: Float32Array;
  readonly #alias: Uint32Array;
  /** -log p_l, or of all. */
  readonly #correction: Float32Array;
  readonly #drawn: Uint32Array;

  constructor(device: Device, { labels, draws, shares }: SamplerOptions) {
    this.#labels = labels;
    this.#draws = draws;
    const tabled = shares === undefined ? 0 : labels;
    this.#keep = device.allocator.allocate('indices', 'float32', tabled);
    this.#alias = device.allocator.allocate('indices', 'uint32', tabled);
    this.#correction = device.allocator.allocate('indices', 'float32', Math.max(1, tabled));
    this.#drawn = device.allocator.allocate('indices', 'uint32', draws);
    if (device.dry) return;
    if (shares === undefined) this.#correction[0] = -Math.log(inSample(1 / labels, draws));
    else this.#table(shares);
  }

  release(device: Device): void {
    for (const used of [this.#keep, this.#alias, this.#correction, this.#drawn])
      device.allocator.release('indices', used);
  }

  #table(shares: ArrayLike<number>): void {
    const labels = this.#labels;
    const q = Float64Array.from({ length: labels }, (_, l) => Math.max(0, shares[l]) ** 0.75);
    const mean = q.reduce((sum, x) => sum + x, 0) / labels;
    for (let l = 0; l < labels; l++) q[l] = mean > 0 ? Math.max(q[l], FLOOR * mean) : 1;
    const total = q.reduce((sum, x) => sum + x, 0);
    const small: number[] = [];
    const large: number[] = [];
    for (let l = 0; l < labels; l++) {
      q[l] /= total;
      this.#correction[l] = -Math.log(inSample(q[l], this.#draws));
      q[l] *= labels;
      (q[l] < 1 ? small : large).push(l);
    }
    while (small.length > 0 && large.length > 0) {
      const [low, high] = [small.pop() as number, large[large.length - 1]];
      this.#keep[low] = q[low];
      this.#alias[low] = high;
      q[high] -= 1 - q[low];
      if (q[high] >= 1) continue;
      large.pop();
      small.push(high);
    }
    // Rounding may leave some of either; they are full.
    for (const l of [...small, ...large]) this.#keep[l] = 1;
  }

  /** The labels of one draw, ascending, each once; valid until the next call. */
  draw(stream: RandomStream): Uint32Array {
    const drawn = this.#drawn;
    for (let i = 0; i < this.#draws; i++) {
      const slot = stream.below(this.#labels);
      drawn[i] = this.#keep.length === 0 || stream.uniform() < this.#keep[slot] ? slot : this.#alias[slot];
    }
    drawn.sort();
    let n = 0;
    for (let i = 0; i < drawn.length; i++) if (i === 0 || drawn[i] !== drawn[i - 1]) drawn[n++] = drawn[i];
    return drawn.subarray(0, n);
  }

  /** -log p_l: what the logit of a drawn label gains. */
  correction(label: number): number {
    return this.#correction[this.#keep.length === 0 ? 0 : label];
  }
}

/** 1 - (1 - q)^n without its cancellation. */
const inSample = (q: number, n: number): number => (q >= 1 ? 1 : -Math.expm1(n * Math.log1p(-q)));
