/** A method that takes part in the training of a network without the network knowing: masks, gates, schedules. */
import type { Floats } from '../kernels/face.js';

/** What a participant tells of itself, for logs: plain data. */
export interface ParticipantEvent {
  readonly event: string;
  readonly [key: string]: unknown;
}

export interface ParticipantState {
  /** Arrays that training changes; shared, not copied. */
  readonly arrays: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly data: Floats | Uint32Array;
  }[];
  /** Plain data. */
  readonly values: unknown;
}

export interface Participant {
  /** Names its part of checkpoints. */
  readonly name: string;
  /** On a dry device: takes the most memory that it will ever hold, so that plans count it. */
  plan?(): void;
  /** Before step `step` (0-based) of `steps`. */
  beforeStep?(step: number, steps: number): void;
  /** Multiplies the learning rate of this step. */
  rateFactor?(step: number, steps: number): number;
  /** After the weights moved. */
  afterStep?(step: number, steps: number): void;
  /** Before an evaluation or an export: what the network reads is what will be deployed. */
  beforeEvaluation?(): void;
  state?(): ParticipantState;
  /** Brings it to where `values` was taken; the arrays of `state()` are overwritten after that. */
  restore?(values: unknown): void;
  /** What happened since the last call. */
  drainEvents?(): readonly ParticipantEvent[];
}
