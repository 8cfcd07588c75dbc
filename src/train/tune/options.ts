/** What a search is told: checked once, the same from CLI and API. */
import { z } from 'zod';
import { EspalierError } from '../../errors.js';
import type { TrainConfigInput } from '../config.js';

const whole = z.number().int().positive();

export const tuneSpec = z.strictObject({
  /** Dataset directory. */
  data: z.string().min(1),
  /** Directory of the search: what was tried, the chosen config, the picture. */
  out: z.string().min(1),
  /** Minutes of work, over all calls that go on with the same search. */
  minutes: z.number().positive(),
  /** Settings of training that are given: they hold for every trial, and are not searched. */
  config: z.record(z.string(), z.unknown()).default({}),
  /** Of the draws and the samples of rows; trials all train with `config.seed`. */
  seed: z.number().int().min(0).max(0xffffffff).default(1),
  /** `memory`: the least memory whose P@1 is within the interval of the best. */
  objective: z.enum(['accuracy', 'memory']).default('accuracy'),
  /** Most accounted bytes of the training of all rows; default: what the machine had left when the search began. */
  maxMemory: z.number().positive().optional(),
  /** Most trials; default: as many as the minutes allow. */
  trials: whole.optional(),
  /** Fewest rows that a trial sees. */
  leastRows: whole.default(4000),
});

export type TuneSpec = z.infer<typeof tuneSpec>;

export interface TuneInput extends Omit<z.input<typeof tuneSpec>, 'config'> {
  readonly config?: Omit<TrainConfigInput, 'data' | 'out'>;
}

export function refuse(
  code: string,
  problem: string,
  more: { expected?: string; received?: string; hint?: string },
) {
  return new EspalierError({ code, kind: 'usage', op: 'tune', problem, ...more });
}

/** @throws EspalierError `TUNE_OPTIONS` with the option that does not fit */
export function parseTune(input: unknown): TuneSpec {
  const parsed = tuneSpec.safeParse(input);
  if (!parsed.success) {
    const [{ path, message }] = parsed.error.issues;
    throw refuse('TUNE_OPTIONS', `the option ${JSON.stringify(path.join('.'))} does not fit`, {
      expected: message,
    });
  }
  const { config } = parsed.data;
  for (const key of ['data', 'out'])
    if (Object.hasOwn(config, key))
      throw refuse('TUNE_OPTIONS', `${key} is an option of the search, not a setting of its trials`, {
        received: `config.${key}`,
      });
  const fixed: readonly (readonly [boolean, string, string])[] = [
    [config.start !== undefined && config.start !== null, 'start', 'every trial starts from drawn weights'],
    [config.rows === 'all', 'rows', 'the validation rows judge the trials and cannot train them'],
    [
      (config.validation as { rows?: unknown } | undefined)?.rows === 0,
      'validation.rows',
      'trials are judged on validation rows',
    ],
  ];
  for (const [wrong, setting, why] of fixed)
    if (wrong)
      throw refuse(
        'TUNE_CONFIG',
        `the setting ${JSON.stringify(setting)} has no place in a search: ${why}`,
        {},
      );
  return parsed.data;
}
