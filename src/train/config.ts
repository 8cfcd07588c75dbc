/** The one config object of a training run: validated once, the same from CLI and API. */
import { z } from 'zod';
import { EspalierError, suggest } from '../errors.js';
import { savedSpec } from '../methods/block-sparse/options.js';
import { modelSpec, optimizerSpec } from '../model/spec.js';

const positiveInteger = z.number().int().positive();

export const calibrationSettings = z.strictObject({
  /** Best labels of each row that are looked at. */
  perRow: positiveInteger.default(10),
  /** Right predictions from which a label has a scaling of its own. */
  leastRight: positiveInteger.default(50),
});

export const trainConfig = z.strictObject({
  /** Dataset directory. */
  data: z.string().min(1),
  /** Run directory. */
  out: z.string().min(1),
  seed: z.number().int().min(0).max(0xffffffff).default(1),
  /** Threads of the native kernels; 0: all cores. */
  threads: z.number().int().min(0).max(1024).default(0),
  backend: z.enum(['auto', 'native', 'reference']).default('auto'),
  /** Training chooses `model.output` itself where it is left out, or its kind is `auto`: see auto-output.ts. */
  model: modelSpec.prefault({}),
  batch: positiveInteger.default(64),
  epochs: z.number().positive().default(10),
  /** Optimiser of the encoder. */
  optimizer: optimizerSpec.prefault({ rate: 7e-3 }),
  /**
   * Optimiser of the output layer. By default adam of rate 2e-2 and eps 0.064 / batch (see presets: rare labels want
   * it large); sgd, rate 0.3 * batch by default, saves two numbers per weight.
   */
  outputOptimizer: optimizerSpec.prefault({}),
  /**
   * A second objective that helps the gradient through while connections are few: a dense head on the encoder's
   * output learns in which cluster of labels an example's labels fall. null: none.
   */
  auxiliary: z
    .strictObject({
      /** Weight of the second loss at the start; it falls along a cosine and is 0 from epoch `cutoff` on. */
      lambda: z.number().min(0).lt(1).default(0.4),
      cutoff: z.number().positive().default(2),
      /** Most labels of a cluster. */
      maxClusterSize: positiveInteger.default(100),
      /** Learning rate of the head; by default the output optimiser's, whose other settings it shares. */
      rate: z.number().positive().optional(),
    })
    .nullable()
    .default(null),
  /** A saved model to go on from; null: all weights are drawn. */
  start: z
    .strictObject({
      /** Run directory or model directory. */
      model: z.string().min(1),
      /**
       * `continue`: the same features, and all its labels; settings that are not given are those of its training.
       * `share`: the encoder, and the labels and features of the same names; settings are those of any run.
       */
      mode: z.enum(['continue', 'share']).default('continue'),
      /** Where labels start that the model does not have: from the hidden vectors of their rows, or drawn. */
      newLabels: z.enum(['rows', 'drawn']).default('rows'),
      /**
       * `new`: only labels that the model does not have learn, for 4 epochs by default; encoder, other labels and all
       * connections stay, bit by bit. Default: all. Optional, so that older runs resume.
       */
      learn: z.enum(['all', 'new']).optional(),
      /**
       * With `learn: new`: points of P@1 that validation rows without a new label may lose to new ones, whose logits are
       * brought down for that. Default 0.5.
       */
      mostLost: z.number().min(0).max(100).optional(),
      /** What becomes of labels of the model that the dataset does not have, when continuing. */
      missingLabels: z.enum(['refuse', 'drop']).default('refuse'),
    })
    .refine(({ mode, learn }) => mode === 'continue' || learn !== 'new', 'learn "new" needs mode "continue"')
    .nullable()
    .default(null),
  /** What the encoder keeps for backward: see block-sparse activations. null: everything, dense. */
  saved: savedSpec.nullable().default(null),
  schedule: z
    .strictObject({
      kind: z.enum(['constant', 'cosine', 'linear']).default('cosine'),
      warmup: z.number().min(0).max(1).default(0.02),
      floor: z.number().min(0).max(1).default(0),
    })
    .prefault({}),
  /** Largest global gradient norm; null: no clipping (one pass instead of two). */
  clip: z.number().positive().nullable().default(null),
  /** What the last model trains on: `train` holds the validation rows out, `all` uses them too. */
  rows: z.enum(['train', 'all']).default('train'),
  /**
   * What labels are called, as rows of theirs: each batch has some behind its own. For datasets of text whose rows use the
   * words of their labels. null: none. Optional, so that older runs resume.
   */
  labelRows: z
    .strictObject({
      /** So many of them for a row of a batch. */
      share: z.number().positive().max(8).default(0.75),
      /** Part of the run after which there are none. */
      until: z.number().positive().max(1).default(0.75),
    })
    .nullable()
    .optional(),
  validation: z
    .strictObject({
      /** Rows scored during training; 0: none. */
      rows: z.number().int().min(0).default(2000),
      /** Epochs between scorings. */
      every: z.number().positive().default(1),
      /** Keep the model of the best scoring, by P@1, not that of the last step. */
      best: z.boolean().default(true),
      /**
       * End training after so many scorings in a row without a better one; null: never. Rates that fall to 0 earn much
       * of what is gained at the very end, and the best model is kept anyway, so that none is set by default.
       */
      patience: positiveInteger.nullable().default(null),
    })
    .refine(({ best, patience }) => best || patience === null, 'patience needs best: true')
    .prefault({}),
  /** Probabilities learnt on the validation rows that are scored; null: those of the loss. */
  calibration: calibrationSettings.nullable().prefault({}),
  checkpoint: z
    .strictObject({
      /** Minutes between checkpoints. */
      everyMinutes: z.number().positive().default(5),
      keep: positiveInteger.default(2),
    })
    .prefault({}),
  /** Also writes event files for TensorBoard, to `tensorboard/` in the run. Optional, so that older runs resume. */
  tensorboard: z.boolean().optional(),
});

