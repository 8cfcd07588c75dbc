/**
 * Random draws of settings around those that are given: what kind of output layer and how sparse, how wide the encoder,
 * dropout, rates and epochs. A setting that is given is not drawn.
 */
import { RandomStream } from '../../kernels/random.js';
import { isLabelLoss } from '../../model/output.js';
import type { TrainConfig, TrainConfigInput } from '../config.js';
import { setPath } from '../config.js';
import { leavesOutputOpen } from '../open-output.js';
import { mostFanIn } from '../output-choices.js';

type Settings = Readonly<Record<string, unknown>>;

function valueAt(input: unknown, path: string): unknown {
  let value = input;
  for (const key of path.split('.')) value = (value as Settings | undefined | null)?.[key];
  return value;
}

const pick = <T>(random: RandomStream, items: readonly T[]): T => items[random.below(items.length)];

/** `value` times 2^u, u uniform in [-octaves, octaves], to two digits. */
const around = (random: RandomStream, value: number, octaves: number): number =>
  Number((value * 2 ** (octaves * (2 * random.uniform() - 1))).toPrecision(2));

/**
 * What draw `number` changes, as `path: value`; draw 0 changes nothing. Draws do not depend on one another, and what is
 * given does not shift the others.
 */
export function drawSettings(
  number: number,
  { seed, given, base }: { readonly seed: number; readonly given: unknown; readonly base: TrainConfig },
): Settings {
  if (number === 0) return {};
  const random = RandomStream.named(seed, `tune/draw-${number}`);
  const { encoder } = base.model;
  const embedding = Math.max(8, Math.round(encoder.embedding * pick(random, [0.5, 1, 1, 2])));
  const drawn: Record<string, unknown> = {
    'model.encoder.embedding': embedding,
    'model.encoder.activation': pick(random, ['relu', 'none']),
    'model.encoder.dropout': pick(random, [0, 0.1, 0.2, 0.35, 0.5]),
    'optimizer.rate': around(random, base.optimizer.rate, 2),
    'outputOptimizer.rate': around(random, base.outputOptimizer.rate, 2),
    epochs: Number((base.epochs * pick(random, [0.5, 0.75, 1, 1.5])).toPrecision(3)),
  };
  for (const path of Object.keys(drawn)) if (valueAt(given, path) !== undefined) delete drawn[path];
  if (!leavesOutputOpen(given as TrainConfigInput) || !isLabelLoss(base.model.loss)) return drawn;
  const width = (drawn['model.encoder.embedding'] as number | undefined) ?? encoder.embedding;
  const narrow = { ...base, model: { ...base.model, encoder: { ...encoder, embedding: width } } };
  return { ...drawn, 'model.output': drawOutput(random, base.model.output.kind, mostFanIn(narrow)) };
}

/** An output layer: half of the time of the kind that is recommended. */
function drawOutput(random: RandomStream, recommended: string, most: number): Settings {
  const kind = pick(random, [recommended, recommended, 'fan-in', 'grouped', 'dense', recommended]);
  const small = random.below(4) === 0;
  const topology = { kind: pick(random, ['static', 'set', 'rigl']), start: 'gradient' };
  const precision = small ? 'bf16' : 'float32';
  const sparse = Math.min(most, pick(random, [16, 32, 64, 128]));
  const order = pick(random, ['identity', 'clusters']);
  if (kind === 'dense') return { kind, precision };
  if (kind === 'grouped')
    return { kind, fanIn: Math.min(most, 2 * sparse), group: 32, order, precision, topology };
  return { kind: 'fan-in', fanIn: sparse, form: small ? 'compact' : 'fast', precision, topology };
}

/** Settings with a draw on top of them. */
export function withDraw(given: TrainConfigInput, drawn: Settings): TrainConfigInput {
  const config = structuredClone(given) as Record<string, unknown>;
  for (const [path, value] of Object.entries(drawn)) setPath(config, `${path}=${JSON.stringify(value)}`);
  return config as TrainConfigInput;
}
