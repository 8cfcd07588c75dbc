/** A program that runs: every weighted step in the form, sparse or dense, that was faster for so many examples. */
import { Tape } from '../../autograd/tape.js';
import { EspalierError } from '../../errors.js';
import type { Floats, Kernels } from '../../kernels/face.js';
import { RandomStream } from '../../kernels/random.js';
import { AvgPool2d, MaxPool2d } from '../../nn/image-layers.js';
import { GELU, ReLU, throughLayers } from '../../nn/layers.js';
import { type ForwardContext, Module } from '../../nn/module.js';
import { Flatten, GlobalAvgPool } from '../../nn/network-layers.js';
import { Patches } from '../../nn/res-mlp.js';
import { SparseConv2d } from '../../nn/sparse-conv.js';
import { FixedAffine, FixedEmbedding, FixedRecurrent, MeanRows, SwapLast } from '../../nn/sparse-layers.js';
import { SparseLinear, scatterRows } from '../../nn/sparse-linear.js';
import { conv2d } from '../../ops/conv2d.js';
import { add } from '../../ops/elementwise.js';
import { linear } from '../../ops/linear.js';
import type { SparseBatch } from '../../ops/sparse-batch.js';
import { Device } from '../../tensor/device.js';
import { sizeOf, type Tensor } from '../../tensor/tensor.js';
import { LinearChain } from './chain.js';
import type { LinearStep, PlainStep, Program, Step, StepWeights, WeightedStep } from './program.js';

export type Form = 'sparse' | 'dense';

/** Forms of a step: for fewer than eight examples at a time, and for more. */
export interface Forms {
  few: Form;
  many: Form;
}

/** From how many examples on `many` holds. */
export const MANY = 8;

/** One weighted step in both forms; the dense numbers are made when they are first asked for. */
export class WeightedLayer extends Module {
  readonly step: WeightedStep;
  readonly forms: Forms = { few: 'sparse', many: 'sparse' };
  readonly #weights: StepWeights;
  readonly #sparse: Module;
  readonly #device: Device;
  #dense: { readonly weight: Tensor; readonly bias: Tensor | null } | null = null;

  constructor(device: Device, step: WeightedStep, weights: StepWeights) {
    super();
    this.step = step;
    this.#weights = weights;
    this.#device = device;
    const { weight, bias } = weights;
    this.#sparse =
      step.kind === 'linear'
        ? new SparseLinear(device, weight, bias, step.relu ? 'relu' : 'none')
        : new SparseConv2d(step, weight, bias, step.relu);
  }

  /** Linear layers take [..., inputs]; what counts as an example is a row. */
  forward(x: Tensor, context: ForwardContext): Tensor {
    const rows = this.step.kind === 'linear' ? x.size / this.step.inputs : x.shape[0];
    return this.run(rows < MANY ? this.forms.few : this.forms.many, x, context);
  }

  run(form: Form, x: Tensor, context: ForwardContext): Tensor {
    if (this.step.kind !== 'linear' || x.shape.length === 2) return this.#run(form, x, context);
    const { inputs, outputs } = this.step;
    const { device } = context.tape;
    const y = this.#run(form, device.alias(x, [x.size / inputs, inputs]), context);
    return device.alias(y, [...x.shape.slice(0, -1), outputs], true);
  }

  /** The matrix with its zeros. */
  denseWeight(): Tensor {
    return this.#densely().weight;
  }

  #run(form: Form, x: Tensor, context: ForwardContext): Tensor {
    if (form === 'sparse') return this.#sparse.forward(x, context);
    const { step } = this;
    const { weight, bias } = this.#densely();
    const activation = step.relu ? 'relu' : 'none';
    if (step.kind === 'linear') return context.tape.run(linear, { x, weight, bias, activation });
    const { stride, padding, groups } = step;
    return context.tape.run(conv2d, { x, weight, bias, activation, stride, padding, groups });
  }

  #densely() {
    if (this.#dense !== null) return this.#dense;
    const { step } = this;
    const { weight: rows, bias } = this.#weights;
    const shape =
      step.kind === 'linear'
        ? [step.outputs, step.inputs]
        : [step.outChannels, step.inChannels / step.groups, step.kernelHeight, step.kernelWidth];
    const weight = this.#device.persistent('weights', shape);
    scatterRows(rows, weight.data);
    const shift = bias === null ? null : this.#device.persistent('weights', [bias.length]);
    shift?.data.set(bias as Floats);
    this.#dense = { weight, bias: shift };
    return this.#dense;
  }
}

/** branch(x) + shortcut(x). */
class Branches extends Module {
  readonly branch: readonly Module[];
  readonly shortcut: readonly Module[];

  constructor(branch: readonly Module[], shortcut: readonly Module[]) {
    super();
    this.branch = branch;
    this.shortcut = shortcut;
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const { tape } = context;
    const a = throughLayers(x, this.branch, context, { name: 'branch', borrowed: x });
    const b = throughLayers(x, this.shortcut, context, { name: 'shortcut', borrowed: x });
    const sum = tape.run(add, { a, b });
    tape.done(a);
    if (b !== x) tape.done(b);
    return sum;
  }
}

