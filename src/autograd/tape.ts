/**
 * The tape: remembers what ran forward and walks it backward. An operation is one record
 * {name, infer, forward, backward, flops}; the tape owns the order, the gradients and their memory.
 */
import { EspalierError } from '../errors.js';
import type { Device } from '../tensor/device.js';
import { type RowGradient, type Shape, shapeText, type Tensor } from '../tensor/tensor.js';
import { Parameter } from './parameter.js';

/** One operation: `A` its arguments, `S` what forward leaves for backward. */
export interface Operation<A, S> {
  readonly name: string;
  /** Output shape; throws when the arguments do not fit. */
  infer(args: A): Shape;
  /** The differentiable arguments. */
  inputs(args: A): readonly (Tensor | null)[];
  forward(device: Device, args: A, out: Tensor): S;
  backward(device: Device, args: A, saved: S, out: Tensor, dout: Tensor, into: GradientSink): void;
  /** Multiply-adds count as two. */
  flops(args: A): number;
}

/** Where an operation's backward puts gradients. */
export interface GradientSink {
  /** False when nobody needs the gradient of this argument. */
  wants(tensor: Tensor | null): tensor is Tensor;
  /** A place for a gradient that the operation computes; add to it when `accumulate`. */
  place(tensor: Tensor): { readonly target: Tensor; readonly accumulate: boolean };
  /** Hands over a gradient that exists already (dout itself, usually): the operation must not touch it again. */
  give(tensor: Tensor, gradient: Tensor): void;
  /** A row-sparse gradient, for parameters made with `sparseGradient`. */
  rows(parameter: Tensor, gradient: RowGradient): void;
}

interface Node {
  readonly op: Operation<unknown, unknown>;
  readonly args: unknown;
  readonly saved: unknown;
  readonly out: Tensor;
}

export class Tape {
  readonly device: Device;
  #nodes: Node[] = [];
  #gradients = new Map<Tensor, Tensor>();
  #flops = 0;
  readonly #recording: boolean;

  /** `recording: false`: forward passes that nothing will be backpropagated through. */
  constructor(device: Device, options: { readonly recording?: boolean } = {}) {
    this.device = device;
    this.#recording = options.recording ?? true;
  }

  /** Forward work recorded so far. */
  get flops(): number {
    return this.#flops;
  }

  run<A, S>(op: Operation<A, S>, args: A): Tensor {
    const out = this.device.temporary('activations', op.infer(args));
    const saved = op.forward(this.device, args, out);
    this.#flops += op.flops(args);
    this.#record(op as Operation<unknown, unknown>, args, saved, out);
    return out;
  }

  /** The numbers of `x` under another shape: nothing is copied, and the result lives as long as `x` does. */
  reshape(x: Tensor, shape: Shape): Tensor {
    const out = this.device.alias(x, shape);
    this.#record(reshaped as Operation<unknown, unknown>, { x }, undefined, out);
    return out;
  }

  #record(op: Operation<unknown, unknown>, args: unknown, saved: unknown, out: Tensor): void {
    if (!this.#recording || !op.inputs(args).some((t) => t?.requiresGrad)) return;
    out.requiresGrad = true;
    this.#nodes.push({ op, args, saved, out });
  }

  /**
   * Backpropagates `seed` = dLoss/dRoot (default: ones, for a loss of one element) into every parameter.
   * Consumes the seed, the tape and the activations: read outputs before, or name those to `retain`.
   */
  backward(root: Tensor, seed?: Tensor, retain: readonly Tensor[] = []): void {
    this.#seed(root, seed);
    for (let i = this.#nodes.length - 1; i >= 0; i--) this.#backwardNode(this.#nodes[i], retain);
    this.#nodes = [];
    this.#gradients.clear();
  }

  /**
   * Walks back from `root` as far as the tensor `stop` and returns its gradient (null: none reached it), so that a
   * second gradient can be added or the two be compared; `backward(stop, gradient)` then goes on.
   */
  backwardTo(stop: Tensor, root: Tensor, seed?: Tensor, retain: readonly Tensor[] = []): Tensor | null {
    this.#seed(root, seed);
    for (let node = this.#nodes.at(-1); node !== undefined && node.out !== stop; node = this.#nodes.at(-1)) {
      this.#nodes.pop();
      this.#backwardNode(node, retain);
    }
    const gradient = this.#gradients.get(stop) ?? null;
    this.#gradients.delete(stop);
    return gradient;
  }

  #seed(root: Tensor, seed: Tensor | undefined): void {
    const start = seed ?? this.device.fromArray(root.shape, new Float64Array(root.size).fill(1), 'gradients');
    if (shapeText(start.shape) !== shapeText(root.shape)) {
      throw new EspalierError({
        code: 'SEED_SHAPE',
        kind: 'usage',
        op: 'backward',
        problem: 'the seed gradient has another shape than the root',
        expected: shapeText(root.shape),
        received: shapeText(start.shape),
      });
    }
    this.#gradients.set(root, start);
  }

