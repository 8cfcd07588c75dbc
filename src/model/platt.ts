/**
 * Scores to probabilities by sigmoid(slope * score + offset): Platt 1999 with the targets of Lin, Lin & Weng 2007, by
 * Newton's method, and with a prior for where there are few pairs.
 */
export interface Scaling {
  readonly slope: number;
  readonly offset: number;
}

/** (score, was it right) pairs. */
export interface Pairs {
  readonly scores: ArrayLike<number>;
  readonly right: ArrayLike<number>;
}

export const sigmoid = (x: number): number =>
  x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));

export const scaled = ({ slope, offset }: Scaling, score: number): number => sigmoid(slope * score + offset);

/** Mean negative log-likelihood of pairs. */
export function logLoss(scaling: Scaling, { scores, right }: Pairs): number {
  let sum = 0;
  for (let i = 0; i < scores.length; i++) {
    const x = scaling.slope * scores[i] + scaling.offset;
    const signed = right[i] ? -x : x;
    sum += signed > 0 ? signed + Math.log1p(Math.exp(-signed)) : Math.log1p(Math.exp(signed));
  }
  return sum / Math.max(1, scores.length);
}

export interface FitOptions {
  /** What is believed before the pairs, worth so many of them. */
  readonly prior?: { readonly scaling: Scaling; readonly pairs: number };
  /** false: the offset stays 0 (temperature alone). Default true. */
  readonly offset?: boolean;
}

/** null where the best slope is not positive: then scores do not say what is right. */
export function fitScaling(
  { scores, right }: Pairs,
  { prior, offset = true }: FitOptions = {},
): Scaling | null {
  const n = scores.length;
  let positives = 0;
  for (let i = 0; i < n; i++) if (right[i]) positives++;
  // Smoothed targets: no weight runs to infinity where pairs can be told apart.
  const high = (positives + 1) / (positives + 2);
  const low = 1 / (n - positives + 2);
  const centre = prior?.scaling ?? { slope: 1, offset: 0 };
  // A prior of m pairs has the curvature of m undecided ones, at the spread of these scores.
  let spread = 0;
  for (let i = 0; i < n; i++) spread += scores[i] ** 2 / Math.max(1, n);
  const weight = (prior?.pairs ?? 1e-3) / 4;
  const [priorSlope, priorOffset] = [weight * Math.max(1e-6, spread), weight];
  const loss = (a: number, b: number): number => {
    let sum = (priorSlope * (a - centre.slope) ** 2 + priorOffset * (b - centre.offset) ** 2) / 2;
    for (let i = 0; i < n; i++) {
      const x = a * scores[i] + b;
      const t = right[i] ? high : low;
      sum += (x > 0 ? Math.log1p(Math.exp(-x)) + x : Math.log1p(Math.exp(x))) - t * x;
    }
    return sum;
  };
  let [a, b] = [centre.slope, offset ? centre.offset : 0];
  let now = loss(a, b);
  for (let turn = 0; turn < 50; turn++) {
    let [ga, gb] = [priorSlope * (a - centre.slope), priorOffset * (b - centre.offset)];
    let [haa, hab, hbb] = [priorSlope + 1e-12, 0, priorOffset + 1e-12];
    for (let i = 0; i < n; i++) {
      const p = sigmoid(a * scores[i] + b);
      const g = p - (right[i] ? high : low);
      const h = p * (1 - p);
      ga += g * scores[i];
      gb += g;
      haa += h * scores[i] ** 2;
      hab += h * scores[i];
      hbb += h;
    }
    const determinant = haa * hbb - hab * hab;
    let [da, db] = offset
      ? [(hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant]
      : [ga / haa, 0];
    let next = loss(a - da, b - db);
    for (let half = 0; half < 30 && !(next <= now); half++) {
      [da, db] = [da / 2, db / 2];
      next = loss(a - da, b - db);
    }
    if (!(next <= now)) break;
    [a, b] = [a - da, b - db];
    const gain = now - next;
    now = next;
    if (gain < 1e-9 * (1 + Math.abs(now))) break;
  }
  return a > 0 && Number.isFinite(a) && Number.isFinite(b) ? { slope: a, offset: b } : null;
}
