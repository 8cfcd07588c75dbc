/** The output layer of a description. */
import { EspalierError } from '../errors.js';
import type { LabelLoss } from '../kernels/face.js';
import type { RandomStream } from '../kernels/random.js';
import { FixedFanInOutput } from '../methods/dynamic-sparse/fan-in-output.js';
import { factoredOutput, sphericalLoss } from '../methods/factored/index.js';
import { GroupedFanInOutput } from '../methods/grouped/grouped-output.js';
import { DenseOutput, type DenseOutputOptions } from '../output/dense.js';
import { HeadTailOutput, mostFrequent, ofPart } from '../output/head-tail.js';
import type { OutputLayer } from '../output/layer.js';
import type { Device } from '../tensor/device.js';
import type { ModelSpec, OutputSpec } from './spec.js';

export type CommonOutputOptions = Omit<DenseOutputOptions, 'loss'> & { readonly loss: ModelSpec['loss'] };

type GroupedSpec = Extract<OutputSpec, { kind: 'grouped' }>;

/** `labelShares` [labels] says which labels are frequent; absent where weights are loaded next. */
export function makeOutput(
  device: Device,
  spec: OutputSpec,
  options: CommonOutputOptions,
  rewireStream: RandomStream,
  labelShares: Float64Array | undefined,
): OutputLayer {
  if (spec.kind === 'factored') {
    return factoredOutput(device, { ...options, ...spec, loss: sphericalLoss(options.loss, spec) });
  }
  const common = { ...options, loss: labelLoss(spec.kind, options.loss) };
  switch (spec.kind) {
    case 'dense':
    case 'bottleneck':
      return new DenseOutput(device, { ...common, precision: spec.precision });
    case 'fan-in':
      return new FixedFanInOutput(device, { ...common, ...spec, rewireStream });
    case 'grouped':
      return headCount(spec, common.labels) === 0
        ? new GroupedFanInOutput(device, { ...common, ...spec, rewireStream })
        : makeHeadTail(device, spec, common, rewireStream, labelShares);
  }
}

/** H: how many labels are in the head. */
export function headCount({ head }: Pick<GroupedSpec, 'head'>, labels: number): number {
  return Math.min(labels, Math.round(head < 1 ? head * labels : head));
}

function makeHeadTail(
  device: Device,
  spec: GroupedSpec,
  common: DenseOutputOptions,
  rewireStream: RandomStream,
  labelShares: Float64Array | undefined,
): HeadTailOutput {
  const { labels, initialBias = 0 } = common;
  const headLabels = mostFrequent(labelShares ?? new Float64Array(labels), headCount(spec, labels));
  const rest = new Uint8Array(labels).fill(1);
  for (const label of headLabels) rest[label] = 0;
  const tailLabels = Uint32Array.from({ length: labels }, (_, l) => l).filter((l) => rest[l] === 1);
  const part = (own: Uint32Array) => ({
    ...common,
    labels: own.length,
    initialBias: ofPart(initialBias, own),
  });
  const head = new DenseOutput(device, { ...part(headLabels), precision: spec.precision });
  const tail = new GroupedFanInOutput(device, { ...part(tailLabels), ...spec, rewireStream });
  return new HeadTailOutput(device, { labels, headLabels, head, tail });
}

/** Whether a loss sees every label by itself, as all layers but the factored one need. */
export const isLabelLoss = (loss: ModelSpec['loss']): loss is LabelLoss =>
  loss === 'bce' || loss === 'squaredHinge';

function labelLoss(kind: string, loss: ModelSpec['loss']): LabelLoss {
  if (isLabelLoss(loss)) return loss;
  throw new EspalierError({
    code: 'LOSS_UNSUPPORTED',
    kind: 'usage',
    op: 'model',
    problem: `the output layer ${JSON.stringify(kind)} has no such loss`,
    expected: 'bce or squaredHinge',
    received: loss,
    hint: 'losses of the spherical family belong to model.output.kind = "factored"',
  });
}
