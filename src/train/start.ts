/**
 * Training that starts from a saved model: the encoder, and every label that is there still; what both have is told
 * by names. Moments of optimisers start from nothing, as those of a new run do.
 */
import type { CsrDataset } from '../data/dataset.js';
import type { Featurizer } from '../data/featurizer/index.js';
import type { TrainingRows } from '../data/label-rows.js';
import { labelFrequencies, labelShares } from '../data/statistics.js';
import { EspalierError, ensure } from '../errors.js';
import { Classifier } from '../model/classifier.js';
import { describe, featurizerText, labelNamesOf, parseFeaturizer, trainingOf } from '../model/model-io.js';
import type { ModelSpec, OutputSpec } from '../model/spec.js';
import { modelArrays } from '../model/state.js';
import { openModel, type StoredModel } from '../store/index.js';
import { restoreArrays, someOf } from '../store/safetensors-reader.js';
import type { Device } from '../tensor/device.js';
import type { TrainConfig, TrainConfigInput } from './config.js';
import type { StartReport } from './events.js';
import { leavesOutputOpen } from './open-output.js';

type Start = NonNullable<TrainConfig['start']>;

export interface Started {
  readonly classifier: Classifier;
  /** Whether the output layer is the model's, connections and all, not the encoder alone. */
  readonly whole: boolean;
  /** Labels that the model did not have, ascending. */
  readonly fresh: Uint32Array;
  readonly report: StartReport;
}

/** Settings of a run with `start`: its model named by the immutable directory, and what that one was trained with. */
export async function withStart(input: TrainConfigInput): Promise<TrainConfigInput> {
  const { start } = input;
  if (typeof start !== 'object' || start === null || typeof start.model !== 'string') return input;
  const stored = await openModel(start.model);
  await stored.close();
  const resolved = { ...input, start: { ...start, model: stored.directory } };
  const { model } = stored.manifest.config as { model: ModelSpec };
  if (start.mode === 'share') {
    const shared = withEncoderOf(model, resolved);
    // Of another kind, the layer could take no labels over.
    return leavesOutputOpen(input) ? withOutputOf(model, shared) : shared;
  }
  const training = trainingOf(stored);
  if (training === null) return resolved;
  // The run's own: where it is, how long it trains.
  const { data: _d, out: _o, start: _s, rows: _r, ...settings } = training;
  // Steps of a few labels are cheap: four passes cost less than one over all labels. Nothing goes back to the encoder.
  const own = start.learn === 'new' ? { epochs: 4, auxiliary: null, saved: null } : { epochs: 1 };
  return merged({ ...settings, model, ...own }, resolved) as TrainConfigInput;
}

/** Settings with the encoder's layers of a model where they say nothing of them; of dropout they stay as they are. */
function withEncoderOf({ encoder }: ModelSpec, input: TrainConfigInput): TrainConfigInput {
  const { embedding, hidden, activation, layerNorm } = encoder;
  const own = { embedding, hidden, activation, layerNorm, ...input.model?.encoder };
  return { ...input, model: { ...input.model, encoder: own } };
}

/** Settings that leave the output layer open, with that of a model. */
function withOutputOf({ output, loss }: ModelSpec, input: TrainConfigInput): TrainConfigInput {
  const { groups: _, ...own } = output as OutputSpec & { readonly groups?: number };
  return { ...input, model: { loss, ...input.model, output: own } };
}

const isObject = (x: unknown): x is Record<string, unknown> =>
  typeof x === 'object' && x !== null && !Array.isArray(x);

/** `over` on top of `base`; what is of another kind there is not mixed. */
function merged(base: unknown, over: unknown): unknown {
  if (!isObject(base) || !isObject(over)) return over === undefined ? base : over;
  if ('kind' in over && over.kind !== base.kind) return over;
  const out: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) out[key] = merged(base[key], value);
  return out;
}

/**
 * The classifier of a saved model with the labels and features of `rows`.
 *
 * @throws EspalierError `START_FEATURES`, `START_LABELS`, `START_MODEL` where the two do not go together
 */
