/**
 * One step of section 2.1 of the design: what the losses need, the gradient to the hidden vectors, and plain SGD on W
 * by changes of rank m to U, U^-T, Q, omega and wbar and to the target rows of V. Rows of h are examples:
 * h = H^T [m, d]. Vincent et al. 2015, algorithm of section 3, in the general form for minibatches.
 */
import type { Floats, Positives } from '../../kernels/face.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Factors } from './factors.js';
import type { LossExample, SphericalLoss } from './losses.js';

/** Everything about the outputs of a batch that a spherical loss sees. */
export interface Forward {
  /** [m, d], h Q */
  readonly hQ: Tensor;
  /** [m, d], h U^T */
  readonly hU: Tensor;
  /** [m, m], h Q h^T: inner products of the outputs of two examples; q on its diagonal. */
  readonly overlaps: Tensor;
  /** [m, 2], s = h . wbar, and h . omega. */
  readonly sides: Tensor;
  /** [count], outputs at the targets, without h . omega. */
  readonly atTargets: Tensor;
}

export async function forward(factors: Factors, h: Tensor, targets: Positives): Promise<Forward> {
  const { device, kernels, inputs: d } = factors;
  const m = h.shape[0];
  const take = (shape: number[]) => device.temporary('workspace', shape);
  const made = {
    hQ: take([m, d]),
    hU: take([m, d]),
    overlaps: take([m, m]),
    sides: take([m, 2]),
    atTargets: take([targets.count]),
  };
  await factors.settle(targets.count, targets.label);
  kernels.gemm({ m, n: d, k: d, a: h.data, b: factors.Q.copy, c: made.hQ.data });
  kernels.gemm({ transB: true, m, n: d, k: d, a: h.data, b: factors.U.copy, c: made.hU.data });
  kernels.gemm({ transB: true, m, n: m, k: d, a: made.hQ.data, b: h.data, c: made.overlaps.data });
  kernels.gemm({ transB: true, m, n: 2, k: d, a: h.data, b: factors.edge.copy, c: made.sides.data });
  kernels.pairDots({
    ...pairs(targets),
    labels: factors.labels,
    rows: m,
    dim: d,
    table: factors.V,
    x: made.hU.data,
    out: made.atTargets.data,
  });
  return made;
}

const pairs = ({ count, label, row }: Positives) => ({ count, label, row });

/** The derivatives of the loss of a batch, times `gradScale`. */
export interface OutputGradient {
  /** Sum over examples, unscaled. */
  readonly loss: number;
  /** [m] by q */
  readonly gq: Tensor;
  /** [m, 2], by s, and the sum of those by a. */
  readonly sides: Tensor;
  /** [count] by the outputs at the targets. */
  readonly ga: Tensor;
}

export function lossOf(
  device: Device,
  loss: SphericalLoss,
  labels: number,
  batch: number,
  targets: Positives,
  { overlaps, sides, atTargets }: Forward,
  gradScale: number,
): OutputGradient {
  const gq = device.temporary('workspace', [batch]);
  const gs = device.temporary('workspace', [batch, 2]);
  const ga = device.temporary('workspace', [targets.count]);
  if (device.dry) return { loss: 0, gq, sides: gs, ga };
  const total = eachExample(loss, labels, batch, targets, {
    q: (j) => overlaps.data[j * batch + j],
    s: (j) => sides.data[2 * j],
    a: (i) => atTargets.data[i] + sides.data[2 * targets.row[i] + 1],
    take(j, example, first, order) {
      let sum = 0;
      for (let k = 0; k < example.count; k++) {
        ga.data[order[first + k]] = gradScale * example.da[k];
        sum += example.da[k];
      }
      gq.data[j] = gradScale * example.dq;
      gs.data[2 * j] = gradScale * example.ds;
      gs.data[2 * j + 1] = gradScale * sum;
    },
  });
  return { loss: total, gq, sides: gs, ga };
}

