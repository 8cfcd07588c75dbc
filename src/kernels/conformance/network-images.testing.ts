/** Cases of the kernels of convolutional networks. */
import { expect } from 'vitest';
import type { Kernels } from '../face.js';
import type { BatchNormShape, Conv2dShape, PoolShape } from '../face-networks.js';
import { absolute, type Case, Data, Lab, lazy, type Outputs } from './case.testing.js';

type Sizes = readonly [
  batch: number,
  inChannels: number,
  height: number,
  width: number,
  outChannels: number,
  kernelHeight: number,
  kernelWidth: number,
  stride: number,
  padding: number,
  groups: number,
];

/** Channels and sizes around the tiles, strides with phases that no tap reads, groups, edges that no window reaches. */
const SHAPES: readonly Sizes[] = [
  [2, 1, 28, 28, 6, 5, 5, 1, 0, 1],
  [3, 6, 12, 12, 16, 5, 5, 1, 0, 1],
  [2, 3, 9, 11, 17, 3, 3, 1, 1, 1],
  [2, 16, 7, 7, 9, 3, 3, 1, 1, 1],
  [2, 4, 13, 10, 8, 3, 3, 2, 1, 1],
  [2, 5, 8, 8, 33, 1, 1, 2, 0, 1],
  [3, 8, 6, 6, 8, 1, 1, 1, 0, 1],
  [2, 3, 11, 14, 4, 3, 2, 3, 2, 1],
  [2, 6, 9, 9, 4, 3, 3, 1, 1, 2],
  [2, 6, 9, 9, 6, 3, 3, 2, 1, 6],
  [20, 2, 5, 5, 3, 2, 2, 3, 0, 1],
  [1, 2, 3, 40, 3, 3, 1, 1, 1, 1],
  [1, 3, 5, 5, 70, 5, 5, 1, 4, 1],
  [0, 3, 5, 5, 7, 3, 3, 1, 1, 1],
  [19, 1, 4, 4, 1, 4, 4, 1, 0, 1],
];

function shapeOf(sizes: Sizes): Conv2dShape {
  const [batch, inChannels, height, width, outChannels, kernelHeight, kernelWidth, stride, padding, groups] =
    sizes;
  return {
    batch,
    inChannels,
    height,
    width,
    outChannels,
    kernelHeight,
    kernelWidth,
    stride,
    padding,
    groups,
  };
}

const title = (s: Conv2dShape) =>
  `${s.batch} x ${s.inChannels} x ${s.height} x ${s.width} to ${s.outChannels}, ${s.kernelHeight} x ${s.kernelWidth}, ` +
  `stride ${s.stride}, padding ${s.padding}, groups ${s.groups}`;

function outSides(s: Conv2dShape): [number, number] {
  const side = (size: number, kernel: number) => Math.floor((size + 2 * s.padding - kernel) / s.stride) + 1;
  return [side(s.height, s.kernelHeight), side(s.width, s.kernelWidth)];
}

interface Operands {
  readonly x: Float32Array;
  readonly weight: Float32Array;
  readonly bias: Float32Array;
  readonly dy: Float32Array;
}

type ConvRun = (kernels: Kernels, shape: Conv2dShape, operands: Operands, lab: Lab) => Outputs;

/** Cases of whole numbers, whose sums are exact in any order, and of fractions, within the bounds of summation. */
function convCases(run: ConvRun, terms: (shape: Conv2dShape) => number): Case[] {
  return SHAPES.flatMap((sizes) => {
    const shape = shapeOf(sizes);
    const [down, across] = outSides(shape);
    const make = (whole: boolean) =>
      lazy(() => {
        const data = new Data(`conv/${title(shape)}/${whole}`);
        const of = (n: number) => (whole ? data.whole(n, 3) : data.floats(n));
        const taps = (shape.inChannels / shape.groups) * shape.kernelHeight * shape.kernelWidth;
        return {
          x: of(shape.batch * shape.inChannels * shape.height * shape.width),
          weight: of(shape.outChannels * taps),
          bias: of(shape.outChannels),
          dy: of(shape.batch * shape.outChannels * down * across),
        };
      });
    const [whole, fractions] = [make(true), make(false)];
    return [
      {
        name: `${title(shape)}, whole numbers`,
        run: (kernels, lab) => run(kernels, shape, whole(), lab),
      },
      {
        name: title(shape),
        run: (kernels, lab) => run(kernels, shape, fractions(), lab),
        bounds: (rounding, oracle) => {
          const { x, weight, bias, dy } = fractions();
          const sizesOf = {
            x: Float32Array.from(absolute(x)),
            weight: Float32Array.from(absolute(weight)),
            bias: Float32Array.from(absolute(bias)),
            dy: Float32Array.from(absolute(dy)),
          };
          const sums = run(oracle, shape, sizesOf, new Lab('float64'));
          const factor = rounding.sum(terms(shape) + 3);
          return Object.fromEntries(
            Object.entries(sums).map(([name, values]) => [
              name,
              (values as Float64Array).map((v) => factor * v),
            ]),
          );
        },
      },
    ] satisfies Case[];
  });
}

