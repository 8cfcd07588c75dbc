/** The dense output layer: the control that every sparse one is measured against. z = h W^T + b. */
import type { Floats, OutputStepCommon, WorkspaceShape } from '../kernels/face.js';
import { RandomStream } from '../kernels/random.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { LabelMatrixOutput } from './base.js';
import type { OutputBaseOptions } from './base-options.js';
import type { Connections, OutputCapabilities } from './layer.js';
import type { Draws } from './sampled-softmax.js';

export interface DenseOutputOptions extends Omit<OutputBaseOptions, 'chunk'> {
  /** Draws the start weights, U(-1/sqrt(d), 1/sqrt(d)). */
  readonly stream: RandomStream;
  readonly chunk?: number;
  /** Learns by sampled softmax: a step costs the labels drawn, not all of them. */
  readonly sampling?: Draws;
}

export class DenseOutput extends LabelMatrixOutput {
  readonly kind = 'dense';
  readonly width: number;
  readonly capabilities: OutputCapabilities;
  readonly #options: DenseOutputOptions;

  constructor(device: Device, options: DenseOutputOptions) {
    super(device, { ...options, chunk: options.chunk ?? 128 });
    this.#options = options;
    this.width = options.inputs;
    this.capabilities = {
      learnsFrom: options.sampling === undefined,
      losses: options.sampling === undefined ? ['bce', 'squaredHinge', 'softmax'] : ['softmax'],
      optimizers: ['sgd', 'adam', 'adamw', 'adagrad'],
      rewireEvery: 0,
      growsBy: 'chance',
    };
    this.allocateWeights(options.initialBias ?? 0);
    this.#draw(0, this.labels);
    this.sampleLabels(options.sampling, options.stream, (batch, capacity) => ({
      workspaceLength: device.kernels.denseWorkspace({ ...this.workspaceShape(batch), labels: capacity }),
      run: device.kernels.denseStep,
      held: [],
    }));
  }

  /** Start weights of labels [from, to). */
  #draw(from: number, to: number): void {
    const key = this.#options.stream.reserve((to - from) * this.width);
    this.drawUniform(key, from, to, this.startScale / Math.sqrt(this.inputs));
  }

  protected slab(common: OutputStepCommon, first: number): number {
    return this.device.kernels.denseStep({ ...common, ...this.stored(first) });
  }

  protected workspaceShape(batch: number): WorkspaceShape {
    return {
      batch,
      inputs: this.inputs,
      labels: this.labels,
      chunk: this.chunk,
      fanIn: 0,
      bf16: this.short !== null,
    };
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
      ...this.stored(),
    });
  }

  protected logitsOfAll(h: Tensor): Tensor {
    if (this.short === null) return this.#logits(h, this.weights, this.bias, this.labels);
    return this.logitsOf(
      h,
      Uint32Array.from({ length: this.device.dry ? 0 : this.labels }, (_, l) => l),
      this.labels,
    );
  }

  protected logitsOf(h: Tensor, labels: Uint32Array, count = labels.length): Tensor {
    const { device, width } = this;
    const rows = device.temporary('workspace', [count, width]);
    const bias = device.temporary('workspace', [count]);
    for (const [i, label] of device.dry ? [] : labels.entries()) {
      this.copyRow(label, rows.data, i * width);
      bias.data[i] = this.bias[label];
    }
    const out = this.#logits(h, rows.data, bias.data, count);
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
      weights: this.rowOf(label),
      bias: this.bias[label],
    };
  }

  resizeLabels(map: Int32Array): void {
    this.resizeRows(map, (_weights, row) => this.#draw(row, row + 1));
  }

  dryTwin(device: Device): DenseOutput {
    // NOTE: a copy of the stream: planning must not shift the draws of training.
    const stream = RandomStream.from(this.#options.stream.state());
    return new DenseOutput(device, { ...this.#options, stream, labels: this.labels, initialBias: 0 });
  }
}
