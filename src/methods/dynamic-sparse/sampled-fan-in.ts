/**
 * A fixed fan-in layer that learns by sampled softmax: a step costs the labels drawn, not all of them, and the rows
 * that it takes out are F weights and F columns each. Connections evolve as ever: what grows by gradients looks at all
 * labels, on rewiring steps alone.
 */
import type { Columns, Positives } from '../../kernels/face.js';
import { RandomStream } from '../../kernels/random.js';
import type { OutputCapabilities, StepOptions, StepResult } from '../../output/layer.js';
import {
  type SampledLayer,
  SampledSoftmax,
  type SampledStage,
  type SamplingOptions,
} from '../../output/sampled-softmax.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import { capabilitiesOf, FixedFanInOutput } from './fan-in-output.js';
import type { FanInOutputOptions } from './options.js';
import { columnType } from './topology.js';

export type SampledFanInOptions = Omit<FanInOutputOptions, 'loss' | 'precision' | 'form'> & SamplingOptions;

export class SampledFanInOutput extends FixedFanInOutput {
  override readonly capabilities: OutputCapabilities;
  readonly #own: SampledFanInOptions;
  readonly #sampling: SampledSoftmax;

  constructor(device: Device, options: SampledFanInOptions) {
    // The backward index names columns of all labels; the rows of a step have none.
    super(device, { ...options, loss: 'softmax', precision: 'float32', form: 'compact' });
    this.capabilities = capabilitiesOf(options.topology, ['softmax']);
    this.#own = options;
    this.#sampling = new SampledSoftmax(device, options);
  }

  override async step(h: Tensor, targets: Positives, options: StepOptions): Promise<StepResult> {
    const { weights, bias, weightMoments, biasMoments } = this;
    const { kind, inputs, labels, width, chunk, optimizer } = this;
    const layer: SampledLayer = {
      ...{ kind, inputs, labels, width, chunk, optimizer, weights, bias, weightMoments, biasMoments },
      stage: (batch, capacity) => this.#stage(batch, capacity),
    };
    const result = await this.#sampling.step(layer, this.steps + 1, h, targets, options);
    if (options.update ?? true) this.steps++;
    return result;
  }

  #stage(batch: number, capacity: number): SampledStage {
    const { device, fanIn, columns: all } = this;
    const held = device.temporary('workspace', [capacity, fanIn], columnType(this.inputs));
    const columns = held.raw as Columns;
    return {
      workspaceLength: device.kernels.fanInWorkspace({ ...this.workspaceShape(batch), labels: capacity }),
      place: (label, at) => columns.set(all.subarray(label * fanIn, (label + 1) * fanIn), at * fanIn),
      run: (common) => device.kernels.fanInStep({ ...common, fanIn, columns, index: null }),
      held: [held],
    };
  }

  protected override labelsPerStep(positives: number): number {
    return Math.min(this.labels, this.#sampling.capacity(positives));
  }

  override resizeLabels(map: Int32Array): void {
    super.resizeLabels(map);
    this.#sampling.resize(map.length);
  }

  override dryTwin(device: Device): SampledFanInOutput {
    const stream = RandomStream.from(this.#own.stream.state());
    return new SampledFanInOutput(device, { ...this.#own, stream, labels: this.labels, initialBias: 0 });
  }
}
