import { describe, expect, it } from 'vitest';
import { EspalierError } from '../../errors.js';
import { Data } from '../conformance/case.testing.js';
import type { Floats, UpdateRule } from '../face.js';
import { referenceKernels } from './index.js';

const kernels = referenceKernels('float64');
const random = (name: string, n: number, size = 1) => Float64Array.from(new Data(name).floats(n, size));

/** d/dx_i of sum(weight * y), y as computed by `forward`, by central differences. */
function slopesOf(x: Float64Array, weight: Float64Array, forward: () => Float64Array): Float64Array {
  const step = 1e-6;
  const value = () => forward().reduce((sum, y, i) => sum + weight[i] * y, 0);
  return x.map((held, i) => {
    x[i] = held + step;
    const above = value();
    x[i] = held - step;
    const below = value();
    x[i] = held;
    return (above - below) / (2 * step);
  });
}

function expectClose(actual: Floats, expected: Floats, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  let worst = 0;
  for (let i = 0; i < actual.length; i++) worst = Math.max(worst, Math.abs(actual[i] - expected[i]));
  expect(worst).toBeLessThan(tolerance);
}

describe('gemm', () => {
  it('is the triple loop of the formula, bit for bit, for all transposes', () => {
    const [m, n, k] = [5, 7, 11];
    const a = random('a', m * k);
    const b = random('b', k * n);
    const start = random('c', m * n);
    const bias = random('bias', n);
    for (const [transA, transB] of [
      [false, false],
      [false, true],
      [true, false],
      [true, true],
    ]) {
      const expected = start.map((c, at) => {
        const [i, j] = [Math.floor(at / n), at % n];
        let sum = 0;
        for (let p = 0; p < k; p++)
          sum += (transA ? a[p * m + i] : a[i * k + p]) * (transB ? b[j * k + p] : b[p * n + j]);
        return Math.max(sum + bias[j] + c, 0);
      });
      const c = start.slice();
      kernels.gemm({ m, n, k, a, b, c, transA, transB, bias, accumulate: true, activation: 'relu' });
      expect(c).toEqual(expected);
    }
  });
});

describe('bags', () => {
  const [rows, vocab, dim] = [4, 6, 3];
  const indptr = Int32Array.of(0, 2, 2, 5, 7);
  // Column 3 twice in row 2, column 5 in two rows, row 1 empty.
  const indices = Uint32Array.of(5, 0, 3, 1, 3, 5, 0);
  const values = random('values', 7);

  it('multiply by the sparse matrix, repeated columns counted twice', () => {
    const table = random('table', vocab * dim);
    const x = new Float64Array(rows * vocab);
    for (let i = 0; i < rows; i++)
      for (let e = indptr[i]; e < indptr[i + 1]; e++) x[i * vocab + indices[e]] += values[e];
    const expected = new Float64Array(rows * dim);
    kernels.gemm({ m: rows, n: dim, k: vocab, a: x, b: table, c: expected });
    const out = new Float64Array(rows * dim);
    kernels.bagForward({ rows, vocab, dim, indptr, indices, values, table, bias: null, out });
    expectClose(out, expected, 1e-15);
  });

  it('transposed: columns ascend, rows ascend within a column, nothing is lost', () => {
    const columns = new Uint32Array(7);
    const colptr = new Int32Array(8);
    const rowOf = new Uint32Array(7);
    const entryValues = new Float64Array(7);
    const scratch = new Uint32Array(14);
    const count = kernels.csrTranspose({
      rows,
      vocab,
      indptr,
      indices,
      values,
      columns,
      colptr,
      rowOf,
      valueOf: entryValues,
      scratch,
    });
    expect(Array.from(columns.subarray(0, count))).toEqual([0, 1, 3, 5]);
    expect(Array.from(colptr.subarray(0, count + 1))).toEqual([0, 2, 3, 5, 7]);
    expect(Array.from(rowOf)).toEqual([0, 3, 2, 2, 2, 0, 3]);
    expect(Array.from(entryValues)).toEqual([1, 6, 3, 2, 4, 0, 5].map((e) => values[e]));

    const dy = random('dy', rows * dim);
    const grad = new Float64Array(count * dim);
    kernels.bagBackward({ count, dim, colptr, rowOf, valueOf: entryValues, dy, grad });
    const table = random('table', vocab * dim);
    const slopes = slopesOf(table, dy, () => {
      const out = new Float64Array(rows * dim);
      kernels.bagForward({ rows, vocab, dim, indptr, indices, values, table, bias: null, out });
      return out;
    });
    const full = new Float64Array(vocab * dim);
    for (let t = 0; t < count; t++) full.set(grad.subarray(t * dim, (t + 1) * dim), columns[t] * dim);
    expectClose(full, slopes, 1e-8);
  });
});

