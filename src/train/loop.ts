/** The training loop: steps, rewiring, validation, checkpoints and events; no files of its own, no printing. */

import { fillBatch } from '../data/batches.js';
import { EspalierError } from '../errors.js';
import type { AuxiliaryProgress, Scores, TrainEvent } from './events.js';
import type { TrainSession } from './session.js';
import { snapshotDue, takeSnapshot } from './snapshot.js';
import { newLabelsStep, type StepOutcome, trainStep } from './step.js';

export interface LoopHooks {
  emit(event: TrainEvent): void;
  /** Scores the validation rows; null where there are none. */
  validate(): Promise<Scores | null>;
  /** What a scoring means for the run: its model was saved, nothing better is to come, or neither. */
  judge(step: number, scores: Scores): Promise<'saved' | 'enough' | null>;
  /** Saves everything after `step` steps. */
  checkpoint(step: number): Promise<void>;
  /** Ends the loop after the running step, with a checkpoint; asked before every step. */
  readonly signal?: { readonly aborted: boolean };
}

const progressEveryMs = 200;

export interface LoopResult {
  readonly step: number;
  /** False when the signal ended it; true also where patience did. */
  readonly finished: boolean;
  readonly seconds: number;
  readonly examples: number;
}

/** A run that nothing was done of. */
export const notBegun = { step: 0, begun: false } as const;

/**
 * Runs steps `from` to the end; what comes before the first step, where it has not `begun`. Every step depends on
 * (seed, step) and the state alone, never on time.
 */
export async function runLoop(
  session: TrainSession,
  { step: from, begun }: { readonly step: number; readonly begun: boolean },
  hooks: LoopHooks,
): Promise<LoopResult> {
  const { config, classifier, optimizer, order, batch, totalSteps, examples } = session;
  const validateEvery = Math.max(1, Math.round(config.validation.every * order.stepsPerEpoch));
  const checkpointMs = config.checkpoint.everyMinutes * 60_000;
  const meter = new Meter(session, hooks, from);
  let lastCheckpoint = performance.now();
  let step = from;
  let enough = false;
  // A run may have been stopped behind this: the log has it, and a start by gradients must not see its own choice.
  if (!begun && examples.rows > 0) {
    fillBatch(examples, order.rowIds({ epoch: 0, step: 0 }), batch);
    if (session.choosesConnections) await rewire(session, 0, hooks);
    snapshot(session, 0, hooks);
  }
  while (step < totalSteps && !enough && hooks.signal?.aborted !== true) {
    const position = { epoch: Math.floor(step / order.stepsPerEpoch), step: step % order.stepsPerEpoch };
    fillBatch(examples, order.rowIds(position), batch);
    const rates = session.rates(step);
    if (rates.lambda === 0) session.endAuxiliary();
    session.saved?.begin(step);
    const outcome =
      session.learnsFrom === null
        ? await trainStep(classifier, optimizer, batch, rates, session.auxiliary, session.saved)
        : await newLabelsStep(classifier, batch, rates, session.learnsFrom);
    const { loss, gradientNorm } = outcome;
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm))
      throw diverged(step, loss, gradientNorm, rates.output);
    step++;
    for (const one of session.saved?.drain() ?? []) hooks.emit({ event: 'gradient-cosine', step, ...one });
    await rewire(session, step, hooks);
    meter.count(step, batch.features.rows, outcome, rates.output);
    if (snapshotDue(step, totalSteps)) snapshot(session, step, hooks);
    if (step % validateEvery === 0 || step === totalSteps) {
      meter.flush();
      const paused = performance.now();
      const scores = await hooks.validate();
      if (scores !== null) {
        hooks.emit({ event: 'validation', step, epoch: step / order.stepsPerEpoch, ...scores });
        const verdict = await hooks.judge(step, scores);
        enough = verdict === 'enough';
        if (verdict === 'saved') lastCheckpoint = performance.now();
      }
      meter.pause(performance.now() - paused);
    }
    if (performance.now() - lastCheckpoint > checkpointMs && step < totalSteps) {
      // What the log does not say before the checkpoint is lost when the run is resumed from it.
      meter.flush();
      const paused = performance.now();
      await hooks.checkpoint(step);
      lastCheckpoint = performance.now();
      meter.pause(lastCheckpoint - paused);
    }
  }
  meter.flush();
  const finished = enough || step >= totalSteps;
  if (!finished) await hooks.checkpoint(step);
  return { step, finished, seconds: meter.seconds, examples: meter.examples };
}

