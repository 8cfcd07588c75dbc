/**
 * The tape: remembers what ran forward and walks it backward. An operation is one record
 * {name, infer, forward, backward, flops}; the tape owns the order, the gradients and their memory.
 */
import { EspalierError } from '../errors.js';
import type { Device } from '../tensor/device.js';
import { type RowGradient, type Shape, shapeText, type Tensor } from '../tensor/tensor.js';
import { Parameter } from './parameter.js';
import { type Kept, type Need, SavedEntry, type SavedPolicy } from './saved.js';
import type { Again, Saved } from './saved-forms.js';

/** One operation: `A` its arguments, `S` what forward leaves for backward. */
export interface Operation<A, S> {
  readonly name: string;
  /** Output shape; throws when the arguments do not fit. */
  infer(args: A): Shape;
  /** The differentiable arguments. */
  inputs(args: A): readonly (Tensor | null)[];
  forward(device: Device, args: A, out: Tensor): S;
  backward(
    device: Device,
    args: A,
    saved: S,
    out: Tensor,
    dout: Tensor,
    into: GradientSink,
    kept: Kept,
  ): void;
  /** Multiply-adds count as two. */
  flops(args: A): number;
  /**
   * The tensors among arguments and output whose numbers backward reads, through `kept` where other forms than dense
   * are taken. Absent: all of them, dense.
   */
  needs?(args: A, out: Tensor): readonly Need[];
  /** Lets the output be computed again instead of kept, from what is kept of an argument; null: not with these. */
  again?(args: A): Again | null;
}

export interface TapeOptions {
  /** false: forward passes that nothing will be backpropagated through. */
  readonly recording?: boolean;
  /** How tensors are kept for backward; absent: dense, each once. */
  readonly saved?: SavedPolicy;
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
  readonly layer: string;
  /** What it reads, one for each need. */
  readonly reads: readonly SavedEntry[];
}

export class Tape {
  readonly device: Device;
  #nodes: Node[] = [];
  #gradients = new Map<Tensor, Tensor>();
  #flops = 0;
  readonly #recording: boolean;
  readonly #policy: SavedPolicy | null;
  /** By tensor; other shapes of a tensor share its entry. */
  #entries = new Map<Tensor, SavedEntry>();
  #layer = '';

  constructor(device: Device, options: TapeOptions = {}) {
    this.device = device;
    this.#recording = options.recording ?? true;
    this.#policy = options.saved ?? null;
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
    const entry = this.#entry(x);
    if (entry !== null) {
      entry.handles.add(out);
      this.#entries.set(out, entry);
    }
    this.#record(reshaped as Operation<unknown, unknown>, { x }, undefined, out);
    return out;
  }

  /** Names what `work` records, below the names around it: `blocks.1`, then `branch`, ... */
  within<T>(name: string, work: () => T): T {
    const outer = this.#layer;
    this.#layer = outer === '' ? name : `${outer}.${name}`;
    try {
      return work();
    } finally {
      this.#layer = outer;
    }
  }

  /**
   * A promise of forward code: it will not read `x` again. What backward needs of it is kept as the policy says, and its
   * block goes back to the arena. Whoever makes a tensor and does not return it should say so.
   */
  done(x: Tensor): void {
    if (x instanceof Parameter || x.block === null) return;
    const entry = this.#entry(x) as SavedEntry;
    if (entry.handles.delete(x) && entry.handles.size === 0) entry.settle(this.device, this.#policy);
  }

  /** y = layer(x), with `x` done unless `layer` handed it through. */
  pass(x: Tensor, layer: (x: Tensor) => Tensor): Tensor {
    const y = layer(x);
    if (y !== x) this.done(x);
    return y;
  }

  /** Null for parameters: nobody keeps them. */
  #entry(tensor: Tensor): SavedEntry | null {
    if (tensor instanceof Parameter) return null;
    let entry = this.#entries.get(tensor);
    if (entry === undefined) {
      entry = new SavedEntry(tensor);
      this.#entries.set(tensor, entry);
    }
    return entry;
  }

  #record(op: Operation<unknown, unknown>, args: unknown, saved: unknown, out: Tensor): void {
    const inputs = op.inputs(args).filter((t) => t !== null);
    if (!this.#recording || !inputs.some((t) => t.requiresGrad)) return;
    out.requiresGrad = true;
    const needs = op.needs?.(args, out) ?? [...new Set([...inputs, out])].map(dense);
    const reads: SavedEntry[] = [];
    for (const need of needs) {
      const entry = this.#entry(need.tensor);
      if (entry === null) continue;
      entry.needs.push({ need, op: op.name, layer: this.#layer });
      entry.open++;
      reads.push(entry);
    }
    const again = op.again?.(args) ?? null;
    const from = again === null ? null : this.#entry(again.input);
    // What it is computed from must be there still: read by this very operation, or itself computed again.
    const kept = from !== null && reads.includes(from);
    if (again !== null && from !== null && (kept || from.again !== null))
      this.#entry(out)?.mayRunAgain(again, from, kept, this.device);
    this.#nodes.push({ op, args, saved, out, layer: this.#layer, reads });
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
    this.#entries.clear();
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

  #backwardNode({ op, args, saved, out, reads }: Node, retain: readonly Tensor[]): void {
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
      const kept = this.#kept();
      op.backward(this.device, args, saved, out, dout, sink, kept);
      kept.end();
      if (!given) this.device.release(dout);
    }
    for (const entry of reads) if (--entry.open === 0 && entry.settled) entry.release(this.device);
    const own = this.#entries.get(out);
    if (own !== undefined && own.tensor === out) own.release(this.device);
    if (!retain.includes(out)) this.device.release(out);
  }

  /** What one backward reads; `end` returns what was computed again for it. */
  #kept(): Kept & { end(): void } {
    const { device } = this;
    const policy = this.#policy;
    const again = new Map<SavedEntry, Saved>();
    return {
      values: (tensor) => {
        const entry = this.#entry(tensor);
        if (entry === null) return { kind: 'dense', tensor };
        const found = again.get(entry) ?? entry.read();
        if (entry.settled && entry.values === null) again.set(entry, found);
        return found;
      },
      gate: (tensor, dy) => {
        const mask = this.#entry(tensor)?.mask ?? null;
        if (mask === null) device.kernels.reluBackward(tensor.size, tensor.data, dy.data, dy.data);
        else device.kernels.maskBackward(tensor.size, mask.raw as Uint32Array, dy.data, dy.data);
      },
      exact: (tensor) => this.#entry(tensor)?.exactly() ?? null,
      measured: (tensor, cosine) => {
        const site = this.#entry(tensor)?.site ?? null;
        if (site !== null && policy !== null && !device.dry) policy.measured(site, cosine);
      },
      end: () => {
        for (const saved of again.values()) if (saved.kind === 'bsr') device.release(saved.bsr.values);
      },
    };
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
  needs: () => [],
  infer: ({ x }) => x.shape,
  inputs: ({ x }) => [x],
  forward: () => {},
  backward: (device, { x }, _saved, _out, dout, into) => into.give(x, device.alias(dout, x.shape, true)),
  flops: () => 0,
};

const dense = (tensor: Tensor): Need => ({ tensor, as: 'values' });

function noDenseGradient(tensor: Tensor): EspalierError {
  return new EspalierError({
    code: 'GRADIENT_KIND',
    kind: 'usage',
    op: 'backward',
    problem: `the ${shapeText(tensor.shape)} parameter cannot take this kind of gradient`,
    hint: 'tables with sparseGradient: true work with embeddingBag only',
  });
}
