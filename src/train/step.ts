/** One training step: encode, fused output step, backward, update. The same code runs dry for planning. */
import { Tape } from '../autograd/tape.js';
import type { Positives } from '../kernels/face.js';
import type { Classifier } from '../model/classifier.js';
import type { SparseBatch } from '../ops/sparse-batch.js';
import type { Optimizer } from '../optim/optimizer.js';

export interface TrainBatch {
  readonly features: SparseBatch;
  readonly positives: Positives;
}

export interface StepRates {
  readonly encoder: number;
  readonly output: number;
  /** Largest global gradient norm, or null. */
  readonly clip: number | null;
}

export interface StepOutcome {
  /** Mean over examples, summed over labels. */
  readonly loss: number;
  /** Norm of the gradient that reached the encoder's parameters. */
  readonly encoderNorm: number;
}

export async function trainStep(
  classifier: Classifier,
  optimizer: Optimizer,
  { features, positives }: TrainBatch,
  rates: StepRates,
): Promise<StepOutcome> {
  const { device, encoder, output } = classifier;
  device.arena.reset();
  encoder.zeroGrad();
  const tape = new Tape(device);
  const h = classifier.encode(features, tape, true);
  if (rates.clip === null) {
    const { loss, dh } = await output.step(h, positives, { rate: rates.output });
    if (dh !== null) tape.backward(h, dh);
    const encoderNorm = optimizer.gradientNorm();
    optimizer.step(rates.encoder);
    return { loss, encoderNorm };
  }
  // Clipping needs the norm of the whole gradient before the first weight moves: measure, go back, then a second
  // pass over the labels that updates.
  const { loss, dh, squares } = await output.step(h, positives, {
    rate: 0,
    update: false,
    measureSquares: true,
  });
  if (dh !== null) tape.backward(h, dh, [h]);
  const encoderNorm = optimizer.gradientNorm();
  const norm = Math.sqrt(encoderNorm ** 2 + (squares ?? 0));
  const scale = norm > rates.clip ? rates.clip / norm : 1;
  await output.step(h, positives, { rate: rates.output, updateScale: scale, inputGradient: false });
  optimizer.step(rates.encoder, scale);
  return { loss, encoderNorm };
}
