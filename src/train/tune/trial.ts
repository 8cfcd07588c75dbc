/** One trial: the loop that trains, without files, scored on validation rows, cut when its time is over. */
import type { CsrDataset } from '../../data/dataset.js';
import type { TrainingRows } from '../../data/label-rows.js';
import type { Kernels } from '../../kernels/face.js';
import type { Estimate } from '../../metrics/estimate.js';
import { TopKMetrics } from '../../metrics/top-k.js';
import { scoreDataset } from '../../model/score.js';
import type { TrainConfig } from '../config.js';
import { scoresOf } from '../events.js';
import { notBegun, runLoop } from '../loop.js';
import { evaluationBatch, TrainSession } from '../session.js';

export interface TrialScore {
  /** P@1 with its 95 % interval, of the best scoring. */
  readonly p1: Estimate;
  /** Of the same scoring, shares. */
  readonly p3: number;
  readonly p5: number;
  /** Epochs trained until then. */
  readonly epoch: number;
}

export interface TrialEnd {
  /** false: it was cut. */
  readonly finished: boolean;
  /** null: cut before its first scoring. */
  readonly score: TrialScore | null;
  readonly examplesPerSecond: number;
}

export interface TrialProgress {
  readonly epoch: number;
  readonly epochs: number;
  /** Best P@1 so far, a share; null before the first scoring. */
  readonly best: number | null;
}

export async function runTrial(
  config: TrainConfig,
  kernels: Kernels,
  data: TrainingRows & { readonly validation: CsrDataset },
  {
    stop,
    onProgress,
  }: { readonly stop: { readonly aborted: boolean }; onProgress(progress: TrialProgress): void },
): Promise<TrialEnd> {
  // That it fits was seen before, of all rows.
  const session = await TrainSession.create(config, kernels, { ...data, baseRss: 0, maxMemory: Infinity });
  let best: TrialScore | null = null;
  let latest: Omit<TrialScore, 'epoch'> | null = null;
  const result = await runLoop(session, notBegun, {
    signal: stop,
    emit: (e) => {
      if (e.event === 'progress')
        onProgress({ epoch: e.epoch, epochs: e.epochs, best: best?.p1.value ?? null });
    },
    validate: async () => {
      const metrics = new TopKMetrics({ ks: [1, 3, 5] });
      await scoreDataset(session.classifier, data.validation, metrics, { batch: evaluationBatch, k: 5 });
      const report = metrics.report();
      const [p1, p3, p5] = report.at.map(({ precision }) => precision);
      latest = { p1, p3: p3.value, p5: p5.value };
      return scoresOf(report);
    },
    judge: async (step) => {
      if (latest !== null && (best === null || latest.p1.value > best.p1.value))
        best = { ...latest, epoch: step / session.order.stepsPerEpoch };
      return null;
    },
    checkpoint: async () => {},
  });
  const examplesPerSecond = result.examples / Math.max(1e-9, result.seconds);
  return { finished: result.finished, score: best, examplesPerSecond };
}
