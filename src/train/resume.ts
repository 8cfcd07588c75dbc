/** What a checkpoint holds, and how training goes on from it bit for bit. */
import { z } from 'zod';
import { EspalierError } from '../errors.js';
import { modelArrays, optimizerArrays, prefixed } from '../model/state.js';
import type { BrokenCheckpoint, CheckpointStore, RunLog } from '../store/index.js';
import { restoreArrays } from '../store/safetensors-reader.js';
import { type BestState, bestState } from './best.js';
import { notBegun } from './loop.js';
import type { TrainSession } from './session.js';

const word = z.number().int().min(0).max(0xffffffff);
const savedState = z.object({
  step: z.number().int().min(0),
  optimizerSteps: z.number().int().min(0),
  outputSteps: z.number().int().min(0),
  /** Of the auxiliary head; 0 where there is none. */
  auxiliarySteps: z.number().int().min(0),
  streams: z.record(z.string(), z.object({ key0: word, key1: word, counter: z.number().int().min(0) })),
  logPosition: z.number().int().min(0),
  best: bestState.nullable().default(null),
});

/** The auxiliary head is there until its weight is 0; then nothing depends on it any more. */
const auxiliaryAt = (session: TrainSession, step: number) =>
  session.rates(step).lambda > 0 ? session.auxiliary : null;

const arraysOf = (session: TrainSession, step: number) => [
  ...modelArrays(session.classifier),
  ...optimizerArrays(session.classifier, session.optimizer),
  ...prefixed('auxiliary.', auxiliaryAt(session, step)?.state() ?? []),
];

/** Saves everything that step `step + 1` depends on; returns the directory. */
export async function saveCheckpoint(
  session: TrainSession,
  store: CheckpointStore,
  log: RunLog,
  step: number,
  best: BestState | null,
): Promise<string> {
  const { classifier, optimizer } = session;
  log.sync();
  const state: z.infer<typeof savedState> = {
    step,
    optimizerSteps: optimizer.steps,
    outputSteps: classifier.output.steps,
    auxiliarySteps: auxiliaryAt(session, step)?.output.steps ?? 0,
    streams: Object.fromEntries([...classifier.streams].map(([name, stream]) => [name, stream.state()])),
    logPosition: log.position(),
    best,
  };
  const arrays = arraysOf(session, step);
  const saved = await store.save({ step, arrays, state, best: best?.step === step });
  return saved.directory;
}

export interface Restored {
  readonly step: number;
  /** Whether there was a checkpoint, be it of step 0: what comes before the first step is done then. */
  readonly begun: boolean;
  readonly broken: readonly BrokenCheckpoint[];
  readonly best: BestState | null;
}

/** Brings the session to the newest sound checkpoint, or leaves it where it is when there is none. */
export async function restoreCheckpoint(
  session: TrainSession,
  store: CheckpointStore,
  log: RunLog,
): Promise<Restored> {
  const { checkpoint, broken } = await store.latest();
  if (checkpoint === null) {
    log.truncateTo(0);
    return { ...notBegun, broken, best: null };
  }
  try {
    const parsed = savedState.safeParse(checkpoint.state);
    if (!parsed.success) throw damaged(checkpoint.directory, parsed.error.issues[0].message);
    const state = parsed.data;
    const { classifier, optimizer } = session;
    await restoreArrays(checkpoint.tensors, arraysOf(session, state.step));
    classifier.output.loaded();
    const auxiliary = auxiliaryAt(session, state.step);
    auxiliary?.loaded();
    if (auxiliary !== null) auxiliary.output.steps = state.auxiliarySteps;
    for (const [name, stream] of classifier.streams) {
      const saved = state.streams[name];
      if (saved === undefined) throw damaged(checkpoint.directory, `no state of the stream ${name}`);
      stream.restore(saved);
    }
    optimizer.steps = state.optimizerSteps;
    classifier.output.steps = state.outputSteps;
    log.truncateTo(state.logPosition);
    return { step: state.step, begun: true, broken, best: state.best };
  } finally {
    await checkpoint.tensors.close();
  }
}

function damaged(file: string, problem: string): EspalierError {
  return new EspalierError({
    code: 'CHECKPOINT_STATE',
    kind: 'data',
    op: 'resume',
    problem: `the checkpoint does not fit this program: ${problem}`,
    hint: 'remove this checkpoint directory to fall back to the one before',
    file,
  });
}
