/** A method beside the dense training of equal budget: same task, seed, epochs and optimiser, no method. */
import { type NetworkOptions, NetworkTraining, type Score } from './network.js';
import { type RunOptions, runNetwork } from './run.js';
import type { NetworkTask, Split } from './task.js';

export interface Compared {
  readonly method: Score;
  /** The dense control of equal budget; null where it was not asked for. */
  readonly control: Score | null;
  /** The training of the method, for what comes after: export, inspection. */
  readonly training: NetworkTraining;
}

/** Trains with the methods of `options`, and, unless `control` is false, without them; both are scored on `split`. */
export async function trainWithControl(
  task: NetworkTask,
  options: NetworkOptions,
  how: {
    readonly split: Split;
    readonly control?: boolean;
    readonly run?: Omit<RunOptions, 'directory' | 'resume'>;
  },
): Promise<Compared> {
  const training = new NetworkTraining(task, options);
  await runNetwork(training, how.run);
  const method = training.evaluate(how.split);
  if (how.control === false) return { method, control: null, training };
  const dense = new NetworkTraining(task, { ...options, methods: undefined });
  await runNetwork(dense, how.run);
  return { method, control: dense.evaluate(how.split), training };
}
