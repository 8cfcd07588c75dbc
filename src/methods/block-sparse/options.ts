/** How activations are kept for backward: the options of a run, checked once. */
import { z } from 'zod';
import { EspalierError } from '../../errors.js';
import { blockSizes } from '../../tensor/bsr.js';

const share = z.number().min(0).max(1);
const whole = z.number().int().positive();

/** A share of blocks, or one that moves in a straight line over the first `steps` steps after the warm-up. */
const keepSpec = z.union([share, z.strictObject({ from: share, to: share, steps: whole })]);

/** `64MiB`, `1.5GiB`, or bytes. */
const byteSize = z.union([
  z.number().positive(),
  z.string().regex(/^\d+(\.\d+)?(B|KiB|MiB|GiB)$/, 'a number with B, KiB, MiB or GiB'),
]);

const bsrSpec = z
  .strictObject({
    kind: z.literal('bsr'),
    block: z.literal([...blockSizes]).default(16),
    /** Share of the blocks that is kept. */
    keep: keepSpec.optional(),
    /** Instead of `keep`: bytes that all tensors under this rule may take together; as many blocks as fit. */
    budget: byteSize.optional(),
    /** The largest blocks of the tensor, or of every block row. */
    scope: z.enum(['tensor', 'row']).default('tensor'),
  })
  .refine((form) => (form.keep === undefined) !== (form.budget === undefined), 'either keep or budget');

const formSpec = z.union([
  z.strictObject({ kind: z.literal('dense') }),
  bsrSpec,
  z.strictObject({ kind: z.literal('pooled'), /** Rows that share a mean. */ size: whole.min(2) }),
  z.strictObject({ kind: z.literal('bf16') }),
  z.strictObject({
    kind: z.literal('recompute'),
    /** Also where that takes a matrix product: outputs of linear layers. */
    products: z.boolean().default(false),
  }),
]);

export const savedSpec = z.strictObject({
  /** Inputs of linear and affine layers: their dx is exact whatever is kept, only weight gradients are not. */
  inputs: formSpec.prefault({ kind: 'bsr', keep: 0.5 }),
  /**
   * Exceptions, the first that fits decides. `layer` is a name as in `blocks.1.branch.layers.4`, * for any part of it;
   * `op` the operation that reads the tensor. Inputs of gelu and layerNorm, whose error travels down, stay dense unless
   * a rule names their op.
   */
  rules: z
    .array(
      z.strictObject({
        layer: z.string().min(1).optional(),
        op: z.string().min(1).optional(),
        form: formSpec,
      }),
    )
    .default([]),
  /** One bit per element for the backward of ReLUs. */
  masks: z.boolean().default(true),
  /** Steps at the start that keep everything dense. */
  warmup: z.number().int().min(0).default(0),
  /** Every so many steps one layer, in turn, keeps its input dense as well, for the cosine of both gradients; 0: never. */
  sampleEvery: z.number().int().min(0).default(0),
});

export type SavedOptions = z.infer<typeof savedSpec>;
export type SavedOptionsInput = z.input<typeof savedSpec>;
export type FormSpec = z.infer<typeof formSpec>;
export type BsrSpec = z.infer<typeof bsrSpec>;

/** Blocks of largest norm. @example bsr({ block: 16, keep: 0.3 }), bsr({ budget: '64MiB' }) */
export const bsr = (options: Omit<z.input<typeof bsrSpec>, 'kind'>) => ({ ...options, kind: 'bsr' as const });

/** Means of `size` rows each (arXiv 2409.11902). */
export const pooled = (options: { readonly size: number }) => ({ ...options, kind: 'pooled' as const });

export const dense = { kind: 'dense' } as const;

/** Rounded to bfloat16: half the bytes, each number off by 2^-9 of itself at most. */
export const bf16 = { kind: 'bf16' } as const;

/**
 * Computed again, where the tensor is the output of a GELU or an affine layer, or one with axes exchanged; with
 * `products: true` that of a linear layer too. For `rules`.
 */
export const recompute = { kind: 'recompute' } as const;

/** Fills defaults and refuses what does not fit. */
export function parseSaved(input: unknown): SavedOptions {
  const result = savedSpec.safeParse(input);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new EspalierError({
    code: 'SAVED_OPTIONS',
    kind: 'usage',
    op: 'SavedActivations',
    problem: `\`${issue.path.join('.') || 'options'}\` does not fit: ${issue.message}`,
  });
}

const units = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

export function bytesOf(size: number | string): number {
  if (typeof size === 'number') return size;
  const unit = (/[KMG]?i?B$/.exec(size) as RegExpExecArray)[0] as keyof typeof units;
  return Math.floor(Number(size.slice(0, -unit.length)) * units[unit]);
}
