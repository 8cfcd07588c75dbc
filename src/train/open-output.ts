/** Settings that leave the output layer of a run open: told, checked, and closed again. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EspalierError } from '../errors.js';
import { parseConfig, type TrainConfig, type TrainConfigInput } from './config.js';

export interface OutputChoice {
  /** As `espalier plan` names it, e.g. `fan-in 32`. */
  readonly name: string;
  /** Why, in a sentence without a full stop. */
  readonly reason: string;
  /** Larger layers that did not fit, if any. */
  readonly tooLarge: readonly string[];
}

type Input = TrainConfigInput;
const isObject = (x: unknown): x is Record<string, unknown> =>
  typeof x === 'object' && x !== null && !Array.isArray(x);

/**
 * Whether the settings leave the output layer to be chosen: they say nothing of it, or `kind: 'auto'`.
 *
 * @throws EspalierError `CONFIG_AUTO` where `auto` stands beside settings of one kind of layer
 */
export function leavesOutputOpen({ model }: Pick<Input, 'model'>): boolean {
  if (model === undefined) return true;
  if (!isObject(model)) return false;
  const { output } = model;
  if (output === undefined) return true;
  if (!isObject(output)) return false;
  const { kind, ...others } = output;
  const keys = Object.keys(others);
  if (kind !== 'auto') return kind === undefined && keys.length === 0;
  if (keys.length === 0) return true;
  throw new EspalierError({
    code: 'CONFIG_AUTO',
    kind: 'usage',
    op: 'config',
    problem: 'an output layer that is chosen takes no settings of its own',
    expected: 'model.output.kind "auto" alone, or a kind with its settings',
    received: `model.output.${keys.join(', model.output.')} beside "auto"`,
  });
}

/** The input with this output layer, and the loss it needs. */
export const withOutput = (
  input: Input,
  { output, loss }: Pick<NonNullable<Input['model']>, 'output' | 'loss'>,
): Input => ({
  ...input,
  model: { ...input.model, output, ...(loss === undefined ? {} : { loss }) },
});

/** Everything but the output layer checked, with a layer in its place. */
export const provisional = (input: Input, file?: string): TrainConfig =>
  parseConfig(leavesOutputOpen(input) ? withOutput(input, { output: { kind: 'fan-in' } }) : input, file);

/** The settings as a run in `out` has them, where there is one: what was chosen at its start stays. */
export async function asChosenBefore(input: Input): Promise<Input> {
  if (!leavesOutputOpen(input)) return input;
  const text = await readFile(join(input.out, 'config.json'), 'utf8').catch(() => null);
  if (text === null) return input;
  let stored: unknown;
  try {
    stored = JSON.parse(text);
  } catch {
    return input; // opening the run says what is wrong
  }
  if (!isObject(stored) || !isObject(stored.model)) return input;
  const { output, loss } = stored.model as Required<NonNullable<Input['model']>>;
  return { ...input, model: { ...input.model, output, loss } };
}
