/** Cases of the kernels of sparse inference. */
import type { Floats, Kernels } from '../face.js';
import { absolute, type Case, Data, Lab, type Outputs } from './case.testing.js';

interface Operands {
  readonly indptr: Int32Array;
  readonly places: Uint32Array;
  readonly values: Float32Array;
  readonly bias: Float32Array;
  readonly x: Float32Array;
}

/** Rows of 0 to `most` entries, places below `limit`. */
function operands(
  data: Data,
  rows: number,
  most: number,
  limit: number,
  inputs: number,
  whole: boolean,
): Operands {
  const lengths = Array.from({ length: rows }, (_, i) => (i % 3 === 1 ? 0 : data.stream.below(most + 1)));
  const indptr = new Int32Array(rows + 1);
  for (const [i, length] of lengths.entries()) indptr[i + 1] = indptr[i] + length;
  const of = (n: number) => (whole ? data.whole(n, 3) : data.floats(n));
  const places = Uint32Array.from({ length: indptr[rows] }, () => data.stream.below(limit));
  return { indptr, places, values: of(indptr[rows]), bias: of(rows), x: of(inputs) };
}

type Run = (kernels: Kernels, lab: Lab, operands: Operands, bias: Floats | null, relu: boolean) => Floats;

/** Whole numbers, exact in any order, and fractions within the bounds of summation. */
function pair(name: string, most: number, make: (whole: boolean) => Operands, run: Run): Case[] {
  const outputs = (kernels: Kernels, lab: Lab, given: Operands): Outputs => ({
    plain: run(kernels, lab, given, null, false),
    biased: run(kernels, lab, given, lab.input(given.bias), false),
    rectified: run(kernels, lab, given, lab.input(given.bias), true),
  });
  return [
    { name: `${name}, whole numbers`, run: (kernels, lab) => outputs(kernels, lab, make(true)) },
    {
      name,
      run: (kernels, lab) => outputs(kernels, lab, make(false)),
      bounds: (rounding, oracle) => {
        const { x, values, bias, ...rest } = make(false);
        const sizes = (of: Float32Array) => Float32Array.from(absolute(of));
        const all = { ...rest, x: sizes(x), values: sizes(values), bias: sizes(bias) };
        const factor = rounding.sum(most + 3);
        return Object.fromEntries(
          Object.entries(outputs(oracle, new Lab('float64'), all)).map(([key, sums]) => [
            key,
            (sums as Float64Array).map((v) => factor * v),
          ]),
        );
      },
    },
  ];
}

const DOTS = [
  [1, 784, 300, 60],
  [3, 17, 5, 9],
  [7, 400, 301, 130],
  [2, 1, 4, 3],
  [0, 5, 3, 2],
  [2, 5, 0, 2],
] as const;

export const SPARSE_DOTS_CASES: readonly Case[] = DOTS.flatMap(([batch, inputs, rows, most]) =>
  pair(
    `${batch} x ${inputs} -> ${rows}`,
    most,
    (whole) =>
      operands(new Data(`dots ${batch} ${rows} ${whole}`), rows, most, inputs, batch * inputs, whole),
    (kernels, lab, { indptr, places, values, x }, bias, relu) => {
      const y = lab.output(batch * rows);
      const matrix = { rows, indptr: lab.i32(indptr), indices: lab.u32(places), values: lab.input(values) };
      kernels.sparseDots({ batch, inputs, ...matrix, bias, relu, x: lab.input(x), y });
      return y;
    },
  ),
);

const PLANES = [
  [3, 28, 28, 0, 1],
  [2, 9, 7, 1, 1],
  [5, 8, 9, 2, 2],
  [2, 7, 5, 1, 3],
  [40, 30, 20, 1, 2],
  [0, 4, 4, 1, 1],
] as const;

export const PAD_PLANES_CASES: readonly Case[] = PLANES.map(([planes, height, width, padding, stride]) => ({
  name: `${planes} planes of ${height} x ${width}, padding ${padding}, stride ${stride}`,
  run: (kernels, lab) => {
    const side = (size: number) => Math.ceil((size + 2 * padding) / stride);
    const y = lab.output(planes * stride * stride * side(height) * side(width));
    const x = lab.input(new Data(`planes ${planes} ${height}`).floats(planes * height * width));
    kernels.padPlanes({ planes, height, width, padding, stride, x, y });
    return { y };
  },
}));

/** Lengths of all tails, planes larger than a tile, pitches as wide as the outputs and wider. */
const SHIFTS = [
  [2, 800, 5, 8, 8, 12, 40],
  [1, 1500, 20, 24, 24, 28, 9],
  [3, 60, 4, 3, 5, 5, 7],
  [2, 40, 7, 1, 1, 1, 12],
  [1, 4000, 3, 40, 33, 50, 20],
  [2, 90, 3, 1, 17, 40, 6],
  [0, 30, 3, 2, 2, 3, 4],
] as const;

export const SHIFTED_SUMS_CASES: readonly Case[] = SHIFTS.flatMap(
  ([batch, inputs, rows, down, across, pitch, most]) => {
    const limit = inputs - (down - 1) * pitch - across + 1;
    return pair(
      `${batch} x ${inputs} -> ${rows} of ${down} x ${across}, pitch ${pitch}`,
      most,
      (whole) => operands(new Data(`shifts ${inputs} ${whole}`), rows, most, limit, batch * inputs, whole),
      (kernels, lab, { indptr, places, values, x }, bias, relu) => {
        const y = lab.output(batch * rows * down * across);
        const matrix = { rows, indptr: lab.i32(indptr), offsets: lab.u32(places), values: lab.input(values) };
        kernels.shiftedSums({
          batch,
          inputs,
          down,
          across,
          pitch,
          ...matrix,
          bias,
          relu,
          x: lab.input(x),
          y,
        });
        return y;
      },
    );
  },
);
