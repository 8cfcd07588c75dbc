/** What the output layer of a run could be: the recommended one, its rivals, and smaller ones where memory is short. */
import type { CsrDataset } from '../data/dataset.js';
import { labelFrequencies } from '../data/statistics.js';
import { hiddenWidth } from '../model/classifier.js';
import { isLabelLoss } from '../model/output.js';
import { type OutputSpec, outputSpec } from '../model/spec.js';
import { parseConfig, type TrainConfig, type TrainConfigInput } from './config.js';

type FanInSpec = Extract<OutputSpec, { kind: 'fan-in' }>;
type OutputInput = NonNullable<NonNullable<TrainConfigInput['model']>['output']>;
/** An output layer instead of the configured one, with the loss that it cannot do without. */
export type Change = {
  readonly name: string;
  readonly output: OutputInput;
  readonly loss?: 'bce' | 'zLoss';
};

const bf16 = ({ precision }: { readonly precision: string }): string => (precision === 'bf16' ? ' bf16' : '');
const sampled = ({ samples }: { readonly samples: number }): string =>
  samples === 0 ? '' : `, ${samples} sampled`;
const chunked = ({ chunk }: { readonly chunk?: number }): string =>
  chunk === undefined ? '' : `, chunk ${chunk}`;

/** Short name of an output layer. */
export function describe(output: OutputSpec): string {
  switch (output.kind) {
    case 'fan-in':
      return `fan-in ${output.fanIn}${output.shared > 0 ? `, ${output.shared} shared` : ''}${output.form === 'compact' ? ' compact' : ''}${bf16(output)}${chunked(output)}${sampled(output)}`;
    case 'grouped':
      return `grouped ${output.fanIn} by ${output.group}${output.head > 0 ? ', dense head' : ''}${bf16(output)}`;
    case 'bottleneck':
      return `bottleneck ${output.width}${bf16(output)}${sampled(output)}`;
    case 'dense':
      return `dense${bf16(output)}${chunked(output)}${sampled(output)}`;
    default:
      return output.kind;
  }
}

/** The config with another output layer. */
export function changed(config: TrainConfig, { output, loss }: Change): TrainConfig {
  const model = { ...config.model, output, ...(loss === undefined ? {} : { loss }) };
  // Another loss wants other rates, and perhaps another optimiser.
  const outputOptimizer = loss === undefined ? config.outputOptimizer : undefined;
  return parseConfig({ ...config, outputOptimizer, model });
}

/** What makes `changed(config, change)` of the config's own settings, as `--set` takes them. */
export function settingsOf(config: TrainConfig, { output, loss }: Change): string[] {
  const { encoder } = config.model;
  // Some defaults of the encoder go with the kind of the output layer.
  const { data, out } = config;
  const bare = parseConfig({ data, out, model: { output, loss, encoder: { hidden: encoder.hidden } } });
  const kept = (['activation', 'dropout'] as const).filter((key) => bare.model.encoder[key] !== encoder[key]);
  return [
    ...Object.entries(output)
      .filter(([, value]) => value !== undefined)
      .map(
        ([key, value]) => `model.output.${key}=${typeof value === 'object' ? JSON.stringify(value) : value}`,
      ),
    ...(loss === undefined ? [] : [`model.loss=${loss}`]),
    ...kept.map((key) => `model.encoder.${key}=${encoder[key]}`),
  ];
}

/** Half of the hidden width is the most connections that save anything. */
export const mostFanIn = ({ model }: TrainConfig): number =>
  Math.max(1, Math.floor(hiddenWidth(model.encoder) / 2));

/** Connections of a label in a layer of its own kind: labels that share their inputs have four times as many. */
function connectionsOf(config: TrainConfig, labels: number): number {
  const { output } = config.model;
  const wanted = 'fanIn' in output ? output.fanIn : chosenFanIn(config, labels).fanIn;
  const own = output.kind === 'grouped' ? Math.max(1, Math.floor(wanted / 4)) : wanted;
  return Math.min(own, mostFanIn(config));
}

/** What else the output layer could be. */
export function rivals(config: TrainConfig, labels: number): Change[] {
  const { output, loss: own } = config.model;
  const fanIn = connectionsOf(config, labels);
  const shared = Math.min(4 * fanIn, mostFanIn(config));
  const kept = output.kind === 'fan-in' ? { topology: output.topology } : {};
  const loss = isLabelLoss(own) ? undefined : 'bce';
  // A layer that draws its labels is compared with others that do.
  const drawn = 'samples' in output && output.samples > 0 ? { samples: output.samples } : null;
  const compact = { kind: 'fan-in', fanIn, form: 'compact', ...kept } as const;
  const all: Omit<Change, 'name'>[] = [
    { output: { kind: 'dense', ...drawn }, loss },
    { output: { kind: 'fan-in', fanIn, ...drawn, ...kept }, loss },
    ...(drawn === null ? [{ output: compact, loss } as const] : []),
    { output: { kind: 'grouped', fanIn: shared, group: 32 }, loss },
    { output: { kind: 'bottleneck', width: fanIn, ...drawn }, loss },
    { output: { kind: 'factored' }, loss: 'zLoss' },
  ];
  return all
    .map((change) => ({ ...change, name: describe(outputSpec.parse(change.output)) }))
    .filter(({ name }) => name !== describe(output));
}

