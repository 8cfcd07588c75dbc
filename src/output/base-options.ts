/** What output layers with a row of weights per label are made with. */
import type { Floats, LabelLoss } from '../kernels/face.js';
import type { OptimizerSpec } from '../optim/rules.js';

export type WeightPrecision = 'float32' | 'bf16';

export interface OutputBaseOptions {
  readonly inputs: number;
  readonly labels: number;
  readonly loss: LabelLoss;
  readonly optimizer: OptimizerSpec;
  /** Labels worked on at once by one thread. */
  readonly chunk: number;
  /**
   * Start value of every label's bias, for example the logit of its base rate; default 0. Labels that
   * `resizeLabels` adds start at the number, or at the smallest of the array, as the rarest label does.
   */
  readonly initialBias?: number | Floats;
  /** Start weights are uniform within +-startScale / sqrt(weights per label); default 1. */
  readonly startScale?: number;
  /**
   * How weights are stored: as the device computes (default), or in bfloat16, half the bytes, rounded stochastically
   * after every update. Biases and optimiser state stay as the device computes.
   */
  readonly precision?: WeightPrecision;
}
