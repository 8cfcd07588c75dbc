/** Predictions through the two factors: h is mixed once, z = U h, then V z + omega . h; W never exists. */
import type { Floats } from '../../kernels/face.js';
import { noLabel } from '../../kernels/no-label.js';
import { checkTopK } from '../../output/check.js';
import type { TopK } from '../../output/layer.js';
import { overSlabs, slabLabels } from '../../output/slabs.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Factors } from './factors.js';

/** h U^T [B, d], and omega . h per row [B, 1]. */
function mixed(factors: Factors, h: Tensor): { readonly z: Tensor; readonly shift: Tensor } {
  const { device, kernels, inputs: d, U, edge } = factors;
  const m = h.shape[0];
  const z = device.temporary('workspace', [m, d]);
  const shift = device.temporary('workspace', [m, 1]);
  kernels.gemm({ transB: true, m, n: d, k: d, a: h.data, b: U.copy, c: z.data });
  kernels.gemm({ transB: true, m, n: 1, k: d, a: h.data, b: edge.copy.subarray(d, 2 * d), c: shift.data });
  return { z, shift };
}

/** Outputs [B, L]: for small layers. */
export function allScores(factors: Factors, h: Tensor): Tensor {
  const scratch = factors.settledScratch(factors.labels);
  const out = against(factors, h, factors.settled(0, factors.labels, scratch), factors.labels);
  if (scratch !== null) factors.device.release(scratch);
  return out;
}

/** Outputs [B, n] of some labels, in their order. */
export function someScores(factors: Factors, h: Tensor, labels: Uint32Array): Tensor {
  const { device, inputs: d } = factors;
  const one = factors.settledScratch(1);
  const rows = device.temporary('workspace', [labels.length, d]);
  for (const [i, label] of device.dry ? [] : labels.entries()) {
    rows.data.set(factors.settled(label, label + 1, one), i * d);
  }
  const out = against(factors, h, rows.data, labels.length);
  for (const used of [rows, one]) if (used !== null) device.release(used);
  return out;
}

function against(factors: Factors, h: Tensor, rows: Floats, n: number): Tensor {
  const { device, kernels, inputs: d } = factors;
  const m = h.shape[0];
  const out = device.temporary('activations', [m, n]);
  const { z, shift } = mixed(factors, h);
  kernels.gemm({ transB: true, m, n, k: d, a: z.data, b: rows, c: out.data });
  if (!device.dry) {
    for (let j = 0; j < m; j++) for (let at = j * n; at < (j + 1) * n; at++) out.data[at] += shift.data[j];
  }
  for (const used of [z, shift]) device.release(used);
  return out;
}

/** The best k labels of every row: O(L d) per row. */
export async function topFactored(factors: Factors, h: Tensor, k: number): Promise<TopK> {
  const { device, labels } = factors;
  const { z, shift } = mixed(factors, h);
  const scratch = factors.settledScratch(topSlab(device, labels, z));
  const best = await topLabels(device, labels, z, k, (begin, end) => factors.settled(begin, end, scratch));
  for (let j = 0; j < h.shape[0] && !device.dry; j++) {
    for (let at = j * k; at < (j + 1) * k; at++) best.scores[at] += shift.data[j];
  }
  for (const used of [z, shift, scratch]) if (used !== null) device.release(used);
  return best;
}

const tile = 64;

/** Labels per slab: about 30 ms of work, and no more than some megabytes of weights. */
function topSlab({ kernels }: Device, labels: number, h: Tensor): number {
  const [m, d] = h.shape;
  const slab = slabLabels({
    labels,
    chunk: tile,
    threads: kernels.threads,
    flopsPerLabel: 2 * m * d,
    slow: kernels.name.startsWith('reference'),
  });
  return Math.max(tile, Math.min(slab, tile * Math.ceil(2 ** 22 / d / tile)));
}

/** The best k of `labels` rows for every row of h, slab by slab; `rows` gives rows [begin, end). */
export async function topLabels(
  device: Device,
  labels: number,
  h: Tensor,
  k: number,
  rows: (begin: number, end: number) => Floats,
): Promise<Best> {
  checkTopK(k);
  const { kernels } = device;
  const [m, d] = h.shape;
  const shape = { batch: m, inputs: d, labels, chunk: tile, fanIn: 0 };
  const workspace = device.temporary('workspace', [kernels.topKWorkspace(shape, k)]);
  const floats = () => (device.precision === 'float32' ? new Float32Array(m * k) : new Float64Array(m * k));
  const best: Best = { k, labels: new Uint32Array(m * k).fill(noLabel), scores: floats().fill(-Infinity) };
  const part: Best = { k, labels: new Uint32Array(m * k), scores: floats() };
  await overSlabs(labels, topSlab(device, labels, h), (begin, end) => {
    kernels.denseTopK({
      ...{ batch: m, inputs: d, labels: end - begin, k },
      ...{ h: h.data, weights: rows(begin, end), bias: null },
      ...{ topLabels: part.labels, topScores: part.scores, workspace: workspace.data },
    });
    if (!device.dry) for (let j = 0; j < m; j++) mergeRow(best, part, j * k, begin);
    return 0;
  });
  device.release(workspace);
  return best;
}

export interface Best extends TopK {
  readonly scores: Floats;
}

/** Labels of `part` come after all of `best`, so ties keep those; a NaN is worse than everything else. */
function mergeRow(best: Best, part: Best, at: number, offset: number): void {
  const { k } = best;
  const oldLabels = best.labels.slice(at, at + k);
  const oldScores = best.scores.slice(at, at + k);
  let i = 0;
  let j = 0;
  for (let to = at; to < at + k; to++) {
    const none = part.labels[at + j] === noLabel;
    const [a, b] = [oldScores[i], part.scores[at + j]];
    const keeps = none || (oldLabels[i] !== noLabel && !(b > a || (Number.isNaN(a) && !Number.isNaN(b))));
    best.labels[to] = keeps ? oldLabels[i] : part.labels[at + j] + offset;
    best.scores[to] = keeps ? a : b;
    if (keeps) i++;
    else j++;
  }
}