/**
 * A network for inference whose zeros are neither stored nor multiplied.
 * @example const logits = network.logits(pixels, 64); // [64, classes]
 */
export class SparseNetwork extends Module {
  readonly program: Program;
  readonly layers: readonly Module[];
  readonly #device: Device;
  readonly #chain: LinearChain | null;

  constructor(kernels: Kernels, program: Program) {
    super();
    this.#device = new Device(kernels);
    this.program = program;
    this.layers = program.steps.map((step) => layerOf(this.#device, step, program.weights));
    this.#chain = LinearChain.of(kernels, program, this.weighted());
  }

  /** Every step with weights, in the order of use. */
  weighted(): WeightedLayer[] {
    const inside = (layer: Module): WeightedLayer[] => {
      if (layer instanceof WeightedLayer) return [layer];
      if (layer instanceof FixedRecurrent) return [layer.input, layer.state] as WeightedLayer[];
      return layer instanceof Branches ? [...layer.branch, ...layer.shortcut].flatMap(inside) : [];
    };
    return this.layers.flatMap(inside);
  }

  /** Of examples [batch, ...input], or of symbols where the network begins with an embedding. */
  forward(x: Tensor | SparseBatch, context: ForwardContext): Tensor {
    return throughLayers(x as Tensor, this.layers, context, { borrowed: x });
  }

  /** The states that go on from call to call, of recurrent layers. */
  states(): Tensor[] {
    return this.layers.flatMap((layer) => (layer instanceof FixedRecurrent ? layer.states() : []));
  }

  /**
   * The logits with every layer in one form, where the network is a chain of linear layers; else null. For comparisons.
   */
  logitsAs(form: Form, examples: Floats, batch: number): Floats | null {
    return this.#chain?.run(examples, batch, form) ?? null;
  }

  /**
   * Logits [batch, classes] of examples [batch, ...input], scaled as in training; they hold until the next call.
   * @throws EspalierError `INPUT_SHAPE`
   */
  logits(examples: Floats, batch: number): Floats {
    const { input } = this.program;
    const expected = batch * sizeOf(input);
    if (!Number.isInteger(batch) || batch < 1 || examples.length !== expected) {
      throw new EspalierError({
        code: 'INPUT_SHAPE',
        kind: 'usage',
        op: 'SparseNetwork.logits',
        problem: 'the examples are not as many numbers as they should be',
        expected: `${expected} numbers: ${batch} x [${input.join(', ')}]`,
        received: `${examples.length}`,
      });
    }
    if (this.#chain !== null && batch < MANY) return this.#chain.run(examples, batch);
    const device = this.#device;
    device.arena.reset();
    const x = device.temporary('data', [batch, ...input]);
    x.data.set(examples);
    return this.forward(x, inference(device)).data;
  }
}

/** The context of a forward pass that nobody goes back through. */
export function inference(device: Device): ForwardContext {
  const dropoutStream = RandomStream.named(0, 'unused');
  return { tape: new Tape(device, { recording: false }), training: false, dropoutStream };
}

/** The matrix with its zeros. */
function expand(from: StepWeights['weight']): Floats {
  const dense = new (from.values.constructor as Float32ArrayConstructor)(from.rows * from.cols);
  scatterRows(from, dense);
  return dense;
}

function layerOf(device: Device, step: Step, weights: Program['weights']): Module {
  if (step.kind !== 'residual') return plainLayer(device, step, weights);
  const of = (steps: readonly PlainStep[]) => steps.map((one) => plainLayer(device, one, weights));
  return new Branches(of(step.branch), of(step.shortcut));
}

function plainLayer(device: Device, step: PlainStep, weights: Program['weights']): Module {
  switch (step.kind) {
    case 'linear':
    case 'conv2d':
      return new WeightedLayer(device, step, weights.get(step.name) as StepWeights);
    case 'max-pool':
      return new MaxPool2d(step.kernel, step);
    case 'avg-pool':
      return new AvgPool2d(step.kernel, step);
    case 'affine': {
      const { weight, bias } = weights.get(step.scale.name) as StepWeights;
      return new FixedAffine(device, expand(weight), bias);
    }
    case 'embedding': {
      const { inputs: dim, outputs: symbols, name } = step.table;
      const { weight } = weights.get(name) as StepWeights;
      // The only layer that takes symbols, and always the first.
      return new FixedEmbedding(device, symbols, dim, expand(weight)) as unknown as Module;
    }
    case 'recurrent': {
      const of = (part: LinearStep) => new WeightedLayer(device, part, weights.get(part.name) as StepWeights);
      return new FixedRecurrent(device, step, of(step.input), of(step.state));
    }
    case 'gelu':
      return new GELU();
    case 'swap':
      return new SwapLast();
    case 'patches':
      return new Patches(step.patch);
    case 'mean-rows':
      return new MeanRows();
    case 'flatten':
      return new Flatten();
    case 'global-average':
      return new GlobalAvgPool();
    default:
      return new ReLU();
  }
}
