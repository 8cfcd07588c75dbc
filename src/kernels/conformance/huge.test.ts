/**
 * Buffers of more than 2^31 bytes: an offset computed in 32 bits lands in the wrong place. One buffer, all
 * zeros (so the system gives it almost no memory) but for its end, read and written there by every kernel that
 * takes weights. Whole numbers, so that every sum is exact.
 */
import { freemem } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FanInStepArgs, Kernels } from '../face.js';
import { allBackends } from './backends.testing.js';
import { Data } from './case.testing.js';

const WIDTH = 512;
const ROWS = 1_123_048;
/** Rows at the end that are not zero. */
const LAST = 3;
const TAIL = LAST * WIDTH;
/** Not a speed limit: a machine may need minutes to provide this much memory for the first time. */
const TIMEOUT = 300_000;
const NEEDED = 6 * 2 ** 30;

const room = freemem() >= NEEDED;
const skipped = room ? '' : ` (skipped: less than ${NEEDED / 2 ** 30} GiB of free memory)`;
// A loop in TypeScript has no 32-bit offsets to overflow.
const backends = (await allBackends()).filter(
  ({ name }) => name.startsWith('native') && name.endsWith('x 2'),
);
const last = backends.findLast(({ kernels }) => typeof kernels !== 'string');

let huge = new Float32Array(0);
const data = new Data('huge');
const tail = data.whole(TAIL, 9);
const twoRows = data.whole(2 * WIDTH, 9);
const none = { m: null, v: null };

describe.runIf(room)(`buffers above 2^31 bytes${skipped}`, () => {
  beforeAll(() => {
    huge = new Float32Array(ROWS * WIDTH);
    expect(huge.byteLength).toBeGreaterThan(2 ** 31);
  });
  afterAll(() => {
    huge = new Float32Array(0);
  });

  for (const { name, kernels } of backends) {
    if (typeof kernels === 'string') {
      describe.skip(name, () => it(kernels, () => {}));
      continue;
    }
    describe(name, () => {
      it.each(Object.keys(CHECKS))(
        '%s',
        (kernel) => {
          huge.set(tail, huge.length - TAIL);
          CHECKS[kernel](kernels);
        },
        TIMEOUT,
      );
    });
  }

  it.runIf(last !== undefined)(
    `${last?.name}: gemm into C`,
    () => gemmIntoC(last?.kernels as Kernels),
    TIMEOUT,
  );
});

/** x is zero but at the given places. */
function expectOnly(x: Float32Array, places: ReadonlyMap<number, number>): void {
  let others = 0;
  for (let i = 0; i < x.length; i++) if (x[i] !== 0 && !places.has(i)) others++;
  expect(others).toBe(0);
  for (const [at, value] of places) expect(x[at] - value).toBe(0);
}

/** Equal as numbers: the sign of a zero is not at stake here. */
function expectEqual(actual: Float32Array, expected: ArrayLike<number>): void {
  expect(actual.length).toBe(expected.length);
  expect(actual.findIndex((x, i) => x !== expected[i])).toBe(-1);
}

/** sum_p twoRows[i, p] * tail[t, p] */
function product(i: number, t: number): number {
  let sum = 0;
  for (let p = 0; p < WIDTH; p++) sum += twoRows[i * WIDTH + p] * tail[t * WIDTH + p];
  return sum;
}

const HIDDEN = 40;

function fanInLayer(fanIn: number) {
  const labels = huge.length / fanIn;
  const bias = new Float32Array(labels);
  const columns = new Uint16Array(huge.length);
  for (let s = huge.length - TAIL; s < huge.length; s++) columns[s] = (s % fanIn) + 3;
  const h = new Data('huge hidden').whole(2 * HIDDEN, 3);
  return { batch: 2, inputs: HIDDEN, labels, fanIn, columns, weights: huge, bias, h };
}

