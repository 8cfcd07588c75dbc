/** Runs the training of a network to its end: progress, evaluations, checkpoints, resuming. */
import { join } from 'node:path';
import { z } from 'zod';
import { EspalierError } from '../../errors.js';
import type { GradientCosine } from '../../methods/block-sparse/saved-activations.js';
import type { ParticipantEvent } from '../../optim/participant.js';
import { type BrokenCheckpoint, CheckpointStore, RunLog } from '../../store/index.js';
import { restoreArrays } from '../../store/safetensors-reader.js';
import type { StoredArray } from '../../store/safetensors-writer.js';
import type { NetworkTraining, Score } from './network.js';
import type { Split } from './task.js';

export type NetworkEvent =
  | {
      readonly event: 'progress';
      readonly step: number;
      readonly steps: number;
      readonly epoch: number;
      /** Means since the last progress event. */
      readonly loss: number;
      /** How many steps these are: a log without gap or repeat counts every step once. */
      readonly lossSteps: number;
      readonly accuracy: number;
      readonly rate: number;
      readonly predictionsPerSecond: number;
      /** Share of the time that training waited for batches made ahead; absent where none are. */
      readonly stalled?: number;
    }
  | ({
      readonly event: 'evaluation';
      readonly step: number;
      readonly epoch: number;
      readonly split: Split;
    } & Score)
  /** Between the gradients of a layer's weights from the pruned and from the dense input. */
  | ({ readonly event: 'gradient-cosine'; readonly step: number } & GradientCosine)
  | { readonly event: 'checkpoint'; readonly step: number; readonly directory: string }
  /** A damaged checkpoint, passed over on the way back to a sound one. */
  | {
      readonly event: 'checkpoint-damaged';
      readonly step: number;
      readonly directory: string;
      readonly problem: string;
    }
  | {
      readonly event: 'method';
      readonly method: string;
      readonly step: number;
      readonly what: ParticipantEvent;
    };

export interface RunOptions {
  readonly onEvent?: (event: NetworkEvent) => void;
  /** Scored after every `evaluateEvery` epochs; default: none. */
  readonly evaluate?: Split;
  /** In epochs; default 1. */
  readonly evaluateEvery?: number;
  /** Ends after the running step, with a checkpoint where there is a directory for them. */
  readonly signal?: AbortSignal;
  /** Run directory for checkpoints and the log; default: neither is written. */
  readonly directory?: string;
  /** In epochs; default 1. */
  readonly checkpointEvery?: number;
  /** Continues from the newest sound checkpoint of the directory. */
  readonly resume?: boolean;
  /** Ends after so many steps in all, as if aborted there. */
  readonly until?: number;
}

const progressEveryMs = 200;

/** Trains to the end, or to where it is told to stop; returns whether it finished. */
export async function runNetwork(training: NetworkTraining, options: RunOptions = {}): Promise<boolean> {
  const { directory } = options;
  if (directory === undefined) return run(training, options, null, null, []);
  const store = await CheckpointStore.open(directory);
  const log = RunLog.open(join(directory, 'log.jsonl'));
  try {
    const fresh = { logPosition: 0, broken: [] };
    const { logPosition, broken } = options.resume === true ? await restoreNetwork(training, store) : fresh;
    // Checkpoints of older releases do not know the log.
    if (logPosition !== null) log.truncateTo(logPosition);
    return await run(training, options, store, log, broken);
  } finally {
    log.close();
  }
}

