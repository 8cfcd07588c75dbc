/** Everything one run works with, made once from its config: device, rows, model, optimiser, schedule, arena. */

import {
  Batch,
  type BatchOrder,
  BatchPlan,
  type BatchShape,
  batchBytes,
  batchShape,
} from '../data/batches.js';
import type { CsrDataset } from '../data/dataset.js';
import type { Featurizer } from '../data/featurizer/index.js';
import { BatchesWithLabels, shapeWithLabels, type TrainingRows } from '../data/label-rows.js';
import { labelFrequencies, labelShares } from '../data/statistics.js';
import { EspalierError } from '../errors.js';
import type { Kernels } from '../kernels/face.js';
import { SavedActivations } from '../methods/block-sparse/saved-activations.js';
import { type AuxiliaryHead, auxiliaryWeight } from '../methods/dynamic-sparse/auxiliary.js';
import { growsBy } from '../methods/dynamic-sparse/options.js';
import { Classifier, hiddenWidth } from '../model/classifier.js';
import { Optimizer } from '../optim/optimizer.js';
import { rateFactor } from '../optim/schedule.js';
import { Device } from '../tensor/device.js';
import type { MemoryLedger } from '../tensor/memory.js';
import { type AuxiliaryShape, auxiliaryHead, type Clusters, clustersOf } from './auxiliary.js';
import type { TrainConfig } from './config.js';
import type { StartReport, TrainEvent } from './events.js';
import { type GrowthShape, growthShape, TrainingGrowth } from './growth.js';
import { ensureFits } from './memory-limit.js';
import { type MemoryPlan, planMemory, type RunShape } from './memory-report.js';
import { startNewLabels } from './new-labels.js';
import { type Started, startFrom } from './start.js';
import type { StepRates } from './step.js';

/** Rows scored at once; the hidden vectors and a few best labels per row are all that scoring holds. */
export const evaluationBatch = 256;

export class TrainSession {
  readonly config: TrainConfig;
  readonly device: Device;
  readonly rows: CsrDataset;
  /** What batches are made of: the rows, and those of labels behind them where the settings ask for these. */
  readonly examples: CsrDataset;
  readonly validation: CsrDataset | null;
  readonly shape: RunShape;
  readonly plan: MemoryPlan;
  readonly classifier: Classifier;
  readonly optimizer: Optimizer;
  /** What the encoder keeps for backward; null: everything dense. */
  readonly saved: SavedActivations | null;
  /** What was found about the labels for the auxiliary objective, if it is asked for. */
  readonly clusters: Extract<TrainEvent, { event: 'clusters' }> | null;
  /** What was taken over from a saved model, if anything. */
  readonly started: StartReport | null;
  /** Labels before it, and the encoder, stay as they are; null: everything learns. */
  readonly learnsFrom: number | null;
  /** Whether a layer that starts from gradients does so: one that was trained before has its connections. */
  readonly choosesConnections: boolean;
  #auxiliary: AuxiliaryHead | null;
  readonly order: BatchOrder;
  readonly batch: Batch;
  /** What growth by gradients asks; it sees the batch of the last step. */
  readonly growth: TrainingGrowth;
  readonly totalSteps: number;
  /** [labels], over the rows that train. */
  readonly frequencies: Uint32Array;
  /** Resident bytes before anything of the run was made. */
  readonly baseRss: number;

  private constructor(parts: Omit<TrainSession, 'rates' | 'endAuxiliary'>) {
    this.config = parts.config;
    this.device = parts.device;
    this.rows = parts.rows;
    this.examples = parts.examples;
    this.validation = parts.validation;
    this.shape = parts.shape;
    this.plan = parts.plan;
    this.classifier = parts.classifier;
    this.optimizer = parts.optimizer;
    this.saved = parts.saved;
    this.clusters = parts.clusters;
    this.started = parts.started;
    this.choosesConnections = parts.choosesConnections;
    this.learnsFrom = parts.learnsFrom;
    this.#auxiliary = parts.auxiliary;
    this.order = parts.order;
    this.batch = parts.batch;
    this.growth = parts.growth;
    this.totalSteps = parts.totalSteps;
    this.frequencies = parts.frequencies;
    this.baseRss = parts.baseRss;
  }

