/** The memory table of a run: what was held, beside what a dense output layer would have needed. */
import type { Positives } from '../kernels/face.js';
import type { SavedOptions } from '../methods/block-sparse/options.js';
import { type PlannedStep, SavedActivations } from '../methods/block-sparse/saved-activations.js';
import { Classifier, hiddenWidth } from '../model/classifier.js';
import { isLabelLoss } from '../model/output.js';
import type { ModelSpec } from '../model/spec.js';
import type { SparseBatch } from '../ops/sparse-batch.js';
import { Optimizer } from '../optim/optimizer.js';
import type { OptimizerSpec } from '../optim/rules.js';
import type { Device } from '../tensor/device.js';
import { type BytesByTag, memoryTags } from '../tensor/memory.js';
import { MemoryTimeline } from '../tensor/timeline.js';
import { type AuxiliaryShape, auxiliaryHead } from './auxiliary.js';
import type { TrainConfig } from './config.js';
import { trainStep } from './step.js';

export interface RunShape {
  readonly features: number;
  readonly labels: number;
  readonly batch: number;
  /** Largest number of stored features in a batch. */
  readonly batchNnz: number;
  /** Largest number of positives in a batch. */
  readonly batchPositives: number;
  /** Bytes of the dataset in memory. */
  readonly dataBytes: number;
  /** Rows and stored features of the largest encoding for growth by gradients; absent where there is none. */
  readonly evidence?: { readonly rows: number; readonly nnz: number };
  /** Most bytes held while clusters were made, before the model exists. */
  readonly clusteringBytes?: number;
  /** The auxiliary objective; absent where there is none. */
  readonly auxiliary?: AuxiliaryShape;
}

export interface MemoryPlan {
  readonly bytes: BytesByTag;
  readonly totalBytes: number;
  /** What the step arena must hold. */
  readonly arenaBytes: number;
  /** Live bytes over one step, where it was asked for. */
  readonly timeline: MemoryTimeline | null;
}

/** The bytes of one training step and one evaluation of this model, from a dry run of the code that trains. */
export async function planMemory(
  device: Device,
  spec: ModelSpec,
  optimizers: { readonly encoder: OptimizerSpec; readonly output: OptimizerSpec },
  shape: RunShape,
  options: {
    readonly clip?: boolean;
    readonly evaluateBatch?: number;
    readonly k?: number;
    readonly saved?: SavedOptions | null;
    readonly timeline?: boolean;
    /** Whether the layer was trained before: it has its connections. */
    readonly goesOn?: boolean;
  } = {},
): Promise<MemoryPlan> {
  const dry = device.dryTwin();
  dry.ledger.acquire('data', shape.dataBytes);
  const { auxiliary } = shape;
  // The clusters are made before the model.
  dry.ledger.acquire('auxiliary', shape.clusteringBytes ?? 0);
  dry.ledger.release('auxiliary', shape.clusteringBytes ?? 0);
  const classifier = new Classifier(dry, shape, spec, { seed: 0, outputOptimizer: optimizers.output });
  const optimizer = new Optimizer(dry, classifier.namedParameters(), optimizers.encoder);
  const width = hiddenWidth(spec.encoder);
  const head = auxiliary === undefined ? null : auxiliaryHead(dry, width, { ...shape, seed: 0 }, auxiliary);
  const none = new Uint32Array(0);
  const sparse = (rows: number, nnz: number) => ({
    rows,
    nnz,
    width: shape.features,
    indptr: new Int32Array(0),
    indices: none,
    values: new Float32Array(0),
  });
  const batch = {
    features: sparse(shape.batch, shape.batchNnz),
    positives: { count: shape.batchPositives, label: none, row: none },
  };
  const clip = options.clip === true ? 1 : null;
  const lambda = head === null ? 0 : 0.5;
  const rates = { encoder: 0, output: 0, auxiliary: 0, lambda, clip };
  const saved = options.saved ? new SavedActivations(options.saved) : null;
  const run = async (planned: PlannedStep | null, mark?: (name: string) => void) => {
    if (planned !== null) saved?.begin(planned.step, planned.sample);
    await trainStep(classifier, optimizer, batch, rates, head, planned === null ? null : saved, mark);
    dry.arena.reset();
  };
  if (saved === null) await run(null);
  else {
    const { warmup, pruned } = saved.plannedSteps();
    if (warmup !== null) await run(warmup);
    // What a budget allows, and how many layers there are to measure, is known after one step.
    await run(pruned()[0]);
    for (const planned of pruned()) await run(planned);
  }
  const asked = sparse(shape.evidence?.rows ?? 0, shape.evidence?.nnz ?? 0);
  await dryRewiring(classifier, batch, asked, options.goesOn ?? false);
  const rows = options.evaluateBatch ?? shape.batch;
  const h = classifier.infer(sparse(rows, Math.ceil((shape.batchNnz / Math.max(1, shape.batch)) * rows)));
  await classifier.output.topK(h, options.k ?? 5);
  const plan = {
    bytes: dry.ledger.atPeak(),
    totalBytes: dry.ledger.peakBytes,
    arenaBytes: dry.arena.highWaterBytes,
  };
  if (options.timeline !== true) return { ...plan, timeline: null };
  dry.arena.reset();
  const last = saved === null ? null : { step: saved.options.warmup, sample: null };
  const { timeline } = await MemoryTimeline.record(dry.ledger, (line) =>
    run(last, (name) => line.mark(name)),
  );
  return { ...plan, timeline };
}

