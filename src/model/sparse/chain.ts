/**
 * Networks that are nothing but linear layers, for few examples at a time: there a layer is microseconds of work, and
 * tensors, tape and arena around it cost as much again. Buffers and arguments are made once for each number of examples.
 */
import type { Floats, Kernels } from '../../kernels/face.js';
import type { Forms, WeightedLayer } from './network.js';
import type { LinearStep, Program, StepWeights } from './program.js';

interface Link {
  readonly forms: Forms;
  readonly relu: boolean;
  readonly sparse: Parameters<Kernels['sparseDots']>[0];
  readonly dense: () => Parameters<Kernels['gemm']>[0];
  readonly y: Floats;
}

export class LinearChain {
  readonly #kernels: Kernels;
  readonly #layers: readonly WeightedLayer[];
  readonly #weights: Program['weights'];
  readonly #relu: ReadonlySet<number>;
  readonly #made = new Map<number, { readonly x: Floats; readonly links: readonly Link[] }>();

  /** null where the network has other steps than linear ones and what goes between them. */
  static of(
    kernels: Kernels,
    { steps, weights }: Program,
    layers: readonly WeightedLayer[],
  ): LinearChain | null {
    const relu = new Set<number>();
    let linear = 0;
    for (const step of steps) {
      if (step.kind === 'linear') linear++;
      else if (step.kind === 'relu' && linear > 0) relu.add(linear - 1);
      else if (step.kind !== 'flatten') return null;
    }
    return linear === 0 ? null : new LinearChain(kernels, weights, layers, relu);
  }

  private constructor(
    kernels: Kernels,
    weights: Program['weights'],
    layers: readonly WeightedLayer[],
    relu: ReadonlySet<number>,
  ) {
    this.#kernels = kernels;
    this.#weights = weights;
    this.#layers = layers;
    this.#relu = relu;
  }

  /** Logits [batch, classes]; they hold until the next call with as many examples. `all`: every layer in this form. */
  run(examples: Floats, batch: number, all?: Forms['few']): Floats {
    let made = this.#made.get(batch);
    if (made === undefined) {
      made = this.#make(batch);
      this.#made.set(batch, made);
    }
    const kernels = this.#kernels;
    made.x.set(examples);
    let last = made.x;
    for (const { forms, relu, sparse, dense, y } of made.links) {
      if ((all ?? forms.few) === 'sparse') kernels.sparseDots(sparse);
      else {
        kernels.gemm(dense());
        if (relu) kernels.relu(y.length, y, y);
      }
      last = y;
    }
    return last;
  }

  #make(batch: number) {
    const first = (this.#layers[0].step as LinearStep).inputs;
    const floats = (n: number): Floats =>
      this.#kernels.precision === 'float64' ? new Float64Array(n) : new Float32Array(n);
    const input = floats(batch * first);
    let x = input;
    const links = this.#layers.map((layer, i): Link => {
      const { inputs, outputs, name, relu: own } = layer.step as LinearStep;
      const { weight, bias } = this.#weights.get(name) as StepWeights;
      const relu = own || this.#relu.has(i);
      const y = floats(batch * outputs);
      const { indptr, indices, values } = weight;
      const from = x;
      x = y;
      let product: Parameters<Kernels['gemm']>[0] | null = null;
      const dense = () => {
        const b = layer.denseWeight().data;
        product ??= { transB: true, m: batch, n: outputs, k: inputs, a: from, b, c: y, bias };
        return product;
      };
      const about = { batch, inputs, rows: outputs, indptr, indices, values, bias, relu, x: from, y };
      return { forms: layer.forms, relu, sparse: about, dense, y };
    });
    return { x: input, links };
  }
}
