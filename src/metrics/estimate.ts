/** A figure measured on a sample of rows, with the interval that says how sure it is. */

export interface Estimate {
  readonly value: number;
  /** Ends of the 95 % interval. */
  readonly low: number;
  readonly high: number;
}

/** 97.5 % point of the standard normal distribution. */
const Z = 1.959963984540054;

/** 95 % interval of a share, `successes` of `n` (Wilson 1927): sound near 0 and 1 and for small n. */
export function wilson(successes: number, n: number): Estimate {
  if (n === 0) return { value: 0, low: 0, high: 1 };
  const p = successes / n;
  const centre = (p + (Z * Z) / (2 * n)) / (1 + (Z * Z) / n);
  const half = ((Z / n) * Math.sqrt(n * p * (1 - p) + (Z * Z) / 4)) / (1 + (Z * Z) / n);
  // Rounding may put an end past the value itself, at 0 and 1.
  return {
    value: p,
    low: Math.max(0, Math.min(p, centre - half)),
    high: Math.min(1, Math.max(p, centre + half)),
  };
}

/**
 * Streaming ratio of sums, sum(a) / sum(b), over rows with 0 <= a <= b in total: a mean where every b is 1.
 *
 * The interval is the normal one of a ratio estimator, variance sum((a - ratio b)^2) / sum(b)^2 (Cochran 1977,
 * section 2.11), and Wilson's where the rows are just right or wrong.
 */
export class Ratio {
  #n = 0;
  #a = 0;
  #b = 0;
  #aa = 0;
  #ab = 0;
  #bb = 0;

  add(a: number, b: number): void {
    this.#n++;
    this.#a += a;
    this.#b += b;
    this.#aa += a * a;
    this.#ab += a * b;
    this.#bb += b * b;
  }

  estimate(): Estimate {
    const [n, a, b] = [this.#n, this.#a, this.#b];
    // Only zeros and ones have equal sums of values and of squares, when they are not above one.
    const binary = this.#aa === a && this.#bb === b && this.#ab === a;
    if (binary || b === 0) return wilson(a, b);
    const value = a / b;
    const spread = Math.max(0, this.#aa - 2 * value * this.#ab + value * value * this.#bb);
    const half = n < 2 ? 1 : (Z * Math.sqrt((spread * n) / (n - 1))) / b;
    return { value, low: Math.max(0, value - half), high: Math.min(1, value + half) };
  }
}
