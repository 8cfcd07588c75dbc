/** `train`: dataset directory in, run directory out: config, log, checkpoints, model. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DatasetDirectory } from '../data/cache.js';
import type { CsrDataset } from '../data/dataset.js';
import { labelRows, type TrainingRows, withLabelRows } from '../data/label-rows.js';
import { selectRows, spread } from '../data/rows.js';
import { BUCKETS, labelBuckets } from '../data/statistics.js';
import { EspalierError } from '../errors.js';
import { makeDirectory, withFileErrors, writeFileAtomic } from '../files.js';
import { selectKernels } from '../kernels/index.js';
import { propensities } from '../metrics/propensities.js';
import { TopKMetrics } from '../metrics/top-k.js';
import type { CalibrationState } from '../model/calibration.js';
import type { Classifier } from '../model/classifier.js';
import { saveClassifier } from '../model/model-io.js';
import { scoreDataset } from '../model/score.js';
import { type BrokenCheckpoint, CheckpointStore, RunLog } from '../store/index.js';
import { version } from '../version.js';
import { chooseOutput } from './auto-output.js';
import { BestModel, restoreBest } from './best.js';
import type { TrainConfig, TrainConfigInput } from './config.js';
import { type Scores, scoresOf, type TrainEvent } from './events.js';
import { levelOf } from './level-labels.js';
import { notBegun, runLoop } from './loop.js';
import { denseRivals, type MemoryTable } from './memory-report.js';
import { asChosenBefore, leavesOutputOpen, type OutputChoice, provisional } from './open-output.js';
import { calibrate, PairCollector } from './probabilities.js';
import { RunRecorder } from './recorder.js';
import { restoreCheckpoint, saveCheckpoint } from './resume.js';
import { evaluationBatch, TrainSession } from './session.js';
import { withStart } from './start.js';

export interface TrainOptions {
  readonly onEvent?: (event: TrainEvent) => void;
  /** Ends the run after the running step, with a checkpoint to resume from. */
  readonly signal?: AbortSignal;
  /** Continue the run in `config.out` from its newest sound checkpoint. */
  readonly resume?: boolean;
  /** Largest peak of the process that the plan may come to, bytes; default: what the machine has left. */
  readonly maxMemory?: number;
}

export interface TrainResult {
  readonly config: TrainConfig;
  /** The output layer and why, where the settings left it open and this call chose it. */
  readonly choice: OutputChoice | null;
  /** False when the signal ended it before the last step. */
  readonly finished: boolean;
  readonly steps: number;
  /** Of this process, without validation and checkpoints. */
  readonly seconds: number;
  readonly examplesPerSecond: number;
  readonly memory: MemoryTable;
  /** Of the model that was kept; null without validation rows. */
  readonly validation: Scores | null;
  /** Immutable model directory; null when not finished. */
  readonly model: string | null;
  readonly classifier: Classifier;
  readonly frequencies: Uint32Array;
  readonly trainedRows: number;
}

/**
 * Trains a classifier. Where the settings name no output layer (or `kind: 'auto'`), a dense or sparse one is chosen by the
 * counts of the dataset and the memory, told as an event, and written into the run's config.
 *
 * @throws EspalierError `CONFIG_*` of kind usage, `DATASET_*`, `OUT_OF_MEMORY` before anything is made,
 *   `TRAINING_DIVERGED` with the last checkpoint kept
 * @example const { model } = await train({ data: 'data/wn', out: 'runs/wn' });
 */