async function run(
  training: NetworkTraining,
  options: RunOptions,
  store: CheckpointStore | null,
  log: RunLog | null,
  broken: readonly BrokenCheckpoint[],
): Promise<boolean> {
  const { evaluate, evaluateEvery = 1, signal, checkpointEvery = 1 } = options;
  const onEvent = (event: NetworkEvent) => {
    log?.write({ ...event });
    options.onEvent?.(event);
  };
  const save = async (to: CheckpointStore) => {
    log?.sync();
    return saveNetwork(training, to, log?.position());
  };
  for (const { step, directory, error } of broken) {
    onEvent({ event: 'checkpoint-damaged', step, directory, problem: error.message });
  }
  const { steps, stepsPerEpoch } = training;
  const until = Math.min(steps, options.until ?? steps);
  const every = (epochs: number) => Math.max(1, Math.round(epochs * stepsPerEpoch));
  const waited = () => training.instance.waitedMs ?? 0;
  const zero = { losses: 0, steps: 0, correct: 0, predictions: 0 };
  const meter = { since: performance.now(), waited: waited(), ...zero };
  const flush = () => {
    if (meter.steps === 0) return;
    const seconds = (performance.now() - meter.since) / 1000;
    const ahead = typeof training.instance.waitedMs === 'number';
    onEvent({
      event: 'progress',
      step: training.taken,
      steps,
      epoch: training.taken / stepsPerEpoch,
      loss: meter.losses / meter.steps,
      lossSteps: meter.steps,
      accuracy: meter.correct / Math.max(1, meter.predictions),
      rate: training.rate(training.taken - 1),
      predictionsPerSecond: meter.predictions / Math.max(1e-9, seconds),
      ...(ahead ? { stalled: (waited() - meter.waited) / Math.max(1e-6, 1000 * seconds) } : {}),
    });
    Object.assign(meter, { since: performance.now(), waited: waited(), ...zero });
  };
  while (training.taken < until && signal?.aborted !== true) {
    const loss = training.step();
    meter.losses += loss;
    meter.steps++;
    meter.correct += training.instance.totals[1];
    meter.predictions += training.instance.predictions;
    const step = training.taken;
    for (const one of training.drainCosines()) onEvent({ event: 'gradient-cosine', step, ...one });
    for (const one of training.participants) {
      for (const what of one.drainEvents?.() ?? [])
        onEvent({ event: 'method', method: one.name, step, what });
    }
    if (performance.now() - meter.since > progressEveryMs) {
      flush();
      // Lets signals and printers in.
      await new Promise((done) => setImmediate(done));
    }
    if (evaluate !== undefined && (step % every(evaluateEvery) === 0 || step === steps)) {
      flush();
      const score = training.evaluate(evaluate);
      onEvent({ event: 'evaluation', step, epoch: step / stepsPerEpoch, split: evaluate, ...score });
      meter.since = performance.now();
    }
    if (store !== null && step < until && step % every(checkpointEvery) === 0) {
      // What the log does not say before the checkpoint is lost when the run is resumed from it.
      flush();
      const saved = await save(store);
      onEvent({ event: 'checkpoint', step, directory: saved });
      meter.since = performance.now();
    }
  }
  flush();
  await training.instance.rest?.();
  if (store !== null) onEvent({ event: 'checkpoint', step: training.taken, directory: await save(store) });
  if (training.taken >= steps) log?.write({ event: 'end', step: training.taken });
  return training.taken >= steps;
}

const savedState = z.object({
  step: z.number().int().min(0),
  optimizerSteps: z.number().int().min(0),
  methods: z.record(z.string(), z.unknown()),
  logPosition: z.number().int().min(0).optional(),
});

/** Everything that training changes, by name: parameters, what stands behind them, buffers, moments, methods. */
export function networkArrays({ instance, optimizer, participants }: NetworkTraining): StoredArray[] {
  const arrays: StoredArray[] = [];
  for (const [name, parameter] of instance.learner.namedParameters()) {
    arrays.push({ name: `model.${name}`, shape: parameter.shape, data: parameter.data });
    for (const [part, data] of parameter.parametrization?.state() ?? []) {
      arrays.push({ name: `stored.${name}.${part}`, shape: [data.length], data });
    }
  }
  for (const [name, { shape, data }] of instance.learner.namedBuffers()) {
    arrays.push({ name: `buffer.${name}`, shape, data });
  }
  for (const [name, data] of optimizer.state()) {
    arrays.push({ name: `optimizer.${name}`, shape: [data.length], data });
  }
  for (const one of participants) {
    for (const array of one.state?.().arrays ?? []) {
      arrays.push({ ...array, name: `method.${one.name}.${array.name}` });
    }
  }
  return arrays;
}

/** Saves all that the next step depends on, and how far the log reaches; returns the directory. */
export async function saveNetwork(
  training: NetworkTraining,
  store: CheckpointStore,
  logPosition?: number,
): Promise<string> {
  const methods = Object.fromEntries(
    training.participants.map((one) => [one.name, one.state?.().values ?? null]),
  );
  const state: z.infer<typeof savedState> = {
    step: training.taken,
    optimizerSteps: training.optimizer.steps,
    methods,
    logPosition,
  };
  const saved = await store.save({ step: training.taken, arrays: networkArrays(training), state });
  return saved.directory;
}

/**
 * Brings the training to the newest sound checkpoint; it then goes on bit for bit. Without one nothing happens.
 * `logPosition` is where the log was then: 0 without a checkpoint, null where the checkpoint does not say; `broken`, what
 * was passed over because it is damaged.
 */
export async function restoreNetwork(
  training: NetworkTraining,
  store: CheckpointStore,
): Promise<{ readonly logPosition: number | null; readonly broken: readonly BrokenCheckpoint[] }> {
  const { checkpoint, broken } = await store.latest();
  if (checkpoint === null) return { logPosition: 0, broken };
  try {
    const parsed = savedState.safeParse(checkpoint.state);
    if (!parsed.success) {
      throw new EspalierError({
        code: 'CHECKPOINT_STATE',
        kind: 'data',
        op: 'resume',
        problem: `the checkpoint does not fit this program: ${parsed.error.issues[0].message}`,
        hint: 'remove this checkpoint directory to fall back to the one before',
        file: checkpoint.directory,
      });
    }
    const { step, optimizerSteps, methods, logPosition } = parsed.data;
    // Methods first: they put masks and gates in place, whose arrays are then overwritten like all others.
    for (const one of training.participants) one.restore?.(methods[one.name]);
    await restoreArrays(checkpoint.tensors, networkArrays(training));
    training.taken = step;
    training.optimizer.steps = optimizerSteps;
    return { logPosition: logPosition ?? null, broken };
  } finally {
    await checkpoint.tensors.close();
  }
}
