/** What a classifier is, as data: validated once, stored in every model, the same from CLI and API. */
import { z } from 'zod';

const probability = z.number().min(0).lt(1);
const positiveInteger = z.number().int().positive();

/** Lets `{ fanIn: 64 }` mean `{ kind: 'fan-in', fanIn: 64 }`: a missing discriminator takes its default. */
function orDefault<T extends z.ZodType>(key: string, value: string, schema: T) {
  return z.preprocess(
    (input) =>
      typeof input === 'object' && input !== null && !Array.isArray(input) && !Object.hasOwn(input, key)
        ? { [key]: value, ...input }
        : input,
    schema,
  );
}

const pruneUnion = z.discriminatedUnion('mode', [
  z.strictObject({
    mode: z.literal('fraction'),
    fraction: z.number().gt(0).max(1).default(0.15),
    scope: z.enum(['label', 'layer']).default('layer'),
    anneal: z.enum(['constant', 'cosine']).default('constant'),
  }),
  z.strictObject({ mode: z.literal('threshold'), tau: z.number().positive().default(0.05) }),
]);
const pruneSpec = orDefault('mode', 'fraction', pruneUnion);

const start = z.enum(['random', 'gradient']);
const perLabel = positiveInteger.default(16);
/** How the dense gradient that connections grow by is multiplied; only the choice of connections depends on it. */
const products = z.enum(['float32', 'bf16']).default('bf16');

const topologyUnion = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('static'), perLabel, products, start: start.default('random') }),
  z.strictObject({
    kind: z.literal('set'),
    prune: pruneSpec.prefault({}),
    every: positiveInteger.default(300),
    until: z.number().min(0).max(1).default(0.66),
    perLabel,
    products,
    start: start.default('random'),
  }),
  z.strictObject({
    kind: z.literal('rigl'),
    prune: pruneSpec.prefault({ mode: 'fraction', scope: 'label', anneal: 'cosine' }),
    every: positiveInteger.default(300),
    until: z.number().min(0).max(1).default(0.66),
    sample: z.enum(['batch', 'positives']).default('positives'),
    perLabel,
    products,
    start: start.default('gradient'),
  }),
]);
export const topologySpec = orDefault('kind', 'set', topologyUnion);

/** Where no topology is named. Connections by gradients that stay find more than those that evolve from chance. */
const fromGradients = { kind: 'static', start: 'gradient' } as const;

/** Start weights are uniform within +-startScale / sqrt(weights per label); 0 starts from zero. */
const startScale = z.number().min(0).max(10).default(0.1);

/**
 * A dense layer between the encoder and the output layer, h' = act(A h + a) of width P: sparse labels choose their
 * connections among P features instead of d, and more gradient finds its way back. The encoder's optimiser trains it.
 * Ullah et al. 2024, section 3. Linear, as wide as h and started from the identity, it turns h while labels learn.
 */
export const intermediateSpec = z
  .strictObject({
    /** P; connections take 4 bytes instead of 2 above 65,536. */
    width: positiveInteger,
    activation: z.enum(['relu', 'gelu', 'none']).default('relu'),
    /** `identity`: a = 0, and unit j begins as act(h_j); units beyond d begin as `random` ones. */
    start: z.enum(['random', 'identity']).default('random'),
    /** Random start weights are uniform within +-startScale / sqrt(d). */
    startScale: z.number().gt(0).max(10).default(1),
  })
  .nullable()
  .default(null);
/** What stands between encoder and output layer; in a bottleneck it is linear. */
export type IntermediateSpec = NonNullable<z.infer<typeof intermediateSpec>>;

/** How weights are stored: in bfloat16 they take half the bytes and are rounded stochastically after updates. */
const precision = z.enum(['float32', 'bf16']).default('float32');

/**
 * Labels that a thread works on at once; absent: chosen by the layer. Results differ by rounding alone, the bytes of a
 * thread's gradients by as much.
 */
const chunk = positiveInteger.max(4096).optional();

/** Above 0: softmax over a batch's positives and so many labels drawn at random, instead of all of them. */
const samples = z
  .number()
  .int()
  .min(0)
  .max(2 ** 26)
  .default(0);

