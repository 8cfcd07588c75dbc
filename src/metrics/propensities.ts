import { EspalierError } from '../errors.js';

export interface PropensityOptions {
  readonly A?: number;
  readonly B?: number;
}

/** Values for data sets in general; published tables use .5 and .4 for Wikipedia, .6 and 2.6 for Amazon. */
export const propensityDefaults = { A: 0.55, B: 1.5 } as const;

/**
 * The chance that a true label was observed, by how often it was seen in training.
 *
 * p_l = 1 / (1 + C (N_l + B)^-A), C = (ln N - 1) (B + 1)^A: Jain, Prabhu & Varma, KDD 2016, section 4.
 * C is taken as 0 below three rows, where it would be negative.
 *
 * @param frequencies [labels] N_l, rows of the training split with the label
 * @param rows N, rows of the training split
 * @returns [labels], in (0, 1]
 */
export function propensities(
  frequencies: ArrayLike<number>,
  rows: number,
  options?: PropensityOptions,
): Float64Array {
  return Float64Array.from(frequencies, propensityOf(rows, options));
}

/** N_l to p_l, for N = `rows`. */
export function propensityOf(
  rows: number,
  { A = propensityDefaults.A, B = propensityDefaults.B }: PropensityOptions = {},
): (frequency: number) => number {
  if (!(rows >= 1 && A >= 0 && B > 0)) {
    throw new EspalierError({
      code: 'PROPENSITY_OPTIONS',
      kind: 'usage',
      op: 'propensities',
      problem: 'no such propensity model',
      expected: 'rows >= 1, A >= 0, B > 0',
      received: `rows ${rows}, A ${A}, B ${B}`,
    });
  }
  const C = Math.max(0, Math.log(rows) - 1) * (B + 1) ** A;
  return (n) => 1 / (1 + C * (n + B) ** -A);
}