export const CONV2D_CASES = convCases(
  (kernels, shape, { x, weight, bias }, lab) => {
    const [down, across] = outSides(shape);
    const n = shape.batch * shape.outChannels * down * across;
    const [plain, biased, rectified] = [lab.output(n), lab.output(n), lab.output(n)];
    const args = { ...shape, x: lab.input(x), weight: lab.input(weight) };
    const withBias = { ...args, bias: lab.input(bias) };
    kernels.conv2d({ ...args, bias: null, activation: 'none', y: plain });
    kernels.conv2d({ ...withBias, activation: 'none', y: biased });
    kernels.conv2d({ ...withBias, activation: 'relu', y: rectified });
    return { plain, biased, rectified };
  },
  (s) => (s.inChannels / s.groups) * s.kernelHeight * s.kernelWidth,
);

export const CONV2D_BACKWARD_INPUT_CASES = convCases(
  (kernels, shape, { x, weight, dy }, lab) => {
    const [dx, added] = [lab.output(x.length), lab.inout(x)];
    const args = { ...shape, weight: lab.input(weight), dy: lab.input(dy) };
    kernels.conv2dBackwardInput({ ...args, dx, accumulate: false });
    kernels.conv2dBackwardInput({ ...args, dx: added, accumulate: true });
    return { dx, added };
  },
  (s) => (s.outChannels / s.groups) * s.kernelHeight * s.kernelWidth,
);

export const CONV2D_BACKWARD_WEIGHT_CASES = convCases(
  (kernels, shape, { x, weight, bias, dy }, lab) => {
    const [dweight, addedWeight] = [lab.output(weight.length), lab.inout(weight)];
    const [dbias, addedBias, alone] = [lab.output(bias.length), lab.inout(bias), lab.output(weight.length)];
    const workspace = lab.scratch(kernels.conv2dWorkspace(shape));
    const args = { ...shape, x: lab.input(x), dy: lab.input(dy), workspace };
    kernels.conv2dBackwardWeight({ ...args, dweight, dbias, accumulate: false });
    kernels.conv2dBackwardWeight({ ...args, dweight: addedWeight, dbias: addedBias, accumulate: true });
    kernels.conv2dBackwardWeight({ ...args, dweight: alone, dbias: null, accumulate: false });
    return { dweight, addedWeight, dbias, addedBias, alone };
  },
  (s) => {
    const [down, across] = outSides(s);
    return s.batch * down * across + 32;
  },
);

export const CONV2D_WORKSPACE_CASES: readonly Case[] = [
  {
    name: 'is a whole number of elements, for any shape',
    run: (kernels) => ({
      sound: Number(
        SHAPES.every((sizes) => {
          const n = kernels.conv2dWorkspace(shapeOf(sizes));
          return Number.isSafeInteger(n) && n >= 0;
        }),
      ),
    }),
    law: ({ sound }) => expect(sound).toBe(1),
  },
];

/** planes, height, width, kernel, stride, padding */
const POOLS = [
  [3, 24, 24, 2, 2, 0],
  [2, 7, 9, 2, 2, 0],
  [4, 8, 8, 3, 2, 1],
  [2, 10, 7, 3, 1, 1],
  [2, 9, 9, 2, 3, 1],
  [1, 5, 5, 5, 1, 0],
  [100, 6, 6, 2, 2, 0],
  [0, 6, 6, 2, 2, 0],
] as const;

const pools = (
  run: (kernels: Kernels, lab: Lab, shape: PoolShape, data: Data) => Outputs,
  bound = 0,
): Case[] =>
  POOLS.map(([planes, height, width, kernel, stride, padding]) => {
    const shape = { planes, height, width, kernel, stride, padding };
    const name = `${planes} planes of ${height} x ${width}, windows of ${kernel}, stride ${stride}, padding ${padding}`;
    const bounds: Pick<Case, 'bounds'> =
      bound === 0 ? {} : { bounds: ({ unit }) => ({ y: bound * unit, dx: bound * unit }) };
    return { name, run: (kernels, lab) => run(kernels, lab, shape, new Data(`pool/${name}`)), ...bounds };
  });

