/** What a network does, as data: the steps of a stored sparse network. */
import { z } from 'zod';
import type { PixelScale } from '../../data/image-batches.js';
import type { Floats } from '../../kernels/face.js';
import type { SparseRows } from '../../nn/sparse-linear.js';

const size = z
  .number()
  .int()
  .min(1)
  .max(2 ** 24);
const padding = z.number().int().min(0).max(4096);
const base = { name: z.string().max(200), relu: z.boolean(), bias: z.boolean() };
const window = { kernel: size, stride: size, padding };

const linear = z.strictObject({ kind: z.literal('linear'), ...base, inputs: size, outputs: size });
const conv2d = z.strictObject({
  kind: z.literal('conv2d'),
  ...base,
  ...{ inChannels: size, outChannels: size, kernelHeight: size, kernelWidth: size },
  ...{ stride: size, padding, groups: size },
});
/** y = x * scale + bias along the last dimension: `scale` stands for a matrix [dim, 1]. */
const affine = z.strictObject({ kind: z.literal('affine'), scale: linear });
/** Rows of a table [symbols, dim] by symbol, each input one of them. */
const embedding = z.strictObject({ kind: z.literal('embedding'), table: linear });
/** A recurrent layer over steps of `streams` rows; `input` has the bias, `state` one of its own for a GRU. */
const recurrent = z.strictObject({
  kind: z.literal('recurrent'),
  cell: z.enum(['rnn', 'lstm', 'gru']),
  ...{ hidden: size, streams: size, input: linear, state: linear },
});
const plain = z.discriminatedUnion('kind', [
  linear,
  conv2d,
  affine,
  embedding,
  recurrent,
  z.strictObject({ kind: z.literal('gelu') }),
  /** The last two dimensions change places. */
  z.strictObject({ kind: z.literal('swap') }),
  /** [B, C, H, W] -> [B, patches, C * patch * patch]. */
  z.strictObject({ kind: z.literal('patches'), patch: size }),
  /** [B, rows, dim] -> [B, dim]. */
  z.strictObject({ kind: z.literal('mean-rows') }),
  z.strictObject({ kind: z.literal('max-pool'), ...window }),
  z.strictObject({ kind: z.literal('avg-pool'), ...window }),
  z.strictObject({ kind: z.literal('flatten') }),
  z.strictObject({ kind: z.literal('global-average') }),
  z.strictObject({ kind: z.literal('relu') }),
]);
/** y = branch(x) + shortcut(x), the shortcut being x where it has no steps. */
const residual = z.strictObject({
  kind: z.literal('residual'),
  branch: z.array(plain).min(1).max(100),
  shortcut: z.array(plain).max(100),
});

export const programSchema = z
  .array(z.union([plain, residual]))
  .min(1)
  .max(10_000);

export type LinearStep = z.infer<typeof linear>;
export type Conv2dStep = z.infer<typeof conv2d>;
export type RecurrentStep = z.infer<typeof recurrent>;
export type WeightedStep = LinearStep | Conv2dStep;
export type PlainStep = z.infer<typeof plain>;
export type Step = PlainStep | z.infer<typeof residual>;

/** The numbers of a weighted step. */
export interface StepWeights {
  readonly weight: SparseRows;
  readonly bias: Floats | null;
}

/** Steps and, by name, what they multiply with. */
export interface Program {
  /** Of one example, e.g. [1, 28, 28]; empty for symbols of text. */
  readonly input: readonly number[];
  readonly steps: readonly Step[];
  readonly weights: ReadonlyMap<string, StepWeights>;
  /** How the bytes of images become inputs, where a file says so. */
  readonly pixels?: PixelScale;
}

/** Rows and columns of the matrix of a step. */
export function matrixOf(step: WeightedStep): readonly [rows: number, cols: number] {
  if (step.kind === 'linear') return [step.outputs, step.inputs];
  return [step.outChannels, (step.inChannels / step.groups) * step.kernelHeight * step.kernelWidth];
}

/** Everything that has a matrix, in the order of use. */
export function weightedSteps(steps: readonly Step[]): WeightedStep[] {
  return steps.flatMap((step) => {
    if (step.kind === 'residual') return [...weightedSteps(step.branch), ...weightedSteps(step.shortcut)];
    if (step.kind === 'recurrent') return [step.input, step.state];
    if (step.kind === 'affine') return [step.scale];
    if (step.kind === 'embedding') return [step.table];
    return step.kind === 'linear' || step.kind === 'conv2d' ? [step] : [];
  });
}