/** What a rewiring takes: scores of groups, or gradients where the layer grows by them. */
async function dryRewiring(
  classifier: Classifier,
  batch: { readonly features: SparseBatch; readonly positives: Positives },
  evidence: SparseBatch,
  goesOn: boolean,
): Promise<void> {
  const { output, device } = classifier;
  const { growsBy, rewireEvery } = output.capabilities;
  if (growsBy === 'chance' && rewireEvery === 0) return;
  const encode = (features: SparseBatch) => device.keepOnly(() => classifier.infer(features));
  const growth = {
    examples: 1,
    evidenceRows: evidence.rows,
    batch: () => ({ h: encode(batch.features), positives: batch.positives }),
    rowsOf: () => new Uint32Array(0),
    labelsOf: () => 1,
    hidden: () => encode(evidence),
  };
  // At the start, or at the first rewiring where there are connections or they come by chance.
  const atStart = goesOn ? null : await output.rewire(0, Infinity, growth);
  if (atStart === null) await output.rewire(rewireEvery, Infinity, growth);
}

/** The same model with a dense output layer; losses of a layer's own become binary cross-entropy. */
export function withDenseOutput(model: ModelSpec): ModelSpec {
  const loss = isLabelLoss(model.loss) ? model.loss : 'bce';
  const output = {
    kind: 'dense',
    startScale: 1,
    precision: 'float32',
    samples: 0,
    intermediate: null,
  } as const;
  return { ...model, loss, output };
}

/** The same run with a dense output layer and no helpers: same optimiser and precision, and with Adam. */
export async function denseRivals(run: {
  readonly device: Device;
  readonly config: TrainConfig;
  readonly shape: RunShape;
}): Promise<{ denseSame: BytesByTag; denseAdam: BytesByTag }> {
  const { device, config, shape } = run;
  const dense = withDenseOutput(config.model);
  const alone = { ...shape, auxiliary: undefined };
  const plan = (output: OptimizerSpec) =>
    planMemory(device, dense, { encoder: config.optimizer, output }, alone, { clip: config.clip !== null });
  return {
    denseSame: (await plan(config.outputOptimizer)).bytes,
    denseAdam: (await plan({ kind: 'adam', rate: 1 })).bytes,
  };
}

export interface MemoryTable {
  readonly measured: BytesByTag;
  readonly denseSame: BytesByTag;
  readonly denseAdam: BytesByTag;
  readonly accountedPeak: number;
  readonly peakRss: number;
  readonly baseRss: number;
}

export const mebibytes = (bytes: number): string => {
  const mib = bytes / 2 ** 20;
  return mib >= 100 ? mib.toFixed(0) : mib >= 0.95 ? mib.toFixed(1) : mib === 0 ? '0' : mib.toFixed(3);
};

const sum = (bytes: BytesByTag): number => memoryTags.reduce((total, tag) => total + bytes[tag], 0);

/** The table as lines of text, MiB. */
export function formatMemoryTable(table: MemoryTable, outputKind: string): string[] {
  const columns: [string, (tag: (typeof memoryTags)[number]) => number, number][] = [
    [`this run (${outputKind})`, (tag) => table.measured[tag], sum(table.measured)],
    ['dense, same optimiser', (tag) => table.denseSame[tag], sum(table.denseSame)],
    ['dense, Adam', (tag) => table.denseAdam[tag], sum(table.denseAdam)],
  ];
  const line = (name: string, cells: string[]) =>
    `  ${name.padEnd(14)}${cells.map((cell, i) => cell.padStart(Math.max(12, columns[i][0].length + 3))).join('')}`;
  return [
    line(
      'peak MiB',
      columns.map(([title]) => title),
    ),
    ...memoryTags
      .filter((tag) => tag !== 'auxiliary' || table.measured[tag] > 0)
      .map((tag) =>
        line(
          tag,
          columns.map(([, of]) => mebibytes(of(tag))),
        ),
      ),
    line(
      'total',
      columns.map(([, , total]) => mebibytes(total)),
    ),
    `  peak RSS of the process ${mebibytes(table.peakRss)} MiB = accounted ${mebibytes(table.accountedPeak)} + Node at start ${mebibytes(table.baseRss)} + ${mebibytes(Math.max(0, table.peakRss - table.accountedPeak - table.baseRss))} more`,
  ];
}
