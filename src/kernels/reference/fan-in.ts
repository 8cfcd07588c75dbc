import type { Columns, FanInLogitsArgs, FanInStepArgs, FanInTopKArgs, Floats } from '../face.js';
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
  const { batch, inputs, begin, end, h, dh, fanIn, columns, weights, bias, gradScale, backward } = args;
  const losses = new LabelLosses(args.loss, args.positives, batch, begin);
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
  const { batch, inputs, begin, end, h, fanIn, columns, weights, bias, out } = args;
  const width = end - begin;
  const z = new Float64Array(batch);
  for (let label = begin; label < end; label++) {
    forward(label, batch, inputs, fanIn, columns, weights, bias, h, z);
    for (let b = 0; b < batch; b++) out[b * width + label - begin] = z[b];
  }
}

export function fanInTopK(args: FanInTopKArgs): void {
  const { batch, inputs, labels, h, fanIn, columns, weights, bias } = args;
  const top = new TopK(args);
  const z = new Float64Array(batch);
  for (let label = 0; label < labels; label++) {
    forward(label, batch, inputs, fanIn, columns, weights, bias, h, z);
    top.offer(label, z);
  }
}

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
  const b0 = bias[label];
  for (let b = 0; b < batch; b++) {
    const row = b * inputs;
    let sum = b0;
    for (let s = from; s < to; s++) sum += weights[s] * h[row + columns[s]];
    z[b] = sum;
  }
}

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
  for (let b = 0; b < batch; b++) {
    const gb = g[b];
    if (gb === 0) continue; // most rows of a squared hinge
    const row = b * inputs;
    for (let k = 0; k < fanIn; k++) dw[k] += gb * h[row + columns[at + k]];
  }
}

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
  for (let b = 0; b < batch; b++) {
    const gb = g[b];
    if (gb === 0) continue;
    const row = b * inputs;
    for (let s = from; s < to; s++) dh[row + columns[s]] += gb * weights[s];
  }
}
