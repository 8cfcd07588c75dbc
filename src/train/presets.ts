/** Settings that are known to work, chosen on validation rows (the commands stand beside the results). */
import type { TrainConfigInput } from './config.js';

type Preset = Omit<TrainConfigInput, 'data' | 'out'>;

/** `wordnet-related` with a fixed fan-in output layer in a few minutes on two cores. */
export const quickstartPreset: Preset = {
  model: {
    encoder: { embedding: 512, dropout: 0.3, embeddingBound: 0.5 },
    output: { kind: 'fan-in', fanIn: 32, topology: { kind: 'set' } },
  },
  batch: 64,
  epochs: 6,
};

/** A smaller real job, `wordnet-hypernym`, for machines that have only the reference backend. */
export const referencePreset: Preset = {
  model: {
    encoder: { embedding: 128, dropout: 0.1, embeddingBound: 0.5 },
    output: { kind: 'fan-in', fanIn: 16, topology: { kind: 'static' } },
  },
  batch: 128,
  epochs: 1,
};
