/** A classifier: an encoder of sparse rows on the tape, and an output layer beside it. */
import type { Parameter } from '../autograd/parameter.js';
import { Tape } from '../autograd/tape.js';
import type { Floats } from '../kernels/face.js';
import { RandomStream } from '../kernels/random.js';
import { Dropout, EmbeddingBag, GELU, LayerNorm, Linear, ReLU, Sequential } from '../nn/layers.js';
import type { ForwardContext, Module } from '../nn/module.js';
import type { SparseBatch } from '../ops/sparse-batch.js';
import type { OptimizerSpec } from '../optim/rules.js';
import { HeadTailOutput } from '../output/head-tail.js';
import type { OutputLayer } from '../output/layer.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { makeOutput, sizedSpec } from './output.js';
import type { EncoderSpec, IntermediateSpec, ModelSpec, OutputSpec } from './spec.js';

export interface ClassifierShape {
  readonly features: number;
  readonly labels: number;
}

export interface ClassifierOptions {
  readonly seed: number;
  readonly outputOptimizer: OptimizerSpec;
  /** [labels] training frequencies over rows, for `biasStart: frequency`; absent where weights are loaded next. */
  readonly labelShares?: Float64Array;
  /** [labels] in an order in which neighbours are alike, for groups by `clusters`; absent where weights are loaded next. */
  readonly labelOrder?: Uint32Array;
}

export class Classifier {
  readonly device: Device;
  readonly encoder: Sequential<SparseBatch>;
  /** Between encoder and output layer, where the description has one. */
  readonly intermediate: Sequential | null;
  #shape: ClassifierShape;
  #spec: ModelSpec;
  #output: OutputLayer;
  /** Every source of randomness after construction, by name: saved in checkpoints. */
  readonly streams: ReadonlyMap<string, RandomStream>;

  constructor(device: Device, shape: ClassifierShape, spec: ModelSpec, options: ClassifierOptions) {
    this.device = device;
    this.#shape = { features: shape.features, labels: shape.labels };
    this.#spec = spec;
    const stream = (name: string) => RandomStream.named(options.seed, name);
    this.encoder = makeEncoder(device, shape.features, spec.encoder, stream('encoder'));
    const streams = { dropout: stream('dropout'), output: stream('output'), rewire: stream('rewire') };
    this.streams = new Map(Object.entries(streams));
    const middle = intermediateOf(spec.output);
    this.intermediate =
      middle === null
        ? null
        : makeIntermediate(device, hiddenWidth(spec.encoder), middle, stream('intermediate'));
    const layer = {
      inputs: middle?.width ?? hiddenWidth(spec.encoder),
      labels: shape.labels,
      loss: spec.loss,
      optimizer: options.outputOptimizer,
      stream: streams.output,
      startScale: spec.output.startScale,
      initialBias: startBias(device, spec, options.labelShares),
    };
    const facts = { shares: options.labelShares, order: options.labelOrder };
    this.#output = makeOutput(device, spec.output, layer, streams.rewire, facts);
  }

  get shape(): ClassifierShape {
    return this.#shape;
  }

  /** As a model file describes it: after labels came or went, with the sizes that the layer has then. */
  get spec(): ModelSpec {
    return this.#spec;
  }

  get output(): OutputLayer {
    return this.#output;
  }

  /** New label j continues old label map[j]; -1 starts a new one. The logits of labels that stay do not change. */
  resizeLabels(map: Int32Array): void {
    const { output } = this;
    output.resizeLabels(map);
    // Without a head the tail is the whole layer, in the same order.
    if (output instanceof HeadTailOutput && output.head.labels === 0) this.#output = output.tail;
    this.#shape = { ...this.#shape, labels: map.length };
    this.#spec = { ...this.#spec, output: sizedSpec(this.#spec.output, this.#output) };
  }

  /** Learnt numbers, connections not counted. */
  get weightCount(): number {
    let count = this.output.weightCount;
    for (const [, { size }] of this.namedParameters()) count += size;
    return count;
  }

  /** What the encoder's optimiser trains: `encoder.*`, then `intermediate.*`. */
  *namedParameters(): Generator<[string, Parameter]> {
    yield* this.encoder.namedParameters('encoder.');
    if (this.intermediate !== null) yield* this.intermediate.namedParameters('intermediate.');
  }

