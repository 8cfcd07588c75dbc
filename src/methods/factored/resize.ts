/** Labels that come, go and move: V row by row, Q and wbar by exactly what changed. */
import { ensure } from '../../errors.js';
import type { Floats } from '../../kernels/face.js';
import type { RandomStream } from '../../kernels/random.js';
import { checkLabelMap } from '../../output/check.js';
import type { Factors } from './factors.js';

/** New label j continues old label map[j]; -1 draws weights within +-bound. */
export function resizedFactors(factors: Factors, map: Int32Array, stream: RandomStream, bound: number): void {
  const { device, inputs: d } = factors;
  const before = factors.labels;
  ensure(map.length > 0, () => ({
    code: 'FACTORED_SIZE',
    kind: 'usage',
    op: 'resizeLabels',
    problem: 'no label would be left',
    expected: 'at least 1 label',
    received: '0',
  }));
  checkLabelMap(map, before);
  factors.settleAllNow();
  const copies = new Int32Array(before);
  for (const from of map) if (from >= 0) copies[from]++;
  const gone: number[] = [];
  for (let l = 0; l < before; l++) if (copies[l] !== 1) gone.push(l);
  count(factors, gone, (l) => copies[l] - 1);

  const old = factors.V;
  const fresh: number[] = [];
  factors.V = device.persistent('weights', [map.length, d]).data;
  for (let j = 0; j < map.length; j++) {
    if (map[j] < 0) fresh.push(j);
    else if (!device.dry) factors.V.set(old.subarray(map[j] * d, (map[j] + 1) * d), j * d);
  }
  device.allocator.release('weights', old);
  factors.labels = map.length;
  drawRows(factors, fresh, stream, bound);
  count(factors, fresh, () => 1);
}

/** Labels take given weights [n, d]; Q and wbar lose the old ones and gain these. */
export function startedFactors(factors: Factors, labels: Uint32Array, weights: Floats): void {
  if (factors.device.dry || labels.length === 0) return;
  factors.settleAllNow();
  const rows = Array.from(labels);
  count(factors, rows, () => -1);
  putRows(factors, rows, (out) => out.set(weights));
  count(factors, rows, () => 1);
}

function drawRows(factors: Factors, rows: readonly number[], stream: RandomStream, bound: number): void {
  const n = rows.length * factors.inputs;
  const key = stream.reserve(n);
  if (factors.device.dry || rows.length === 0) return;
  putRows(factors, rows, (out) => factors.kernels.uniform({ ...key, n, low: -bound, high: bound, out }));
}

/** Rows of V for weights [n, d] that `fill` writes: v = (w - omega) U^-1. */
function putRows(factors: Factors, rows: readonly number[], fill: (out: Floats) => void): void {
  const { device, kernels, inputs: d, inverse, edge } = factors;
  const given = device.temporary('workspace', [rows.length, d]);
  const turned = device.temporary('workspace', [rows.length, d]);
  const n = rows.length * d;
  fill(given.data);
  for (let i = 0; i < n; i++) given.data[i] -= edge.master[d + (i % d)];
  kernels.gemm({ transB: true, m: rows.length, n: d, k: d, a: given.data, b: inverse, c: turned.data });
  for (const [i, row] of rows.entries()) {
    factors.V.set(turned.data.subarray(i * d, (i + 1) * d), row * d);
  }
  for (const used of [given, turned]) device.release(used);
}

/** Q += sum of times(l) w_l^T w_l, wbar += sum of times(l) w_l, over some labels. */
function count(factors: Factors, labels: readonly number[], times: (label: number) => number): void {
  const { device, kernels, inputs: d, edge } = factors;
  const rows = Math.min(factors.slabRows, labels.length);
  if (device.dry || rows === 0) return;
  const take = (shape: number[]) => device.temporary('workspace', shape);
  const [v, w, scaled] = [0, 1, 2].map(() => take([rows, d]));
  const factor = take([rows]);
  const product = take([d, d]);
  for (let begin = 0; begin < labels.length; begin += rows) {
    const some = labels.slice(begin, begin + rows);
    for (const [i, label] of some.entries()) {
      v.data.set(factors.V.subarray(label * d, (label + 1) * d), i * d);
      factor.data[i] = times(label);
    }
    factors.weightsInto(v.data, some.length, w.data);
    kernels.scaleRows(some.length, d, w.data, factor.data, scaled.data, false);
    factors.addToGram(w.data, scaled.data, some.length, product.data);
    for (let i = 0; i < some.length; i++) {
      for (let j = 0; j < d; j++) edge.master[j] += scaled.data[i * d + j];
    }
  }
  edge.copy.set(edge.master);
  for (const used of [v, w, scaled, factor, product]) device.release(used);
}
