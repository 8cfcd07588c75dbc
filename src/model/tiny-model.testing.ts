/** Small models on disk, of any kind, with names and a text rule: random weights, made in milliseconds. */
import { CsrBuilder } from '../data/builder.js';
import { Featurizer } from '../data/featurizer/index.js';
import { rowsOfTexts } from '../data/label-rows.js';
import type { Kernels } from '../kernels/face.js';
import { referenceKernels } from '../kernels/reference/index.js';
import { Device } from '../tensor/device.js';
import type { CalibrationState } from './calibration.js';
import { Classifier } from './classifier.js';
import type { LabelFrequencies } from './frequencies.js';
import { saveClassifier } from './model-io.js';
import type { SavedRows } from './remembered/file.js';
import { modelSpec } from './spec.js';
import { modelArrays } from './state.js';

export const words = [
  'tree',
  'apple',
  'branch',
  'trellis',
  'wall',
  'prune',
  'fruit',
  'garden',
  'wire',
  'bud',
];

export const kinds: Readonly<Record<string, unknown>> = {
  dense: { kind: 'dense' },
  'dense bf16': { kind: 'dense', precision: 'bf16' },
  'fan-in': { kind: 'fan-in', fanIn: 6 },
  'fan-in with an intermediate layer': { kind: 'fan-in', fanIn: 6, intermediate: { width: 48 } },
  grouped: { kind: 'grouped', fanIn: 8, group: 4, order: 'random' },
  'head and tail': { kind: 'grouped', fanIn: 8, group: 4, head: 5 },
  bottleneck: { kind: 'bottleneck', width: 6 },
  factored: { kind: 'factored' },
};

/** The featurizer of the ten words in columns `text` and `title`. */
export function tinyFeaturizer(): Featurizer {
  const rows = words.flatMap((word, i) => [
    { text: word, title: words[(i + 1) % words.length] },
    { text: `${word} ${words[(i + 3) % words.length]}`, title: word },
  ]);
  return Featurizer.fit(rows, { text: ['text', 'title'], vocabulary: { minDocuments: 1 } });
}

export interface TinyModel {
  readonly output?: unknown;
  readonly encoder?: unknown;
  readonly labels?: number;
  readonly seed?: number;
  readonly text?: boolean;
  readonly kernels?: Kernels;
  readonly calibration?: CalibrationState;
  /** null: as models were saved before they said how often labels were seen. */
  readonly frequencies?: LabelFrequencies | null;
  readonly remembered?: SavedRows;
}

/** A calibration that puts labels in quite another order than scores do: every third label is of another bucket. */
export function tinyCalibration(labels: number, perRow: number): CalibrationState {
  const apart = { head: { slope: 0.5, offset: -2 }, torso: null, tail: { slope: 2, offset: 1 } };
  return {
    ...{ format: 'espalier-calibration', version: 1, rows: 100, perRow, right: 50, method: 'platt' },
    ...{ all: { slope: 1, offset: 0 }, buckets: apart, leastRight: 50, order: 'probability' },
    bucketOf: Buffer.from(Uint8Array.from({ length: labels }, (_, l) => l % 3)).toString('base64'),
    labels: [{ label: 1, slope: 0.1, offset: 3 }],
    thresholds: [{ precision: 0.9, all: 0.3, head: 0.1, torso: 0.95, tail: 0.5 }],
    ece: { before: 0.2, after: 0.1 },
  };
}

/** Some labels seen in most of 400 rows, many in one or two, one in none. */
export const tinyFrequencies = (labels: number): LabelFrequencies => ({
  rows: 400,
  counts: Uint32Array.from({ length: labels }, (_, l) => Math.floor(400 / (1 + ((l * 7) % labels)) ** 1.5)),
});

/** A row of each word with its title: what a model with the tiny featurizer can remember, and how it votes. */
export function tinyRows(labels: number): SavedRows {
  const featurizer = tinyFeaturizer();
  const builder = new CsrBuilder({ features: featurizer.features, labels });
  for (const [i, word] of words.entries()) {
    const { indices, values } = featurizer.featurize([{ text: word, title: words[(i + 1) % words.length] }]);
    builder.row(indices, values, [(3 * i) % labels, (3 * i + 1) % labels]);
  }
  const settings = { nearest: 4, temperature: 0.1, weight: 6, featureTemperature: 0.3, featureWeight: 3 };
  const texts = rowsOfTexts(
    featurizer,
    Array.from({ length: labels }, (_, l) => `${words[l % 7]} ${words[(l * 3) % 10]}`),
    ['text', 'title'],
  );
  return {
    settings: { ...settings, textTemperature: 0.2, textWeight: 4 },
    ...{ examples: builder.finish(), texts },
  };
}

/** Saves a random model in `run` and returns its directory. */
export async function saveTinyModel(run: string, options: TinyModel = {}): Promise<string> {
  const { output = kinds['fan-in'], encoder = {}, labels = 37, seed = 1, text = true } = options;
  const featurizer = text ? tinyFeaturizer() : null;
  const factored = (output as { kind: string }).kind === 'factored';
  const spec = modelSpec.parse({
    encoder: { embedding: 24, ...(encoder as object) },
    output: { startScale: 1, ...(output as object) },
    ...(factored ? { loss: 'squaredError' } : {}),
  });
  const features = featurizer?.features ?? 20;
  const device = new Device(options.kernels ?? referenceKernels('float32'));
  const classifier = new Classifier(device, { features, labels }, spec, {
    seed,
    outputOptimizer: { kind: 'sgd', rate: 1 },
  });
  // Biases that start at 0 would hide whether they arrive.
  for (const { name, data } of modelArrays(classifier)) {
    if (name.endsWith('bias')) for (let i = 0; i < data.length; i++) data[i] = ((i * 7) % 5) / 10 - 0.2;
  }
  const saved = await saveClassifier(run, classifier, {
    training: null,
    metrics: { seed },
    version: '0.0.0',
    labelNames: Array.from({ length: labels }, (_, l) => `label "${l}" ŕ`),
    featurizer,
    calibration: options.calibration ?? null,
    frequencies: options.frequencies === undefined ? tinyFrequencies(labels) : options.frequencies,
    remembered: options.remembered ?? null,
  });
  return saved.directory;
}
