/**
 * What a run would take, before anything of it is made, for the configured output layer and its rivals, and what fits
 * into a given memory.
 *
 * Bytes come from a dry run of the code that trains, to the byte. Minutes come from training a piece of each output
 * layer for a moment: a step takes a + b L seconds, and two sizes of L give a and b.
 */
import { Tape } from '../autograd/tape.js';
import type { CsrDataset } from '../data/dataset.js';
import type { TrainingRows } from '../data/label-rows.js';
import type { Kernels } from '../kernels/face.js';
import { Classifier } from '../model/classifier.js';
import { Device } from '../tensor/device.js';
import type { BytesByTag } from '../tensor/memory.js';
import { clustersOnce } from './auxiliary.js';
import { secondsPerStep } from './calibrate.js';
import type { TrainConfig } from './config.js';
import { type Change, changed, describe, recommend, rivals, settingsOf, shrinks } from './output-choices.js';
import { labelsBeside, planRun } from './session.js';

export interface PlanData extends TrainingRows {
  readonly validation: CsrDataset | null;
}

/** One way to make the output layer, and its price. */
export interface PlanLine {
  readonly name: string;
  /** Settings that make it, as `--set` takes them; none for the configured one. */
  readonly settings: readonly string[];
  readonly bytes: BytesByTag;
  readonly totalBytes: number;
  /** Accounted bytes and what Node itself holds. */
  readonly peakRss: number;
  /** Forward and backward of encoder and output layer. */
  readonly flopsPerExample: number;
  /** Of training steps alone; null without calibration. */
  readonly minutes: number | null;
}

export interface Advice {
  /** Name of the recommended line. */
  readonly choice: string;
  readonly reasons: readonly string[];
}

export interface RunPlan {
  readonly lines: readonly PlanLine[];
  readonly advice: Advice;
  /** With a memory bound: the first line of `tried` that fits, or null. */
  readonly fitting: {
    readonly bound: number;
    readonly chosen: PlanLine | null;
    readonly tried: readonly PlanLine[];
  } | null;
}

export interface PlanOptions {
  /** Largest peak of the process, bytes. */
  readonly maxMemory?: number;
  /** Resident bytes of a process before a run; by default those of this process without its rows. */
  readonly baseRss?: number;
  /** false: no minutes. Default true. */
  readonly calibrate?: boolean;
  readonly onProgress?: (name: string) => void;
}

/**
 * Plans a run of `config` on `data`.
 *
 * @example const { lines, advice } = await planTraining(parseConfig(input), kernels, { rows, validation: null });
 */
export async function planTraining(
  config: TrainConfig,
  kernels: Kernels,
  data: PlanData,
  { maxMemory, calibrate = true, baseRss, onProgress }: PlanOptions = {},
): Promise<RunPlan> {
  const base =
    baseRss ?? process.memoryUsage.rss() - (data.examples ?? data.rows).bytes - (data.validation?.bytes ?? 0);
  const clustersFor = clustersOnce(kernels, data.rows);
  const price = async (change: Change | null, timed: boolean): Promise<PlanLine> => {
    const own = change === null ? config : changed(config, change);
    const name = change?.name ?? describe(config.model.output);
    onProgress?.(name);
    const { plan } = await planRun(new Device(kernels), own, data, await clustersFor(own));
    return {
      name,
      settings: change === null ? [] : settingsOf(config, change),
      bytes: plan.bytes,
      totalBytes: plan.totalBytes,
      peakRss: Math.max(0, base) + plan.totalBytes,
      flopsPerExample: await operationsPerExample(own, kernels, data.rows),
      minutes: timed ? await minutesOf(own, kernels, data) : null,
    };
  };
  const lines = [await price(null, calibrate)];
  for (const rival of rivals(config, data.rows.labels)) lines.push(await price(rival, calibrate));
  let fitting: RunPlan['fitting'] = null;
  if (maxMemory !== undefined) {
    const tried: PlanLine[] = [lines[0]];
    for (const smaller of shrinks(config)) {
      if (tried[tried.length - 1].peakRss <= maxMemory) break;
      tried.push(await price(smaller, false));
    }
    const fits = tried.find(({ peakRss }) => peakRss <= maxMemory) ?? null;
    fitting = { bound: maxMemory, chosen: fits, tried };
  }
  return { lines, advice: advise(config, data.rows, lines), fitting };
}

/** Per example, forward and both gradients: the tape counts what stands before the output layer. */
export async function operationsPerExample(
  { model, batch, outputOptimizer }: TrainConfig,
  kernels: Kernels,
  rows: CsrDataset,
): Promise<number> {
  const device = new Device(kernels).dryTwin();
  const classifier = new Classifier(device, rows, model, { seed: 0, outputOptimizer });
  const tape = new Tape(device);
  const nnz = rows.nnz / Math.max(1, rows.rows);
  const none = { indptr: new Int32Array(0), indices: new Uint32Array(0), values: new Float32Array(0) };
  classifier.widen(
    classifier.encode({ rows: 1, nnz, width: rows.features, ...none }, tape, false),
    tape,
    false,
  );
  const { flopsPerExample } = await classifier.output.plan({ batch, positives: batch });
  return 3 * tape.flops + flopsPerExample;
}

async function minutesOf(config: TrainConfig, kernels: Kernels, data: PlanData): Promise<number> {
  const { rows } = data;
  const batch = config.batch + labelsBeside(config, data);
  const alone = await secondsPerStep(config, kernels, rows);
  const { until = 0 } = config.labelRows ?? {};
  const beside = batch === config.batch ? alone : await secondsPerStep({ ...config, batch }, kernels, rows);
  const seconds = until * beside + (1 - until) * alone;
  return (seconds * config.epochs * Math.ceil(rows.rows / config.batch)) / 60;
}

function advise(config: TrainConfig, rows: CsrDataset, lines: readonly PlanLine[]): Advice {
  const { kind, reasons: why } = recommend(config, rows);
  const reasons = [...why];
  const lineOf = (wanted: string) => lines.find(({ name }) => name.split(/[ ,]/)[0] === wanted);
  if (kind === 'dense' || kind === 'factored') return { choice: lineOf(kind)?.name ?? kind, reasons };
  const dense = lineOf('dense');
  const sparse = lineOf(kind) ?? lines[0];
  if (dense !== undefined) {
    const times = (a: number | null, b: number | null) =>
      a === null || b === null ? '' : `, ${(a / b).toFixed(1)}x the time`;
    reasons.push(
      `dense would hold ${(dense.totalBytes / sparse.totalBytes).toFixed(1)}x the memory${times(dense.minutes, sparse.minutes)}`,
    );
  }
  if (config.outputOptimizer.kind !== 'sgd')
    reasons.push('outputOptimizer.kind=sgd would save two numbers per connection');
  return { choice: sparse.name, reasons };
}
