import type { Floats, Kernels, Moments, UpdateRule } from '../face.js';
import { type Case, Data, type Lab, lazy, RAGGED, type Rounding } from './case.testing.js';

// eps is large, so that its place in the formulas shows.
const SGD = { kind: 'sgd', rate: 0.05, momentum: 0, nesterov: false, weightDecay: 0 } as const;
const ADAM = {
  kind: 'adam',
  rate: 0.01,
  beta1: 0.9,
  beta2: 0.999,
  eps: 0.03,
  weightDecay: 0,
  decoupled: false,
  correction1: 1 - 0.9 ** 3,
  correction2: 1 - 0.999 ** 3,
} as const;
const ADAGRAD = { kind: 'adagrad', rate: 0.05, eps: 0.03, weightDecay: 0 } as const;

export const RULES: Readonly<Record<string, UpdateRule>> = {
  sgd: SGD,
  'sgd with decay': { ...SGD, weightDecay: 0.1 },
  momentum: { ...SGD, momentum: 0.9 },
  'momentum with decay': { ...SGD, momentum: 0.9, weightDecay: 0.1 },
  nesterov: { ...SGD, momentum: 0.9, nesterov: true, weightDecay: 0.01 },
  adam: ADAM,
  'adam with decay': { ...ADAM, weightDecay: 0.1 },
  adamw: { ...ADAM, weightDecay: 0.1, decoupled: true },
  adagrad: ADAGRAD,
  'adagrad with decay': { ...ADAGRAD, weightDecay: 0.1 },
};

export function needsM(rule: UpdateRule): boolean {
  return rule.kind === 'adam' || (rule.kind === 'sgd' && rule.momentum !== 0);
}
export function needsV(rule: UpdateRule): boolean {
  return rule.kind !== 'sgd';
}

export interface Weights {
  readonly w: Float32Array;
  readonly m: Float32Array | null;
  readonly v: Float32Array | null;
}

/** Weights in the middle of a training: v well above 0, where the rules are smooth. */
export function weightsFor(rule: UpdateRule, data: Data, n: number): Weights {
  return {
    w: data.floats(n),
    m: needsM(rule) ? data.floats(n, 0.1) : null,
    v: needsV(rule) ? data.between(n, 0.01, 0.5) : null,
  };
}

export function momentsIn(lab: Lab, { m, v }: Weights): Moments {
  return { m: m && lab.inout(m), v: v && lab.inout(v) };
}

/**
 * How far w, m and v may be off after one step from gradient `scale * g`, of which `scale * g` itself may be off
 * by `error`: first order, with units for every operation and every rounded constant.
 */
export function updateErrors(
  rule: UpdateRule,
  decays: boolean,
  { unit }: Rounding,
  w: number,
  m: number,
  v: number,
  scaledGradient: number,
  error: number,
): { w: number; m: number; v: number } {
  const decay = decays && !(rule.kind === 'adam' && rule.decoupled) ? rule.weightDecay : 0;
  const g = scaledGradient + decay * w;
  const size = Math.abs(scaledGradient) + Math.abs(decay * w);
  const dg = error + 5 * unit * size;
  if (rule.kind === 'sgd') {
    const dm = dg + 4 * unit * (Math.abs(rule.momentum * m) + size);
    const mSize = Math.abs(rule.momentum * m) + size;
    const lookahead = rule.nesterov
      ? dg + rule.momentum * dm + 5 * unit * (size + rule.momentum * mSize)
      : dm;
    return { w: 2 * unit * Math.abs(w) + rule.rate * (lookahead + 3 * unit * (size + mSize)), m: dm, v: 0 };
  }
  if (rule.kind === 'adam') {
    const { beta1, beta2, rate, eps, correction1, correction2, weightDecay } = rule;
    const newM = beta1 * m + (1 - beta1) * g;
    const newV = beta2 * v + (1 - beta2) * g * g;
    const dm = (1 - beta1) * dg + 4 * unit * (Math.abs(beta1 * m) + (1 - beta1) * size);
    const dv = (1 - beta2) * (2 * Math.abs(g) * dg + dg * dg) + 5 * unit * newV;
    const root = Math.sqrt(newV / correction2) + eps;
    const step = (rate * Math.abs(newM)) / correction1 / root;
    const droot = dv / (2 * Math.sqrt(newV * correction2));
    const dstep = (rate * dm) / correction1 / root + step * (droot / root + 8 * unit);
    return { w: 3 * unit * Math.abs(w) * (1 + rate * weightDecay) + dstep, m: dm, v: dv };
  }
  const newV = v + g * g;
  const dv = 2 * Math.abs(g) * dg + dg * dg + 3 * unit * newV;
  const root = Math.sqrt(newV) + rule.eps;
  const step = (rule.rate * Math.abs(g)) / root;
  const dstep = (rule.rate * dg) / root + step * (dv / (2 * newV) + 6 * unit);
  return { w: 2 * unit * Math.abs(w) + dstep, m: 0, v: dv };
}