const pooled = ({ planes, height, width, kernel, stride, padding }: PoolShape): number => {
  const side = (size: number) => Math.floor((size + 2 * padding - kernel) / stride) + 1;
  return planes * side(height) * side(width);
};

export const MAX_POOL_CASES = pools((kernels, lab, shape, data) => {
  // Few different numbers, so that windows have equal ones, and a NaN now and then.
  const x = data.whole(shape.planes * shape.height * shape.width, 3);
  for (let i = 7; i < x.length; i += 50) x[i] = Number.NaN;
  const y = lab.output(pooled(shape));
  const places = lab.u16Output(y.length);
  kernels.maxPool({ ...shape, x: lab.input(x), y, places });
  return { y, places: Uint32Array.from(places) };
});

export const MAX_POOL_BACKWARD_CASES = pools((kernels, lab, shape, data) => {
  const n = shape.planes * shape.height * shape.width;
  const places = lab.u16Output(pooled(shape));
  const y = lab.output(places.length);
  kernels.maxPool({ ...shape, x: lab.input(data.whole(n, 100)), y, places });
  const dx = lab.output(n);
  kernels.maxPoolBackward({ ...shape, dy: lab.input(data.whole(y.length, 50)), places, dx });
  let refused = 0;
  if (places.length > 0) {
    places[0] = 60_000;
    try {
      kernels.maxPoolBackward({ ...shape, dy: y, places, dx: lab.output(n) });
    } catch (error) {
      refused = Number((error as { code?: string }).code === 'KERNEL_INDEX_RANGE');
    }
  } else refused = 1;
  return { dx, refused };
}).map((one): Case => ({ ...one, law: ({ refused }) => expect(refused).toBe(1) }));

export const AVG_POOL_CASES = pools((kernels, lab, shape, data) => {
  const y = lab.output(pooled(shape));
  kernels.avgPool({ ...shape, x: lab.input(data.floats(shape.planes * shape.height * shape.width)), y });
  return { y };
}, 30);

export const AVG_POOL_BACKWARD_CASES = pools((kernels, lab, shape, data) => {
  const dx = lab.output(shape.planes * shape.height * shape.width);
  kernels.avgPoolBackward({ ...shape, dy: lab.input(data.floats(pooled(shape))), dx });
  return { dx };
}, 30);

/** batch, channels, plane */
const BATCHES = [
  [4, 3, 49],
  [2, 17, 16],
  [8, 1, 33],
  [64, 5, 1],
  [1, 2, 1],
  [40, 16, 784],
  [0, 3, 4],
] as const;

const batches = (run: (kernels: Kernels, lab: Lab, shape: BatchNormShape, data: Data) => Outputs): Case[] =>
  BATCHES.map(([batch, channels, plane]) => {
    const shape = { batch, channels, plane };
    const name = `${batch} x ${channels} x ${plane}`;
    return {
      name,
      run: (kernels, lab) => run(kernels, lab, shape, new Data(`batch norm/${name}`)),
      // Numbers of size 1 around 0.5 with a spread of 1/2 or more, eps 0.1: every factor is below 16, so 2^-24 times
      // some hundreds bounds any rounding; sums over the batch are of n terms below 8.
      bounds: ({ unit }) => {
        const n = batch * plane;
        const sums = 8 * n * unit * Math.sqrt(n + 16) * 4;
        const each = { y: 400 * unit, rectified: 400 * unit, dx: 4000 * unit, dxRelu: 4000 * unit };
        const stats = { mean: 16 * unit, rstd: 64 * unit, runningMean: 16 * unit, runningVar: 64 * unit };
        return { ...each, ...stats, dgamma: sums, dbeta: sums, dgammaRelu: sums, dbetaRelu: sums };
      },
    };
  });

function normalised({ batch, channels, plane }: BatchNormShape, data: Data) {
  const x = data.between(batch * channels * plane, -0.5, 1.5);
  return { x, gamma: data.floats(channels, 2), beta: data.floats(channels), dy: data.floats(x.length) };
}

