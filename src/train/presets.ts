/** Settings that are known to work, chosen on validation rows (the commands stand beside the results). */
import type { TrainConfigInput } from './config.js';

type Preset = Omit<TrainConfigInput, 'data' | 'out'>;

/**
 * `wordnet-related` with a fixed fan-in output layer in a few minutes on two cores. Chosen on validation rows.
 *
 * Rare labels see a positive once in hundreds of steps; between them Adam's usual eps of 1e-8 would turn the
 * faint gradient of being a negative into full steps. With eps 1e-3 and less rare labels move as under SGD, and
 * frequent ones are still normalised. Without an activation the encoder keeps apart what rows have in common.
 */
export const quickstartPreset: Preset = {
  model: {
    encoder: { embedding: 512, dropout: 0.2, activation: 'none' },
    output: {
      kind: 'fan-in',
      fanIn: 64,
      startScale: 0.1,
      topology: {
        kind: 'set',
        start: 'gradient',
        every: 775,
        prune: { mode: 'fraction', fraction: 0.2, scope: 'label' },
      },
    },
  },
  batch: 128,
  epochs: 4,
  optimizer: { kind: 'adam', rate: 7e-3 },
  outputOptimizer: { kind: 'adam', rate: 2e-2, eps: 5e-4 },
};

/** A smaller real job, `wordnet-hypernym`, for machines that have only the reference backend. */
export const referencePreset: Preset = {
  model: {
    encoder: { embedding: 128, dropout: 0.1, embeddingBound: 0.25 },
    output: { kind: 'fan-in', fanIn: 16, startScale: 0.1, topology: { kind: 'static' } },
  },
  batch: 64,
  epochs: 1,
  optimizer: { kind: 'adam', rate: 2e-2 },
  outputOptimizer: { kind: 'adam', rate: 3e-2, eps: 5e-4 },
};