async function rewire(session: TrainSession, step: number, hooks: LoopHooks) {
  const { classifier, growth, totalSteps } = session;
  if (session.learnsFrom !== null) return;
  classifier.device.arena.reset();
  const rewired = await classifier.output.rewire(step, totalSteps, growth);
  if (rewired !== null) hooks.emit({ event: 'rewire', ...rewired });
  for (const one of classifier.output.drainEvents?.() ?? []) hooks.emit({ event: 'layer', step, ...one });
}

/** Memory, weights and connections as they are, for the log. */
function snapshot({ classifier }: TrainSession, step: number, hooks: LoopHooks): void {
  const bytes = classifier.device.ledger.takeRecentPeak();
  hooks.emit({ event: 'memory', step, bytes, rssBytes: process.memoryUsage.rss() });
  hooks.emit({ event: 'snapshot', step, ...takeSnapshot(classifier) });
}

/** Turns steps into progress events, at most five a second. */
class Meter {
  readonly #session: TrainSession;
  readonly #hooks: LoopHooks;
  #start = performance.now();
  #lastEmit = performance.now();
  readonly #from: number;
  #step: number;
  #losses = 0;
  #steps = 0;
  #auxiliaryLosses = 0;
  #auxiliarySteps = 0;
  #encoderNorm = 0;
  #auxiliary: AuxiliaryProgress | null = null;
  #rate = 0;
  examples = 0;

  constructor(session: TrainSession, hooks: LoopHooks, from: number) {
    this.#session = session;
    this.#hooks = hooks;
    this.#from = from;
    this.#step = from;
  }

  /** Training time only: pauses for validation and checkpoints are taken out. */
  get seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }

  pause(ms: number): void {
    this.#start += ms;
    this.#lastEmit += ms;
  }

  count(step: number, rows: number, outcome: StepOutcome, rate: number): void {
    this.#step = step;
    this.#losses += outcome.loss;
    this.#steps++;
    this.#encoderNorm = outcome.encoderNorm;
    this.#auxiliary = outcome.auxiliary;
    if (outcome.auxiliary !== null) {
      this.#auxiliaryLosses += outcome.auxiliary.loss;
      this.#auxiliarySteps++;
    }
    this.#rate = rate;
    this.examples += rows;
    if (performance.now() - this.#lastEmit >= progressEveryMs) this.flush();
  }

  flush(): void {
    if (this.#steps === 0) return;
    const { order, totalSteps, config } = this.#session;
    const { seconds } = this;
    this.#hooks.emit({
      event: 'progress',
      step: this.#step,
      steps: totalSteps,
      epoch: this.#step / order.stepsPerEpoch,
      epochs: config.epochs,
      loss: this.#losses / this.#steps,
      lossSteps: this.#steps,
      rate: this.#rate,
      encoderNorm: this.#encoderNorm,
      auxiliary:
        this.#auxiliary === null
          ? null
          : { ...this.#auxiliary, loss: this.#auxiliaryLosses / this.#auxiliarySteps },
      examplesPerSecond: this.examples / seconds,
      etaSeconds: (seconds / (this.#step - this.#from)) * (totalSteps - this.#step),
      rssBytes: process.memoryUsage.rss(),
    });
    this.#losses = 0;
    this.#steps = 0;
    this.#auxiliaryLosses = 0;
    this.#auxiliarySteps = 0;
    this.#lastEmit = performance.now();
  }
}

function diverged(step: number, loss: number, norm: number, rate: number): EspalierError {
  return new EspalierError({
    code: 'TRAINING_DIVERGED',
    kind: 'numeric',
    op: 'train',
    problem: `the ${Number.isFinite(loss) ? 'gradient' : 'loss'} is not finite at step ${step}`,
    expected: 'finite numbers',
    received: `loss ${loss}, gradient norm ${norm}`,
    hint: `the learning rate (${rate.toPrecision(3)} at this step) is the usual cause: lower it or set clip; the last checkpoint is kept`,
  });
}