export async function startFrom(
  config: TrainConfig,
  start: Start,
  device: Device,
  { rows, examples = rows }: TrainingRows,
  featurizer: Featurizer | null,
): Promise<Started> {
  const stored = await openModel(start.model);
  try {
    const { shape, spec } = describe(stored);
    const own = parseFeaturizer(await featurizerText(stored));
    const features = featureMap(stored, start, own, featurizer, shape.features, rows.features);
    const whole = sameOutput(spec, config.model);
    if (!whole && start.mode === 'continue') throw otherModel(stored, spec, config.model);
    if (!sameEncoder(spec, config.model)) throw otherModel(stored, spec, config.model);
    const labels = await labelMap(stored, start, rows, shape.labels, whole);
    const classifier = await restored(device, config, stored, {
      shape,
      spec,
      rows,
      examples,
      features,
      whole,
    });
    if (whole) classifier.resizeLabels(labels);
    const fresh = Uint32Array.from(labels.keys()).filter((l) => labels[l] < 0);
    const kept = labels.length - fresh.length;
    const keptFeatures = features === null ? shape.features : features.filter((from) => from >= 0).length;
    const frequencies = labelFrequencies(rows);
    return {
      classifier,
      whole,
      fresh: whole ? fresh : new Uint32Array(0),
      report: {
        model: stored.directory,
        mode: start.mode,
        labels: {
          ...{ kept, added: fresh.length, dropped: shape.labels - kept },
          addedWithoutRows: fresh.reduce((n, label) => n + (frequencies[label] === 0 ? 1 : 0), 0),
        },
        features: {
          kept: keptFeatures,
          added: rows.features - keptFeatures,
          dropped: shape.features - keptFeatures,
        },
        fittedRows: featurizer?.facts.documents ?? null,
        ...(start.learn === 'new' ? { learns: 'new' } : {}),
      },
    };
  } finally {
    await stored.close();
  }
}

interface Parts {
  readonly shape: { readonly features: number; readonly labels: number };
  readonly spec: ModelSpec;
  readonly rows: CsrDataset;
  readonly examples: CsrDataset;
  /** [features of the rows]: the model's number of each, or -1; null: the same ones. */
  readonly features: Int32Array | null;
  /** Whether labels are taken over, not the encoder alone. */
  readonly whole: boolean;
}

const table = 'encoder.layers.0.weight';

async function restored(
  device: Device,
  config: TrainConfig,
  stored: StoredModel,
  { shape, spec, rows, examples, features, whole }: Parts,
): Promise<Classifier> {
  const { seed, outputOptimizer } = config;
  const classifier = whole
    ? new Classifier(
        device,
        { features: rows.features, labels: shape.labels },
        { ...config.model, output: { ...config.model.output, ...sizes(spec) } as ModelSpec['output'] },
        { seed, outputOptimizer },
      )
    : new Classifier(device, rows, config.model, {
        seed,
        outputOptimizer,
        labelShares: labelShares(examples),
      });
  const wanted = modelArrays(classifier).filter(({ name }) => whole || name.startsWith('encoder.'));
  const width = spec.encoder.embedding;
  const old = features === null ? null : new Float32Array(shape.features * width);
  const targets = wanted.map((array) =>
    old !== null && array.name === table ? { ...array, shape: [shape.features, width], data: old } : array,
  );
  const names = new Set(targets.map(({ name }) => name));
  await restoreArrays(
    someOf(stored.tensors, (name) => whole || names.has(name)),
    targets,
  );
  const own = wanted.find(({ name }) => name === table)?.data;
  for (let f = 0; features !== null && old !== null && own !== undefined && f < features.length; f++) {
    const from = features[f];
    if (from >= 0) own.set(old.subarray(from * width, (from + 1) * width), f * width);
  }
  if (whole) classifier.output.loaded();
  return classifier;
}

/** What follows from the labels that a layer has, or had. */
function sizes({ output }: ModelSpec): object {
  if (output.kind !== 'grouped') return {};
  return { head: output.head, groups: output.groups };
}

function sameEncoder(a: ModelSpec, b: ModelSpec): boolean {
  const of = ({ encoder: { embedding, hidden, activation, layerNorm } }: ModelSpec) =>
    JSON.stringify([embedding, hidden, activation, layerNorm]);
  return of(a) === of(b);
}

