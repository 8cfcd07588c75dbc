import type { Floats } from '../face.js';
import type { Rounding } from './case.testing.js';
import {
  GRAD_SCALE,
  type StepData,
  type StepShape,
  slabsOf,
  UPDATE_SCALE,
  widthOf,
} from './output-shape.testing.js';
import { RULES, updateErrors } from './update.testing.js';

/** Backends may hold e^-|z| still from here on: nothing to any sum that it enters. */
const VANISHED = Math.exp(-60);
/** Losses that a backend may add up in one register before it turns to doubles. */
const RUN = 40;

/** log Z of a row, and how far it may be off: by the logits', the sum's and its own rounding. */
interface LogSum {
  readonly value: number;
  readonly error: number;
  /** Of a positive; 0 in a row without one. */
  readonly share: number;
}

function logSumOf(z: ArrayLike<number>, dz: ArrayLike<number>, share: number, rounding: Rounding): LogSum {
  let max = -Infinity;
  let worst = 0;
  let sum = 0;
  for (let l = 0; l < z.length; l++) max = Math.max(max, z[l]);
  for (let l = 0; l < z.length; l++) {
    const p = Math.exp(z[l] - max);
    sum += p;
    worst += p * (dz[l] + 8 * rounding.unit + 2 * rounding.unit * (max - z[l]));
  }
  const value = max + Math.log(sum);
  const error = worst / sum + rounding.sum(z.length + 8) + 2 * rounding.unit * Math.abs(value) + VANISHED;
  return { value, error, share };
}

