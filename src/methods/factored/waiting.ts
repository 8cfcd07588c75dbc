/**
 * Changes V <- V + (V left^T) right that wait: a row of V takes them when a target names it, all rows together when
 * 32 are waiting. So moving a direction between the factors costs no pass over V, and passes become rare.
 */
import type { Floats } from '../../kernels/face.js';
import { overSlabs } from '../../output/slabs.js';
import type { Device } from '../../tensor/device.js';

/** Changes of rank 1 that may wait: what the kernel takes at once. */
export const mostWaiting = 32;

export class WaitingChanges {
  readonly #device: Device;
  readonly #inputs: number;
  /** [64, d]: left sides, then right sides. */
  readonly sides: Floats;
  /** [32, 32]: right_f . left_r of different changes f < r. */
  readonly cross: Floats;
  /** [1]: how many wait. */
  readonly count: Float64Array;
  /** [L]: how many of them each row has taken. */
  stamps: Uint16Array;

  constructor(device: Device, labels: number, inputs: number) {
    this.#device = device;
    this.#inputs = inputs;
    this.sides = device.persistent('weights', [2 * mostWaiting, inputs]).data;
    this.cross = device.persistent('weights', [mostWaiting, mostWaiting]).data;
    this.count = device.persistent('weights', [1], 'float64').data as Float64Array;
    this.stamps = device.allocator.allocate('weights', 'uint16', labels);
  }

  get rank(): number {
    return this.#device.dry ? 0 : this.count[0];
  }

  #changes() {
    const { sides, cross, rank } = this;
    const d = this.#inputs;
    const from = mostWaiting * d;
    return {
      dim: d,
      rank,
      cross,
      left: sides.subarray(0, rank * d),
      right: sides.subarray(from, from + rank * d),
    };
  }

  /** Rows of V that ascending `label` names take what waits. */
  settle(V: Floats, labels: number, count: number, label: Uint32Array): void {
    if (this.rank === 0) return;
    const { stamps } = this;
    this.#device.kernels.settleRows({ ...this.#changes(), count, labels, label, stamps, table: V });
  }

  /** Rows [from, from + n) of V, copied to `table` [n, d], take what waits there. */
  settleCopy(table: Floats, from: number, n: number): void {
    const stamps = this.stamps.slice(from, from + n);
    this.#device.kernels.settleRows({ ...this.#changes(), count: n, labels: n, label: null, stamps, table });
  }

  /** All rows take what waits, and nothing waits. */
  async settleAll(V: Floats, labels: number, slab: number): Promise<void> {
    if (this.rank === 0) return;
    await overSlabs(labels, slab, (begin, end) => {
      this.#settleSlab(V, begin, end);
      return 0;
    });
    this.#clear();
  }

  /** The same without giving the event loop its turn. */
  settleAllNow(V: Floats, labels: number): void {
    if (this.rank === 0) return;
    this.#settleSlab(V, 0, labels);
    this.#clear();
  }

  #settleSlab(V: Floats, begin: number, end: number): void {
    const d = this.#inputs;
    const [count, labels] = [end - begin, end - begin];
    const stamps = this.stamps.subarray(begin, end);
    const table = V.subarray(begin * d, end * d);
    this.#device.kernels.settleRows({ ...this.#changes(), count, labels, label: null, stamps, table });
  }

  #clear(): void {
    this.count[0] = 0;
    this.stamps.fill(0);
  }

  /** One change of some rank; there is room for it. */
  add(rank: number, left: Floats, right: Floats): void {
    const d = this.#inputs;
    const before = this.rank;
    const lefts = this.sides;
    const rights = this.sides.subarray(mostWaiting * d);
    lefts.set(left.subarray(0, rank * d), before * d);
    rights.set(right.subarray(0, rank * d), before * d);
    for (let r = before; r < before + rank; r++) {
      // Left sides of one change all see the row before it.
      for (let f = 0; f < before + rank; f++) {
        let inner = 0;
        for (let j = 0; j < d && f < before; j++) inner += rights[f * d + j] * lefts[r * d + j];
        this.cross[f * mostWaiting + r] = inner;
      }
    }
    this.count[0] = before + rank;
  }

  /** Whether the arrays, after they were loaded, can be what a layer saved. */
  get sound(): boolean {
    const [count] = this.count;
    const whole = Number.isInteger(count) && count >= 0 && count <= mostWaiting;
    return whole && this.stamps.every((taken) => taken <= count);
  }

  /** For another number of labels, while nothing waits. */
  resize(labels: number): void {
    const old = this.stamps;
    this.stamps = this.#device.allocator.allocate('weights', 'uint16', labels);
    this.#device.allocator.release('weights', old);
  }
}