describe('layer norm', () => {
  const [rows, dim, eps] = [3, 7, 1e-5];
  const x = random('x', rows * dim, 2);
  const gamma = random('gamma', dim);
  const beta = random('beta', dim);
  const forward = () => {
    const y = new Float64Array(rows * dim);
    const mean = new Float64Array(rows);
    const rstd = new Float64Array(rows);
    kernels.layerNorm({ rows, dim, eps, x, gamma, beta, y, mean, rstd });
    return { y, mean, rstd };
  };

  it('gives rows of mean 0 and variance 1 before gamma and beta', () => {
    const y = new Float64Array(rows * dim);
    const ones = new Float64Array(dim).fill(1);
    const stats = new Float64Array(rows);
    kernels.layerNorm({
      rows,
      dim,
      eps: 0,
      x,
      gamma: ones,
      beta: new Float64Array(dim),
      y,
      mean: stats,
      rstd: stats.slice(),
    });
    for (let i = 0; i < rows; i++) {
      const row = y.subarray(i * dim, (i + 1) * dim);
      expect(Math.abs(row.reduce((s, v) => s + v, 0))).toBeLessThan(1e-13);
      expect(Math.abs(row.reduce((s, v) => s + v * v, 0) / dim - 1)).toBeLessThan(1e-13);
    }
  });

  it('has the gradients of its formula, by finite differences', () => {
    const dy = random('dy', rows * dim);
    const dx = new Float64Array(rows * dim);
    const dgamma = new Float64Array(dim);
    const dbeta = new Float64Array(dim);
    kernels.layerNormBackward({ rows, dim, x, gamma, dy, dx, dgamma, dbeta, ...forward() });
    expectClose(
      dx,
      slopesOf(x, dy, () => forward().y),
      1e-8,
    );
    expectClose(
      dgamma,
      slopesOf(gamma, dy, () => forward().y),
      1e-8,
    );
    expectClose(
      dbeta,
      slopesOf(beta, dy, () => forward().y),
      1e-8,
    );
  });
});

describe('activations', () => {
  it('relu and its gradient are 0 at 0, from either side', () => {
    const y = new Float64Array(3);
    kernels.relu(3, Float64Array.of(0, -0, -5), y);
    expect(Array.from(y, Math.abs)).toEqual([0, 0, 0]);
    const dx = new Float64Array(2);
    kernels.reluBackward(2, Float64Array.of(0, 1e-300), Float64Array.of(3, 3), dx);
    expect(Array.from(dx)).toEqual([0, 3]);
  });

  it('gelu has the gradient of its formula, by finite differences', () => {
    const x = Float64Array.from({ length: 61 }, (_, i) => (i - 30) / 5);
    const dy = random('dy', 61);
    const dx = new Float64Array(61);
    kernels.geluBackward(61, x, dy, dx);
    const slopes = slopesOf(x, dy, () => {
      const y = new Float64Array(61);
      kernels.gelu(61, x, y);
      return y;
    });
    expectClose(dx, slopes, 1e-8);
  });

  it('gelu(x) - gelu(-x) = x', () => {
    const x = random('gelu', 100, 5);
    const y = new Float64Array(100);
    const mirrored = new Float64Array(100);
    kernels.gelu(100, x, y);
    kernels.gelu(
      100,
      x.map((v) => -v),
      mirrored,
    );
    expectClose(
      y.map((v, i) => v - mirrored[i]),
      x,
      1e-14,
    );
  });

  it('dropout keeps the mean: kept elements are x / (1 - p), about (1 - p) of them', () => {
    const n = 40_000;
    const y = new Float64Array(n);
    kernels.dropout({ n, p: 0.25, x: new Float64Array(n).fill(3), y, key0: 9, key1: 8, counter: 7 });
    const kept = y.filter((v) => v !== 0);
    expect(new Set(kept)).toEqual(new Set([4]));
    expect(Math.abs(kept.length - 0.75 * n)).toBeLessThan(5 * Math.sqrt(n * 0.75 * 0.25));
  });
});