export const BATCH_NORM_CASES = batches((kernels, lab, shape, data) => {
  const { x, gamma, beta } = normalised(shape, data);
  const { channels } = shape;
  // Without examples nothing is defined, and nothing is written.
  const of = (n: number) => (x.length === 0 ? lab.inout(new Float32Array(n)) : lab.output(n));
  const [runningMean, runningVar] = [
    lab.inout(data.floats(channels)),
    lab.inout(data.between(channels, 0, 2)),
  ];
  const [y, mean, rstd] = [of(x.length), of(channels), of(channels)];
  const args = {
    ...shape,
    eps: 0.1,
    momentum: 0.1,
    x: lab.input(x),
    gamma: lab.input(gamma),
    beta: lab.input(beta),
  };
  kernels.batchNorm({ ...args, relu: false, runningMean, runningVar, y, mean, rstd });
  const rectified = of(x.length);
  const again = {
    runningMean: lab.inout(gamma),
    runningVar: lab.inout(gamma),
    mean: of(channels),
    rstd: of(channels),
  };
  kernels.batchNorm({ ...args, ...again, relu: true, y: rectified });
  return { y, rectified, mean, rstd, runningMean, runningVar };
});

export const BATCH_NORM_APPLY_CASES = batches((kernels, lab, shape, data) => {
  const { x, gamma, beta } = normalised(shape, data);
  const given = {
    mean: lab.input(data.floats(shape.channels)),
    variance: lab.input(data.between(shape.channels, 0, 2)),
  };
  const args = {
    ...shape,
    ...given,
    eps: 0.1,
    x: lab.input(x),
    gamma: lab.input(gamma),
    beta: lab.input(beta),
  };
  const [y, rectified] = [lab.output(x.length), lab.output(x.length)];
  kernels.batchNormApply({ ...args, relu: false, y });
  kernels.batchNormApply({ ...args, relu: true, y: rectified });
  return { y, rectified };
});

export const BATCH_NORM_BACKWARD_CASES = batches((kernels, lab, shape, data) => {
  const { x, gamma, dy } = normalised(shape, data);
  const { channels } = shape;
  const of = (n: number) => (x.length === 0 ? lab.inout(new Float32Array(n)) : lab.output(n));
  const given = {
    mean: lab.input(data.between(channels, 0.4, 0.6)),
    rstd: lab.input(data.between(channels, 1, 2)),
  };
  const args = { ...shape, ...given, x: lab.input(x), gamma: lab.input(gamma) };
  const [dx, dgamma, dbeta] = [of(x.length), of(channels), of(channels)];
  kernels.batchNormBackward({ ...args, y: null, dy: lab.input(dy), dx, dgamma, dbeta });
  const inPlace = lab.inout(dy);
  const [dgammaRelu, dbetaRelu] = [of(channels), of(channels)];
  const y = lab.input(data.floats(x.length));
  kernels.batchNormBackward({ ...args, y, dy: inPlace, dx: inPlace, dgamma: dgammaRelu, dbeta: dbetaRelu });
  return { dx, dgamma, dbeta, dxRelu: inPlace, dgammaRelu, dbetaRelu };
});

const PICTURES = [
  { batch: 5, rows: 9, channels: 1, height: 6, width: 7 },
  { batch: 64, rows: 70, channels: 3, height: 16, width: 33 },
];

export const LOAD_IMAGES_CASES: readonly Case[] = PICTURES.map((shape) => ({
  name: `${shape.batch} of ${shape.rows} pictures of ${shape.channels} x ${shape.height} x ${shape.width}`,
  run: (kernels, lab) => {
    const { batch, rows, channels, height, width } = shape;
    const data = new Data('load images');
    const n = channels * height * width;
    const pixels = Uint8Array.from({ length: rows * n }, () => data.stream.below(256));
    const ids = lab.u32(Array.from({ length: batch }, () => data.stream.below(rows)));
    const moves = Int32Array.from({ length: 3 * batch }, (_, i) =>
      i % 3 === 2 ? data.stream.below(2) : data.stream.below(9) - 4,
    );
    // Powers of two: products are exact.
    const scale = lab.input(Float32Array.from({ length: channels }, (_, c) => 2 ** -c));
    const shift = lab.input(Float32Array.from({ length: channels }, (_, c) => c - 0.5));
    const [still, moved] = [lab.output(batch * n), lab.output(batch * n)];
    kernels.loadImages({ ...shape, pixels, ids, scale, shift, moves: null, out: still });
    kernels.loadImages({ ...shape, pixels, ids, scale, shift, moves: lab.i32(moves), out: moved });
    let refused = 0;
    try {
      kernels.loadImages({
        ...shape,
        rows: 1,
        pixels,
        ids,
        scale,
        shift,
        moves: null,
        out: lab.output(batch * n),
      });
    } catch (error) {
      refused = Number((error as { code?: string }).code === 'KERNEL_INDEX_RANGE');
    }
    return { still, moved, refused };
  },
  law: ({ refused }) => expect(refused).toBe(1),
}));
