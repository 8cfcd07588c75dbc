/**
 * Devices for models that are filled from elsewhere. While a model is made on a blank device, nothing is drawn,
 * computed or written, but its arrays are real: zeroed ones to be read into, or those that another thread's model was
 * made of, so that many threads predict with one copy of the weights.
 */
import { EspalierError } from '../errors.js';
import type { Kernels } from '../kernels/face.js';
import { Device } from './device.js';
import { Allocator, type Dtype, type Dtypes, MemoryLedger, type MemoryTag } from './memory.js';

/** Arrays over shared memory in the order in which making a model asked for them. */
export type SharedArrays = readonly Dtypes[Dtype][];

export class BlankDevice extends Device {
  readonly #kernels: Kernels;
  readonly #allocator: BlankAllocator;

  /** `inherited`: the arrays of the same model, made on a blank device of another thread. */
  constructor(kernels: Kernels, inherited?: SharedArrays) {
    const allocator = new BlankAllocator(new MemoryLedger(), inherited);
    super(kernels, { dry: true, allocator });
    this.#kernels = kernels;
    this.#allocator = allocator;
  }

  /** The model is made: from now on the device computes. */
  settle(): void {
    this.#allocator.checkUsedUp();
    this.arena.reset();
    this.awaken(this.#kernels);
  }

  /** The arrays that the model was made of. */
  get arrays(): SharedArrays {
    return this.#allocator.arrays;
  }
}

class BlankAllocator extends Allocator {
  readonly arrays: Dtypes[Dtype][] = [];
  readonly #inherited: SharedArrays | undefined;

  constructor(ledger: MemoryLedger, inherited?: SharedArrays) {
    super(ledger);
    this.#inherited = inherited;
  }

  protected override make<D extends Dtype>(tag: MemoryTag, dtype: D, length: number): Dtypes[D] {
    // Nothing is trained on a blank device: gradients have no place.
    const wanted = tag === 'gradients' ? 0 : length;
    const fresh = super.make(tag, dtype, this.#inherited === undefined ? wanted : 0);
    const array = this.#inherited === undefined ? fresh : this.#inherited[this.arrays.length];
    const fits =
      array?.constructor === fresh.constructor &&
      array.length === wanted &&
      array.buffer instanceof SharedArrayBuffer;
    if (!fits)
      throw mismatch(`${wanted} numbers of ${dtype}`, `${array?.length} of ${array?.constructor.name}`);
    this.arrays.push(array);
    return array as Dtypes[D];
  }

  checkUsedUp(): void {
    const given = this.#inherited?.length ?? this.arrays.length;
    if (given !== this.arrays.length) throw mismatch(`${this.arrays.length} arrays`, `${given}`);
  }
}

function mismatch(expected: string, received: string): EspalierError {
  return new EspalierError({
    code: 'SHARED_ARRAYS',
    kind: 'usage',
    op: 'BlankDevice',
    problem: 'the shared arrays are not those of this model',
    expected,
    received,
    hint: 'make both models from the same description with the same version of the package',
  });
}