  static async create(
    given: TrainConfig,
    kernels: Kernels,
    data: TrainingRows & {
      readonly validation: CsrDataset | null;
      readonly baseRss: number;
      /** Largest peak of the process; default: what is there now. */
      readonly maxMemory?: number;
      readonly featurizer?: Featurizer | null;
      /** Of this config, where they were made before. */
      readonly clusters?: Clusters;
    },
  ): Promise<TrainSession> {
    const { rows, examples = rows, validation, baseRss, featurizer = null } = data;
    const device = new Device(kernels);
    const started =
      given.start === null ? null : await startFrom(given, given.start, device, data, featurizer);
    const config = started === null ? given : { ...given, model: started.classifier.spec };
    const clusters = data.clusters ?? (await clustersOf(config, kernels, rows));
    const { targets, clusteringBytes } = clusters;
    const {
      largest,
      evidence,
      shape,
      plan: ahead,
    } = await planRun(device, config, { ...data, goesOn: started?.whole }, clusters);
    const plan = withWhatWas(ahead, device.ledger);
    const limit = data.maxMemory;
    if (limit === undefined) ensureFits(ahead, examples.bytes + (validation?.bytes ?? 0));
    else ensureFits(plan, 0, limit - baseRss);
    const frequencies = labelFrequencies(rows);
    device.ledger.acquire('data', shape.dataBytes);
    device.ledger.acquire('auxiliary', clusteringBytes);
    device.ledger.release('auxiliary', clusteringBytes);
    const classifier =
      started?.classifier ??
      new Classifier(device, rows, config.model, {
        seed: config.seed,
        outputOptimizer: config.outputOptimizer,
        // Rows of labels count like others: rare labels are drawn, and start, as likelier ones.
        labelShares: labelShares(examples),
        labelOrder: clusters.order,
      });
    const { seed, model } = config;
    const about = targets === null ? null : { ...targets, biasStart: model.biasStart };
    const auxiliary =
      about === null
        ? null
        : auxiliaryHead(device, hiddenWidth(model.encoder), { ...shape, seed }, about.shape, about);
    device.arena.reserve(plan.arenaBytes);
    const { order, totalSteps } = orderOf(config, data);
    const batch = new Batch(largest);
    if (started !== null)
      await startNewLabels(classifier, rows, frequencies, started.fresh, batch, config.start?.newLabels);
    return new TrainSession({
      config,
      device,
      rows,
      examples,
      validation,
      shape,
      plan,
      classifier,
      optimizer: new Optimizer(device, classifier.namedParameters(), config.optimizer),
      saved: config.saved === null ? null : new SavedActivations(config.saved),
      clusters: targets?.event ?? null,
      started: started?.report ?? null,
      choosesConnections: started?.whole !== true,
      learnsFrom: given.start?.learn === 'new' && started !== null ? firstNew(started, rows.labels) : null,
      auxiliary,
      order,
      batch,
      growth: new TrainingGrowth(examples, classifier, batch, evidence),
      totalSteps,
      frequencies,
      baseRss,
    });
  }

  /** The auxiliary head; null where there is none, or its time is over. */
  get auxiliary(): AuxiliaryHead | null {
    return this.#auxiliary;
  }

  /** Gives the head and its memory back. */
  endAuxiliary(): void {
    this.#auxiliary?.release();
    this.#auxiliary = null;
  }

  /** Learning rates and the weight of the auxiliary loss of step `step` (0-based). */
  rates(step: number): StepRates {
    const { config, order } = this;
    const { auxiliary } = config;
    const factor = rateFactor(config.schedule, step, this.totalSteps);
    return {
      encoder: config.optimizer.rate * factor,
      output: config.outputOptimizer.rate * factor,
      auxiliary: (auxiliary?.rate ?? config.outputOptimizer.rate) * factor,
      lambda:
        auxiliary === null
          ? 0
          : auxiliaryWeight(auxiliary.lambda, auxiliary.cutoff, step / order.stepsPerEpoch),
      clip: config.clip,
    };
  }
}

/** Which rows each step sees. */
function orderOf(
  config: TrainConfig,
  data: TrainingRows,
): { readonly order: BatchOrder; readonly totalSteps: number } {
  const { rows, examples = rows } = data;
  const { seed, batch, epochs, labelRows } = config;
  const own = new BatchPlan({ rows: rows.rows, batch, seed });
  const totalSteps = Math.max(1, Math.round(epochs * own.stepsPerEpoch));
  const each = labelsBeside(config, data);
  if (!labelRows || each === 0) return { order: own, totalSteps };
  const ofLabels = examples.rows - rows.rows;
  const beside = new BatchPlan({ rows: ofLabels, batch: each, seed, stream: 'label-rows' });
  const until = Math.round(labelRows.until * totalSteps);
  return { order: new BatchesWithLabels(own, beside, { first: rows.rows, until }), totalSteps };
}

