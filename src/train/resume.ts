/** What a checkpoint holds, and how training goes on from it bit for bit. */
import { z } from 'zod';
import { EspalierError } from '../errors.js';
import { modelArrays, optimizerArrays } from '../model/state.js';
import type { CheckpointStore, RunLog } from '../store/index.js';
import { restoreArrays } from '../store/safetensors-reader.js';
import type { TrainSession } from './session.js';

const word = z.number().int().min(0).max(0xffffffff);
const savedState = z.object({
  step: z.number().int().min(0),
  optimizerSteps: z.number().int().min(0),
  outputSteps: z.number().int().min(0),
  streams: z.record(z.string(), z.object({ key0: word, key1: word, counter: z.number().int().min(0) })),
  logPosition: z.number().int().min(0),
});

const arraysOf = ({ classifier, optimizer }: TrainSession) => [
  ...modelArrays(classifier),
  ...optimizerArrays(classifier, optimizer),
];

/** Saves everything that step `step + 1` depends on; returns the directory. */
export async function saveCheckpoint(
  session: TrainSession,
  store: CheckpointStore,
  log: RunLog,
  step: number,
): Promise<string> {
  const { classifier, optimizer } = session;
  log.sync();
  const state: z.infer<typeof savedState> = {
    step,
    optimizerSteps: optimizer.steps,
    outputSteps: classifier.output.steps,
    streams: Object.fromEntries([...classifier.streams].map(([name, stream]) => [name, stream.state()])),
    logPosition: log.position(),
  };
  const saved = await store.save({ step, arrays: arraysOf(session), state });
  return saved.directory;
}

/** Brings the session to the newest sound checkpoint; returns its step, 0 when there is none. */
export async function restoreCheckpoint(
  session: TrainSession,
  store: CheckpointStore,
  log: RunLog,
): Promise<number> {
  const { checkpoint } = await store.latest();
  if (checkpoint === null) {
    log.truncateTo(0);
    return 0;
  }
  try {
    const parsed = savedState.safeParse(checkpoint.state);
    if (!parsed.success) throw damaged(checkpoint.directory, parsed.error.issues[0].message);
    const state = parsed.data;
    const { classifier, optimizer } = session;
    await restoreArrays(checkpoint.tensors, arraysOf(session));
    classifier.output.loaded();
    for (const [name, stream] of classifier.streams) {
      const saved = state.streams[name];
      if (saved === undefined) throw damaged(checkpoint.directory, `no state of the stream ${name}`);
      stream.restore(saved);
    }
    optimizer.steps = state.optimizerSteps;
    classifier.output.steps = state.outputSteps;
    log.truncateTo(state.logPosition);
    return state.step;
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
