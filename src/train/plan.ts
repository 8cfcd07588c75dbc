/**
 * What a run would take, before anything of it is made, for the configured output layer and its rivals, and what fits
 * into a given memory.
 *
 * Bytes come from a dry run of the code that trains, to the byte. Minutes come from training a piece of each output
 * layer for a moment: a step takes a + b L seconds, and two sizes of L give a and b.
 */
import { Tape } from '../autograd/tape.js';
import type { CsrDataset } from '../data/dataset.js';
import { labelFrequencies } from '../data/statistics.js';
import type { Kernels } from '../kernels/face.js';
import { Classifier, hiddenWidth } from '../model/classifier.js';
import { isLabelLoss } from '../model/output.js';
import { type OutputSpec, outputSpec } from '../model/spec.js';
import { Device } from '../tensor/device.js';
import type { BytesByTag } from '../tensor/memory.js';
import { clustersOf } from './auxiliary.js';
import { secondsPerStep } from './calibrate.js';
import { parseConfig, type TrainConfig, type TrainConfigInput } from './config.js';
import { planRun } from './session.js';

export interface PlanData {
  readonly rows: CsrDataset;
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

type FanInSpec = Extract<OutputSpec, { kind: 'fan-in' }>;
type OutputInput = NonNullable<NonNullable<TrainConfigInput['model']>['output']>;
type Change = { readonly name: string; readonly output: OutputInput; readonly loss?: 'bce' | 'zLoss' };

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
  const base = baseRss ?? process.memoryUsage.rss() - data.rows.bytes - (data.validation?.bytes ?? 0);
  const clusters = await clustersOf(config, kernels, data.rows);
  const price = async (change: Change | null, timed: boolean): Promise<PlanLine> => {
    const own = change === null ? config : changed(config, change);
    const name = change?.name ?? describe(config.model.output);
    onProgress?.(name);
    const { plan } = await planRun(new Device(kernels), own, data, clusters);
    return {
      name,
      settings: change === null ? [] : settingsOf(change),
      bytes: plan.bytes,
      totalBytes: plan.totalBytes,
      peakRss: Math.max(0, base) + plan.totalBytes,
      flopsPerExample: await flops(own, kernels, data.rows),
      minutes: timed ? await minutesOf(own, kernels, data.rows) : null,
    };
  };
  const lines = [await price(null, calibrate)];
  for (const rival of rivals(config)) lines.push(await price(rival, calibrate));
  let fitting: RunPlan['fitting'] = null;
  if (maxMemory !== undefined) {
    const tried: PlanLine[] = [lines[0]];
    for (const smaller of shrinks(config)) {
      if (tried[tried.length - 1].peakRss <= maxMemory) break;
      tried.push(await price(smaller, false));
    }
    const chosen = tried.find(({ peakRss }) => peakRss <= maxMemory) ?? null;
    fitting = { bound: maxMemory, chosen, tried };
  }
  return { lines, advice: advise(config, data.rows, lines), fitting };
}

const bf16 = ({ precision }: { readonly precision: string }): string => (precision === 'bf16' ? ' bf16' : '');
const chunked = ({ chunk }: { readonly chunk?: number }): string =>
  chunk === undefined ? '' : `, chunk ${chunk}`;

/** Short name of an output layer. */
export function describe(output: OutputSpec): string {
  switch (output.kind) {
    case 'fan-in':
      return `fan-in ${output.fanIn}${output.form === 'compact' ? ' compact' : ''}${bf16(output)}${chunked(output)}`;
    case 'grouped':
      return `grouped ${output.fanIn} by ${output.group}${output.head > 0 ? ', dense head' : ''}${bf16(output)}`;
    case 'bottleneck':
      return `bottleneck ${output.width}`;
    case 'dense':
      return output.samples > 0
        ? `dense, ${output.samples} sampled`
        : `dense${bf16(output)}${chunked(output)}`;
    default:
      return output.kind;
  }
}

function changed(config: TrainConfig, { output, loss }: Change): TrainConfig {
  const model = { ...config.model, output, ...(loss === undefined ? {} : { loss }) };
  // Another loss wants other rates, and perhaps another optimiser.
  const outputOptimizer = loss === undefined ? config.outputOptimizer : undefined;
  return parseConfig({ ...config, outputOptimizer, model });
}

const settingsOf = ({ output, loss }: Change): string[] => [
  ...Object.entries(output)
    .filter(([, value]) => value !== undefined)
    .map(
      ([key, value]) => `model.output.${key}=${typeof value === 'object' ? JSON.stringify(value) : value}`,
    ),
  ...(loss === undefined ? [] : [`model.loss=${loss}`]),
];

/** Half of the hidden width is the most connections that save anything. */
const mostFanIn = ({ model }: TrainConfig): number => Math.max(1, Math.floor(hiddenWidth(model.encoder) / 2));