/** How many rows of labels a batch has, as long as there are any. */
export function labelsBeside(
  { batch, labelRows }: Pick<TrainConfig, 'batch' | 'labelRows'>,
  { rows, examples = rows }: TrainingRows,
): number {
  const there = examples.rows - rows.rows;
  return labelRows ? Math.min(there, Math.max(1, Math.round(labelRows.share * batch))) : 0;
}

/** The first of the labels that a model does not have, which stand behind all others. */
function firstNew({ fresh, classifier }: Started, labels: number): number {
  const { kind, capabilities } = classifier.output;
  const first = fresh[0] ?? labels;
  const refuse = (problem: string, hint: string) =>
    new EspalierError({ code: 'START_LEARN', kind: 'usage', op: 'train', problem, hint });
  if (fresh.length === 0)
    throw refuse(
      'there are no new labels that could learn',
      'the dataset has no label that the model does not have',
    );
  if (!capabilities.learnsFrom)
    throw refuse(
      `a layer of kind ${kind} cannot learn new labels alone`,
      'dense, bottleneck, fan-in and grouped layers over all labels can, but for a dense head; leave start.learn out to train everything',
    );
  if (first + fresh.length !== labels)
    throw refuse(
      'new labels stand between those of the model',
      'make the dataset with `espalier data --like`, which numbers new labels after the others',
    );
  return first;
}

/** A plan that knows of the worst moment so far: labels that join a model need room for their rows and the old ones. */
const withWhatWas = (plan: MemoryPlan, ledger: MemoryLedger): MemoryPlan =>
  ledger.peakBytes <= plan.totalBytes
    ? plan
    : { ...plan, bytes: ledger.atPeak(), totalBytes: ledger.peakBytes };

/** Sizes and memory of a run of this config on these rows; nothing is made. */
export async function planRun(
  device: Device,
  config: TrainConfig,
  data: TrainingRows & {
    readonly validation: CsrDataset | null;
    /** Whether the layer comes with its connections; by default what `config.start` says. */
    readonly goesOn?: boolean;
  },
  { targets, clusteringBytes }: Clusters,
  timeline = false,
) {
  const { rows, examples = rows, validation, goesOn = config.start?.mode === 'continue' } = data;
  const largest = shapeWithLabels(data, config.batch, labelsBeside(config, data));
  const evidence = growthShape(examples, asksFor(config), config.model.loss === 'softmax');
  const shape = {
    ...runShape(largest, examples, validation, evidence, targets?.shape),
    clusteringBytes,
  };
  const optimizers = { encoder: config.optimizer, output: config.outputOptimizer };
  const plan = await planMemory(device, config.model, optimizers, shape, {
    clip: config.clip !== null,
    saved: config.saved,
    evaluateBatch: validation === null ? 0 : evaluationBatch,
    timeline,
    k: Math.max(5, Math.min(config.calibration?.perRow ?? 0, rows.labels)),
    goesOn,
  });
  return { largest, evidence, shape, plan };
}

/** What the output layer will ask when it grows. */
const asksFor = ({ model: { output } }: TrainConfig) =>
  output.kind === 'fan-in' || output.kind === 'grouped' ? growsBy(output.topology) : 'chance';

/** Sizes that decide the memory of a run. */
function runShape(
  largest: BatchShape,
  rows: CsrDataset,
  validation: CsrDataset | null,
  evidence: GrowthShape | null,
  auxiliary: AuxiliaryShape | undefined,
): RunShape {
  const scored = validation === null ? 0 : batchBytes(batchShape(validation, evaluationBatch));
  return {
    features: rows.features,
    labels: rows.labels,
    batch: largest.rows,
    batchNnz: largest.nnz,
    batchPositives: largest.positives,
    dataBytes:
      rows.bytes +
      (validation?.bytes ?? 0) +
      batchBytes(largest) +
      scored +
      4 * rows.labels +
      (evidence?.bytes ?? 0),
    evidence: evidence?.evidence,
    auxiliary,
  };
}
