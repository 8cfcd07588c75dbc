/** Classifiers as model directories: saved with names and featurizer, loaded for prediction. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { Featurizer, featurizerFile } from '../data/featurizer/index.js';
import { EspalierError } from '../errors.js';
import type { Kernels } from '../kernels/face.js';
import { openModel, type SavedModel, type StoredModel, saveModel } from '../store/index.js';
import { restoreArrays } from '../store/safetensors-reader.js';
import { Device } from '../tensor/device.js';
import { type CalibrationState, calibrationFile, parseCalibration } from './calibration.js';
import { Classifier, type ClassifierShape, hiddenWidth, intermediateOf } from './classifier.js';
import { frequenciesFile, frequenciesText, type LabelFrequencies, parseFrequencies } from './frequencies.js';
import { rememberedFiles, rememberedOf, type SavedRows, savedRows } from './remembered/file.js';
import type { RememberedRows } from './remembered/rows.js';
import { type ModelSpec, modelSpec } from './spec.js';
import { halved, modelArrays } from './state.js';

const description = z.object({
  kind: z.literal('classifier'),
  features: z.number().int().min(0),
  labels: z.number().int().min(0),
  model: modelSpec,
  /** The training config, for people and for continuing; not needed to predict. */
  training: z.unknown().optional(),
});

export interface SaveOptions {
  readonly training: unknown;
  readonly metrics: unknown;
  readonly version: string;
  readonly labelNames: readonly string[] | undefined;
  readonly featurizer: Featurizer | null;
  /** Absent or null: probabilities are what the loss makes them. */
  readonly calibration?: CalibrationState | null;
  /** Absent or null: answers cannot favour rare labels. */
  readonly frequencies?: LabelFrequencies | null;
  /** Absent or null: it remembers no rows. */
  readonly remembered?: SavedRows | null;
  /** How matrices are stored; read, they are float32 again. Default `float32`. */
  readonly precision?: 'float32' | 'bf16';
}

export async function saveClassifier(
  runDirectory: string,
  classifier: Classifier,
  options: SaveOptions,
): Promise<SavedModel> {
  const { shape, spec } = classifier;
  const { featurizer, labelNames, calibration = null, frequencies = null, remembered = null } = options;
  const { precision = 'float32' } = options;
  return saveModel(runDirectory, {
    config: {
      kind: 'classifier',
      features: shape.features,
      labels: shape.labels,
      model: spec,
      training: options.training,
    },
    arrays: precision === 'bf16' ? halved(modelArrays(classifier)) : modelArrays(classifier),
    labels: labelNames,
    metrics: options.metrics,
    versions: { espalier: options.version },
    files: {
      ...(featurizer === null ? {} : { [featurizerFile]: `${JSON.stringify(featurizer)}\n` }),
      ...(calibration === null ? {} : { [calibrationFile]: `${JSON.stringify(calibration)}\n` }),
      ...(frequencies === null ? {} : { [frequenciesFile]: frequenciesText(frequencies) }),
      ...(remembered === null ? {} : rememberedFiles(remembered)),
    },
  });
}

/**
 * Saves a loaded model in a run directory: its own names, settings and facts, but for what `changes` names.
 */
export async function saveChanged(
  runDirectory: string,
  loaded: LoadedModel,
  { classifier = loaded.classifier, ...changes }: Partial<SaveOptions> & { readonly classifier?: Classifier },
): Promise<SavedModel> {
  const { labelNames, featurizer, calibration, frequencies, remembered, metrics } = loaded;
  const { training, version } = await provenanceOf(loaded);
  return saveClassifier(runDirectory, classifier, {
    ...{ training, version, metrics, featurizer, calibration, frequencies },
    labelNames: labelNames.length === 0 ? undefined : labelNames,
    remembered: savedRows(remembered),
    ...changes,
  });
}

/** How a loaded model came to be: the settings it was trained with, and by which version of the package. */
export async function provenanceOf({
  directory,
}: Pick<LoadedModel, 'directory'>): Promise<{ training: Record<string, unknown> | null; version: string }> {
  const stored = await openModel(directory);
  await stored.close();
  return { training: trainingOf(stored), version: stored.manifest.versions.espalier ?? 'unknown' };
}

/** A model ready to predict. */
export interface LoadedModel {
  readonly directory: string;
  readonly classifier: Classifier;
  readonly shape: ClassifierShape;
  readonly spec: ModelSpec;
  /** Empty where labels have no names. */
  readonly labelNames: readonly string[];
  /** Null where the model was trained on features without a text rule. */
  readonly featurizer: Featurizer | null;
  /** How scores become probabilities; null where it was not learnt. */
  readonly calibration: CalibrationState | null;
  /** How often labels were seen in training; null for models from before it was saved. */
  readonly frequencies: LabelFrequencies | null;
  /** Rows whose labels count where a question is like them; null where it remembers none. */
  readonly remembered: RememberedRows | null;
  /** How far answers favour rare labels where a question does not say (see `PredictOptions.rare`); default 0. */
  readonly rare?: number;
  /** What was measured when it was saved. */
  readonly metrics: unknown;
}

