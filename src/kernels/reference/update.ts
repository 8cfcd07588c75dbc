import type {
  AdagradRule,
  AdamRule,
  Floats,
  Moments,
  SgdRule,
  UpdateArgs,
  UpdateRowsArgs,
  UpdateRule,
} from '../face.js';

export function update(args: UpdateArgs): void {
  const { rule, n, w, g, gradScale } = args;
  applyRule(rule, rule.weightDecay, n, w, args, 0, g, 0, gradScale);
}

export function updateRows(args: UpdateRowsArgs): void {
  const { rule, count, dim, rows, w, g, gradScale } = args;
  for (let t = 0; t < count; t++) {
    applyRule(rule, rule.weightDecay, dim, w, args, rows[t] * dim, g, t * dim, gradScale);
  }
}

/**
 * One step of `rule` on w[at .. at + n) and its moments, with the gradient gradScale * g[gAt .. gAt + n).
 * `weightDecay` overrides the rule's (a bias has none).
 */
export function applyRule(
  rule: UpdateRule,
  weightDecay: number,
  n: number,
  w: Floats,
  moments: Moments,
  at: number,
  g: Floats,
  gAt: number,
  gradScale: number,
): void {
  switch (rule.kind) {
    case 'sgd':
      sgd(rule, weightDecay, n, w, moments.m, at, g, gAt, gradScale);
      break;
    case 'adam':
      adam(rule, weightDecay, n, w, moments.m!, moments.v!, at, g, gAt, gradScale);
      break;
    case 'adagrad':
      adagrad(rule, weightDecay, n, w, moments.v!, at, g, gAt, gradScale);
      break;
  }
}

/** g' = g + decay w; m <- momentum m + g'; w <- w - rate m, or w - rate (g' + momentum m) (Nesterov). */
function sgd(
  { rate, momentum, nesterov }: SgdRule,
  decay: number,
  n: number,
  w: Floats,
  m: Floats | null,
  at: number,
  g: Floats,
  gAt: number,
  gradScale: number,
): void {
  for (let i = 0; i < n; i++) {
    const weight = w[at + i];
    const gradient = gradScale * g[gAt + i] + decay * weight;
    let direction = gradient;
    if (m !== null) {
      const mi = momentum * m[at + i] + gradient;
      m[at + i] = mi;
      direction = nesterov ? gradient + momentum * mi : mi;
    }
    w[at + i] = weight - rate * direction;
  }
}

/**
 * m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; w <- w - rate (m / c1) / (sqrt(v / c2) + eps)
 * (Kingma & Ba 2015); with decoupled decay w <- w - rate decay w first (Loshchilov & Hutter 2019).
 */
function adam(
  { rate, beta1, beta2, eps, decoupled, correction1, correction2 }: AdamRule,
  decay: number,
  n: number,
  w: Floats,
  m: Floats,
  v: Floats,
  at: number,
  g: Floats,
  gAt: number,
  gradScale: number,
): void {
  const coupled = decoupled ? 0 : decay;
  const shrink = decoupled ? 1 - rate * decay : 1;
  for (let i = 0; i < n; i++) {
    const weight = w[at + i];
    const gradient = gradScale * g[gAt + i] + coupled * weight;
    const mi = beta1 * m[at + i] + (1 - beta1) * gradient;
    const vi = beta2 * v[at + i] + (1 - beta2) * gradient * gradient;
    m[at + i] = mi;
    v[at + i] = vi;
    w[at + i] = shrink * weight - (rate * (mi / correction1)) / (Math.sqrt(vi / correction2) + eps);
  }
}

/** v <- v + g^2; w <- w - rate g / (sqrt(v) + eps) (Duchi, Hazan & Singer 2011). */
function adagrad(
  { rate, eps }: AdagradRule,
  decay: number,
  n: number,
  w: Floats,
  v: Floats,
  at: number,
  g: Floats,
  gAt: number,
  gradScale: number,
): void {
  for (let i = 0; i < n; i++) {
    const weight = w[at + i];
    const gradient = gradScale * g[gAt + i] + decay * weight;
    const vi = v[at + i] + gradient * gradient;
    v[at + i] = vi;
    // No gradient, no step: with eps = 0, a weight that never had a gradient would get 0 / 0.
    if (gradient !== 0) w[at + i] = weight - (rate * gradient) / (Math.sqrt(vi) + eps);
  }
}