export async function train(input: TrainConfigInput, options: TrainOptions = {}): Promise<TrainResult> {
  const baseRss = process.memoryUsage.rss();
  const { resume = false, maxMemory } = options;
  const given = await withStart(input);
  const settings = resume ? await asChosenBefore(given) : given;
  const checked = provisional(settings);
  const directory = await DatasetDirectory.open(checked.data);
  await refuseOldRun(checked.out, resume);
  const kernels = selectKernels({ backend: checked.backend, threads: checked.threads || undefined });
  const training = await trainingRows(directory, checked);
  const { rows } = training;
  const validation = await validationRows(directory, checked);
  const { config, choice, clusters } = leavesOutputOpen(settings)
    ? await chooseOutput(settings, kernels, { ...training, validation }, { maxMemory, baseRss })
    : { config: checked, choice: null, clusters: undefined };
  const featurizer = config.start === null ? null : ((await directory.featurizer()) ?? null);
  const session = await TrainSession.create(config, kernels, {
    ...{ ...training, validation, baseRss, featurizer, maxMemory, clusters },
  });
  // What is refused until here leaves no directory behind.
  await openRun(config, directory.fingerprint);
  const checkpoints = await CheckpointStore.open(config.out, { keep: config.checkpoint.keep });
  const log = RunLog.open(join(config.out, 'log.jsonl'));
  let recorder: RunRecorder | null = null;
  try {
    const fresh = { ...notBegun, broken: [], best: null };
    const resumed = resume ? await restoreCheckpoint(session, checkpoints, log) : fresh;
    const from = resumed.step;
    const { out, tensorboard = false } = config;
    const records = new RunRecorder(log, { out, from, tensorboard });
    recorder = records;
    const emit = (event: TrainEvent) => {
      records.write(event);
      options.onEvent?.(event);
    };
    emit({
      event: 'start',
      kernels: kernels.name,
      threads: kernels.threads,
      rows: rows.rows,
      ...(config.labelRows ? { labelRows: session.examples.rows - rows.rows } : {}),
      features: rows.features,
      labels: rows.labels,
      steps: session.totalSteps,
      resumedAt: from,
      plannedBytes: session.plan.totalBytes,
      weights: session.classifier.weightCount,
    });
    if (choice !== null) emit({ event: 'output-chosen', ...choice });
    const tell = (broken: readonly BrokenCheckpoint[]) => {
      for (const { step, directory: path, error } of broken)
        emit({ event: 'checkpoint-damaged', step, path, problem: error.message });
    };
    tell(resumed.broken);
    if (session.started !== null) emit({ event: 'continued', ...session.started });
    if (session.clusters !== null) emit(session.clusters);
    let scores: Scores | null = null;
    let scored: PairCollector | null = null;
    const best = new BestModel(config.validation);
    best.state = resumed.best;
    const validate = async () => {
      if (validation === null) return null;
      const metrics = metricsFor(session.frequencies, rows.rows);
      const { perRow } = config.calibration ?? { perRow: 0 };
      const pairs = new PairCollector(perRow);
      const both: Parameters<typeof scoreDataset>[2] = {
        add: (best, truth, rowIds) => {
          metrics.add(best, truth, rowIds);
          pairs.add(best, truth, rowIds);
        },
      };
      const k = Math.max(5, Math.min(perRow, rows.labels));
      await scoreDataset(session.classifier, validation, both, { batch: evaluationBatch, k });
      scored = pairs;
      scores = scoresOf(metrics.report());
      return scores;
    };
    const checkpoint = async (step: number) => {
      records.flush();
      const path = await saveCheckpoint(session, checkpoints, log, step, best.state);
      emit({ event: 'checkpoint', step, path });
    };
    const result = await runLoop(session, resumed, {
      emit,
      signal: options.signal,
      validate,
      checkpoint,
      judge: async (step, its) => {
        const better = best.take(step, its);
        if (best.exhausted) return 'enough';
        // The last model needs no checkpoint to be the best.
        if (!better || step === session.totalSteps) return null;
        await checkpoint(step);
        return 'saved';
      },
    });
    if (result.finished && best.state !== null && best.state.step !== result.step) {
      const { step, value } = best.state;
      const { restored, broken } = await restoreBest(session, checkpoints, best.state);
      tell(broken);
      if (restored) {
        emit({
          ...{ event: 'best', step: result.step, keptStep: step, value },
          epoch: step / session.order.stepsPerEpoch,
        });
        // Probabilities are fitted to the model that is kept.
        await validate();
      }
    }
    if (result.finished && session.learnsFrom !== null && validation !== null) {
      const { learnsFrom, classifier } = session;
      const options = { batch: evaluationBatch, mostLost: config.start?.mostLost ?? 0.5 };
      const { by, lost } = await levelOf(classifier, validation, learnsFrom, options);
      emit({ event: 'labels-levelled', step: result.step, by, lost, rows: validation.rows });
      if (by !== null) {
        classifier.output.shiftLogits?.(learnsFrom, by);
        await validate();
      }
    }
    const memory = await memoryTable(session);
    const examplesPerSecond = result.examples / Math.max(1e-9, result.seconds);
    const calibration = result.finished ? calibrationFor(session, scored) : null;
    if (calibration !== null) {
      const { method, ece, buckets, labels } = calibration;
      emit({
        ...{ event: 'calibration', step: result.step, method, ...ece },
        pairs: calibration.rows * calibration.perRow,
        buckets: BUCKETS.filter((bucket) => buckets[bucket] !== null),
        labels: labels.length,
      });
    }
    const model = result.finished ? await save(session, directory, scores, calibration) : null;
    if (model !== null) {
      emit({
        event: 'end',
        step: result.step,
        seconds: result.seconds,
        examplesPerSecond,
        bytes: memory.measured,
        accountedPeak: memory.accountedPeak,
        peakRss: memory.peakRss,
        baseRss: memory.baseRss,
        model,
      });
    }
    records.sync();
    return {
      config,
      choice,
      finished: result.finished,
      steps: result.step,
      seconds: result.seconds,
      examplesPerSecond,
      memory,
      validation: scores,
      model,
      classifier: session.classifier,
      frequencies: session.frequencies,
      trainedRows: rows.rows,
    };
  } finally {
    recorder?.close();
    log.close();
  }
}