/** Loads a model directory, a run directory or its pointer; throws `MODEL_*` and `TENSOR_*` for damaged ones. */
export async function loadClassifier(path: string, kernels: Kernels): Promise<LoadedModel> {
  const stored = await openModel(path, { checksums: true });
  try {
    const { shape, spec } = describe(stored);
    const classifier = new Classifier(new Device(kernels), shape, spec, {
      seed: 0,
      outputOptimizer: { kind: 'sgd', rate: 1 },
    });
    await restoreArrays(stored.tensors, modelArrays(classifier));
    classifier.output.loaded();
    const labelNames = await labelNamesOf(stored);
    const featurizer = parseFeaturizer(await featurizerText(stored));
    const calibration = await calibrationOf(stored, shape.labels);
    const frequencies = await frequenciesOf(stored, shape.labels);
    const remembered = await rememberedOf(stored, classifier, featurizer);
    const { directory, manifest } = stored;
    const read = { featurizer, calibration, frequencies, remembered };
    return { directory, classifier, shape, spec, labelNames, ...read, metrics: manifest.metrics };
  } finally {
    await stored.close();
  }
}

/** The description in a model's manifest, checked against its tensors; throws `MODEL_CONFIG`. */
export function describe(stored: StoredModel): { readonly shape: ClassifierShape; readonly spec: ModelSpec } {
  const parsed = description.safeParse(stored.manifest.config);
  if (!parsed.success) {
    throw new EspalierError({
      code: 'MODEL_CONFIG',
      kind: 'data',
      op: 'loadClassifier',
      problem: `the description of the model does not fit: ${parsed.error.issues[0].path.join('.')}: ${parsed.error.issues[0].message}`,
      hint: 'the model is damaged or of another kind: restore it, or train it again',
      file: stored.directory,
    });
  }
  const { features, labels, model: spec } = parsed.data;
  checkSizes(stored.tensors.tensors, { features, labels }, spec, stored.directory);
  return { shape: { features, labels }, spec };
}

/** Names of all labels in order; empty where they have none. */
export async function labelNamesOf(stored: StoredModel): Promise<string[]> {
  const names: string[] = [];
  for await (const some of stored.labels()) for (const name of some) names.push(name);
  return names;
}

/** The settings that a model was trained with; null where it does not say. */
export function trainingOf(stored: StoredModel): Record<string, unknown> | null {
  const { training } = description.parse(stored.manifest.config);
  return z
    .record(z.string(), z.unknown())
    .nullable()
    .catch(null)
    .parse(training ?? null);
}

/** The text rule of a model, as it was saved; null where it was trained on numbers. */
export async function featurizerText(stored: StoredModel): Promise<string | null> {
  if (!Object.hasOwn(stored.manifest.files, featurizerFile)) return null;
  return readFile(stored.path(featurizerFile), 'utf8');
}

/** The calibration of a model; null for one that has none, as older models have. */
export async function calibrationOf(stored: StoredModel, labels: number): Promise<CalibrationState | null> {
  if (!Object.hasOwn(stored.manifest.files, calibrationFile)) return null;
  const file = stored.path(calibrationFile);
  return parseCalibration(await readFile(file, 'utf8'), labels, file);
}

/** How often the labels of a model were seen; null for one that does not say, as older models do not. */
export async function frequenciesOf(stored: StoredModel, labels: number): Promise<LabelFrequencies | null> {
  if (!Object.hasOwn(stored.manifest.files, frequenciesFile)) return null;
  const file = stored.path(frequenciesFile);
  return parseFrequencies(await readFile(file, 'utf8'), labels, file);
}

export function parseFeaturizer(text: string | null): Featurizer | null {
  return text === null ? null : Featurizer.parse(text);
}

/** Refuses a description that promises more than the file holds, before memory is taken for it. */
function checkSizes(
  tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  { features, labels }: ClassifierShape,
  { encoder, output }: ModelSpec,
  file: string,
): void {
  const table = tensors.get('encoder.layers.0.weight')?.shape;
  // One bias per label, in one layer or in head and tail; a factored layer has none, but a row of weights per label.
  const perLabel = output.kind === 'factored' ? ['weights'] : ['bias', 'head.bias', 'tail.bias'];
  const biases = perLabel.flatMap((name) => tensors.get(`output.${name}`)?.shape[0] ?? []);
  const bias = biases.length === 0 ? undefined : [biases.reduce((sum, n) => sum + n, 0)];
  const middle = intermediateOf(output);
  const wide = middle === null ? null : tensors.get('intermediate.layers.0.weight')?.shape;
  const middleFits = middle === null || (wide?.[0] === middle.width && wide[1] === hiddenWidth(encoder));
  if (table?.[0] === features && table[1] === encoder.embedding && bias?.[0] === labels && middleFits) return;
  throw new EspalierError({
    code: 'MODEL_CONFIG',
    kind: 'data',
    op: 'loadClassifier',
    problem: 'the description of the model and its tensors disagree',
    expected: `a table [${features}, ${encoder.embedding}], ${labels} labels and an intermediate layer of ${middle?.width ?? 0}`,
    received: `a table [${table?.join(', ') ?? 'missing'}], ${bias?.[0] ?? 'no'} labels and an intermediate layer of ${wide?.[0] ?? 0}`,
    hint: 'restore the model from a copy, or train it again',
    file,
  });
}
