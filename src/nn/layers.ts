/** The layers of an encoder. Names and defaults follow PyTorch. */
import { Parameter } from '../autograd/parameter.js';
import { EspalierError } from '../errors.js';
import type { Activation } from '../kernels/face.js';
import type { RandomStream } from '../kernels/random.js';
import { dropout, gelu, relu } from '../ops/elementwise.js';
import { embeddingBag } from '../ops/embedding-bag.js';
import { layerNorm } from '../ops/layer-norm.js';
import { linear } from '../ops/linear.js';
import type { SparseBatch } from '../ops/sparse-batch.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { type ForwardContext, Module, type ModuleInput } from './module.js';

/** Fills a parameter with U(low, high) from a stream. */
export function initUniform(
  device: Device,
  parameter: Parameter,
  stream: RandomStream,
  low: number,
  high: number,
): void {
  device.kernels.uniform({
    ...stream.reserve(parameter.size),
    n: parameter.size,
    low,
    high,
    out: parameter.data,
  });
}

/** y = act(x W^T + b): x [B, in], W [out, in]; W and b start in U(-bound, bound), by default 1/sqrt(in). */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly activation: Activation;

  constructor(
    device: Device,
    inFeatures: number,
    outFeatures: number,
    options: {
      readonly stream: RandomStream;
      readonly bias?: boolean;
      readonly activation?: Activation;
      /** Half-width of the uniform start. */
      readonly bound?: number;
    },
  ) {
    super();
    const bound = options.bound ?? 1 / Math.sqrt(inFeatures);
    this.weight = new Parameter(device, [outFeatures, inFeatures]);
    initUniform(device, this.weight, options.stream, -bound, bound);
    this.bias = options.bias === false ? null : new Parameter(device, [outFeatures]);
    if (this.bias !== null) initUniform(device, this.bias, options.stream, -bound, bound);
    this.activation = options.activation ?? 'none';
  }

  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    return tape.run(linear, { x, weight: this.weight, bias: this.bias, activation: this.activation });
  }
}

/**
 * The weighted sum of the table rows that a sparse row names: [B] sparse rows -> [B, dim].
 * The gradient of the table is row-sparse unless `sparseGradient` is false.
 */
export class EmbeddingBag extends Module<SparseBatch> {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly activation: Activation;
  readonly featureDropout: number;

  constructor(
    device: Device,
    numEmbeddings: number,
    dim: number,
    options: {
      readonly stream: RandomStream;
      readonly bias?: boolean;
      readonly activation?: Activation;
      readonly sparseGradient?: boolean;
      /** Half-width of the uniform start; default 1 / sqrt(dim). */
      readonly bound?: number;
      /** Start of the bias; default 0. */
      readonly biasStart?: number;
      /** In training, drops each input feature with this probability and scales the rest by 1 / (1 - p). */
      readonly featureDropout?: number;
    },
  ) {
    super();
    this.featureDropout = options.featureDropout ?? 0;
    checkProbability('EmbeddingBag', this.featureDropout);
    const bound = options.bound ?? 1 / Math.sqrt(dim);
    this.weight = new Parameter(device, [numEmbeddings, dim], {
      sparseGradient: options.sparseGradient ?? true,
    });
    initUniform(device, this.weight, options.stream, -bound, bound);
    this.bias = options.bias === false ? null : new Parameter(device, [dim]);
    if (!device.dry) this.bias?.data.fill(options.biasStart ?? 0);
    this.activation = options.activation ?? 'none';
  }

  forward(batch: SparseBatch, context: ForwardContext): Tensor {
    const drops = context.training && this.featureDropout > 0;
    return context.tape.run(embeddingBag, {
      batch: drops ? this.#dropFeatures(batch, context) : batch,
      table: this.weight,
      bias: this.bias,
      activation: this.activation,
    });
  }

  #dropFeatures(batch: SparseBatch, { tape: { device }, dropoutStream }: ForwardContext): SparseBatch {
    const n = batch.nnz;
    const values = device.temporary('activations', [n]).data;
    const x = batch.values ?? values.fill(1);
    device.kernels.dropout({ ...dropoutStream.reserve(n), n, p: this.featureDropout, x, y: values });
    // NOTE: the batch's buffers are longer than this batch; indices and values must end together.
    return { ...batch, indices: batch.indices.subarray(0, n), values };
  }
}

/** Normalises each row to mean 0 and variance 1, then scales and shifts by learnt gamma and beta. */
export class LayerNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly eps: number;

  constructor(device: Device, dim: number, options: { readonly eps?: number } = {}) {
    super();
    this.weight = new Parameter(device, [dim]);
    if (!device.dry) this.weight.data.fill(1);
    this.bias = new Parameter(device, [dim]);
    this.eps = options.eps ?? 1e-5;
  }

  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    return tape.run(layerNorm, { x, gamma: this.weight, beta: this.bias, eps: this.eps });
  }
}

export class ReLU extends Module {
  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    return tape.run(relu, { x });
  }
}

export class GELU extends Module {
  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    return tape.run(gelu, { x });
  }
}

function checkProbability(op: string, p: number): void {
  if (p >= 0 && p < 1) return;
  throw new EspalierError({
    code: 'DROPOUT_RANGE',
    kind: 'usage',
    op,
    problem: 'the dropout probability is out of range',
    expected: 'a number in [0, 1)',
    received: `${p}`,
  });
}

/** In training, zeroes each element with probability p and scales the rest by 1 / (1 - p). */
export class Dropout extends Module {
  readonly p: number;

  constructor(p = 0.5) {
    super();
    checkProbability('Dropout', p);
    this.p = p;
  }

  forward(x: Tensor, { tape, training, dropoutStream }: ForwardContext): Tensor {
    if (!training || this.p === 0) return x;
    return tape.run(dropout, { x, p: this.p, key: dropoutStream.reserve(x.size) });
  }
}

/**
 * y = ...(layers[1](layers[0](x))): every result is done with once the next layer has read it, `borrowed` is not.
 * Layers are named `name.i`, i counted from `from`.
 */
export function throughLayers(
  x: Tensor,
  layers: readonly Module[],
  context: ForwardContext,
  {
    name = 'layers',
    from = 0,
    borrowed = null,
  }: { readonly name?: string; readonly from?: number; readonly borrowed?: unknown } = {},
): Tensor {
  const { tape } = context;
  let y = x;
  for (const [i, layer] of layers.entries()) {
    const run = (input: Tensor) => tape.within(`${name}.${from + i}`, () => layer.forward(input, context));
    y = y === borrowed ? run(y) : tape.pass(y, run);
  }
  return y;
}

/** Modules one after the other; the first may take a sparse batch. */
export class Sequential<In extends ModuleInput = Tensor> extends Module<In> {
  readonly layers: readonly [Module<In>, ...Module[]];

  constructor(first: Module<In>, ...rest: Module[]) {
    super();
    this.layers = [first, ...rest];
  }

  forward(x: In, context: ForwardContext): Tensor {
    const [first, ...rest] = this.layers;
    const { tape } = context;
    const y = tape.within('layers.0', () => first.forward(x, context));
    return throughLayers(y, rest, context, { from: 1, borrowed: x });
  }
}
