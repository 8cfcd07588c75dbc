/** What the training of networks needs to know of a task: batches, a loss, and how to score. */
import type { Parameter } from '../../autograd/parameter.js';
import type { Tape } from '../../autograd/tape.js';
import type { RandomStream } from '../../kernels/random.js';
import type { Module } from '../../nn/module.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';

export type Split = 'train' | 'validation' | 'test';

/** What is learnt; any module is one. */
export interface Learner {
  namedParameters(): Iterable<[string, Parameter]>;
  namedBuffers(): Iterable<[string, Tensor]>;
  zeroGrad(): void;
}

/** A task on a device. Made twice: dry, to plan memory, and for real. */
export interface TaskInstance {
  readonly learner: Learner;
  /** Of the last batch: the summed loss, and how many answers were right. */
  readonly totals: Float64Array;
  /** Predictions of the last batch. */
  readonly predictions: number;
  /** The mean loss of the batch of step `step` (0-based, over all epochs), on the tape. */
  trainLoss(tape: Tape, step: number, dropoutStream: RandomStream): Tensor;
  /** Batches of an evaluation. */
  pieces(split: Split): number;
  /** Runs one batch of an evaluation: fills totals and predictions. */
  score(tape: Tape, split: Split, piece: number): void;
  /** Sets aside what training carries from step to step (recurrent states), and brings it back after evaluations. */
  suspend?(): () => void;
  /** Milliseconds that training waited for batches so far; null: they are not made ahead. */
  readonly waitedMs?: number | null;
  /** Ends what works in the background; the next step begins it again. */
  rest?(): Promise<void>;
}

export interface NetworkTask {
  readonly name: string;
  readonly stepsPerEpoch: number;
  /** Trained in an epoch: images, or symbols that are foretold. */
  readonly examples: number;
  /** Bytes of its datasets, for the memory table. */
  readonly dataBytes: number;
  /** `module`: takes the place of the task's own network. */
  create(device: Device, module?: Module): TaskInstance;
}
