import { type Case, Data, lazy, type Rounding } from './case.testing.js';

interface Shape {
  readonly rows: number;
  readonly dim: number;
  readonly eps: number;
  /** Added to every element: the mean must cancel without ruining the variance. */
  readonly offset: number;
  /** All elements of a row equal: variance 0. */
  readonly constant?: boolean;
}

function title({ rows, dim, eps, offset, constant }: Shape): string {
  return `${rows} x ${dim}, eps ${eps}${constant ? ', constant rows' : ''}${offset === 0 ? '' : `, around ${offset}`}`;
}

const SHAPES: readonly Shape[] = [
  ...[1, 7, 8, 15, 16, 17, 31, 33, 64, 65, 300, 1025].map((dim) => ({ rows: 5, dim, eps: 1e-5, offset: 0 })),
  { rows: 0, dim: 8, eps: 1e-5, offset: 0 },
  { rows: 1, dim: 40, eps: 1e-12, offset: 0 },
  { rows: 67, dim: 24, eps: 1e-5, offset: 0 },
  { rows: 9, dim: 65, eps: 1e-5, offset: 100 },
  { rows: 3, dim: 33, eps: 1e-5, offset: 0.1, constant: true },
  { rows: 3, dim: 33, eps: 1e-5, offset: 0, constant: true },
];

function make(shape: Shape) {
  const { rows, dim, offset, constant } = shape;
  const data = new Data(`layer norm/${title(shape)}`);
  const x = data.floats(rows * dim, constant ? 0 : 1);
  for (let i = 0; i < x.length; i++) x[i] += offset;
  return { x, gamma: data.floats(dim, 2), beta: data.floats(dim), dy: data.floats(rows * dim) };
}

/** Mean, rstd and their errors by rounding, first order, for one row. */
function rowErrors(x: Float32Array, at: number, { dim, eps }: Shape, rounding: Rounding) {
  let mean = 0;
  let size = 0;
  for (let j = 0; j < dim; j++) {
    mean += x[at + j] / dim;
    size += Math.abs(x[at + j]) / dim;
  }
  let variance = 0;
  let spread = 0;
  for (let j = 0; j < dim; j++) {
    variance += (x[at + j] - mean) ** 2 / dim;
    spread += Math.abs(x[at + j] - mean) / dim;
  }
  const meanError = rounding.sum(dim + 1) * size;
  // Of (x - mean)^2 averaged: through the mean, through its own rounding, through the sum.
  const centreError = meanError + rounding.unit * (spread + meanError);
  const varianceError =
    2 * spread * centreError + centreError ** 2 + rounding.sum(dim + 2) * (variance + eps);
  const rstd = 1 / Math.sqrt(variance + eps);
  const rstdError = (rstd ** 3 * varianceError) / 2 + 4 * rounding.unit * rstd;
  return { mean, rstd, meanError, rstdError };
}

function forwardCase(shape: Shape): Case {
  const data = lazy(() => make(shape));
  const { rows, dim, eps } = shape;
  return {
    name: title(shape),
    run: (kernels, lab) => {
      const { x, gamma, beta } = data();
      const y = lab.output(rows * dim);
      const mean = lab.output(rows);
      const rstd = lab.output(rows);
      kernels.layerNorm({
        rows,
        dim,
        eps,
        x: lab.input(x),
        gamma: lab.input(gamma),
        beta: lab.input(beta),
        y,
        mean,
        rstd,
      });
      return { y, mean, rstd };
    },
    bounds: (rounding) => {
      const { x, gamma, beta } = data();
      const y = new Float64Array(rows * dim);
      const mean = new Float64Array(rows);
      const rstd = new Float64Array(rows);
      for (let i = 0; i < rows; i++) {
        const row = rowErrors(x, i * dim, shape, rounding);
        mean[i] = row.meanError;
        rstd[i] = row.rstdError;
        for (let j = 0; j < dim; j++) {
          const centred = Math.abs(x[i * dim + j] - row.mean);
          const scaled = Math.abs(gamma[j]) * centred * row.rstd;
          // y may be computed as x * (rstd gamma) + (beta - mean rstd gamma): the sizes of those two products count.
          const parts = Math.abs(gamma[j]) * row.rstd * (Math.abs(x[i * dim + j]) + Math.abs(row.mean));
          y[i * dim + j] =
            Math.abs(gamma[j]) * (row.rstd * row.meanError + centred * row.rstdError) +
            4 * rounding.unit * (scaled + parts + Math.abs(beta[j]));
        }
      }
      return { y, mean, rstd };
    },
  };
}

function backwardCase(shape: Shape): Case {
  const { rows, dim } = shape;
  const data = lazy(() => {
    const made = make(shape);
    const exact: Rounding = { unit: 0, sum: () => 0 };
    const stats = Array.from({ length: rows }, (_, i) => rowErrors(made.x, i * dim, shape, exact));
    // Rounded here, so that every backend is handed the same.
    return {
      ...made,
      mean: Float32Array.from(stats, (s) => s.mean),
      rstd: Float32Array.from(stats, (s) => s.rstd),
    };
  });
  return {
    name: title(shape),
    run: (kernels, lab) => {
      const { x, gamma, mean, rstd, dy } = data();
      const dx = lab.output(rows * dim);
      const dgamma = lab.output(dim);
      const dbeta = lab.output(dim);
      kernels.layerNormBackward({
        rows,
        dim,
        x: lab.input(x),
        gamma: lab.input(gamma),
        mean: lab.input(mean),
        rstd: lab.input(rstd),
        dy: lab.input(dy),
        dx,
        dgamma,
        dbeta,
      });
      return { dx, dgamma, dbeta };
    },
    // Sums of the sizes of the terms of dx = rstd (g - mean(g) - xhat mean(g xhat)), times gamma_(dim + 6).
    bounds: (rounding) => {
      const { x, gamma, mean, rstd, dy } = data();
      const dx = new Float64Array(rows * dim);
      const dgamma = new Float64Array(dim);
      const dbeta = new Float64Array(dim);
      for (let i = 0; i < rows; i++) {
        const at = i * dim;
        const xhat = (j: number) => Math.abs((x[at + j] - mean[i]) * rstd[i]);
        const g = (j: number) => Math.abs(dy[at + j] * gamma[j]);
        let meanG = 0;
        let meanGX = 0;
        for (let j = 0; j < dim; j++) {
          meanG += g(j) / dim;
          meanGX += (g(j) * xhat(j)) / dim;
          dgamma[j] += rounding.sum(rows + 4) * Math.abs(dy[at + j]) * xhat(j);
          dbeta[j] += rounding.sum(rows) * Math.abs(dy[at + j]);
        }
        for (let j = 0; j < dim; j++) {
          dx[at + j] =
            (rounding.sum(dim + 6) + 6 * rounding.unit) * rstd[i] * (g(j) + meanG + xhat(j) * meanGX);
        }
      }
      return { dx, dgamma, dbeta };
    },
  };
}

export const LAYER_NORM_CASES = SHAPES.map(forwardCase);
export const LAYER_NORM_BACKWARD_CASES = SHAPES.map(backwardCase);