  zeroGrad(): void {
    for (const [, parameter] of this.namedParameters()) parameter.zeroGrad();
  }

  /** Hidden vectors [B, d] on `tape`. */
  encode(batch: SparseBatch, tape: Tape, training: boolean): Tensor {
    return this.encoder.forward(batch, this.#context(tape, training));
  }

  /** What the output layer sees: h itself, or the intermediate layer's [B, P]. */
  widen(h: Tensor, tape: Tape, training: boolean): Tensor {
    return this.intermediate?.forward(h, this.#context(tape, training)) ?? h;
  }

  /** What the output layer sees, without a way back. */
  infer(batch: SparseBatch): Tensor {
    const tape = new Tape(this.device);
    return this.widen(this.encode(batch, tape, false), tape, false);
  }

  #context(tape: Tape, training: boolean): ForwardContext {
    return { tape, training, dropoutStream: this.#stream('dropout') };
  }

  #stream(name: string): RandomStream {
    return this.streams.get(name) as RandomStream;
  }
}

/** The intermediate layer of a description, where its kind of output layer can have one. */
export function intermediateOf(output: OutputSpec): IntermediateSpec | null {
  if (output.kind === 'bottleneck')
    return { width: output.width, activation: 'none', start: 'random', startScale: 1 };
  return 'intermediate' in output ? output.intermediate : null;
}

/** d, the width of the encoder's output. */
export function hiddenWidth(spec: EncoderSpec): number {
  return spec.hidden.at(-1) ?? spec.embedding;
}

function makeEncoder(
  device: Device,
  features: number,
  spec: EncoderSpec,
  stream: RandomStream,
): Sequential<SparseBatch> {
  const activation = (): Module[] =>
    spec.activation === 'none' ? [] : [spec.activation === 'relu' ? new ReLU() : new GELU()];
  // relu is fused into the bag's own operation where nothing stands between.
  const fused = spec.activation === 'relu' && !spec.layerNorm;
  const bag = new EmbeddingBag(device, features, spec.embedding, {
    stream,
    activation: fused ? 'relu' : 'none',
    featureDropout: spec.featureDropout,
    bound: spec.embeddingBound,
    biasStart: (-spec.threshold * spec.embeddingBound) / Math.sqrt(3),
  });
  const rest: Module[] = [];
  if (spec.layerNorm) rest.push(new LayerNorm(device, spec.embedding));
  if (!fused) rest.push(...activation());
  let width = spec.embedding;
  for (const next of spec.hidden) {
    rest.push(new Dropout(spec.dropout));
    rest.push(
      new Linear(device, width, next, { stream, activation: spec.activation === 'relu' ? 'relu' : 'none' }),
    );
    if (spec.activation === 'gelu') rest.push(new GELU());
    width = next;
  }
  rest.push(new Dropout(spec.dropout));
  return new Sequential<SparseBatch>(bag, ...rest);
}

function makeIntermediate(
  device: Device,
  inputs: number,
  { width, activation, start, startScale }: IntermediateSpec,
  stream: RandomStream,
): Sequential {
  const bound = startScale / Math.sqrt(inputs);
  const fused = activation === 'gelu' ? 'none' : activation;
  const layer = new Linear(device, inputs, width, { stream, bound, activation: fused });
  if (start === 'identity' && !device.dry) startAsIdentity(layer);
  return activation === 'gelu' ? new Sequential(layer, new GELU()) : new Sequential(layer);
}

/** Unit j hands on input j; units beyond the inputs keep their random weights. */
function startAsIdentity({ weight, bias }: Linear): void {
  const [width, inputs] = weight.shape;
  const units = Math.min(width, inputs);
  weight.data.fill(0, 0, units * inputs);
  for (let j = 0; j < units; j++) weight.data[j * inputs + j] = 1;
  bias?.data.fill(0);
}

/** The logit of each label's share of rows, kept within +-15. */
function startBias(device: Device, spec: ModelSpec, shares: Float64Array | undefined): number | Floats {
  const ofShares = spec.loss === 'bce' || spec.loss === 'softmax';
  if (device.dry || shares === undefined || spec.biasStart === 'zero' || !ofShares) return 0;
  return logits(shares);
}

/** log(p / (1 - p)), kept within +-15. */
export function logits(shares: Float64Array): Float64Array {
  return shares.map((p) => Math.max(-15, Math.min(15, Math.log(p / (1 - p)))));
}