/** Metrics at 1, 3 and 5 with propensities of the training rows. */
export function metricsFor(frequencies: Uint32Array, trainedRows: number): TopKMetrics {
  return new TopKMetrics({
    ks: [1, 3, 5],
    propensities: propensities(frequencies, trainedRows),
    buckets: labelBuckets(frequencies),
  });
}

async function save(
  session: TrainSession,
  directory: DatasetDirectory,
  metrics: Scores | null,
  calibration: CalibrationState | null,
): Promise<string> {
  const saved = await saveClassifier(session.config.out, session.classifier, {
    training: session.config,
    metrics: { validation: metrics },
    version,
    labelNames: session.rows.labelNames,
    featurizer: (await directory.featurizer()) ?? null,
    calibration,
    frequencies: { rows: session.rows.rows, counts: session.frequencies },
  });
  return saved.directory;
}

function calibrationFor(session: TrainSession, scored: PairCollector | null): CalibrationState | null {
  const { calibration, model } = session.config;
  if (calibration === null || scored === null) return null;
  return calibrate(scored, session.frequencies, { ...calibration, isLogit: model.loss === 'bce' });
}

/** The rows of a run, and what labels are called behind them where its settings ask for that. */
export async function trainingRows(
  directory: DatasetDirectory,
  { rows, labelRows: wanted }: Pick<TrainConfig, 'rows' | 'labelRows'>,
): Promise<TrainingRows> {
  const own = await directory.load(rows === 'all' ? 'trainAll' : 'train');
  return withLabelRows(own, wanted ? await labelRows(directory) : null);
}

/** Validation rows spread evenly over the split; none when the model trains on them. */
export async function validationRows(
  directory: DatasetDirectory,
  config: TrainConfig,
): Promise<CsrDataset | null> {
  const wanted = config.validation.rows;
  if (wanted === 0 || config.rows === 'all' || directory.rows('validation') === 0) return null;
  const all = await directory.load('validation');
  return all.rows <= wanted ? all : selectRows(all, spread(all.rows, wanted));
}

const configFile = (out: string) => join(out, 'config.json');
const isThere = async (file: string) => (await stat(file).catch(() => null)) !== null;

async function refuseOldRun(out: string, resume: boolean): Promise<void> {
  if (resume || !(await isThere(configFile(out)))) return;
  throw new EspalierError({
    code: 'RUN_EXISTS',
    kind: 'usage',
    op: 'train',
    problem: 'there is a run in this directory already',
    hint: 'continue it with --resume, name another --out, or remove it',
    file: out,
  });
}

/** Makes the run directory, or checks that the one to resume is of this config and this data. */
async function openRun(config: TrainConfig, fingerprint: string): Promise<void> {
  const file = configFile(config.out);
  const text = `${JSON.stringify({ ...config, fingerprint }, null, 2)}\n`;
  if (!(await isThere(file))) {
    await withFileErrors('train', config.out, () => makeDirectory(config.out));
    await writeFileAtomic(file, text);
    return;
  }
  if ((await readFile(file, 'utf8')) !== text) {
    throw new EspalierError({
      code: 'RESUME_CONFIG',
      kind: 'usage',
      op: 'train',
      problem: 'the run was begun with other settings or other data',
      expected: `what ${file} says`,
      hint: 'resume with `espalier train --resume RUN`, which takes the settings from the run',
      file,
    });
  }
}

async function memoryTable(session: TrainSession): Promise<MemoryTable> {
  const { device, baseRss } = session;
  return {
    measured: device.ledger.atPeak(),
    ...(await denseRivals(session)),
    accountedPeak: device.ledger.peakBytes,
    peakRss: process.resourceUsage().maxRSS * 1024,
    baseRss,
  };
}
