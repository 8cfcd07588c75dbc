/**
 * A device: one set of kernels, one ledger, one arena. Modules and layers are made on a device; a dry device
 * runs the same code with nothing allocated and nothing computed, and so predicts its memory to the byte.
 */
import { ensure } from '../errors.js';
import type { Kernels } from '../kernels/face.js';
import { StepArena } from './arena.js';
import { Allocator, type Dtype, MemoryLedger, type MemoryTag } from './memory.js';
import { type Shape, shapeText, sizeOf, Tensor } from './tensor.js';

export interface DeviceOptions {
  readonly dry?: boolean;
  readonly partOf?: Device;
  readonly as?: MemoryTag;
  /** Where arrays come from that outlive steps, instead of an allocator of its own. */
  readonly allocator?: Allocator;
}

export class Device {
  readonly ledger: MemoryLedger;
  readonly allocator: Allocator;
  readonly arena: StepArena;
  /** The dtype of weights and activations. */
  readonly precision: 'float32' | 'float64';

  readonly #as: MemoryTag | null;
  #kernels: Kernels;
  #dry: boolean;

  constructor(kernels: Kernels, options: DeviceOptions = {}) {
    const { partOf, as = null, allocator } = options;
    this.#dry = partOf?.dry ?? options.dry ?? false;
    this.#kernels = this.#dry && partOf === undefined ? withoutWork(kernels) : kernels;
    this.precision = kernels.precision;
    this.#as = as;
    this.ledger = partOf?.ledger ?? allocator?.ledger ?? new MemoryLedger();
    this.allocator = allocator ?? new Allocator(this.ledger, this.#dry, as);
    this.arena = partOf?.arena ?? new StepArena(this.ledger, this.#dry && allocator === undefined);
  }

  get kernels(): Kernels {
    return this.#kernels;
  }

  /** Nothing is computed or written here, only counted. */
  get dry(): boolean {
    return this.#dry;
  }

  /** A device that was dry while something was made on it begins to work, with real kernels. */
  protected awaken(kernels: Kernels): void {
    this.#kernels = kernels;
    this.#dry = false;
  }

  /** This device, but for its books: everything taken through it is counted under `tag`. */
  countedAs(tag: MemoryTag): Device {
    return new Device(this.kernels, { partOf: this, as: tag });
  }

  /** The same kernels without memory or work: what planning runs on. */
  dryTwin(): Device {
    return new Device(this.kernels, { dry: true });
  }

  /** A zeroed tensor that outlives steps. */
  persistent(tag: MemoryTag, shape: Shape, dtype: Dtype = this.precision): Tensor {
    return new Tensor(
      shape,
      dtype,
      this.allocator.allocate(tag, dtype, sizeOf(shape)),
      this.#as ?? tag,
      null,
    );
  }

  /** A tensor of this step, contents unspecified; `lasting`: kept from forward to backward, see StepArena. */
  temporary(tag: MemoryTag, shape: Shape, dtype: Dtype = this.precision, lasting = false): Tensor {
    const { block, data } = this.arena.take(
      this.#as ?? tag,
      dtype,
      sizeOf(shape),
      lasting ? 'lasting' : 'passing',
    );
    return new Tensor(shape, dtype, data, block.tag, block);
  }

  /** The numbers of `tensor` under another shape; `owning`: releasing the result releases them. */
  alias(tensor: Tensor, shape: Shape, owning = false): Tensor {
    ensure(sizeOf(shape) === tensor.size, () => ({
      code: 'SHAPE_MISMATCH',
      kind: 'usage',
      op: 'reshape',
      problem: 'the shapes hold different numbers of elements',
      expected: `${tensor.size} elements, as in ${shapeText(tensor.shape)}`,
      received: shapeText(shape),
    }));
    return new Tensor(shape, tensor.dtype, tensor.raw, tensor.tag, tensor.block, owning);
  }

  /** Rows [begin, end) of `tensor` [..., cols], in place: the result lives as long as `tensor` does. */
  rows(tensor: Tensor, begin: number, end: number): Tensor {
    const cols = tensor.shape.at(-1) ?? 1;
    const part = tensor.raw.subarray(begin * cols, end * cols) as typeof tensor.raw;
    return new Tensor([end - begin, cols], tensor.dtype, part, tensor.tag, tensor.block, false);
  }

  /** Runs `work` and returns every temporary that it took, but for the one that it hands out. */
  keepOnly(work: () => Tensor): Tensor {
    const before = this.arena.mark();
    const kept = work();
    this.arena.releaseSince(before, kept.block);
    return kept;
  }

  /** Returns a temporary early; persistent tensors are left alone. */
  release(tensor: Tensor): void {
    if (tensor.block !== null && tensor.owner) this.arena.release(tensor.block);
  }

  /** A temporary filled from plain numbers, as many as the shape holds. */
  fromArray(shape: Shape, values: ArrayLike<number>, tag: MemoryTag = 'activations'): Tensor {
    ensure(this.dry || values.length === sizeOf(shape), () => ({
      code: 'SHAPE_MISMATCH',
      kind: 'usage',
      op: 'fromArray',
      problem: `the values do not fill a ${shapeText(shape)} tensor`,
      expected: `${sizeOf(shape)} numbers`,
      received: `${values.length}`,
    }));
    const tensor = this.temporary(tag, shape);
    if (!this.dry) tensor.data.set(values);
    return tensor;
  }
}

/** Kernels that compute nothing; questions of size are still answered. */
function withoutWork(kernels: Kernels): Kernels {
  const answers = new Set<PropertyKey>([
    'name',
    'precision',
    'threads',
    'fanInIndexLength',
    'fanInScreenLength',
    'fanInWorkspace',
    'fanInRegrowWorkspace',
    'denseWorkspace',
    'groupedWorkspace',
    'topKWorkspace',
    'groupedTopKWorkspace',
    'conv2dWorkspace',
  ]);
  const nothing = () => 0;
  return new Proxy(kernels, {
    get: (target, key) => (answers.has(key) ? Reflect.get(target, key) : nothing),
  });
}