/** What else the output layer could be. */
function rivals(config: TrainConfig): Change[] {
  const { output, loss: own } = config.model;
  const fanIn = Math.min('fanIn' in output ? output.fanIn : 32, mostFanIn(config));
  const shared = Math.min(4 * fanIn, mostFanIn(config));
  const kept = output.kind === 'fan-in' ? { topology: output.topology } : {};
  const loss = isLabelLoss(own) ? undefined : 'bce';
  const all: Change[] = [
    { name: 'dense', output: { kind: 'dense' }, loss },
    { name: `fan-in ${fanIn}`, output: { kind: 'fan-in', fanIn, ...kept }, loss },
    { name: `fan-in ${fanIn} compact`, output: { kind: 'fan-in', fanIn, form: 'compact', ...kept }, loss },
    { name: `grouped ${shared} by 32`, output: { kind: 'grouped', fanIn: shared, group: 32 }, loss },
    { name: `bottleneck ${fanIn}`, output: { kind: 'bottleneck', width: fanIn }, loss },
    { name: 'factored', output: { kind: 'factored' }, loss: 'zLoss' },
  ];
  return all.filter(({ name }) => name !== describe(output));
}

/** Labels that a thread works on at once, where memory is short: fewer gain nothing worth their calls. */
const smallChunk = 32;

/**
 * The configured layer made smaller, what costs least first: chunks (rounding alone), form (time), precision, then
 * connections.
 */
function shrinks(config: TrainConfig): Change[] {
  const { output } = config.model;
  const outputs: OutputSpec[] = [];
  const halvings = (from: number): number[] => (from < 8 ? [] : [from, ...halvings(Math.floor(from / 2))]);
  if (output.kind === 'grouped') {
    outputs.push({ ...output, precision: 'bf16' });
    for (const fanIn of halvings(Math.floor(output.fanIn / 2))) {
      outputs.push({ ...output, precision: 'bf16', fanIn });
    }
    if (output.head > 0) outputs.push({ ...(outputs.at(-1) ?? output), head: 0 } as OutputSpec);
  } else if (output.kind !== 'factored') {
    const chunk = 'chunk' in output ? Math.min(output.chunk ?? smallChunk, smallChunk) : smallChunk;
    const sparse = output.kind === 'fan-in' ? output : (outputSpec.parse({ kind: 'fan-in' }) as FanInSpec);
    if (output.kind === 'dense' && output.samples === 0) {
      outputs.push({ ...output, chunk }, { ...output, chunk, precision: 'bf16' });
    }
    if (output.kind === 'fan-in') outputs.push({ ...output, chunk });
    const wanted = output.kind === 'fan-in' ? output.fanIn : mostFanIn(config);
    outputs.push({ ...sparse, chunk, fanIn: wanted, form: 'compact' });
    for (const fanIn of halvings(wanted)) {
      outputs.push({ ...sparse, chunk, fanIn, form: 'compact', precision: 'bf16' });
    }
  }
  return outputs
    .map((spec) => ({ name: describe(spec), output: spec }))
    .filter(({ name }) => name !== describe(output));
}

/** Per example, forward and both gradients: the tape counts what stands before the output layer. */
async function flops(
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

async function minutesOf(config: TrainConfig, kernels: Kernels, rows: CsrDataset): Promise<number> {
  const seconds = await secondsPerStep(config, kernels, rows);
  return (seconds * config.epochs * Math.ceil(rows.rows / config.batch)) / 60;
}

function advise(
  { model, outputOptimizer }: TrainConfig,
  rows: CsrDataset,
  lines: readonly PlanLine[],
): Advice {
  const width = hiddenWidth(model.encoder);
  const ratio = rows.labels / width;
  const frequencies = labelFrequencies(rows);
  const rare = frequencies.reduce((n, f) => n + (f < 5 ? 1 : 0), 0) / Math.max(1, rows.labels);
  const reasons = [
    `${rows.labels.toLocaleString('en')} labels over ${width} hidden units: L/d = ${ratio.toFixed(ratio < 10 ? 1 : 0)}`,
    `${(100 * rare).toFixed(0)} % of the labels have fewer than 5 training rows`,
    'the encoder is trained, so that it can arrange itself for few connections',
  ];
  if (!isLabelLoss(model.loss)) {
    reasons.push(`the loss ${model.loss} has exact updates in O(d²): its time does not depend on the labels`);
    return { choice: 'factored', reasons };
  }
  reasons.push(
    `the loss ${model.loss} sees every label by itself: the factored layer, made for spherical losses, cannot train it`,
  );
  const dense = lines.find(({ name }) => name === 'dense');
  if (ratio < 8) {
    reasons.push('at this ratio a dense layer costs little more than the encoder');
    return { choice: 'dense', reasons };
  }
  const sparse = lines.find(({ name }) => name.startsWith('fan-in')) ?? lines[0];
  if (dense !== undefined) {
    const times = (a: number | null, b: number | null) =>
      a === null || b === null ? '' : `, ${(a / b).toFixed(1)}x the time`;
    reasons.push(
      `dense would hold ${(dense.totalBytes / sparse.totalBytes).toFixed(1)}x the memory${times(dense.minutes, sparse.minutes)}`,
    );
  }
  if (rare > 0.3)
    reasons.push('rare labels choose connections by their own positives: model.output.topology.kind=rigl');
  if (outputOptimizer.kind !== 'sgd')
    reasons.push('outputOptimizer.kind=sgd would save two numbers per connection');
  return { choice: sparse.name, reasons };
}
