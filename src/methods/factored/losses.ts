/**
 * Losses of the spherical family: functions of q = |o|^2, s = sum o, and the outputs a_k at the targets alone, never
 * of the other L - K outputs one by one. Vincent, de Brebisson & Bouthillier 2015 (arXiv 1412.7091).
 */

/** One example, and where its loss writes. Arrays are shared between examples: only the first `count` count. */
export interface LossExample {
  /** |o|^2 over all labels. */
  q: number;
  /** Sum of o over all labels. */
  s: number;
  /** L */
  labels: number;
  /** K, the targets of this example. */
  count: number;
  /** [K] outputs at the targets. */
  readonly a: Float64Array;
  /** [K] target values. */
  readonly t: Float64Array;

  /** out: the loss. */
  value: number;
  /** out: its derivative by q. */
  dq: number;
  /** out: its derivative by s. */
  ds: number;
  /** out [K]: its derivatives by a. */
  readonly da: Float64Array;
}

/** A loss is a record: a name and a function that fills `value`, `dq`, `ds` and `da` of every example. */
export interface SphericalLoss {
  readonly name: string;
  /** Whether its gradient at W = 0 is other than zero. */
  readonly leavesZero: boolean;
  of(example: LossExample): void;
}

/** sum over all labels of (o - t)^2 = q - 2 sum a t + sum t^2. */
export const squaredError: SphericalLoss = {
  name: 'squaredError',
  leavesZero: true,
  of(e) {
    let value = e.q;
    for (let k = 0; k < e.count; k++) {
      value += e.t[k] * (e.t[k] - 2 * e.a[k]);
      e.da[k] = -2 * e.t[k];
    }
    e.value = value;
    e.dq = 1;
    e.ds = 0;
  },
};

/** -sum t log p, p = (o^2 + epsilon) / (q + L epsilon): even in o, so that a start at 0 stays there (1511.05042). */
export function sphericalSoftmax({ epsilon = 1 }: { epsilon?: number } = {}): SphericalLoss {
  return {
    name: 'sphericalSoftmax',
    leavesZero: false,
    of(e) {
      const norm = e.q + e.labels * epsilon;
      let total = 0;
      let value = 0;
      for (let k = 0; k < e.count; k++) {
        const n = e.a[k] * e.a[k] + epsilon;
        total += e.t[k];
        value -= e.t[k] * Math.log(n);
        e.da[k] = (-2 * e.t[k] * e.a[k]) / n;
      }
      e.value = value + total * Math.log(norm);
      e.dq = total / norm;
      e.ds = 0;
    },
  };
}

/** -sum t log p, p = (1 + o + o^2/2) / (L + s + q/2): the softmax with its exponential cut after two terms. */
export const taylorSoftmax: SphericalLoss = {
  name: 'taylorSoftmax',
  leavesZero: true,
  of(e) {
    const norm = e.labels + e.s + e.q / 2;
    let total = 0;
    let value = 0;
    for (let k = 0; k < e.count; k++) {
      const n = 1 + e.a[k] + (e.a[k] * e.a[k]) / 2;
      total += e.t[k];
      value -= e.t[k] * Math.log(n);
      e.da[k] = (-e.t[k] * (1 + e.a[k])) / n;
    }
    e.value = value + total * Math.log(norm);
    e.dq = total / (2 * norm);
    e.ds = total / norm;
  },
};

/**
 * sum t softplus(alpha (beta - z)) / alpha, z = (a - mean) / deviation over all outputs of the example: invariant to
 * shifts and scales of o (1604.08859). Where all outputs are equal, as those of an example without features, z is 0 and
 * nothing can be learnt.
 */
export function zLoss({ alpha = 0.1, beta = 10 }: { alpha?: number; beta?: number } = {}): SphericalLoss {
  return {
    name: 'zLoss',
    leavesZero: false,
    of(e) {
      const mean = e.s / e.labels;
      const variance = e.q / e.labels - mean * mean;
      const flat = variance <= 1e-12 * mean * mean; // not where it is not a number: that must be seen
      const deviation = Math.sqrt(variance);
      let value = 0;
      let dq = 0;
      let ds = 0;
      for (let k = 0; k < e.count; k++) {
        const z = flat ? 0 : (e.a[k] - mean) / deviation;
        const x = alpha * (beta - z);
        value += (e.t[k] * (Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))))) / alpha;
        e.da[k] = 0;
        if (flat) continue;
        const g = e.t[k] / (1 + Math.exp(-x));
        e.da[k] = -g / deviation;
        dq += (g * z) / (2 * e.labels * variance);
        ds += (g * (deviation - z * mean)) / (e.labels * variance);
      }
      e.value = value;
      e.dq = dq;
      e.ds = ds;
    },
  };
}
