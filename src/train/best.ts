/** Which scoring of the validation rows was the best so far, and whether to go on looking for a better one. */
import { z } from 'zod';
import { modelArrays } from '../model/state.js';
import type { BrokenCheckpoint, CheckpointStore } from '../store/index.js';
import { restoreArrays, someOf } from '../store/safetensors-reader.js';
import type { TrainConfig } from './config.js';
import type { Scores } from './events.js';
import type { TrainSession } from './session.js';

/** As checkpoints hold it. */
export const bestState = z.object({
  /** Of the best scoring. */
  step: z.number().int().min(0),
  /** Its P@1, percent. */
  value: z.number(),
  /** Scorings since then. */
  since: z.number().int().min(0),
});
export type BestState = z.infer<typeof bestState>;

export class BestModel {
  readonly #keep: boolean;
  readonly #patience: number;
  /** Null before the first scoring, and where the last model is the one to keep. */
  state: BestState | null = null;

  constructor({ best, patience }: TrainConfig['validation']) {
    this.#keep = best;
    this.#patience = patience ?? Infinity;
  }

  /** Takes a scoring after `step` steps; whether its model is to be kept. */
  take(step: number, { precision }: Scores): boolean {
    if (!this.#keep) return false;
    const value = precision['1'];
    const { state } = this;
    if (state !== null && !(value > state.value)) {
      this.state = { ...state, since: state.since + 1 };
      return false;
    }
    this.state = { step, value, since: 0 };
    return true;
  }

  /** Whether so many scorings brought nothing better that training ends. */
  get exhausted(): boolean {
    return (this.state?.since ?? 0) >= this.#patience;
  }
}

/** Brings the model, not the optimiser, back to its best checkpoint; false where that is damaged or gone. */
export async function restoreBest(
  { classifier }: TrainSession,
  store: CheckpointStore,
  { step }: BestState,
): Promise<{ readonly restored: boolean; readonly broken: readonly BrokenCheckpoint[] }> {
  const { checkpoint, broken } = await store.best();
  if (checkpoint === null) return { restored: false, broken };
  try {
    if (checkpoint.step !== step) return { restored: false, broken };
    const arrays = modelArrays(classifier);
    const names = new Set(arrays.map(({ name }) => name));
    await restoreArrays(
      someOf(checkpoint.tensors, (name) => names.has(name)),
      arrays,
    );
    classifier.output.loaded();
    return { restored: true, broken };
  } finally {
    await checkpoint.tensors.close();
  }
}
