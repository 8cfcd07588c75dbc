/** The output layer of a description. */
import { EspalierError } from '../errors.js';
import type { LabelLoss } from '../kernels/face.js';
import type { RandomStream } from '../kernels/random.js';
import { FixedFanInOutput } from '../methods/dynamic-sparse/fan-in-output.js';
import { factoredOutput, sphericalLoss } from '../methods/factored/index.js';
import { GroupedFanInOutput } from '../methods/grouped/grouped-output.js';
import type { GroupOrder } from '../methods/grouped/options.js';
import { DenseOutput, type DenseOutputOptions } from '../output/dense.js';
import { HeadTailOutput } from '../output/head-tail.js';
import { mostFrequent, ofPart } from '../output/head-tail-parts.js';
import type { OutputLayer } from '../output/layer.js';
import type { Draws } from '../output/sampled-softmax.js';
import type { Device } from '../tensor/device.js';
import type { ModelSpec, OutputSpec } from './spec.js';

export type CommonOutputOptions = Omit<DenseOutputOptions, 'loss'> & { readonly loss: ModelSpec['loss'] };

type GroupedSpec = Extract<OutputSpec, { kind: 'grouped' }>;

/** What the rows that train say of the labels; absent where weights are loaded next. */
export interface LabelFacts {
  /** [labels], share of the rows, for the dense head. */
  readonly shares?: Float64Array;
  /** [labels], a permutation in which labels that stand together are alike, for groups by `clusters`. */
  readonly order?: Uint32Array;
}

export function makeOutput(
  device: Device,
  spec: OutputSpec,
  options: CommonOutputOptions,
  rewireStream: RandomStream,
  facts: LabelFacts,
): OutputLayer {
  if (spec.kind === 'factored') {
    return factoredOutput(device, { ...options, ...spec, loss: sphericalLoss(options.loss, spec) });
  }
  const common = { ...options, loss: labelLoss(spec.kind, options.loss) };
  switch (spec.kind) {
    case 'dense':
    case 'bottleneck':
      return new DenseOutput(device, { ...common, ...spec, sampling: draws(spec, facts) });
    case 'fan-in':
      return new FixedFanInOutput(device, {
        ...{ ...common, ...spec, sampling: draws(spec, facts) },
        rewireStream,
      });
    case 'grouped':
      return headCount(spec, common.labels) === 0
        ? new GroupedFanInOutput(device, {
            ...common,
            ...spec,
            order: groupOrder(spec, facts.order),
            rewireStream,
          })
        : makeHeadTail(device, spec, common, rewireStream, facts);
  }
}

const draws = ({ samples }: { readonly samples: number }, { shares }: LabelFacts): Draws | undefined =>
  samples > 0 ? { samples, shares } : undefined;

/** H: how many labels are in the head. */
export function headCount({ head }: Pick<GroupedSpec, 'head'>, labels: number): number {
  return Math.min(labels, Math.round(head < 1 ? head * labels : head));
}

/** The description of a layer whose labels came and went: the head counted, and ragged groups too. */
export function sizedSpec(spec: OutputSpec, output: OutputLayer): OutputSpec {
  if (spec.kind !== 'grouped') return spec;
  const tail = output instanceof HeadTailOutput ? output.tail : output;
  const head = output instanceof HeadTailOutput ? output.head.labels : 0;
  const groups = tail instanceof GroupedFanInOutput ? tail.groups : 0;
  const { groups: _, ...rest } = spec;
  const ragged = groups > Math.ceil(tail.labels / spec.group);
  return { ...rest, head, ...(ragged ? { groups } : {}) };
}

function makeHeadTail(
  device: Device,
  spec: GroupedSpec,
  common: DenseOutputOptions,
  rewireStream: RandomStream,
  { shares, order }: LabelFacts,
): HeadTailOutput {
  const { labels, initialBias = 0 } = common;
  const headLabels = mostFrequent(shares ?? new Float64Array(labels), headCount(spec, labels));
  const rest = new Uint8Array(labels).fill(1);
  for (const label of headLabels) rest[label] = 0;
  const tailLabels = Uint32Array.from({ length: labels }, (_, l) => l).filter((l) => rest[l] === 1);
  const part = (own: Uint32Array) => ({
    ...common,
    labels: own.length,
    initialBias: ofPart(initialBias, own),
  });
  const head = new DenseOutput(device, { ...part(headLabels), precision: spec.precision });
  const tailOrder = order === undefined ? undefined : placesAmong(order, tailLabels);
  const tail = new GroupedFanInOutput(device, {
    ...part(tailLabels),
    ...spec,
    order: groupOrder(spec, tailOrder),
    rewireStream,
  });
  return new HeadTailOutput(device, { labels, headLabels, head, tail });
}

/** The slot of every label, from the order of the labels. */
function groupOrder({ order: how }: GroupedSpec, order: Uint32Array | undefined): GroupOrder {
  if (how !== 'clusters') return how;
  if (order === undefined) return 'identity'; // loaded next, or a dry run
  const slots = new Uint32Array(order.length);
  for (let slot = 0; slot < order.length; slot++) slots[order[slot]] = slot;
  return slots;
}

/** `order` without the labels that are not in `labels` (ascending), which are numbered anew. */
function placesAmong(order: Uint32Array, labels: Uint32Array): Uint32Array {
  const number = new Int32Array(order.length).fill(-1);
  for (let i = 0; i < labels.length; i++) number[labels[i]] = i;
  return Uint32Array.from(order, (label) => number[label]).filter((i) => i < 0xffffffff);
}

/** Whether a loss is one of those that all layers but the factored one have. */
export const isLabelLoss = (loss: ModelSpec['loss']): loss is LabelLoss =>
  loss === 'bce' || loss === 'squaredHinge' || loss === 'softmax';

function labelLoss(kind: string, loss: ModelSpec['loss']): LabelLoss {
  if (isLabelLoss(loss)) return loss;
  throw new EspalierError({
    code: 'LOSS_UNSUPPORTED',
    kind: 'usage',
    op: 'model',
    problem: `the output layer ${JSON.stringify(kind)} has no such loss`,
    expected: 'bce, squaredHinge or softmax',
    received: loss,
    hint: 'losses of the spherical family belong to model.output.kind = "factored"',
  });
}