const outputUnion = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('dense'),
    startScale,
    precision,
    chunk,
    samples,
    intermediate: intermediateSpec,
  }),
  z.strictObject({
    kind: z.literal('fan-in'),
    fanIn: positiveInteger.default(32),
    /**
     * Of them, connections to the last units of the intermediate layer, the same for all labels: a low-rank part beside
     * the sparse one.
     */
    shared: z.number().int().min(0).default(0),
    startScale,
    samples,
    /** Drawn labels have no backward index: with samples the form is `compact`. */
    form: z.enum(['fast', 'compact']).default('fast'),
    precision,
    chunk,
    topology: topologySpec.prefault(fromGradients),
    intermediate: intermediateSpec,
  }),
  z.strictObject({
    kind: z.literal('grouped'),
    fanIn: positiveInteger.default(128),
    /** Labels that share their inputs. */
    group: positiveInteger.default(32),
    /** How many groups there are, where labels that came and went left some of them smaller; written, not chosen. */
    groups: positiveInteger.optional(),
    /** Which labels share: as they are numbered, drawn at random, or alike by the rows that show them. */
    order: z.enum(['identity', 'random', 'clusters']).default('identity'),
    /** Most frequent labels that get a dense layer: below 1 a share of the labels, else how many. */
    head: z.number().min(0).default(0),
    startScale,
    precision,
    topology: topologySpec.prefault(fromGradients),
    intermediate: intermediateSpec,
  }),
  /**
   * A linear layer d to width, then a dense layer on top: a factored weight matrix, and the rival of a sparse layer
   * of fan-in `width` at equal memory.
   */
  z.strictObject({
    kind: z.literal('bottleneck'),
    width: positiveInteger.default(64),
    startScale,
    precision,
    samples,
  }),
  z.strictObject({
    kind: z.literal('factored'),
    /** `dense` trains the same weights the plain way: the control, O(labels) per step. */
    form: z.enum(['factored', 'dense']).default('factored'),
    startScale,
    /** Of the spherical softmax: (o^2 + epsilon) / (q + L epsilon). */
    epsilon: z.number().positive().default(1),
    /** Of the Z-loss: softplus(alpha (beta - z)) / alpha. */
    alpha: z.number().positive().default(0.1),
    beta: z.number().default(10),
    /** Takes steps at rates where plain SGD itself grows. */
    allowUnstable: z.boolean().default(false),
  }),
]);
export const outputSpec = orDefault('kind', 'fan-in', outputUnion);
export type OutputSpec = z.infer<typeof outputSpec>;

export const encoderSpec = z.strictObject({
  /** Width of the embedding bag. */
  embedding: positiveInteger.default(512),
  /** Half-width of the uniform start of the embedding: rows of unit norm want hidden vectors of some length. */
  embeddingBound: z.number().positive().default(0.3),
  /**
   * The embedding's biases start so many standard deviations of a unit-norm row's sum below 0 (above, where negative):
   * with relu the larger, the fewer hidden units answer to a row, and the less any two rows have in common.
   */
  threshold: z.number().min(-5).max(5).default(0),
  /** Widths of further linear layers, each with the activation. */
  hidden: z.array(positiveInteger).default([]),
  /** Default of runs: none below a fan-in, grouped or bottleneck layer where `hidden` is empty, else relu. */
  activation: z.enum(['relu', 'gelu', 'none']).default('relu'),
  /** Layer norm after the embedding bag, before the activation. */
  layerNorm: z.boolean().default(false),
  /** On the hidden vector. Default of runs: 0.2 where that of `activation` is none, else 0.5. */
  dropout: probability.default(0.5),
  /** On the input features. */
  featureDropout: probability.default(0),
});
export type EncoderSpec = z.infer<typeof encoderSpec>;

export const modelSpec = z.strictObject({
  encoder: encoderSpec.prefault({}),
  output: outputSpec.prefault({}),
  /**
   * Over all labels one by one; softmax, whose targets share a mass of one; or, for a factored layer, of the spherical
   * family.
   */
  loss: z
    .enum(['bce', 'squaredHinge', 'softmax', 'squaredError', 'sphericalSoftmax', 'taylorSoftmax', 'zLoss'])
    .default('bce'),
  /** Biases start at the logit of each label's training frequency, or at 0. */
  biasStart: z.enum(['frequency', 'zero']).default('frequency'),
});
export type ModelSpec = z.infer<typeof modelSpec>;

const rate = z.number().positive().default(2e-3);
const weightDecay = z.number().min(0).default(0);
const beta = z.number().min(0).lt(1);

const optimizerUnion = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('sgd'),
    rate,
    momentum: beta.default(0),
    nesterov: z.boolean().default(false),
    weightDecay,
  }),
  z.strictObject({
    kind: z.enum(['adam', 'adamw']),
    rate,
    beta1: beta.default(0.9),
    beta2: beta.default(0.999),
    eps: z.number().positive().default(1e-8),
    weightDecay,
  }),
  z.strictObject({
    kind: z.literal('adagrad'),
    rate,
    eps: z.number().positive().default(1e-10),
    weightDecay,
  }),
]);
export const optimizerSpec = orDefault('kind', 'adam', optimizerUnion);
