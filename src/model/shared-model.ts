/** One copy of a model's weights for many threads: loaded once, adopted by each of them. */
import { basename } from 'node:path';
import { Featurizer, type SharedFeaturizer } from '../data/featurizer/index.js';
import type { Kernels } from '../kernels/face.js';
import { both } from '../promises.js';
import { openModel } from '../store/index.js';
import { restoreArrays } from '../store/safetensors-reader.js';
import { BlankDevice, type SharedArrays } from '../tensor/blank.js';
import type { Device } from '../tensor/device.js';
import type { CalibrationState } from './calibration.js';
import { Classifier, type ClassifierShape } from './classifier.js';
import type { LabelFrequencies } from './frequencies.js';
import { LabelTable, type LabelTableData } from './label-table.js';
import {
  calibrationOf,
  describe,
  featurizerText,
  frequenciesOf,
  type LoadedModel,
  parseFeaturizer,
} from './model-io.js';
import { rememberedOf } from './remembered/file.js';
import { type RememberedRows, sharedRows } from './remembered/rows.js';
import type { ModelSpec } from './spec.js';
import { modelArrays } from './state.js';

/** What threads are sent: plain data over shared memory. */
export interface SharedModel {
  /** The immutable directory it was loaded from. */
  readonly directory: string;
  /** The name of that directory. */
  readonly id: string;
  readonly shape: ClassifierShape;
  readonly spec: ModelSpec;
  readonly arrays: SharedArrays;
  readonly labels: LabelTableData;
  /** Null for a model of numbered features. */
  readonly featurizer: SharedFeaturizer | null;
  readonly calibration: CalibrationState | null;
  readonly frequencies: LabelFrequencies | null;
  readonly remembered: RememberedRows | null;
  readonly metrics: unknown;
  /** Of the software that trained it. */
  readonly versions: Readonly<Record<string, string>>;
}

/** Loads a model for prediction only; throws what `loadClassifier` throws. Checksums are left to `checkModel`. */
export async function shareModel(path: string, kernels: Kernels): Promise<SharedModel> {
  const stored = await openModel(path);
  try {
    const { shape, spec } = describe(stored);
    const device = new BlankDevice(kernels);
    const classifier = makeBlank(device, shape, spec);
    device.settle();
    // The disk fills the arrays while this thread reads texts.
    const restored = restoreArrays(stored.tensors, modelArrays(classifier));
    const text = (async () => ({
      featurizer: parseFeaturizer(await featurizerText(stored))?.share() ?? null,
      labels: await LabelTable.gather(stored.labels()),
      calibration: await calibrationOf(stored, shape.labels),
      frequencies: await frequenciesOf(stored, shape.labels),
    }))();
    const [, { featurizer, labels, calibration, frequencies }] = await both(restored, text);
    classifier.output.loaded();
    const words = featurizer && Featurizer.fromShared(featurizer);
    const found = await rememberedOf(stored, classifier, words);
    const remembered = found && sharedRows(found);
    const { directory, manifest } = stored;
    return {
      ...{ directory, id: basename(directory), shape, spec },
      ...{ arrays: device.arrays, labels: labels.data, featurizer, calibration, frequencies, remembered },
      ...{ metrics: manifest.metrics, versions: manifest.versions },
    };
  } finally {
    await stored.close();
  }
}

/** Compares the SHA-256 of every file of a model; throws `FILE_DAMAGED`, and what opening a model throws. */
export async function checkModel(path: string): Promise<void> {
  await (await openModel(path, { checksums: true })).close();
}

/** A model over the arrays of `shared`, for this thread; nothing is copied. */
export function adoptModel(shared: SharedModel, kernels: Kernels): LoadedModel {
  const { directory, shape, spec, calibration, frequencies, remembered, metrics } = shared;
  const device = new BlankDevice(kernels, shared.arrays);
  const classifier = makeBlank(device, shape, spec);
  device.settle();
  const featurizer = shared.featurizer === null ? null : Featurizer.fromShared(shared.featurizer);
  const read = { featurizer, calibration, frequencies, remembered };
  return { directory, classifier, shape, spec, labelNames: [], ...read, metrics };
}

function makeBlank(device: Device, shape: ClassifierShape, spec: ModelSpec): Classifier {
  const classifier = new Classifier(device, shape, forPrediction(spec), {
    seed: 0,
    outputOptimizer: { kind: 'sgd', rate: 1 },
  });
  classifier.output.prepareTopK?.();
  return classifier;
}

const staticTopology = { kind: 'static', perLabel: 16, products: 'bf16', start: 'random' } as const;

/** Without what only training needs: the index of the way back, and the record of connections tried. */
function forPrediction(spec: ModelSpec): ModelSpec {
  const { output } = spec;
  if (output.kind === 'fan-in') {
    return { ...spec, output: { ...output, form: 'compact', topology: staticTopology } };
  }
  if (output.kind === 'grouped') return { ...spec, output: { ...output, topology: staticTopology } };
  return spec;
}