  #backwardNode({ op, args, saved, out }: Node, retain: readonly Tensor[]): void {
    const dout = this.#gradients.get(out);
    this.#gradients.delete(out);
    if (dout !== undefined) {
      let given = false;
      const sink: GradientSink = {
        wants: (t): t is Tensor => t?.requiresGrad === true,
        place: (t) => this.#place(t),
        give: (t, gradient) => {
          const moved = this.#give(t, gradient);
          if (gradient === dout || (gradient.block !== null && gradient.block === dout.block))
            given ||= moved;
          else if (!moved) this.device.release(gradient);
        },
        rows: (t, gradient) => this.#rows(t, gradient),
      };
      op.backward(this.device, args, saved, out, dout, sink);
      if (!given) this.device.release(dout);
    }
    if (!retain.includes(out)) this.device.release(out);
  }

  #place(tensor: Tensor): { target: Tensor; accumulate: boolean } {
    if (tensor instanceof Parameter) {
      if (tensor.grad === null) throw noDenseGradient(tensor);
      const accumulate = tensor.hasGradient;
      tensor.hasGradient = true;
      return { target: tensor.grad, accumulate };
    }
    const existing = this.#gradients.get(tensor);
    if (existing !== undefined) return { target: existing, accumulate: true };
    const target = this.device.temporary('gradients', tensor.shape);
    this.#gradients.set(tensor, target);
    return { target, accumulate: false };
  }

  /** True when the gradient now belongs to the tape under another tensor. */
  #give(tensor: Tensor, gradient: Tensor): boolean {
    if (!(tensor instanceof Parameter) && !this.#gradients.has(tensor)) {
      this.#gradients.set(tensor, gradient);
      return true;
    }
    const { target, accumulate } = this.#place(tensor);
    const k = this.device.kernels;
    if (accumulate) k.add(target.size, target.data, gradient.data, 1, target.data);
    else k.scale(target.size, 1, gradient.data, target.data);
    return false;
  }

  #rows(tensor: Tensor, gradient: RowGradient): void {
    if (!(tensor instanceof Parameter) || !tensor.sparseGradient) throw noDenseGradient(tensor);
    if (tensor.rowGradient !== null) {
      throw new EspalierError({
        code: 'ROW_GRADIENT_TWICE',
        kind: 'usage',
        op: 'embeddingBag',
        problem: 'a table with row-sparse gradients was used twice in one step',
        hint: 'put both bags into one batch, or make the table with sparseGradient: false',
      });
    }
    tensor.rowGradient = gradient;
    tensor.hasGradient = true;
  }
}

/** What `reshape` records: the gradient goes on under the old shape, in the same memory. */
const reshaped: Operation<{ readonly x: Tensor }, void> = {
  name: 'reshape',
  infer: ({ x }) => x.shape,
  inputs: ({ x }) => [x],
  forward: () => {},
  backward: (device, { x }, _saved, _out, dout, into) => into.give(x, device.alias(dout, x.shape, true)),
  flops: () => 0,
};

function noDenseGradient(tensor: Tensor): EspalierError {
  return new EspalierError({
    code: 'GRADIENT_KIND',
    kind: 'usage',
    op: 'backward',
    problem: `the ${shapeText(tensor.shape)} parameter cannot take this kind of gradient`,
    hint: 'tables with sparseGradient: true work with embeddingBag only',
  });
}
