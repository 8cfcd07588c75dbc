/** Cases of the network kernels that work row by row. */
import { expect } from 'vitest';
import { type Case, Data, lazy, type Outputs, RAGGED } from './case.testing.js';

interface Logits {
  readonly name: string;
  readonly rows: number;
  readonly classes: number;
  readonly smoothing: number;
  /** Largest size of a logit. */
  readonly size: number;
}

const LOGITS: readonly Logits[] = [
  ...RAGGED.map((classes) => ({ name: '', rows: 5, classes, smoothing: 0.1, size: 3 })),
  { name: 'no rows', rows: 0, classes: 10, smoothing: 0, size: 1 },
  { name: 'no smoothing', rows: 64, classes: 10, smoothing: 0, size: 4 },
  { name: 'many rows and classes', rows: 700, classes: 300, smoothing: 0.2, size: 2 },
  { name: 'logits far apart', rows: 9, classes: 33, smoothing: 0.1, size: 80 },
  { name: 'equal logits: the first counts as the largest', rows: 40, classes: 17, smoothing: 0, size: 0 },
];

function logitsOf({ name, rows, classes, size }: Logits) {
  const data = new Data(`softmax/${name}/${rows}x${classes}`);
  return {
    z: data.floats(rows * classes, size),
    labels: Uint32Array.from({ length: rows }, () => data.stream.below(classes)),
  };
}

const softmaxCase = (shape: Logits): Case => {
  const { name, rows, classes, smoothing, size } = shape;
  const data = lazy(() => logitsOf(shape));
  return {
    name: `${rows} x ${classes}${name === '' ? '' : `, ${name}`}`,
    run: (kernels, lab) => {
      const outputs: Outputs = {};
      const labels = lab.u32(data().labels);
      for (const where of ['apart', 'inPlace', 'none'] as const) {
        const inPlace = where === 'inPlace';
        const z = inPlace ? lab.inout(data().z) : lab.input(data().z);
        const dz = inPlace ? z : where === 'none' ? null : lab.output(rows * classes);
        const losses = lab.output(rows);
        const totals = lab.doubles([Number.NaN, Number.NaN]);
        const how = { rows, classes, z, labels, smoothing, gradScale: 0.3, dz, losses, totals };
        kernels.softmaxCrossEntropy(how);
        outputs[`${where} losses`] = losses;
        outputs[`${where} sum`] = totals[0];
        outputs[`${where} correct`] = totals[1];
        if (dz !== null) outputs[`${where} dz`] = dz;
      }
      return outputs;
    },
    // z - max is rounded: its exponential moves by that much relative to itself, and exp itself is right to 3 units.
    bounds: ({ unit }) => {
      const of = (2 * size + 12) * unit;
      const loss = of + 4 * unit * (4 * size + Math.log(classes) + 1);
      const dz = 0.3 * 3 * (of + 4 * unit);
      const bound: Record<string, number> = {};
      for (const where of ['apart', 'inPlace', 'none']) {
        bound[`${where} losses`] = loss;
        bound[`${where} sum`] = rows * loss;
        bound[`${where} dz`] = dz;
      }
      return bound;
    },
  };
};

export const SOFTMAX_CASES: readonly Case[] = [
  ...LOGITS.map(softmaxCase),
  {
    name: 'a NaN among the logits gives a loss of NaN',
    run: (kernels, lab) => {
      const rows = 19;
      const z = new Float32Array(rows * rows).fill(0.5);
      for (let i = 0; i < rows; i++) z[i * rows + i] = Number.NaN;
      const losses = lab.output(rows);
      const totals = lab.doubles([0, 0]);
      const labels = lab.u32(new Uint32Array(rows));
      const one = { rows, classes: rows, z: lab.input(z), labels, smoothing: 0, gradScale: 1 };
      kernels.softmaxCrossEntropy({ ...one, dz: null, losses, totals });
      return { broken: losses.filter((x) => Number.isNaN(x)).length };
    },
    law: ({ broken }) => expect(broken).toBe(19),
  },
  {
    name: 'refuses a label beyond the classes',
    run: (kernels, lab) => {
      const [losses, totals] = [lab.output(2), lab.doubles([0, 0])];
      const labels = lab.u32([1, 3]);
      const z = lab.input(new Float32Array(6));
      let refused = 0;
      try {
        kernels.softmaxCrossEntropy({
          ...{ rows: 2, classes: 3, z, labels, smoothing: 0, gradScale: 1 },
          ...{ dz: null, losses, totals },
        });
      } catch (error) {
        refused = Number((error as { code?: string }).code === 'KERNEL_INDEX_RANGE');
      }
      return { refused };
    },
    law: ({ refused }) => expect(refused).toBe(1),
  },
];

const MATRICES = [
  ...RAGGED.map((dim) => [5, dim] as const),
  [0, 5],
  [70, 33],
  [2000, 31],
  [300, 384],
] as const;