describe('update rules', () => {
  const sgd: UpdateRule = { kind: 'sgd', rate: 0.1, momentum: 0, nesterov: false, weightDecay: 0 };
  const adam: UpdateRule = {
    kind: 'adam',
    rate: 0.1,
    beta1: 0.9,
    beta2: 0.999,
    eps: 0,
    weightDecay: 0,
    decoupled: false,
    correction1: 1,
    correction2: 1,
  };

  /** w after `steps` steps from w0 with a constant gradient. */
  function run(ruleAt: (t: number) => UpdateRule, g: number, w0: number, steps: number) {
    const w = Float64Array.of(w0);
    const m = new Float64Array(1);
    const v = new Float64Array(1);
    for (let t = 1; t <= steps; t++) {
      kernels.update({ rule: ruleAt(t), n: 1, w, g: Float64Array.of(g), m, v, gradScale: 1 });
    }
    return w[0];
  }

  it('sgd with decay shrinks geometrically', () => {
    expect(run(() => ({ ...sgd, weightDecay: 0.5 }), 0, 2, 3)).toBeCloseTo(2 * 0.95 ** 3, 14);
  });

  it('momentum sums the geometric series', () => {
    // m_t = g (1 - mu^t) / (1 - mu)
    const mu = 0.8;
    const travelled = [1, 2, 3, 4].reduce((sum, t) => sum + (1 - mu ** t) / (1 - mu), 0);
    expect(run(() => ({ ...sgd, momentum: mu }), 3, 0, 4)).toBeCloseTo(-0.1 * 3 * travelled, 14);
  });

  it('nesterov looks one step ahead', () => {
    expect(run(() => ({ ...sgd, momentum: 0.8, nesterov: true }), 1, 0, 1)).toBeCloseTo(-0.1 * 1.8, 15);
  });

  it('adam with bias correction and a constant gradient moves by its rate each step, whatever the scale', () => {
    const corrected = (t: number): UpdateRule => ({
      ...adam,
      correction1: 1 - 0.9 ** t,
      correction2: 1 - 0.999 ** t,
    });
    for (const g of [1e-6, 1, 1e6]) expect(run(corrected, g, 0, 5)).toBeCloseTo(-0.5, 12);
  });

  it('adamw decays outside of the moments', () => {
    expect(run(() => ({ ...adam, eps: 1, weightDecay: 0.5, decoupled: true }), 0, 2, 3)).toBeCloseTo(
      2 * 0.95 ** 3,
      14,
    );
  });

  it('adagrad with a constant gradient moves by rate / sqrt(t)', () => {
    const travelled = [1, 2, 3].reduce((sum, t) => sum + 1 / Math.sqrt(t), 0);
    expect(run(() => ({ kind: 'adagrad', rate: 0.1, eps: 0, weightDecay: 0 }), -7, 0, 3)).toBeCloseTo(
      0.1 * travelled,
      14,
    );
  });
});

describe('topK', () => {
  it('is the head of the sorted logits', () => {
    const [batch, inputs, labels, fanIn, k] = [5, 10, 60, 3, 7];
    const data = new Data('sorted');
    const layer = {
      batch,
      inputs,
      labels,
      fanIn,
      h: Float64Array.from(data.whole(batch * inputs, 2)),
      weights: Float64Array.from(data.whole(labels * fanIn, 2)),
      bias: new Float64Array(labels),
      columns: Uint16Array.from(Array.from({ length: labels }, () => data.distinct(fanIn, inputs)).flat()),
      workspace: new Float64Array(batch),
    };
    layer.bias[13] = Number.NaN;
    const logits = new Float64Array(batch * labels);
    kernels.fanInLogits({ ...layer, begin: 0, end: labels, out: logits });
    const topLabels = new Uint32Array(batch * k);
    const topScores = new Float64Array(batch * k);
    kernels.fanInTopK({ ...layer, k, topLabels, topScores });
    for (let b = 0; b < batch; b++) {
      const row = Array.from(logits.subarray(b * labels, (b + 1) * labels));
      const order = row.map((_, l) => l).filter((l) => l !== 13);
      order.sort((x, y) => row[y] - row[x] || x - y);
      expect(Array.from(topLabels.subarray(b * k, (b + 1) * k))).toEqual(order.slice(0, k));
      expect(Array.from(topScores.subarray(b * k, (b + 1) * k))).toEqual(
        order.slice(0, k).map((l) => row[l]),
      );
    }
  });

  it('puts NaN last, then nothing', () => {
    const topLabels = new Uint32Array(5);
    const topScores = new Float64Array(5);
    kernels.denseTopK({
      batch: 1,
      inputs: 1,
      labels: 4,
      k: 5,
      topLabels,
      topScores,
      h: Float64Array.of(1),
      weights: new Float64Array(4),
      bias: Float64Array.of(Number.NaN, -Infinity, 2, Number.NaN),
      workspace: new Float64Array(1),
    });
    expect(Array.from(topLabels)).toEqual([2, 1, 0, 3, 0xffffffff]);
    expect(Array.from(topScores)).toEqual([2, -Infinity, Number.NaN, Number.NaN, -Infinity]);
  });

  it('compares what it writes: logits that round to the same float32 are ties', () => {
    const topLabels = new Uint32Array(2);
    const topScores = new Float32Array(2);
    // 1 and 1 + 2^-30 as doubles, both 1 as float32.
    referenceKernels('float32').denseTopK({
      batch: 1,
      inputs: 1,
      labels: 2,
      k: 2,
      topLabels,
      topScores,
      h: Float32Array.of(2 ** -15),
      weights: Float32Array.of(0, 2 ** -15),
      bias: Float32Array.of(1, 1),
      workspace: new Float32Array(1),
    });
    expect(Array.from(topLabels)).toEqual([0, 1]);
  });
});

describe('the backward index', () => {
  it('does not exist here, and a filled one is refused', () => {
    const shape = { inputs: 4, labels: 4, fanIn: 2, chunk: 2 };
    expect(kernels.fanInIndexLength(shape)).toBe(0);
    const build = (index: Uint16Array) =>
      kernels.fanInIndexBuild({ ...shape, columns: new Uint16Array(8), index, begin: 0, end: 4 });
    build(new Uint16Array(0));
    expect(() => build(new Uint16Array(1))).toThrow(EspalierError);
  });
});
