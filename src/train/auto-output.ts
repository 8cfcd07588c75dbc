/**
 * The output layer of a run that names none: the recommended one, or the first smaller one that fits the memory.
 *
 * It follows from the settings, the counts of the dataset and the memory alone. It is made concrete before a run begins and
 * stands in the run's config, so that going on never chooses again.
 */
import type { CsrDataset } from '../data/dataset.js';
import { EspalierError } from '../errors.js';
import type { Kernels } from '../kernels/face.js';
import { Device } from '../tensor/device.js';
import { clustersOf } from './auxiliary.js';
import { parseConfig, type TrainConfig, type TrainConfigInput } from './config.js';
import { availableMemory } from './memory-limit.js';
import { mebibytes } from './memory-report.js';
import { type OutputChoice, provisional, withOutput } from './open-output.js';
import { describe, mostFanIn, recommend, shrinks } from './output-choices.js';
import { planRun } from './session.js';

/** What fits: a bound for the whole process with what it held before, or what the machine has left. */
export interface Room {
  /** Largest peak of the process, bytes. */
  readonly maxMemory?: number;
  /** Resident bytes before anything of the run was made. */
  readonly baseRss: number;
}

/**
 * Chooses the output layer of `input`, which leaves it open, on these rows.
 *
 * @throws EspalierError `CONFIG_*` of kind usage; `AUTO_TOO_LARGE` where nothing fits
 */
export async function chooseOutput(
  input: TrainConfigInput,
  kernels: Kernels,
  data: { readonly rows: CsrDataset; readonly validation: CsrDataset | null },
  { maxMemory, baseRss }: Room,
): Promise<{ readonly config: TrainConfig; readonly choice: OutputChoice }> {
  const { rows, validation } = data;
  const base = provisional(input);
  const { kind, ratio, rare, width } = recommend(base, rows);
  const output =
    kind === 'fan-in'
      ? ({ kind, fanIn: Math.min(32, mostFanIn(base)) } as const)
      : kind === 'dense'
        ? ({ kind } as const)
        : ({ kind: 'factored' } as const);
  const first = parseConfig(withOutput(input, { output }));
  const held = maxMemory === undefined ? rows.bytes + (validation?.bytes ?? 0) : 0;
  const room = maxMemory === undefined ? availableMemory() : maxMemory - baseRss;
  const clusters = await clustersOf(base, kernels, rows);
  const tooLarge: string[] = [];
  // Every layer stands on the table of the features: where that alone is too large, none needs to be tried.
  const table = 4 * rows.features * base.model.encoder.embedding;
  let least = table > room ? table : Infinity;
  for (const change of table > room ? [] : [null, ...shrinks(first)]) {
    const config = change === null ? first : parseConfig(withOutput(input, change));
    const { plan } = await planRun(new Device(kernels), config, data, clusters);
    const name = describe(config.model.output);
    if (plan.totalBytes - held > room) {
      least = Math.min(least, plan.totalBytes - held);
      tooLarge.push(name);
      continue;
    }
    const count = `${rows.labels.toLocaleString('en')} labels over ${width} hidden units (L/d = ${ratio.toFixed(ratio < 10 ? 1 : 0)})`;
    const reasons = {
      dense: `${count}: at this ratio a dense layer costs little more than the encoder`,
      'fan-in': `${count}, ${(100 * rare).toFixed(0)} % of them with fewer than 5 rows: few connections each cost a fraction of a dense layer`,
      factored: `the loss ${base.model.loss} has exact updates whose time does not depend on the ${rows.labels.toLocaleString('en')} labels`,
    };
    return { config, choice: { name, reason: reasons[kind], tooLarge } };
  }
  throw new EspalierError({
    code: 'AUTO_TOO_LARGE',
    kind: maxMemory === undefined ? 'system' : 'usage',
    op: 'train',
    problem: 'no output layer fits into this memory',
    expected: `at most ${mebibytes(Math.max(0, room))} MiB beside what the process holds`,
    received:
      tooLarge.length === 0
        ? `${mebibytes(least)} MiB for the table of the features alone`
        : `${mebibytes(least)} MiB with the smallest of: ${tooLarge.join('; ')}`,
    hint: 'lower model.encoder.embedding or batch, take sgd for optimizer and outputOptimizer, or allow more with --max-memory',
  });
}
