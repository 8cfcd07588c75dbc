import type { Floats } from '../../face.js';
import type { GateApplyArgs, GateUpdateArgs } from '../../face-networks.js';
import { uniform } from '../random-fill.js';
import { applyRule } from '../update.js';

const bitOf = (bits: Uint32Array, i: number) => (bits[i >>> 5] >>> (i & 31)) & 1;

export function maskApply(n: number, bits: Uint32Array, x: Floats, y: Floats): void {
  for (let i = 0; i < n; i++) y[i] = bitOf(bits, i) ? x[i] : 0;
}

export function gateApply({ n, key, w, g, bits, effective }: GateApplyArgs): void {
  const draws = new Float64Array(n).fill(0.5);
  if (key !== null) uniform({ ...key, n, low: 0, high: 1, out: draws });
  bits.fill(0, 0, Math.ceil(n / 32));
  for (let i = 0; i < n; i++) {
    const on = draws[i] < g[i];
    if (on) bits[i >>> 5] |= 1 << (i & 31);
    effective[i] = on ? w[i] : 0;
  }
}

/** dw = grad bit; dg = grad w + bimodal (1 - 2 g) + spread; g <- cut to [0, 1] */
export function gateUpdate(args: GateUpdateArgs): void {
  const { n, rule, w, moments, gateRule, g, gateMoments, bits, grad, gradScale, bimodal, spread } = args;
  const weightGradient = Float64Array.from({ length: n }, (_, i) => (bitOf(bits, i) ? grad[i] : 0));
  const gateGradient = Float64Array.from(
    { length: n },
    (_, i) => gradScale * grad[i] * w[i] + bimodal * (1 - 2 * g[i]) + spread,
  );
  applyRule(rule, rule.weightDecay, n, w, moments, 0, weightGradient, 0, gradScale);
  if (gateRule === null) return;
  applyRule(gateRule, gateRule.weightDecay, n, g, gateMoments, 0, gateGradient, 0, 1);
  for (let i = 0; i < n; i++) g[i] = Math.min(1, Math.max(0, g[i]));
}
