/**
 * The output layer of a run that names none: the recommended one, or the first smaller one that fits the memory.
 *
 * It follows from the settings, the counts of the dataset and the memory alone. It is made concrete before a run begins and
 * stands in the run's config, so that going on never chooses again.
 */
import type { CsrDataset } from '../data/dataset.js';
import type { TrainingRows } from '../data/label-rows.js';
import { EspalierError } from '../errors.js';
import type { Kernels } from '../kernels/face.js';
import { Device } from '../tensor/device.js';
import { type Clusters, clustersOnce } from './auxiliary.js';
import { parseConfig, type TrainConfig, type TrainConfigInput } from './config.js';
import { availableMemory, ensureFits } from './memory-limit.js';
import type { MemoryPlan } from './memory-report.js';
import { type OutputChoice, provisional, withOutput } from './open-output.js';
import { type Change, chosenFanIn, describe, recommend, shrinks } from './output-choices.js';
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
 * @throws EspalierError `CONFIG_*` of kind usage; `OUT_OF_MEMORY` where nothing fits
 */
export async function chooseOutput(
  input: TrainConfigInput,
  kernels: Kernels,
  data: TrainingRows & { readonly validation: CsrDataset | null },
  { maxMemory, baseRss }: Room,
): Promise<{ readonly config: TrainConfig; readonly choice: OutputChoice; readonly clusters: Clusters }> {
  const { rows, examples = rows, validation } = data;
  const base = provisional(input);
  const { kind, ratio, rare, width } = recommend(base, rows);
  const outputs = { dense: { kind }, 'fan-in': chosenFanIn(base, rows.labels), factored: { kind } };
  const first = parseConfig(withOutput(input, { output: outputs[kind] as Change['output'] }));
  const held = maxMemory === undefined ? examples.bytes + (validation?.bytes ?? 0) : 0;
  const room = maxMemory === undefined ? availableMemory() : maxMemory - baseRss;
  const tooLarge: string[] = [];
  const clustersFor = clustersOnce(kernels, rows);
  let least: { readonly plan: MemoryPlan; readonly name: string } | null = null;
  // Every layer stands on the table of the features: where that alone is too large, nothing smaller needs to be tried.
  const table = 4 * rows.features * base.model.encoder.embedding;
  for (const change of [null, ...(table > room ? [] : shrinks(first))]) {
    const config = change === null ? first : parseConfig(withOutput(input, change));
    const clusters = await clustersFor(config);
    const { plan } = await planRun(new Device(kernels), config, data, clusters);
    const name = describe(config.model.output);
    if (plan.totalBytes - held > room) {
      if (least === null || plan.totalBytes < least.plan.totalBytes) least = { plan, name };
      tooLarge.push(name);
      continue;
    }
    const count = `${rows.labels.toLocaleString('en')} labels over ${width} hidden units (L/d = ${ratio.toFixed(ratio < 10 ? 1 : 0)})`;
    const reasons = {
      dense: `${count}: at this ratio a dense layer costs little more than the encoder`,
      'fan-in': `${count}, ${(100 * rare).toFixed(0)} % of them with fewer than 5 rows: few connections each cost a fraction of a dense layer`,
      factored: `the loss ${base.model.loss} has exact updates whose time does not depend on the ${rows.labels.toLocaleString('en')} labels`,
    };
    const reason = reasons[config.model.output.kind === 'fan-in' ? 'fan-in' : kind];
    return { config, choice: { name, reason, tooLarge }, clusters };
  }
  throw nothingFits(least, held, room);
}

function nothingFits(least: { plan: MemoryPlan; name: string } | null, held: number, room: number): unknown {
  try {
    if (least !== null) ensureFits(least.plan, held, room);
  } catch (error) {
    if (!(error instanceof EspalierError)) return error;
    const { problem } = error.facts;
    return new EspalierError({
      ...error.facts,
      problem: `${problem}, even with the output layer ${least?.name}`,
    });
  }
  return new Error('a plan that did not fit fits');
}
