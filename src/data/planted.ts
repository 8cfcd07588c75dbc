/**
 * Made-up data with a known answer, of any size: for examples, smoke tests and timings at sizes that no file at
 * hand has. Labels have a long tail; each label has signature features that its rows show, besides noise.
 */
import { RandomStream } from '../kernels/random.js';
import { CsrBuilder } from './builder.js';
import type { CsrDataset } from './dataset.js';

export interface PlantedOptions {
  readonly rows: number;
  readonly features: number;
  readonly labels: number;
  readonly seed: number;
  /** `train` and `test` have the same signatures and different rows; any name gives other rows. */
  readonly split?: string;
  /** Largest number of labels of a row (and at least one); default 5. */
  readonly labelsPerRow?: number;
  /** Signature features of a label; default 4. */
  readonly signature?: number;
  /** Noise features of a row; default 4. */
  readonly noise?: number;
  /** q: frequencies fall like 1 / (rank + q), rank from 0; the larger, the rarer the most frequent. Default 1. */
  readonly evenness?: number;
}

/**
 * A dataset in which label l is there exactly when most of its signature is. Labels are numbered by their rank.
 *
 * @example const train = plantedDataset({ rows: 300, features: 120, labels: 40, seed: 1 });
 */
export function plantedDataset(options: PlantedOptions): CsrDataset {
  const { rows, features, labels, seed, split = 'train' } = options;
  const { labelsPerRow = 5, signature = 4, noise = 4, evenness = 1 } = options;
  const signatures = new Uint32Array(labels * signature);
  const names = RandomStream.named(seed, 'planted/signatures');
  for (let i = 0; i < signatures.length; i++) signatures[i] = names.below(features);
  const random = RandomStream.named(seed, `planted/rows/${split}`);
  const builder = new CsrBuilder({ features, labels });
  for (let row = 0; row < rows; row++) {
    const chosen = new Set<number>();
    const wanted = 1 + random.below(Math.min(labelsPerRow, labels));
    // q ((labels + q) / q)^u - q falls like 1 / (rank + q).
    const ratio = (labels + evenness) / evenness;
    while (chosen.size < wanted) {
      const drawn = Math.floor(evenness * ratio ** random.uniform()) - Math.floor(evenness);
      chosen.add(Math.min(labels - 1, Math.max(0, drawn)));
    }
    const shown = new Map<number, number>();
    for (const label of chosen) {
      for (let s = 0; s < signature; s++) {
        if (random.below(10) > 0) shown.set(signatures[label * signature + s], 1);
      }
    }
    for (let i = 0; i < noise; i++) shown.set(random.below(features), 0.5);
    const norm = Math.sqrt([...shown.values()].reduce((sum, v) => sum + v * v, 0));
    const values = [...shown.values()].map((v) => v / norm);
    builder.row([...shown.keys()], values, [...chosen]);
  }
  return builder.finish();
}
