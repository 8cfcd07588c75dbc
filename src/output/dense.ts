/** The dense output layer: the control that every sparse one is measured against. z = h W^T + b. */
import type { Floats, OutputStepCommon, WorkspaceShape } from '../kernels/face.js';
import { RandomStream } from '../kernels/random.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { LabelMatrixOutput, type OutputBaseOptions } from './base.js';
import type { Connections, OutputCapabilities } from './layer.js';

export interface DenseOutputOptions extends Omit<OutputBaseOptions, 'chunk'> {
  /** Draws the start weights, U(-1/sqrt(d), 1/sqrt(d)). */
  readonly stream: RandomStream;
  readonly chunk?: number;
}

export class DenseOutput extends LabelMatrixOutput {
  readonly kind = 'dense';
  readonly width: number;
  readonly capabilities: OutputCapabilities = {
    losses: ['bce', 'squaredHinge'],
    optimizers: ['sgd', 'adam', 'adamw', 'adagrad'],
    rewireEvery: 0,
    growsBy: 'chance',
  };
  readonly #options: DenseOutputOptions;

  constructor(device: Device, options: DenseOutputOptions) {
    super(device, { ...options, chunk: options.chunk ?? 128 });
    this.#options = options;
    this.width = options.inputs;
    this.allocateWeights(options.initialBias ?? 0);
    this.#draw(this.weights, 0, this.labels);
  }

  /** Start weights of `rows` labels from label `row` on. */
  #draw(weights: Floats, row: number, rows: number): void {
    const n = rows * this.width;
    const bound = this.startScale / Math.sqrt(this.inputs);
    const out = weights.subarray(row * this.width, row * this.width + n);
    const key = this.#options.stream.reserve(n);
    this.device.kernels.uniform({ ...key, n, low: -bound, high: bound, out });
  }

  protected slab(common: OutputStepCommon): number {
    return this.device.kernels.denseStep({ ...common, weights: this.weights, bias: this.bias });
  }

  protected workspaceShape(batch: number): WorkspaceShape {
    return { batch, inputs: this.inputs, labels: this.labels, chunk: this.chunk, fanIn: 0 };
  }

  protected workspaceLength(batch: number): number {
    return this.device.kernels.denseWorkspace(this.workspaceShape(batch));
  }

  protected topKInto(
    h: Tensor,
    k: number,
    topLabels: Uint32Array,
    topScores: Floats,
    workspace: Floats,
  ): void {
    this.device.kernels.denseTopK({
      batch: h.shape[0],
      inputs: this.inputs,
      labels: this.labels,
      h: h.data,
      k,
      topLabels,
      topScores,
      workspace,
      weights: this.weights,
      bias: this.bias,
    });
  }

  protected logitsOfAll(h: Tensor): Tensor {
    return this.#logits(h, this.weights, this.bias, this.labels);
  }

  protected logitsOf(h: Tensor, labels: Uint32Array): Tensor {
    const { device, width } = this;
    const rows = device.temporary('workspace', [labels.length, width]);
    const bias = device.temporary('workspace', [labels.length]);
    for (const [i, label] of device.dry ? [] : labels.entries()) {
      rows.data.set(this.weights.subarray(label * width, (label + 1) * width), i * width);
      bias.data[i] = this.bias[label];
    }
    const out = this.#logits(h, rows.data, bias.data, labels.length);
    for (const used of [rows, bias]) device.release(used);
    return out;
  }

  #logits(h: Tensor, weights: Floats, bias: Floats, n: number): Tensor {
    const m = h.shape[0];
    const out = this.device.temporary('activations', [m, n]);
    this.device.kernels.gemm({
      transB: true,
      m,
      n,
      k: this.inputs,
      a: h.data,
      b: weights,
      c: out.data,
      bias,
    });
    return out;
  }

  connections(label: number): Connections {
    this.checkLabel('connections', label);
    return {
      inputs: Uint32Array.from({ length: this.width }, (_, j) => j),
      weights: Float64Array.from(this.weights.subarray(label * this.width, (label + 1) * this.width)),
      bias: this.bias[label],
    };
  }

  resizeLabels(map: Int32Array): void {
    this.resizeRows(map, (weights, row) => this.#draw(weights, row, 1));
  }

  dryTwin(device: Device): DenseOutput {
    // NOTE: a copy of the stream: planning must not shift the draws of training.
    const stream = RandomStream.from(this.#options.stream.state());
    return new DenseOutput(device, { ...this.#options, stream, labels: this.labels, initialBias: 0 });
  }
}
