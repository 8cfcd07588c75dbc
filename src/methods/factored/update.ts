/** Plain SGD on W = V U + 1 omega^T after a backward pass: steps 4 to 9 of the algorithm. */
import { EspalierError } from '../../errors.js';
import type { Floats, Positives } from '../../kernels/face.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Factors } from './factors.js';
import { rowSumBound, spectralRadius, stepSpectrum } from './spectrum.js';
import type { Forward, OutputGradient } from './step.js';

/** A step takes a direction out of U instead of shrinking it below this. */
const smallestFactor = 0.1;

export interface UpdateJob {
  readonly h: Tensor;
  readonly targets: Positives;
  readonly outputs: Forward;
  readonly gradient: OutputGradient;
  /** [m, d] */
  readonly dh: Tensor;
  /** [m, m], see outputGram. */
  readonly outputGram: Tensor;
  /** W <- keep (W - rate gradient). */
  readonly rate: number;
  readonly keep: number;
}

/** What a step does to the singular values of U, known before anything is changed. */
export interface StepFactor {
  /** I - G K [m, m], inverted, in double. */
  readonly solve: Tensor;
  /** [m], 2 rate gq, the diagonal part of K. */
  readonly k: Float64Array;
  /** Directions that the step would make singular: K = diag(k) - sum_i weights_i z_i z_i^T. */
  readonly weights: Float64Array;
  /** [directions, m] */
  readonly z: Float64Array;
  /** Bounds of the other factors |1 - k_i|. */
  readonly smallest: number;
  readonly largest: number;
}

/** Prepares U <- U (I - h^T K h) without touching anything; refuses rates at which SGD itself grows. */
export function stepFactor(
  factors: Factors,
  { h, gradient, rate }: UpdateJob,
  options: { readonly allowUnstable: boolean; readonly userRate: number },
): StepFactor {
  const { device, kernels, inputs: d } = factors;
  const m = h.shape[0];
  const gram = device.temporary('workspace', [m, m]);
  const inverse = device.temporary('workspace', [m, m], 'float64');
  const solve = inverse.data as Float64Array;
  kernels.gemm({ transB: true, m, n: m, k: d, a: h.data, b: h.data, c: gram.data });
  const none = new Float64Array(0);
  const nothing = { solve: inverse, k: none, weights: none, z: none, smallest: 1, largest: 1 };
  if (device.dry) {
    device.release(gram);
    return nothing;
  }
  const k = Float64Array.from(gradient.gq.data, (gq) => 2 * rate * gq);
  timesDiagonal(m, gram.data, k, solve);
  const bound = rowSumBound(m, solve);
  const allPositive = k.every((x) => x >= 0);
  if (bound > 2 && !options.allowUnstable) checkRate(m, gram.data, solve, k, allPositive, options.userRate);
  for (let at = 0; at < m * m; at++) solve[at] = -solve[at];
  for (let i = 0; i < m; i++) solve[i * m + i] += 1;
  const largest = allPositive && bound <= 2 ? 1 : 1 + bound;
  if (bound <= 1 - smallestFactor) {
    kernels.invert(m, solve);
    device.release(gram);
    return { ...nothing, k, smallest: 1 - bound, largest };
  }
  const pivot = kernels.invert(m, solve);
  const reach = pivot > 0 ? 1.2 * spectralRadius(m, solve) : Infinity;
  if (reach < 1 / smallestFactor) {
    device.release(gram);
    return { ...nothing, k, smallest: Math.min(1, 1 / reach), largest };
  }
  const found = remedy(m, gram.data, k, solve);
  kernels.invert(m, solve);
  device.release(gram);
  return { solve: inverse, k, ...found, smallest: smallestFactor, largest };
}

/** out <- a diag(k) */
function timesDiagonal(m: number, a: Floats, k: Float64Array, out: Float64Array): void {
  for (let i = 0; i < m; i++) for (let j = 0; j < m; j++) out[i * m + j] = a[i * m + j] * k[j];
}