/** Runs the loss over the examples of a batch; returns its sum. Targets of one example come in the order of labels. */
export function eachExample(
  loss: SphericalLoss,
  labels: number,
  batch: number,
  { count, row, values }: Positives,
  how: {
    q(example: number): number;
    s(example: number): number;
    /** Output at pair i. */
    a(pair: number): number;
    take(index: number, example: LossExample, first: number, order: Uint32Array): void;
  },
): number {
  const start = new Uint32Array(batch + 1);
  for (let i = 0; i < count; i++) start[row[i] + 1]++;
  let most = 0;
  for (let j = 0; j < batch; j++) {
    most = Math.max(most, start[j + 1]);
    start[j + 1] += start[j];
  }
  const order = new Uint32Array(count);
  const next = start.slice();
  for (let i = 0; i < count; i++) order[next[row[i]]++] = i;
  const numbers = () => new Float64Array(most);
  const example: LossExample = {
    ...{ q: 0, s: 0, labels, count: 0, a: numbers(), t: numbers() },
    ...{ value: 0, dq: 0, ds: 0, da: numbers() },
  };
  let total = 0;
  for (let j = 0; j < batch; j++) {
    example.q = how.q(j);
    example.s = how.s(j);
    example.count = start[j + 1] - start[j];
    for (let k = 0; k < example.count; k++) {
      const i = order[start[j] + k];
      example.a[k] = how.a(i);
      example.t[k] = values == null ? 1 : values[i];
    }
    loss.of(example);
    total += example.value;
    how.take(j, example, start[j], order);
  }
  return total;
}

/**
 * Z = gs wbar^T + (Y^T V) U + ybar omega^T, and dh = 2 diag(gq) h Q + Z, both [m, d]; Y [L, m] holds ga at the
 * targets.
 */
export function backward(
  factors: Factors,
  batch: number,
  targets: Positives,
  { hQ }: Forward,
  { gq, sides, ga }: OutputGradient,
): { readonly Z: Tensor; readonly dh: Tensor } {
  const { device, kernels, inputs: d } = factors;
  const dh = device.temporary('gradients', [batch, d]);
  const Z = device.temporary('workspace', [batch, d]);
  const gathered = device.temporary('workspace', [batch, d]);
  const m = batch;
  kernels.pairGather({
    ...pairs(targets),
    labels: factors.labels,
    rows: m,
    dim: d,
    table: factors.V,
    coefficients: ga.data,
    out: gathered.data,
  });
  kernels.gemm({ m, n: d, k: d, a: gathered.data, b: factors.U.copy, c: Z.data });
  kernels.gemm({ m, n: d, k: 2, a: sides.data, b: factors.edge.copy, c: Z.data, accumulate: true });
  if (!device.dry) for (let j = 0; j < m; j++) gq.data[j] *= 2;
  kernels.scaleRows(m, d, hQ.data, gq.data, dh.data, false);
  if (!device.dry) for (let j = 0; j < m; j++) gq.data[j] /= 2;
  kernels.add(m * d, dh.data, Z.data, 1, dh.data);
  device.release(gathered);
  return { Z, dh };
}

/**
 * B = G^T G [m, m] of the derivatives G [L, m] by the outputs:
 * 4 diag(gq) h Q h^T diag(gq) + L gs gs^T + Y^T Y + gs ybar^T + ybar gs^T + 2 diag(gq) h Z^T + (2 diag(gq) h Z^T)^T.
 */
export function outputGram(
  factors: Factors,
  h: Tensor,
  targets: Positives,
  { overlaps }: Forward,
  { gq, sides, ga }: OutputGradient,
  Z: Tensor,
): Tensor {
  const { device, kernels, inputs: d, labels } = factors;
  const m = h.shape[0];
  const gram = device.temporary('workspace', [m, m]);
  const cross = device.temporary('workspace', [m, m]);
  kernels.gemm({ transB: true, m, n: m, k: d, a: h.data, b: Z.data, c: cross.data });
  if (!device.dry) {
    crossTerms(m, labels, gq.data, sides.data, overlaps.data, cross.data, gram.data);
    addTargetGram(targets, ga.data, m, gram.data);
  }
  device.release(cross);
  return gram;
}

/** B without Y^T Y; x = h Z^T. */
function crossTerms(
  m: number,
  labels: number,
  q: Floats,
  sides: Floats,
  overlaps: Floats,
  x: Floats,
  B: Floats,
): void {
  for (let j = 0; j < m; j++) {
    const qj = q[j];
    const sj = sides[2 * j];
    const yj = labels * sj + sides[2 * j + 1];
    for (let k = j; k < m; k++) {
      const at = j * m + k;
      const turned = k * m + j;
      const direct = 4 * qj * q[k] * overlaps[at] + yj * sides[2 * k] + sj * sides[2 * k + 1];
      const value = direct + 2 * (qj * x[at] + q[k] * x[turned]);
      B[at] = value;
      B[turned] = value;
    }
  }
}

/** B += Y^T Y: pairs of examples that share a label. */
function addTargetGram({ count, label, row }: Positives, ga: Floats, m: number, B: Floats): void {
  for (let first = 0; first < count; ) {
    let end = first + 1;
    while (end < count && label[end] === label[first]) end++;
    for (let i = first; i < end; i++) {
      for (let k = first; k < end; k++) B[row[i] * m + row[k]] += ga[i] * ga[k];
    }
    first = end;
  }
}