const GRAD_SCALE = 0.7;
const FRESH_RULES = {
  'first step of adam': { ...ADAM, eps: 1e-8, correction1: 1 - 0.9, correction2: 1 - 0.999 },
  'first step of adagrad': { ...ADAGRAD, eps: 1e-10 },
} as const;

interface Shape {
  readonly count: number;
  readonly dim: number;
  /** Rows of w. */
  readonly rows: number;
}

function updateCase(ruleName: string, n: number): Case {
  const rule = RULES[ruleName];
  const data = lazy(() => {
    const source = new Data(`update ${ruleName} ${n}`);
    return { ...weightsFor(rule, source, n), g: source.floats(n) };
  });
  return stepCase(`${ruleName}, ${n} weights`, rule, data, null, 1, (kernels, w, g, moments) =>
    kernels.update({ rule, n, w, g, ...moments, gradScale: GRAD_SCALE }),
  );
}

function updateRowsCase(ruleName: string, { count, dim, rows }: Shape): Case {
  const rule = RULES[ruleName];
  const data = lazy(() => {
    const source = new Data(`update rows ${ruleName} ${count} ${dim} ${rows}`);
    const touched = source.distinct(count, rows).sort((a, b) => a - b);
    return { ...weightsFor(rule, source, rows * dim), g: source.floats(count * dim), touched };
  });
  return stepCase(
    `${ruleName}, ${count} of ${rows} rows of ${dim}`,
    rule,
    data,
    () => data().touched,
    dim,
    (kernels, w, g, moments, lab) =>
      kernels.updateRows({
        rule,
        count,
        dim,
        rows: lab.u32(data().touched),
        w,
        g,
        ...moments,
        gradScale: GRAD_SCALE,
      }),
  );
}

/** `touched` null: all rows, in order. */
function stepCase(
  name: string,
  rule: UpdateRule,
  data: () => Weights & { readonly g: Float32Array },
  touched: (() => readonly number[]) | null,
  dim: number,
  step: (kernels: Kernels, w: Floats, g: Floats, moments: Moments, lab: Lab) => void,
): Case {
  return {
    name,
    run: (kernels, lab) => {
      const w = lab.inout(data().w);
      const moments = momentsIn(lab, data());
      step(kernels, w, lab.input(data().g), moments, lab);
      return { w, ...(moments.m && { m: moments.m }), ...(moments.v && { v: moments.v }) };
    },
    bounds: (rounding) => {
      const { w, m, v, g } = data();
      // Rows that the kernel is not told of keep their bits: bound 0.
      const bounds = {
        w: new Float64Array(w.length),
        m: new Float64Array(w.length),
        v: new Float64Array(w.length),
      };
      const rows = touched?.() ?? Array.from(w, (_, i) => i);
      rows.forEach((row, t) => {
        for (let j = 0; j < dim; j++) {
          const i = row * dim + j;
          const gradient = GRAD_SCALE * g[t * dim + j];
          const e = updateErrors(rule, true, rounding, w[i], m?.[i] ?? 0, v?.[i] ?? 0, gradient, 0);
          bounds.w[i] = e.w;
          bounds.m[i] = e.m;
          bounds.v[i] = e.v;
        }
      });
      return bounds;
    },
  };
}

const ROW_SHAPES: readonly Shape[] = [
  { count: 0, dim: 4, rows: 3 },
  { count: 1, dim: 1, rows: 1 },
  { count: 3, dim: 17, rows: 9 },
  { count: 5, dim: 33, rows: 5 },
  { count: 40, dim: 64, rows: 1000 },
  { count: 2, dim: 65, rows: 7 },
];

/** From moments of zero, with the usual small eps. */
function freshCase([name, rule]: [string, UpdateRule]): Case {
  const n = 500;
  const data = lazy(() => {
    const source = new Data(name);
    const zeros = new Float32Array(n);
    return { w: source.floats(n), m: needsM(rule) ? zeros : null, v: zeros, g: source.between(n, -2, -0.1) };
  });
  return stepCase(name, rule, data, null, 1, (kernels, w, g, moments) =>
    kernels.update({ rule, n, w, g, ...moments, gradScale: GRAD_SCALE }),
  );
}

/** A weight that never had a gradient stays where it is, even with eps = 0. */
const neverTouched: Case = {
  name: 'adagrad without gradient, moments and eps: no step',
  run: (kernels, lab) => {
    const n = 37;
    const w = lab.inout(new Data('never touched').floats(n));
    const v = lab.inout(new Float32Array(n));
    const rule = { ...ADAGRAD, eps: 0 };
    kernels.update({ rule, n, w, g: lab.input(new Float32Array(n)), m: null, v, gradScale: 1 });
    return { w, v };
  },
};

export const UPDATE_CASES: readonly Case[] = [
  ...Object.keys(RULES).flatMap((rule) => [0, ...RAGGED, 50_003].map((n) => updateCase(rule, n))),
  ...Object.entries(FRESH_RULES).map(freshCase),
  neverTouched,
];
export const UPDATE_ROWS_CASES: readonly Case[] = Object.keys(RULES).flatMap((rule) =>
  ROW_SHAPES.map((shape) => updateRowsCase(rule, shape)),
);
