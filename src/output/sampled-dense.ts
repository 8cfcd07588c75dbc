/** A dense layer that learns by sampled softmax: its steps cost the labels drawn, not all of them. */
import type { Positives } from '../kernels/face.js';
import { RandomStream } from '../kernels/random.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { DenseOutput, type DenseOutputOptions } from './dense.js';
import type { OutputCapabilities, StepOptions, StepResult } from './layer.js';
import { SampledSoftmax, type SamplingOptions } from './sampled-softmax.js';

export type SampledDenseOptions = Omit<DenseOutputOptions, 'loss' | 'precision'> & SamplingOptions;

export class SampledDenseOutput extends DenseOutput {
  override readonly capabilities: OutputCapabilities = {
    losses: ['softmax'],
    optimizers: ['sgd', 'adam', 'adamw', 'adagrad'],
    rewireEvery: 0,
    growsBy: 'chance',
  };
  readonly #own: SampledDenseOptions;
  readonly #sampling: SampledSoftmax;

  constructor(device: Device, options: SampledDenseOptions) {
    super(device, { ...options, loss: 'softmax' });
    this.#own = options;
    this.#sampling = new SampledSoftmax(device, options);
  }

  override async step(h: Tensor, targets: Positives, options: StepOptions): Promise<StepResult> {
    const { device, weights, bias, weightMoments, biasMoments } = this;
    const { kind, inputs, labels, width, chunk, optimizer } = this;
    const layer = {
      ...{ kind, inputs, labels, width, chunk, optimizer, weights, bias, weightMoments, biasMoments },
      stage: (batch: number, capacity: number) => ({
        workspaceLength: device.kernels.denseWorkspace({ ...this.workspaceShape(batch), labels: capacity }),
        run: device.kernels.denseStep,
        held: [],
      }),
    };
    const result = await this.#sampling.step(layer, this.steps + 1, h, targets, options);
    if (options.update ?? true) this.steps++;
    return result;
  }

  protected override labelsPerStep(positives: number): number {
    return Math.min(this.labels, this.#sampling.capacity(positives));
  }

  override resizeLabels(map: Int32Array): void {
    super.resizeLabels(map);
    this.#sampling.resize(map.length);
  }

  override dryTwin(device: Device): SampledDenseOutput {
    const stream = RandomStream.from(this.#own.stream.state());
    return new SampledDenseOutput(device, { ...this.#own, stream, labels: this.labels, initialBias: 0 });
  }
}