export type TrainConfig = z.infer<typeof trainConfig>;
export type TrainConfigInput = z.input<typeof trainConfig>;

/** Fills defaults and refuses what does not fit, with the path, what was expected, and the nearest known key. */
export function parseConfig(input: unknown, file?: string): TrainConfig {
  const parsed = trainConfig.safeParse(withEncoderDefaults(withOutputDefaults(input)));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue.path.join('.');
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0];
    const near = suggest(key, knownKeys);
    throw new EspalierError({
      code: 'CONFIG_UNKNOWN_KEY',
      kind: 'usage',
      op: 'config',
      problem: `there is no setting ${JSON.stringify(path === '' ? key : `${path}.${key}`)}`,
      hint:
        near === undefined
          ? `known settings: ${knownKeys.join(', ')}`
          : `did you mean ${JSON.stringify(near)}?`,
      file,
    });
  }
  throw new EspalierError({
    code: 'CONFIG_INVALID',
    kind: 'usage',
    op: 'config',
    problem: `the setting ${JSON.stringify(path)} does not fit`,
    expected: issue.message,
    received: JSON.stringify(valueAt(input, issue.path)) ?? 'nothing',
    file,
  });
}

const isObject = (x: unknown): x is Record<string, unknown> =>
  typeof x === 'object' && x !== null && !Array.isArray(x);

/** Rates that an output layer wants are not those of an encoder, and go with the batch: gradients are means over it. */
function withOutputDefaults(input: unknown): unknown {
  if (!isObject(input)) return input;
  const { outputOptimizer = {}, batch = 64, model = {} } = input;
  if (!isObject(outputOptimizer) || typeof batch !== 'number' || !isObject(model)) return input;
  // Its losses and its optimiser are its own.
  const factored = isObject(model.output) && model.output.kind === 'factored';
  const { kind = factored ? 'sgd' : 'adam' } = outputOptimizer;
  const defaults =
    kind === 'adam' || kind === 'adamw'
      ? { rate: 2e-2, eps: 0.064 / batch }
      : kind === 'sgd'
        ? { rate: factored ? 1 : 0.3 * batch }
        : {};
  const changes = factored ? { model: { loss: 'zLoss', ...model } } : {};
  return { ...input, ...changes, outputOptimizer: { kind, ...defaults, ...outputOptimizer } };
}

/**
 * Layers for many labels, each of few rows, want a hidden vector that tells rows apart, which ReLU and much dropout blur:
 * docs/results/defaults.md has the figures. Not in a deep encoder: linear layers on top of each other would be one.
 */
function withEncoderDefaults(input: unknown): unknown {
  if (!isObject(input)) return input;
  const { model = {} } = input;
  if (!isObject(model)) return input;
  const { encoder = {}, output = {} } = model;
  if (!isObject(encoder) || !isObject(output)) return input;
  const { kind = 'fan-in' } = output;
  const isDeep = Array.isArray(encoder.hidden) && encoder.hidden.length > 0;
  if (isDeep || (kind !== 'fan-in' && kind !== 'grouped' && kind !== 'bottleneck')) return input;
  return { ...input, model: { ...model, encoder: { activation: 'none', dropout: 0.2, ...encoder } } };
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const key of path) value = (value as Record<PropertyKey, unknown> | undefined)?.[key];
  return value;
}

/** Every key that occurs anywhere in the schema. */
const knownKeys: readonly string[] = (() => {
  const keys = new Set<string>();
  const walk = (schema: unknown): void => {
    if (typeof schema !== 'object' || schema === null) return;
    if (Array.isArray(schema)) {
      for (const part of schema) walk(part);
      return;
    }
    const { properties } = schema as { properties?: Record<string, unknown> };
    for (const key of Object.keys(properties ?? {})) keys.add(key);
    for (const part of Object.values(schema)) walk(part);
  };
  walk(z.toJSONSchema(trainConfig, { io: 'output' }));
  return [...keys].sort();
})();

/** Applies `--set a.b=c` to a plain object: values are JSON where they parse as JSON, else text. */
export function setPath(target: Record<string, unknown>, assignment: string): void {
  const equals = assignment.indexOf('=');
  if (equals < 1) {
    throw new EspalierError({
      code: 'SET_SYNTAX',
      kind: 'usage',
      op: '--set',
      problem: 'an assignment needs a path and a value',
      expected: 'a.b=value',
      received: assignment,
    });
  }
  const path = assignment.slice(0, equals).split('.');
  const text = assignment.slice(equals + 1);
  let value: unknown = text;
  try {
    value = JSON.parse(text);
  } catch {}
  let node = target;
  for (const key of path.slice(0, -1)) {
    const next = Object.hasOwn(node, key) ? node[key] : undefined;
    if (typeof next === 'object' && next !== null) node = next as Record<string, unknown>;
    else {
      const made: Record<string, unknown> = Object.create(null);
      node[key] = made;
      node = made;
    }
  }
  node[path[path.length - 1]] = value;
}
