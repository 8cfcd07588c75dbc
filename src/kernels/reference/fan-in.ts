import type { Columns, FanInLogitsArgs, FanInStepArgs, FanInTopKArgs, Floats } from '../face.js';
import { steppingBf16, weightsOf } from './bf16.js';
import { useLabelGradient } from './label-update.js';
import { LabelLosses } from './loss.js';
import { TopK } from './top-k.js';

/**
 * One slab of the fixed fan-in output step (Ullah et al. 2024), label by label:
 *   z_b      = bias_l + sum_k w_lk h[b, c_lk]
 *   dw_lk    = sum_b G_bl h[b, c_lk],   dbias_l = sum_b G_bl
 *   dh[b, j] = sum over (l, k) with c_lk = j of G_bl w_lk       (with the weights before their update)
 * dh is its own private sum: cleared by the first slab, complete after the last.
 */
export function fanInStep(args: FanInStepArgs): number {
  const { begin, end, fanIn } = args;
  return steppingBf16(args, begin * fanIn, end * fanIn, stepOfSlab);
}

function stepOfSlab(args: FanInStepArgs): number {
  const { batch, inputs, begin, end, h, dh, fanIn, columns, weights, bias, gradScale, backward } = args;
  const losses = new LabelLosses(args);
  const z = new Float64Array(batch);
  const dw = new Float64Array(fanIn);
  const db = new Float64Array(1);
  if (backward && dh !== null && begin === 0) dh.fill(0, 0, batch * inputs);
  let loss = 0;
  for (let label = begin; label < end; label++) {
    forward(label, batch, inputs, fanIn, columns, weights, bias, h, z);
    loss += losses.of(label, z, gradScale);
    if (!backward) continue;
    db[0] = 0;
    for (let b = 0; b < batch; b++) db[0] += z[b];
    weightGradient(label, batch, inputs, fanIn, columns, h, z, dw);
    if (dh !== null) scatter(label, batch, inputs, fanIn, columns, weights, z, dh);
    useLabelGradient(args, weights, bias, label, dw, db);
  }
  return loss;
}

export function fanInLogits(args: FanInLogitsArgs): void {
  const { batch, inputs, begin, end, h, fanIn, columns, bias, out } = args;
  const weights = weightsOf(args);
  const width = end - begin;
  const z = new Float64Array(batch);
  for (let label = begin; label < end; label++) {
    forward(label, batch, inputs, fanIn, columns, weights, bias, h, z);
    for (let b = 0; b < batch; b++) out[b * width + label - begin] = z[b];
  }
}

export function fanInTopK(args: FanInTopKArgs): void {
  const { batch, inputs, labels, h, fanIn, columns, bias } = args;
  const weights = weightsOf(args);
  const top = new TopK(args);
  const z = new Float64Array(batch);
  for (let label = 0; label < labels; label++) {
    forward(label, batch, inputs, fanIn, columns, weights, bias, h, z);
    top.offer(label, z);
  }
}

// Each of the three loops below takes four rows of the batch at a time: weights and columns are loaded once for
// the four, and their additions overlap. The order of every sum stays as written in the formulas.

/** z_b = bias_l + sum_k w_lk h[b, c_lk] */
function forward(
  label: number,
  batch: number,
  inputs: number,
  fanIn: number,
  columns: Columns,
  weights: Floats,
  bias: Floats,
  h: Floats,
  z: Float64Array,
): void {
  const from = label * fanIn;
  const to = from + fanIn;
  const start = bias[label];
  let b = 0;
  for (; b + 4 <= batch; b += 4) {
    const h0 = b * inputs;
    const h1 = h0 + inputs;
    const h2 = h1 + inputs;
    const h3 = h2 + inputs;
    let s0 = start;
    let s1 = start;
    let s2 = start;
    let s3 = start;
    for (let s = from; s < to; s++) {
      const w = weights[s];
      const c = columns[s];
      s0 += w * h[h0 + c];
      s1 += w * h[h1 + c];
      s2 += w * h[h2 + c];
      s3 += w * h[h3 + c];
    }
    z[b] = s0;
    z[b + 1] = s1;
    z[b + 2] = s2;
    z[b + 3] = s3;
  }
  for (; b < batch; b++) {
    const row = b * inputs;
    let sum = start;
    for (let s = from; s < to; s++) sum += weights[s] * h[row + columns[s]];
    z[b] = sum;
  }
}

/** dw_k = sum_b G_b h[b, c_lk] */
function weightGradient(
  label: number,
  batch: number,
  inputs: number,
  fanIn: number,
  columns: Columns,
  h: Floats,
  g: Float64Array,
  dw: Float64Array,
): void {
  const at = label * fanIn;
  dw.fill(0);
  let b = 0;
  for (; b + 4 <= batch; b += 4) {
    const g0 = g[b];
    const g1 = g[b + 1];
    const g2 = g[b + 2];
    const g3 = g[b + 3];
    if (g0 === 0 && g1 === 0 && g2 === 0 && g3 === 0) continue; // most rows of a squared hinge
    const h0 = b * inputs;
    const h1 = h0 + inputs;
    const h2 = h1 + inputs;
    const h3 = h2 + inputs;
    for (let k = 0; k < fanIn; k++) {
      const c = columns[at + k];
      dw[k] = dw[k] + g0 * h[h0 + c] + g1 * h[h1 + c] + g2 * h[h2 + c] + g3 * h[h3 + c];
    }
  }
  for (; b < batch; b++) {
    const gb = g[b];
    const row = b * inputs;
    for (let k = 0; k < fanIn; k++) dw[k] += gb * h[row + columns[at + k]];
  }
}

/** dh[b, c_lk] += G_b w_lk */
function scatter(
  label: number,
  batch: number,
  inputs: number,
  fanIn: number,
  columns: Columns,
  weights: Floats,
  g: Float64Array,
  dh: Floats,
): void {
  const from = label * fanIn;
  const to = from + fanIn;
  let b = 0;
  for (; b + 4 <= batch; b += 4) {
    const g0 = g[b];
    const g1 = g[b + 1];
    const g2 = g[b + 2];
    const g3 = g[b + 3];
    if (g0 === 0 && g1 === 0 && g2 === 0 && g3 === 0) continue;
    const h0 = b * inputs;
    const h1 = h0 + inputs;
    const h2 = h1 + inputs;
    const h3 = h2 + inputs;
    for (let s = from; s < to; s++) {
      const w = weights[s];
      const c = columns[s];
      dh[h0 + c] += g0 * w;
      dh[h1 + c] += g1 * w;
      dh[h2 + c] += g2 * w;
      dh[h3 + c] += g3 * w;
    }
  }
  for (; b < batch; b++) {
    const gb = g[b];
    const row = b * inputs;
    for (let s = from; s < to; s++) dh[row + columns[s]] += gb * weights[s];
  }
}