/** How far one logit's G = dLoss/dz and loss may be off when z may be off by dz; first order. */
function logitErrors(
  loss: StepShape['loss'],
  positive: boolean,
  z: number,
  dz: number,
  unit: number,
  norm: LogSum | null,
) {
  if (norm !== null) {
    // p = e^-below, G = p - share at a positive; loss = share below
    if (norm.share === 0) return { g: 0, dg: VANISHED, dLoss: 0 };
    const below = norm.value - z;
    const off = dz + norm.error + 2 * unit * (Math.abs(below) + Math.abs(norm.value));
    const p = Math.exp(-below);
    const y = positive ? norm.share : 0;
    return {
      g: p - y,
      dg:
        p * (Math.expm1(Math.min(1, off)) + 8 * unit + 2 * unit * Math.abs(below)) + 2 * unit * y + VANISHED,
      dLoss: y * (off + (RUN + 8) * unit * Math.abs(below)) + VANISHED,
    };
  }
  const s = positive ? 1 : -1;
  if (loss === 'bce') {
    // G = -s sigmoid(-s z), |G'| = |G| (1 - |G|), |G''| < 0.1; loss' = G
    const g = -s / (1 + Math.exp(s * z));
    const size = Math.abs(g);
    const value = Math.max(-s * z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
    return {
      g,
      dg: dz * (size * (1 - size) + 0.1 * dz) + 8 * unit * size + VANISHED,
      dLoss: dz * (size + dz) + (RUN + 8) * unit * value + VANISHED,
    };
  }
  // G = -2 s r, r = max(0, 1 - s z); loss = r^2
  const r = Math.max(0, 1 - s * z);
  const dr = dz + 2 * unit * (1 + Math.abs(z));
  return { g: -2 * s * r, dg: 2 * dr + 2 * unit * r, dLoss: 2 * r * dr + dr * dr + (RUN + 2) * unit * r * r };
}

/** One logit, and how far its sum may be off. */
function logitOf(shape: StepShape, data: StepData, rounding: Rounding, label: number, b: number) {
  const { inputs, fanIn } = shape;
  const { h, columns, weights, bias } = data;
  const width = widthOf(shape);
  let z = bias.w[label];
  let size = Math.abs(z);
  for (let k = 0; k < width; k++) {
    const column = fanIn === 0 ? k : columns[label * fanIn + k];
    const term = weights.w[label * width + k] * h[b * inputs + column];
    z += term;
    size += Math.abs(term);
  }
  return { z, dz: rounding.sum(width + 1) * size };
}

function logSums(shape: StepShape, data: StepData, rounding: Rounding): LogSum[] {
  const positives = new Uint32Array(shape.batch);
  for (const row of data.positives.row) positives[row]++;
  return Array.from(positives, (n, b) => {
    const all = Array.from({ length: shape.labels }, (_, l) => logitOf(shape, data, rounding, l, b));
    const share = n === 0 ? 0 : 1 / n;
    return logSumOf(
      all.map(({ z }) => z),
      all.map(({ dz }) => dz),
      share,
      rounding,
    );
  });
}

/**
 * The errors of a whole output step that rounding explains: those of the logits (gamma_n of their sum) carried
 * through loss, gradients and update, each adding its own.
 */
export function stepErrors(
  shape: StepShape,
  data: StepData,
  rounding: Rounding,
): Record<string, Floats | number> {
  const { batch, inputs, labels, fanIn } = shape;
  const { h, columns, weights, bias, positives } = data;
  const { unit } = rounding;
  const width = widthOf(shape);
  const rule = shape.rule === null ? null : RULES[shape.rule];
  const out = {
    loss: 0,
    dh: new Float64Array(batch * inputs),
    dWeights: new Float64Array(labels * width),
    dBias: new Float64Array(labels),
    squares: new Float64Array(2),
    weights: new Float64Array(labels * width),
    weightM: new Float64Array(labels * width),
    weightV: new Float64Array(labels * width),
    bias: new Float64Array(labels),
    biasM: new Float64Array(labels),
    biasV: new Float64Array(labels),
  };
  const occurrences = new Uint32Array(inputs);
  for (let s = 0; s < labels * width; s++) occurrences[fanIn === 0 ? s % inputs : columns[s]]++;
  // Private sums of threads and slabs are added up at the end.
  const perInput = rounding.sum(
    occurrences.reduce((most, n) => Math.max(most, n), 0) + slabsOf(shape).length + 8,
  );
  const perWeight = rounding.sum(batch + 4);
  const positive = new Set<number>();
  for (let i = 0; i < positives.count; i++) positive.add(positives.label[i] * batch + positives.row[i]);

  const norms = shape.loss === 'softmax' ? logSums(shape, data, rounding) : null;
  const dw = new Float64Array(width);
  const dwError = new Float64Array(width);
  for (let label = 0; label < labels; label++) {
    let db = 0;
    let dbError = 0;
    dw.fill(0);
    dwError.fill(0);
    const column = (k: number) => (fanIn === 0 ? k : columns[label * fanIn + k]);
    for (let b = 0; b < batch; b++) {
      const { z, dz } = logitOf(shape, data, rounding, label, b);
      const isPositive = positive.has(label * batch + b);
      const norm = norms === null ? null : norms[b];
      const { g, dg, dLoss } = logitErrors(shape.loss, isPositive, z, dz, unit, norm);
      out.loss += dLoss;
      db += g;
      dbError += dg + perWeight * Math.abs(g);
      for (let k = 0; k < width; k++) {
        const x = h[b * inputs + column(k)];
        dw[k] += g * x;
        dwError[k] += dg * Math.abs(x) + perWeight * Math.abs(g * x);
        const w = Math.abs(weights.w[label * width + k]);
        out.dh[b * inputs + column(k)] += GRAD_SCALE * w * (dg + perInput * Math.abs(g));
      }
    }
    for (let k = 0; k < width; k++) one(label * width + k, GRAD_SCALE * dw[k], GRAD_SCALE * dwError[k], true);
    one(label, GRAD_SCALE * db, GRAD_SCALE * dbError, false);
  }
  if (norms === null) return out;
  return { ...out, norms: Float64Array.from([...norms.map(({ error }) => error), ...norms.map(() => unit)]) };

  /** One weight (or bias), its gradient and the error of that. */
  function one(i: number, gradient: number, error: number, isWeight: boolean): void {
    (isWeight ? out.dWeights : out.dBias)[i] = error + unit * Math.abs(gradient);
    out.squares[isWeight ? 0 : 1] +=
      (2 * Math.abs(gradient) + error) * error + 6 * unit * gradient * gradient;
    if (rule === null) return;
    const { w, m, v } = isWeight ? weights : bias;
    const scaled = UPDATE_SCALE * gradient;
    const e = updateErrors(
      rule,
      isWeight,
      rounding,
      w[i],
      m?.[i] ?? 0,
      v?.[i] ?? 0,
      scaled,
      UPDATE_SCALE * error,
    );
    (isWeight ? out.weights : out.bias)[i] = e.w;
    (isWeight ? out.weightM : out.biasM)[i] = e.m;
    (isWeight ? out.weightV : out.biasV)[i] = e.v;
  }
}
