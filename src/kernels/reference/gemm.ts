import type { Floats, GemmArgs } from '../face.js';

/**
 * C = activation(op(A) op(B) + bias (+ C)): c_ij = sum_p a_ip b_pj, p ascending, in double.
 * One row of C at a time; the sum over p is unrolled by four without changing its order.
 */
export function gemm(args: GemmArgs): void {
  const { m, n, k, a, b, c, transA = false, transB = false, accumulate = false, bias = null } = args;
  const relu = args.activation === 'relu';
  const sums = new Float64Array(n);
  // Row i of op(A) starts at i * aRow and steps by aStep.
  const aRow = transA ? 1 : k;
  const aStep = transA ? m : 1;
  for (let i = 0; i < m; i++) {
    if (transB) dotRows(n, k, a, i * aRow, aStep, b, sums);
    else sumRows(n, k, a, i * aRow, aStep, b, sums);
    const row = i * n;
    for (let j = 0; j < n; j++) {
      let x = sums[j];
      if (bias !== null) x += bias[j];
      if (accumulate) x += c[row + j];
      c[row + j] = relu && x < 0 ? 0 : x;
    }
  }
}

/** sums[j] = sum_p a_p b[p, j], B stored [k, n]. */
function sumRows(
  n: number,
  k: number,
  a: Floats,
  aAt: number,
  aStep: number,
  b: Floats,
  sums: Float64Array,
): void {
  sums.fill(0);
  let p = 0;
  for (; p + 4 <= k; p += 4) {
    const a0 = a[aAt + p * aStep];
    const a1 = a[aAt + (p + 1) * aStep];
    const a2 = a[aAt + (p + 2) * aStep];
    const a3 = a[aAt + (p + 3) * aStep];
    const b0 = p * n;
    const b1 = b0 + n;
    const b2 = b1 + n;
    const b3 = b2 + n;
    for (let j = 0; j < n; j++) {
      sums[j] = sums[j] + a0 * b[b0 + j] + a1 * b[b1 + j] + a2 * b[b2 + j] + a3 * b[b3 + j];
    }
  }
  for (; p < k; p++) {
    const a0 = a[aAt + p * aStep];
    const b0 = p * n;
    for (let j = 0; j < n; j++) sums[j] += a0 * b[b0 + j];
  }
}

/** sums[j] = sum_p a_p b[j, p], B stored [n, k]: four dot products at a time, so that their additions overlap. */
function dotRows(
  n: number,
  k: number,
  a: Floats,
  aAt: number,
  aStep: number,
  b: Floats,
  sums: Float64Array,
): void {
  let j = 0;
  for (; j + 4 <= n; j += 4) {
    const b0 = j * k;
    const b1 = b0 + k;
    const b2 = b1 + k;
    const b3 = b2 + k;
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let p = 0; p < k; p++) {
      const x = a[aAt + p * aStep];
      s0 += x * b[b0 + p];
      s1 += x * b[b1 + p];
      s2 += x * b[b2 + p];
      s3 += x * b[b3 + p];
    }
    sums[j] = s0;
    sums[j + 1] = s1;
    sums[j + 2] = s2;
    sums[j + 3] = s3;
  }
  for (; j < n; j++) {
    const b0 = j * k;
    let s = 0;
    for (let p = 0; p < k; p++) s += a[aAt + p * aStep] * b[b0 + p];
    sums[j] = s;
  }
}