/** Labels that a thread works on at once, where memory is short: fewer gain nothing worth their calls. */
const smallChunk = 32;

const defaultFanIn = () => outputSpec.parse({ kind: 'fan-in' }) as FanInSpec;

/**
 * Up to so many labels as many connections are chosen as have less than a quarter of a dense layer's state, beyond 32: four
 * times the labels of the experiment in docs/tuning.md. Beyond it is not known what more weights are worth.
 */
const mostWide = 65_536;

/** Where connections of each label are chosen. */
export function chosenFanIn(config: TrainConfig, labels: number): FanInSpec {
  const width = hiddenWidth(config.model.encoder);
  const wanted = labels <= mostWide ? Math.max(32, Math.floor((3 * width) / 16)) : 32;
  return { ...defaultFanIn(), fanIn: Math.min(wanted, mostFanIn(config)) };
}

/** With fewer connections, of which as large a part is shared. */
const narrowed = (spec: FanInSpec, fanIn: number): FanInSpec => ({
  ...spec,
  ...{ fanIn, shared: Math.floor((spec.shared * fanIn) / spec.fanIn) },
});

/**
 * The configured layer made smaller, what costs least first: chunks (rounding alone), form (time), precision, then
 * connections.
 */
export function shrinks(config: TrainConfig): Change[] {
  const { output } = config.model;
  const outputs: OutputSpec[] = [];
  const halvings = (from: number): number[] => (from < 8 ? [] : [from, ...halvings(Math.floor(from / 2))]);
  if (output.kind === 'grouped') {
    outputs.push({ ...output, precision: 'bf16' });
    for (const fanIn of halvings(Math.floor(output.fanIn / 2))) {
      outputs.push({ ...output, precision: 'bf16', fanIn });
    }
    if (output.head > 0) outputs.push({ ...(outputs.at(-1) ?? output), head: 0 } as OutputSpec);
  } else if ('samples' in output && output.samples > 0) {
    // Drawn labels are float32, and compact as they are.
    const { samples } = output;
    const [sparse, wanted] =
      output.kind === 'fan-in'
        ? [output, Math.floor(output.fanIn / 2)]
        : [{ ...defaultFanIn(), samples }, mostFanIn(config)];
    for (const fanIn of halvings(wanted)) outputs.push(narrowed(sparse, fanIn));
  } else if (output.kind !== 'factored') {
    const chunk = 'chunk' in output ? Math.min(output.chunk ?? smallChunk, smallChunk) : smallChunk;
    const sparse = output.kind === 'fan-in' ? output : defaultFanIn();
    if (output.kind === 'dense') outputs.push({ ...output, chunk }, { ...output, chunk, precision: 'bf16' });
    if (output.kind === 'fan-in') outputs.push({ ...output, chunk });
    const wanted = output.kind === 'fan-in' ? output.fanIn : mostFanIn(config);
    outputs.push({ ...sparse, chunk, fanIn: wanted, form: 'compact' });
    for (const fanIn of halvings(wanted)) {
      outputs.push({ ...narrowed(sparse, fanIn), chunk, form: 'compact', precision: 'bf16' });
    }
  }
  return outputs
    .map((spec) => ({ name: describe(spec), output: spec }))
    .filter(({ name }) => name !== describe(output));
}

export interface Recommendation {
  readonly kind: 'dense' | 'fan-in' | 'factored';
  readonly reasons: readonly string[];
  /** Share of the labels with fewer than 5 training rows. */
  readonly rare: number;
  /** d, and L/d. */
  readonly width: number;
  readonly ratio: number;
}

/** Labels per hidden unit below which a dense layer is recommended. */
const denseRatio = 8;

/** By counts alone, never by measured time: the same rows and settings give the same recommendation everywhere. */
export function recommend(config: TrainConfig, rows: CsrDataset): Recommendation {
  const { model } = config;
  const width = hiddenWidth(model.encoder);
  const ratio = rows.labels / width;
  const frequencies = labelFrequencies(rows);
  const rare = frequencies.reduce((n, f) => n + (f < 5 ? 1 : 0), 0) / Math.max(1, rows.labels);
  const facts = { rare, width, ratio };
  const reasons = [
    `${rows.labels.toLocaleString('en')} labels over ${width} hidden units: L/d = ${ratio.toFixed(ratio < 10 ? 1 : 0)}`,
    `${(100 * rare).toFixed(0)} % of the labels have fewer than 5 training rows`,
    'the encoder is trained, so that it can arrange itself for few connections',
  ];
  if (!isLabelLoss(model.loss)) {
    reasons.push(`the loss ${model.loss} has exact updates in O(d²): its time does not depend on the labels`);
    return { kind: 'factored', reasons, ...facts };
  }
  reasons.push(
    `the loss ${model.loss} sees every label by itself: the factored layer, made for spherical losses, cannot train it`,
  );
  if (ratio < denseRatio) {
    reasons.push('at this ratio a dense layer costs little more than the encoder');
    return { kind: 'dense', reasons, ...facts };
  }
  return { kind: 'fan-in', reasons, ...facts };
}
