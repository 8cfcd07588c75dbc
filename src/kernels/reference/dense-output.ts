import type { DenseStepArgs, DenseTopKArgs, Floats } from '../face.js';
import { steppingBf16, weightsOf } from './bf16.js';
import { useLabelGradient } from './label-update.js';
import { LabelLosses } from './loss.js';
import { TopK } from './top-k.js';

/**
 * One slab of a dense output step, label by label:
 *   z_b = bias_l + w_l . h_b,   dw_l = sum_b G_bl h_b,   dbias_l = sum_b G_bl,   dh_b = sum_l G_bl w_l
 * dh takes the weights before their update, and is its own private sum, as in the fan-in step.
 */
export function denseStep(args: DenseStepArgs): number {
  const { begin, end, inputs } = args;
  return steppingBf16(args, begin * inputs, end * inputs, wideStep);
}

function wideStep(args: DenseStepArgs): number {
  const { batch, inputs, begin, end, h, dh, weights, bias, gradScale, backward } = args;
  const losses = new LabelLosses(args);
  const z = new Float64Array(batch);
  const dw = new Float64Array(inputs);
  const db = new Float64Array(1);
  if (backward && dh !== null && begin === 0) dh.fill(0, 0, batch * inputs);
  let loss = 0;
  for (let label = begin; label < end; label++) {
    forward(label, batch, inputs, weights, bias, h, z);
    loss += losses.of(label, z, gradScale);
    if (!backward) continue;
    db[0] = 0;
    dw.fill(0);
    for (let b = 0; b < batch; b++) {
      const gb = z[b];
      if (gb === 0) continue; // most rows of a squared hinge
      db[0] += gb;
      addScaled(inputs, gb, h, b * inputs, dw, 0);
      if (dh !== null) addScaled(inputs, gb, weights, label * inputs, dh, b * inputs);
    }
    useLabelGradient(args, weights, bias, label, dw, db);
  }
  return loss;
}

export function denseTopK(args: DenseTopKArgs): void {
  const { batch, inputs, labels, h, bias } = args;
  const weights = weightsOf(args);
  const top = new TopK(args);
  const z = new Float64Array(batch);
  for (let label = 0; label < labels; label++) {
    forward(label, batch, inputs, weights, bias, h, z);
    top.offer(label, z);
  }
}

/** z_b = bias_l + sum_j w_lj h_bj, four rows at a time so that their additions overlap; j ascending in each. */
function forward(
  label: number,
  batch: number,
  inputs: number,
  weights: Floats,
  bias: Floats | null,
  h: Floats,
  z: Float64Array,
): void {
  const at = label * inputs;
  const b0 = bias === null ? 0 : bias[label];
  let b = 0;
  for (; b + 4 <= batch; b += 4) {
    const h0 = b * inputs;
    const h1 = h0 + inputs;
    const h2 = h1 + inputs;
    const h3 = h2 + inputs;
    let s0 = b0;
    let s1 = b0;
    let s2 = b0;
    let s3 = b0;
    for (let j = 0; j < inputs; j++) {
      const w = weights[at + j];
      s0 += w * h[h0 + j];
      s1 += w * h[h1 + j];
      s2 += w * h[h2 + j];
      s3 += w * h[h3 + j];
    }
    z[b] = s0;
    z[b + 1] = s1;
    z[b + 2] = s2;
    z[b + 3] = s3;
  }
  for (; b < batch; b++) {
    const row = b * inputs;
    let s = b0;
    for (let j = 0; j < inputs; j++) s += weights[at + j] * h[row + j];
    z[b] = s;
  }
}

/** y[yAt + j] += alpha x[xAt + j] */
function addScaled(n: number, alpha: number, x: Floats, xAt: number, y: Floats, yAt: number): void {
  for (let j = 0; j < n; j++) y[yAt + j] += alpha * x[xAt + j];
}