/** z of row b and the label whose weights start at `at` of the tail. */
function logit(h: Float32Array, b: number, at: number, fanIn: number): number {
  let z = 0;
  for (let k = 0; k < fanIn; k++) z += tail[at + k] * h[b * HIDDEN + k + 3];
  return z;
}

const CHECKS: Readonly<Record<string, (kernels: Kernels) => void>> = {
  'gemm with B transposed': (kernels) => {
    const c = new Float32Array(2 * ROWS);
    kernels.gemm({ m: 2, n: ROWS, k: WIDTH, a: twoRows, b: huge, c, transB: true });
    const places = new Map<number, number>();
    for (let i = 0; i < 2; i++)
      for (let t = 0; t < LAST; t++) places.set((i + 1) * ROWS - LAST + t, product(i, t));
    expectOnly(c, places);
  },
  'gemm with B as it is': (kernels) => {
    const c = new Float32Array(2 * ROWS);
    kernels.gemm({ m: 2, n: ROWS, k: WIDTH, a: twoRows, b: huge, c });
    const places = new Map<number, number>();
    for (let i = 0; i < 2; i++) {
      for (let j = 0; j < TAIL; j++)
        places.set((i + 1) * ROWS - TAIL + j, twoRows[(i + 1) * WIDTH - 1] * tail[j]);
    }
    expectOnly(c, places);
  },
  'gemm with A as it is': (kernels) => {
    const c = new Float32Array(2 * ROWS);
    kernels.gemm({ m: ROWS, n: 2, k: WIDTH, a: huge, b: twoRows, c, transB: true });
    const places = new Map<number, number>();
    for (let t = 0; t < LAST; t++)
      for (let j = 0; j < 2; j++) places.set((ROWS - LAST + t) * 2 + j, product(j, t));
    expectOnly(c, places);
  },
  'gemm with A transposed': (kernels) => {
    const c = new Float32Array(2 * ROWS);
    kernels.gemm({ m: ROWS, n: 2, k: WIDTH, a: huge, b: twoRows, c, transA: true });
    const places = new Map<number, number>();
    for (let t = 0; t < TAIL; t++) {
      for (let j = 0; j < 2; j++)
        places.set((ROWS - TAIL + t) * 2 + j, tail[t] * twoRows[(WIDTH - 1) * 2 + j]);
    }
    expectOnly(c, places);
  },
  bagForward: (kernels) => {
    const out = new Float32Array(2 * WIDTH);
    kernels.bagForward({
      rows: 2,
      vocab: ROWS,
      dim: WIDTH,
      indptr: Int32Array.of(0, 2, 3),
      indices: Uint32Array.of(ROWS - 3, ROWS - 1, ROWS - 2),
      values: Float32Array.of(2, 3, -1),
      table: huge,
      bias: null,
      out,
    });
    const expected = out.map((_, i) => {
      if (i >= WIDTH) return -tail[i];
      return 2 * tail[i] + 3 * tail[2 * WIDTH + i];
    });
    expectEqual(out, expected);
  },
  updateRows: (kernels) => {
    const rule = { kind: 'sgd', rate: 1, momentum: 0, nesterov: false, weightDecay: 0 } as const;
    kernels.updateRows({
      rule,
      count: 2,
      dim: WIDTH,
      rows: Uint32Array.of(ROWS - 3, ROWS - 1),
      w: huge,
      g: twoRows,
      ...none,
      gradScale: 1,
    });
    const expected = tail.map((w, i) => {
      const row = Math.floor(i / WIDTH);
      return row === 1 ? w : w - twoRows[i - (row === 2 ? WIDTH : 0)];
    });
    expectEqual(huge.subarray(huge.length - TAIL), expected);
  },
  'sum and sumSquares': (kernels) => {
    expect(kernels.sum(huge.length, huge)).toBe(tail.reduce((s, x) => s + x, 0));
    expect(kernels.sumSquares(huge.length, huge)).toBe(tail.reduce((s, x) => s + x * x, 0));
  },
  columnSum: (kernels) => {
    const out = new Float32Array(WIDTH);
    kernels.columnSum(ROWS, WIDTH, huge, out, false);
    const expected = out.map((_, j) => tail[j] + tail[WIDTH + j] + tail[2 * WIDTH + j]);
    expectEqual(out, expected);
  },
  fanInLogits: (kernels) => {
    const layer = fanInLayer(32);
    const width = TAIL / 32;
    const out = new Float32Array(2 * width);
    const workspace = new Float32Array(kernels.topKWorkspace({ ...layer, chunk: 64 }, 1));
    kernels.fanInLogits({ ...layer, begin: layer.labels - width, end: layer.labels, out, workspace });
    const expected = out.map((_, i) => logit(layer.h, Math.floor(i / width), (i % width) * 32, 32));
    expectEqual(out, expected);
  },
  'fanInStep on the last slab': (kernels) => {
    const fanIn = 32;
    const layer = fanInLayer(fanIn);
    const { labels, h } = layer;
    const chunk = 8;
    const begin = Math.floor(labels / chunk) * chunk - chunk;
    const shape = { batch: 2, inputs: HIDDEN, labels, chunk, fanIn };
    for (const indexed of [false, true]) {
      huge.set(tail, huge.length - TAIL);
      const length = indexed ? kernels.fanInIndexLength(shape) : 0;
      const index = new Uint16Array(length);
      if (length > 0)
        kernels.fanInIndexBuild({ ...shape, columns: layer.columns, index, begin, end: labels });
      const rule = { kind: 'sgd', rate: 0.5, momentum: 0, nesterov: false, weightDecay: 0 } as const;
      const args: FanInStepArgs = {
        ...layer,
        ...shape,
        bias: new Float32Array(labels),
        begin: 0,
        end: chunk,
        dh: null,
        positives: { count: 1, label: Uint32Array.of(labels - 1), row: Uint32Array.of(1) },
        loss: 'squaredHinge',
        norms: null,
        gradScale: 1,
        update: { rule, weightMoments: none, biasMoments: none, dWeights: null, dBias: null, updateScale: 1 },
        backward: true,
        squares: null,
        workspace: new Float32Array(kernels.fanInWorkspace(shape)),
        index: length > 0 ? index : null,
      };
      // The first slab is what makes a workspace that of the step.
      kernels.fanInStep({ ...args, backward: false });
      const loss = kernels.fanInStep({ ...args, begin, end: labels });
      const expected = expectedHinge(h, labels, begin, fanIn);
      expect(loss).toBe(expected.loss);
      expectEqual(huge.subarray(huge.length - TAIL), expected.weights);
    }
  },
};

