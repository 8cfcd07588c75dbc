/** One training step: encode, fused output step, backward, update. The same code runs dry for planning. */
import { Tape } from '../autograd/tape.js';
import type { Positives } from '../kernels/face.js';
import type { SavedActivations } from '../methods/block-sparse/saved-activations.js';
import type { AuxiliaryHead } from '../methods/dynamic-sparse/auxiliary.js';
import type { Classifier } from '../model/classifier.js';
import type { SparseBatch } from '../ops/sparse-batch.js';
import type { Optimizer } from '../optim/optimizer.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import type { AuxiliaryProgress } from './events.js';

export interface TrainBatch {
  readonly features: SparseBatch;
  readonly positives: Positives;
}

export interface StepRates {
  readonly encoder: number;
  readonly output: number;
  /** Of the auxiliary head. */
  readonly auxiliary: number;
  /** Weight of the auxiliary loss; 0: the step knows nothing of it. */
  readonly lambda: number;
  /** Largest global gradient norm, or null. */
  readonly clip: number | null;
}

export interface StepOutcome {
  /** Mean over examples, summed over labels; of the main objective, unweighted. */
  readonly loss: number;
  /** Norm of the gradient that reached the encoder's parameters. */
  readonly encoderNorm: number;
  /** The same with the intermediate layer's. */
  readonly gradientNorm: number;
  /** What the auxiliary objective did in this step, if anything. */
  readonly auxiliary: AuxiliaryProgress | null;
}

/** One step on (1 - lambda) * main + lambda * auxiliary; `saved` has begun the step, `mark` is told of its parts. */
export async function trainStep(
  classifier: Classifier,
  optimizer: Optimizer,
  { features, positives }: TrainBatch,
  rates: StepRates,
  head: AuxiliaryHead | null = null,
  saved: SavedActivations | null = null,
  mark: (name: string) => void = () => {},
): Promise<StepOutcome> {
  const { device, output } = classifier;
  const { lambda, clip } = rates;
  const auxiliary = lambda > 0 ? head : null;
  device.arena.reset();
  classifier.zeroGrad();
  const tape = new Tape(device, { saved: saved ?? undefined });
  mark('encoder');
  const h = classifier.encode(features, tape, true);
  const wide = classifier.widen(h, tape, true);
  const main = { rate: rates.output, scale: 1 - lambda };
  const side = { rate: rates.auxiliary, scale: lambda };
  // Clipping needs the norm of the whole gradient before the first weight moves: measure, go back, then a second
  // pass over the labels that updates.
  const how = clip === null ? {} : { update: false, measureSquares: true };
  const kept = clip === null ? [] : [h, wide];
  mark('output layer');
  const first = await output.step(wide, positives, { ...main, ...how });
  const second = (await auxiliary?.step(h, positives, { ...side, ...how })) ?? null;
  mark('backward');
  const dh = wide === h ? first.dh : tape.backwardTo(h, wide, first.dh as Tensor, kept);
  const norms = second === null ? null : join(device, dh as Tensor, second.dh as Tensor);
  tape.backward(h, dh as Tensor, kept);

  mark('update');
  const gradientNorm = optimizer.gradientNorm();
  const outcome: StepOutcome = {
    loss: first.loss,
    encoderNorm: classifier.intermediate === null ? gradientNorm : optimizer.gradientNorm('encoder.'),
    gradientNorm,
    auxiliary: second === null || norms === null ? null : { lambda, loss: second.loss, ...norms },
  };
  if (clip === null) {
    optimizer.step(rates.encoder);
    return outcome;
  }
  const norm = Math.sqrt(gradientNorm ** 2 + (first.squares ?? 0) + (second?.squares ?? 0));
  const updateScale = norm > clip ? clip / norm : 1;
  const moving = { updateScale, inputGradient: false };
  await output.step(wide, positives, { ...main, ...moving });
  await auxiliary?.step(h, positives, { ...side, ...moving });
  optimizer.step(rates.encoder, updateScale);
  return outcome;
}

/** One step of the labels from `from` on alone: the encoder and all other labels stay as they are. */
export async function newLabelsStep(
  classifier: Classifier,
  { features, positives }: TrainBatch,
  { output: rate }: StepRates,
  from: number,
): Promise<StepOutcome> {
  const { device, output } = classifier;
  device.arena.reset();
  const tape = new Tape(device);
  const h = classifier.widen(classifier.encode(features, tape, true), tape, true);
  const { loss } = await output.step(h, positives, { rate, from, inputGradient: false });
  return { loss, encoderNorm: 0, gradientNorm: 0, auxiliary: null };
}

/** Adds the auxiliary gradient to the main one; the norms of both before. */
function join(device: Device, dh: Tensor, auxiliary: Tensor) {
  const { kernels } = device;
  const norm = (t: Tensor) => Math.sqrt(kernels.sumSquares(t.size, t.data));
  const norms = { mainNorm: norm(dh), auxiliaryNorm: norm(auxiliary) };
  kernels.add(dh.size, dh.data, auxiliary.data, 1, dh.data);
  device.release(auxiliary);
  return norms;
}