/** Directions with |1 - k_i| below the limit, and I - G K without them, into `solve`. */
function remedy(m: number, gram: Floats, k: Float64Array, solve: Float64Array) {
  const { values, combinations } = stepSpectrum(m, gram, k);
  const near = Array.from(values.keys()).filter((i) => Math.abs(1 - values[i]) < smallestFactor);
  const z = new Float64Array(near.length * m);
  for (const [to, i] of near.entries()) z.set(combinations.subarray(i * m, (i + 1) * m), to * m);
  // The factor 1 - k_i of such a direction becomes 1: what it lacks moves into V.
  const weights = Float64Array.from(near, (i) => values[i]);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < m; j++) solve[i * m + j] = (i === j ? 1 : 0) - gram[i * m + j] * k[j];
  }
  for (let r = 0; r < weights.length; r++) {
    const direction = z.subarray(r * m, (r + 1) * m);
    for (let i = 0; i < m; i++) {
      let image = 0;
      for (let j = 0; j < m; j++) image += gram[i * m + j] * direction[j];
      for (let j = 0; j < m; j++) solve[i * m + j] += weights[r] * image * direction[j];
    }
  }
  return { z, weights };
}

function checkRate(
  m: number,
  gram: Floats,
  product: Float64Array,
  k: Float64Array,
  allPositive: boolean,
  userRate: number,
): void {
  let largest = spectralRadius(m, product);
  // The power method does not tell a growing direction of a concave loss (fine) from one of too large a step.
  if (largest > 2 && !allPositive) largest = stepSpectrum(m, gram, k).values.at(-1) ?? 0;
  if (!(largest > 2)) return;
  throw new EspalierError({
    code: 'RATE_UNSTABLE',
    kind: 'numeric',
    op: 'FactoredOutput.step',
    problem: 'at this learning rate plain SGD overshoots: the outputs of this batch would grow at every step',
    expected: `a rate of at most ${((2 * userRate) / largest).toPrecision(4)}, 1 / the largest curvature of this batch`,
    received: userRate.toPrecision(4),
    hint: 'lower the rate, or the size of the hidden vectors (layer norm); --allow-unstable takes such steps',
  });
}

/** Changes Q, wbar, omega, U, U^-T and V; everything of the job was computed before. Returns the pass over V, if any. */
export async function applyUpdate(factors: Factors, job: UpdateJob, step: StepFactor): Promise<void> {
  const { device, kernels, inputs: d, labels } = factors;
  const { h, targets, outputs, gradient, dh, outputGram, rate, keep } = job;
  const m = h.shape[0];
  const take = (shape: number[]) => device.temporary('workspace', shape);
  const product = take([d, d]);

  // Q <- keep^2 (Q - R^T h - h^T R), R = rate dh - (rate^2 / 2) B h
  const R = take([m, d]);
  kernels.scale(m * m, (-rate * rate) / 2, outputGram.data, outputGram.data);
  kernels.gemm({ m, n: d, k: m, a: outputGram.data, b: h.data, c: R.data });
  kernels.add(m * d, R.data, dh.data, rate, R.data);
  kernels.gemm({ transA: true, m: d, n: d, k: m, a: R.data, b: h.data, c: product.data });
  kernels.accumulateSymmetric(d, { x: product.data, keep: keep * keep, alpha: -keep * keep, ...factors.Q });
  device.release(R);

  // wbar -= rate h^T (2 gq s + L gs + ybar);  omega -= rate h^T (2 gq (h omega) + gs)
  const along = take([2, m]);
  const edge = take([2, d]);
  if (!device.dry) {
    const [q, g, o] = [gradient.gq.data, gradient.sides.data, outputs.sides.data];
    for (let j = 0; j < m; j++) {
      along.data[j] = 2 * q[j] * o[2 * j] + labels * g[2 * j] + g[2 * j + 1];
      along.data[m + j] = 2 * q[j] * o[2 * j + 1] + g[2 * j];
    }
  }
  kernels.gemm({ m: 2, n: d, k: m, a: along.data, b: h.data, c: edge.data });
  kernels.accumulate(2 * d, { x: edge.data, keep, alpha: -keep * rate, ...factors.edge });
  for (const used of [along, edge]) device.release(used);

  // T_new = (I - G K)^-1 T, T = h U^-1;  U^-T <- (U^-T + T^T (K (I - G K)^-1 h)) / keep
  const T = take([m, d]);
  const fresh = take([m, d]);
  const small = take([m, m]);
  const right = take([m, d]);
  const moved = step.weights.length;
  kernels.gemm({ transB: true, m, n: d, k: d, a: h.data, b: factors.inverse, c: T.data });
  if (!device.dry) small.data.set(step.solve.data);
  kernels.gemm({ m, n: d, k: m, a: small.data, b: T.data, c: fresh.data });
  if (!device.dry) kTimesSolve(m, step, small.data);
  kernels.gemm({ m, n: d, k: m, a: small.data, b: h.data, c: right.data });
  kernels.gemm({
    ...{ transA: true, m: d, n: d, k: m, accumulate: true },
    ...{ a: T.data, b: right.data, c: factors.inverse },
  });
  if (keep !== 1) kernels.scale(d * d, 1 / keep, factors.inverse, factors.inverse);

  // U <- keep (U - (h U^T)^T K h)
  const minus = take([m]);
  if (!device.dry) for (let j = 0; j < m; j++) minus.data[j] = -step.k[j];
  kernels.scaleRows(m, d, h.data, minus.data, right.data, false);
  if (moved > 0) await moveDirections(factors, job, step, fresh, right);
  kernels.gemm({ transA: true, m: d, n: d, k: m, a: outputs.hU.data, b: right.data, c: product.data });
  kernels.accumulate(d * d, { x: product.data, keep, alpha: keep, ...factors.U });

  // V -= rate Y T_new, target rows only
  kernels.pairScatter({
    ...{ count: targets.count, label: targets.label, row: targets.row },
    ...{ labels, rows: m, dim: d, table: factors.V },
    ...{ alpha: -rate, coefficients: gradient.ga.data, x: fresh.data },
  });
  for (const used of [product, T, fresh, small, right, minus]) device.release(used);
}