/** Writes, and so claims, all of the buffer: for one backend only, and last. */
function gemmIntoC(kernels: Kernels): void {
  const a = new Float32Array(ROWS);
  a.set([2, 3, 5], ROWS - 3);
  const b = twoRows.subarray(0, WIDTH);
  kernels.gemm({ m: ROWS, n: WIDTH, k: 1, a, b, c: huge });
  const expected = [2, 3, 5].flatMap((x) => Array.from(b, (y) => x * y));
  expectEqual(huge.subarray(huge.length - TAIL), expected);
}

/** Loss and updated tail of one hinge step with rate 1/2 over the labels from `begin`; row 1 has the last one. */
function expectedHinge(h: Float32Array, labels: number, begin: number, fanIn: number) {
  const weights = tail.slice();
  let loss = 0;
  for (let label = begin; label < labels; label++) {
    const at = TAIL - (labels - label) * fanIn;
    for (let b = 0; b < 2; b++) {
      const s = b === 1 && label === labels - 1 ? 1 : -1;
      const r = Math.max(0, 1 - s * logit(h, b, at, fanIn));
      loss += r * r;
      for (let k = 0; k < fanIn; k++) weights[at + k] += s * r * h[b * HIDDEN + k + 3];
    }
  }
  return { loss, weights };
}
