/**
 * The auxiliary objective: a dense head on the encoder's output predicts in which label clusters an example's labels
 * fall. A very sparse output layer starves the encoder of gradient early in training; a few thousand dense outputs
 * do not. Ullah et al. 2024, section 3.2.
 *
 * objective = (1 - lambda) * main + lambda * aux, while lambda falls to 0; then the head goes, and main stays alone.
 *
 * NOTE: scales. Both losses are sums over their outputs (labels, clusters) and means over examples, so a missed label
 * and a missed cluster cost the same, and each sends one weight row of about the same length back to h: the mean over
 * clusters, as published, would shrink the second part of the gradient by C, some thousandfold, and with it lambda.
 */
import { EspalierError, ensure } from '../../errors.js';
import type { Floats, Positives } from '../../kernels/face.js';
import type { RandomStream } from '../../kernels/random.js';
import type { OptimizerSpec } from '../../optim/rules.js';
import { DenseOutput } from '../../output/dense.js';
import type { NamedArray, StepOptions, StepResult } from '../../output/layer.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';

export interface AuxiliaryHeadOptions {
  /** d */
  readonly inputs: number;
  /** C */
  readonly clusters: number;
  /** L */
  readonly labels: number;
  /** [labels], each < clusters; absent on a dry device. */
  readonly clusterOf?: Uint32Array;
  /** Largest number of positives in a batch. */
  readonly positives: number;
  readonly optimizer: OptimizerSpec;
  /** Draws the start weights. */
  readonly stream: RandomStream;
  readonly initialBias?: number | Floats;
}

/** The weight of the auxiliary loss: lambda0 at epoch 0, along half a cosine to 0 at `cutoff`, 0 from there on. */
export function auxiliaryWeight(lambda0: number, cutoff: number, epoch: number): number {
  return epoch >= cutoff ? 0 : 0.5 * lambda0 * (1 + Math.cos((Math.PI * epoch) / cutoff));
}

/** The clusters of a batch's positives: what the head learns. Its memory counts as `auxiliary`. */
export class AuxiliaryHead {
  readonly clusters: number;
  readonly output: DenseOutput;
  readonly #device: Device;
  readonly #clusterOf: Uint32Array;
  /** [positives] */
  readonly #pairs: Float64Array;
  readonly #cluster: Uint32Array;
  readonly #row: Uint32Array;

  constructor(device: Device, options: AuxiliaryHeadOptions) {
    const { inputs, clusters, labels, clusterOf, positives, optimizer, stream, initialBias } = options;
    this.#device = device.countedAs('auxiliary');
    this.clusters = clusters;
    this.output = new DenseOutput(this.#device, {
      inputs,
      labels: clusters,
      loss: 'bce',
      optimizer,
      stream,
      initialBias,
    });
    const { allocator } = this.#device;
    this.#clusterOf = allocator.allocate('indices', 'uint32', labels);
    this.#pairs = allocator.allocate('data', 'float64', positives);
    this.#cluster = allocator.allocate('data', 'uint32', positives);
    this.#row = allocator.allocate('data', 'uint32', positives);
    if (clusterOf === undefined || device.dry) return;
    ensure(clusterOf.length === labels, () => ({
      code: 'CLUSTERS_LENGTH',
      kind: 'usage',
      op: 'AuxiliaryHead',
      problem: 'there is not one cluster per label',
      expected: `${labels}`,
      received: `${clusterOf.length}`,
    }));
    this.#clusterOf.set(clusterOf);
    this.loaded();
  }

  /** Each (cluster, row) once, sorted by cluster, then row; void at the next call. */
  targets({ count, label, row }: Positives, rows: number): Positives {
    if (this.#device.dry) return { count, label, row };
    const pairs = this.#pairs.subarray(0, count);
    for (let i = 0; i < count; i++) pairs[i] = this.#clusterOf[label[i]] * rows + row[i];
    pairs.sort();
    let kept = 0;
    for (let i = 0; i < count; i++) {
      if (i > 0 && pairs[i] === pairs[i - 1]) continue;
      this.#cluster[kept] = Math.floor(pairs[i] / rows);
      this.#row[kept++] = pairs[i] % rows;
    }
    return { count: kept, label: this.#cluster, row: this.#row };
  }

  /** One step on h [B, d] and the main task's positives; the loss is a mean over examples, summed over clusters. */
  step(h: Tensor, positives: Positives, options: StepOptions): Promise<StepResult> {
    return this.output.step(h, this.targets(positives, h.shape[0]), options);
  }

  /** Everything that resuming needs; shared, not copied. */
  state(): NamedArray[] {
    const { model, optimizer } = this.output.state();
    return [
      ...model,
      ...optimizer,
      { name: 'clusterOf', shape: [this.#clusterOf.length], data: this.#clusterOf },
    ];
  }

  /** Told after `state()` was overwritten from a file: refuses clusters that do not exist. */
  loaded(): void {
    const label = this.#clusterOf.findIndex((cluster) => cluster >= this.clusters);
    if (label < 0) return;
    throw new EspalierError({
      code: 'CLUSTER_RANGE',
      kind: 'data',
      op: 'AuxiliaryHead',
      problem: `label ${label} is in a cluster that does not exist`,
      expected: `a cluster below ${this.clusters}`,
      received: `${this.#clusterOf[label]}`,
    });
  }

  /** Gives all memory back; the head is void. */
  release(): void {
    const { allocator } = this.#device;
    for (const { data } of this.state()) allocator.release('auxiliary', data);
    for (const scratch of [this.#pairs, this.#cluster, this.#row]) allocator.release('auxiliary', scratch);
  }
}