/** out [m, m] <- K solve */
function kTimesSolve(m: number, { solve: { data: solve }, k, z, weights }: StepFactor, out: Floats): void {
  for (let i = 0; i < m; i++) for (let j = 0; j < m; j++) out[i * m + j] = k[i] * solve[i * m + j];
  for (let r = 0; r < weights.length; r++) {
    const row = new Float64Array(m);
    for (let i = 0; i < m; i++) for (let j = 0; j < m; j++) row[j] += z[r * m + i] * solve[i * m + j];
    for (let i = 0; i < m; i++) {
      const factor = weights[r] * z[r * m + i];
      for (let j = 0; j < m; j++) out[i * m + j] -= factor * row[j];
    }
  }
}

/**
 * The directions e = z h that the step would shrink to (almost) nothing: -K h keeps them in U, and V takes the factor
 * instead, V <- V - w (V U e) (U_new^-T e)^T. Exact for any e, because U_new^-T is that of the U that keeps it.
 */
async function moveDirections(
  factors: Factors,
  { h, targets, outputs }: UpdateJob,
  { z, weights }: StepFactor,
  fresh: Tensor,
  minusKh: Tensor,
): Promise<void> {
  const { device, kernels, inputs: d } = factors;
  const m = h.shape[0];
  const rank = weights.length;
  const [left, right, e] = [0, 1, 2].map(() => device.temporary('workspace', [rank, d]));
  const rows = device.temporary('workspace', [rank, m]);
  rows.data.set(z);
  kernels.gemm({ m: rank, n: d, k: m, a: rows.data, b: fresh.data, c: right.data });
  kernels.gemm({ m: rank, n: d, k: m, a: rows.data, b: h.data, c: e.data });
  for (let r = 0; r < rank; r++) for (let j = 0; j < m; j++) rows.data[r * m + j] *= weights[r];
  kernels.gemm({
    transA: true,
    m,
    n: d,
    k: rank,
    a: rows.data,
    b: e.data,
    c: minusKh.data,
    accumulate: true,
  });
  for (let at = 0; at < rank * m; at++) rows.data[at] = -rows.data[at];
  kernels.gemm({ m: rank, n: d, k: m, a: rows.data, b: outputs.hU.data, c: left.data });
  await factors.change(rank, left.data, right.data);
  await factors.settle(targets.count, targets.label);
  for (const used of [left, right, e, rows]) device.release(used);
}