/** Whether rows of weights of the one can be rows of the other. */
function sameOutput(a: ModelSpec, b: ModelSpec): boolean {
  const of = ({ output }: ModelSpec) => {
    const { kind, fanIn, shared, group, width, precision, intermediate, form } = output as Record<
      string,
      unknown
    >;
    const sizes = [fanIn, shared, group, width];
    return JSON.stringify([kind, sizes, precision, intermediate, kind === 'factored' && form]);
  };
  return sameEncoder(a, b) && of(a) === of(b);
}

function otherModel(stored: StoredModel, spec: ModelSpec, wanted: ModelSpec): EspalierError {
  const text = ({ encoder, output }: ModelSpec) =>
    `embedding ${encoder.embedding}, hidden [${encoder.hidden.join(', ')}], ${encoder.activation}, output ${JSON.stringify(output)}`;
  return new EspalierError({
    code: 'START_MODEL',
    kind: 'usage',
    op: 'train',
    problem: 'the model to start from has other layers than the settings say',
    expected: text(spec),
    received: text(wanted),
    hint: 'leave these settings out to take those of the model; with start.mode "share" the output layer alone may differ',
    file: stored.directory,
  });
}

/** null: feature f of the rows is feature f of the model. */
function featureMap(
  stored: StoredModel,
  { mode }: Start,
  own: Featurizer | null,
  now: Featurizer | null,
  before: number,
  features: number,
): Int32Array | null {
  const same = (own === null && now === null) || JSON.stringify(own) === JSON.stringify(now);
  if (same && before === features) return null;
  const named = (of: Featurizer | null) => of !== null && of.options.vocabulary.kind === 'terms';
  if (mode === 'share' && named(own) && named(now))
    return mapNames(own?.featureNames() ?? [], now?.featureNames() ?? []);
  throw new EspalierError({
    code: 'START_FEATURES',
    kind: 'usage',
    op: 'train',
    problem: 'the dataset was featurized in another way than the rows that the model was trained on',
    expected: `${before} features, in the way that is stored in the model`,
    received: `${features} features${same ? '' : ', of another vocabulary'}`,
    hint: `make the dataset with \`espalier data --from FILE --like ${stored.directory}\`${mode === 'continue' ? ', or share what has the same name: --warm-start instead of --continue' : ''}`,
    file: stored.directory,
  });
}

/** [labels of the rows]: the model's number of each, or -1. */
async function labelMap(
  stored: StoredModel,
  { mode, missingLabels }: Start,
  { labels, labelNames }: CsrDataset,
  before: number,
  whole: boolean,
): Promise<Int32Array> {
  if (!whole) return new Int32Array(labels).fill(-1);
  const names = await labelNamesOf(stored);
  const nameless = names.length === 0 || labelNames === undefined;
  // Numbers are names of a sort: label 7 is label 7.
  const map = nameless
    ? Int32Array.from({ length: labels }, (_, l) => (l < before ? l : -1))
    : mapNames(names, labelNames);
  const kept = new Set(map.filter((from) => from >= 0));
  const missing = before - kept.size;
  ensure(mode === 'share' || missingLabels === 'drop' || missing === 0, () => {
    const some = Array.from({ length: before }, (_, l) => l).filter((l) => !kept.has(l));
    const shown = some.slice(0, 3).map((l) => JSON.stringify(names[l] ?? l));
    return {
      code: 'START_LABELS',
      kind: 'usage',
      op: 'train',
      problem: `the dataset does not have ${missing} of the ${before} labels of the model (${shown.join(', ')}${missing > 3 ? ', ...' : ''})`,
      expected: 'all labels of the model, and perhaps new ones',
      hint: '`espalier data --like` keeps the labels of a model; --drop-missing-labels leaves out those that the dataset does not have',
      file: stored.directory,
    };
  });
  return map;
}

/** Where each name of `now` stands in `before`, or -1. */
export function mapNames(before: readonly string[], now: readonly string[]): Int32Array {
  const places = new Map(before.map((name, place) => [name, place]));
  return Int32Array.from(now, (name) => places.get(name) ?? -1);
}