export const AFFINE_CASES: readonly Case[] = MATRICES.map(([rows, dim]) => {
  const data = lazy(() => {
    const source = new Data(`affine ${rows} ${dim}`);
    return { x: source.floats(rows * dim), gamma: source.floats(dim), beta: source.floats(dim) };
  });
  return {
    name: `${rows} x ${dim}`,
    run: (kernels, lab) => {
      const [x, gamma] = [lab.input(data().x), lab.input(data().gamma)];
      const y = lab.output(rows * dim);
      const scaled = lab.output(rows * dim);
      const inPlace = lab.inout(data().x);
      const beta = lab.input(data().beta);
      kernels.affine({ rows, dim, x, gamma, beta, y });
      kernels.affine({ rows, dim, x, gamma, beta: null, y: scaled });
      kernels.affine({ rows, dim, x: inPlace, gamma, beta, y: inPlace });
      return { y, scaled, inPlace };
    },
    bounds: ({ unit }) => {
      const { x, gamma, beta } = data();
      const sizes = Float64Array.from(x, (a, i) => Math.abs(a * gamma[i % dim]) + Math.abs(beta[i % dim]));
      const y = sizes.map((s) => 3 * unit * s);
      return { y, scaled: sizes.map((s) => unit * s), inPlace: y };
    },
  };
});

export const AFFINE_BACKWARD_CASES: readonly Case[] = MATRICES.map(([rows, dim]) => {
  const data = lazy(() => {
    const source = new Data(`affine backward ${rows} ${dim}`);
    return { x: source.floats(rows * dim), gamma: source.floats(dim), dy: source.floats(rows * dim) };
  });
  return {
    name: `${rows} x ${dim}`,
    run: (kernels, lab) => {
      const [x, gamma] = [lab.input(data().x), lab.input(data().gamma)];
      const dx = lab.output(rows * dim);
      const inPlace = lab.inout(data().dy);
      const [dgamma, dbeta, again] = [lab.output(dim), lab.output(dim), lab.output(dim)];
      const shape = { rows, dim, x, gamma };
      kernels.affineBackward({ ...shape, dy: lab.input(data().dy), dx, dgamma, dbeta });
      kernels.affineBackward({ ...shape, dy: inPlace, dx: inPlace, dgamma: again, dbeta: null });
      return { dx, inPlace, dgamma, dbeta, again };
    },
    bounds: (rounding) => {
      const { x, gamma, dy } = data();
      const dgamma = new Float64Array(dim);
      const dbeta = new Float64Array(dim);
      for (let i = 0; i < x.length; i++) {
        dgamma[i % dim] += rounding.sum(rows + 2) * Math.abs(dy[i] * x[i]);
        dbeta[i % dim] += rounding.sum(rows + 1) * Math.abs(dy[i]);
      }
      const dx = Float64Array.from(dy, (d, i) => rounding.unit * Math.abs(d * gamma[i % dim]));
      return { dx, inPlace: dx, dgamma, again: dgamma, dbeta };
    },
  };
});

/** [outer, a, b, inner] */
const AXES = [
  ...RAGGED.map((n) => [2, n, 13, 1] as const),
  ...RAGGED.map((n) => [2, 5, n, 3] as const),
  [1, 9, 4, 100],
  [3, 0, 4, 1],
  [1, 200, 300, 1],
  [40, 49, 64, 1],
  [1, 35, 20, 64],
] as const;

export const SWAP_AXES_CASES: readonly Case[] = AXES.map(([outer, a, b, inner]) => ({
  name: `${outer} of ${a} x ${b} runs of ${inner}`,
  run: (kernels, lab) => {
    const n = outer * a * b * inner;
    const x = lab.input(Float32Array.from({ length: n }, (_, i) => i));
    const y = lab.output(n);
    const back = lab.output(n);
    kernels.swapAxes({ outer, a, b, inner, x, y });
    kernels.swapAxes({ outer, a: b, b: a, inner, x: y, y: back });
    return { y, returned: Number(back.every((value, i) => value === i)) };
  },
  law: ({ returned }) => expect(returned).toBe(1),
}));

export const ROW_MEAN_CASES: readonly Case[] = MATRICES.map(([rows, cols]) => {
  const x = lazy(() => new Data(`row mean ${rows} ${cols}`).floats(rows * cols));
  return {
    name: `${rows} x ${cols}`,
    run: (kernels, lab) => {
      const y = lab.output(rows);
      kernels.rowMean(rows, cols, lab.input(x()), y);
      return { y };
    },
    bounds: ({ unit }) => ({ y: 2 * unit }),
  };
});

export const ROW_MEAN_BACKWARD_CASES: readonly Case[] = MATRICES.map(([rows, cols]) => {
  const dy = lazy(() => new Data(`row mean backward ${rows} ${cols}`).floats(rows));
  return {
    name: `${rows} x ${cols}`,
    run: (kernels, lab) => {
      const dx = lab.output(rows * cols);
      kernels.rowMeanBackward(rows, cols, lab.input(dy()), dx);
      return { dx };
    },
  };
});
