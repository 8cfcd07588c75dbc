/** Intervals by drawing the same rows again for every run (Efron & Tibshirani 1993, chapters 13 and 14). */
import { RandomStream } from '../../kernels/random.js';

/** A ratio of sums over rows; shape of both: [rows]. */
export interface RowRatio {
  readonly part: Float64Array;
  readonly whole: Float64Array;
}

export interface Measured {
  readonly value: number;
  /** 2.5 % and 97.5 % points over the draws. */
  readonly low: number;
  readonly high: number;
}

export interface Compared extends Measured {
  /** To the first run, over the same draws; null for the first run itself. */
  readonly difference: Measured | null;
}

const mostDraws = 1_000;
const leastDraws = 200;
const rowBudget = 1.2e7;

/**
 * Every run's ratios with intervals, and their paired differences to the first run.
 * @param runs [runs][figures]; all of the same rows in the same order
 */
export function bootstrap(
  runs: readonly (readonly RowRatio[])[],
  seed: number,
): { readonly draws: number; readonly runs: Compared[][] } {
  const rows = runs[0]?.[0]?.part.length ?? 0;
  const draws = Math.max(leastDraws, Math.min(mostDraws, Math.floor(rowBudget / Math.max(1, rows))));
  const stream = RandomStream.named(seed, 'compare');
  const times = new Uint16Array(rows);
  const drawn = runs.map((figures) => figures.map(() => new Float64Array(draws)));
  for (let d = 0; d < draws; d++) {
    times.fill(0);
    for (let i = 0; i < rows; i++) times[stream.below(rows)]++;
    for (const [r, figures] of runs.entries())
      for (const [f, ratio] of figures.entries()) drawn[r][f][d] = ratioOf(ratio, times);
  }
  const measured = runs.map((figures, r) =>
    figures.map((ratio, f): Compared => {
      const value = ratioOf(ratio, null);
      const own = { value, ...endsOf(drawn[r][f]) };
      if (r === 0) return { ...own, difference: null };
      const first = drawn[0][f];
      const differences = drawn[r][f].map((x, d) => x - first[d]);
      return { ...own, difference: { value: value - ratioOf(runs[0][f], null), ...endsOf(differences) } };
    }),
  );
  return { draws, runs: measured };
}

function ratioOf({ part, whole }: RowRatio, times: Uint16Array | null): number {
  let [a, b] = [0, 0];
  for (let i = 0; i < part.length; i++) {
    const n = times === null ? 1 : times[i];
    a += n * part[i];
    b += n * whole[i];
  }
  return b === 0 ? 0 : a / b;
}

function endsOf(draws: Float64Array): { low: number; high: number } {
  const sorted = draws.toSorted();
  const at = (q: number) =>
    sorted[Math.max(0, Math.min(sorted.length - 1, Math.round(q * (sorted.length - 1))))];
  return { low: at(0.025), high: at(0.975) };
}
