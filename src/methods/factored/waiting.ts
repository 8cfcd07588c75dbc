/**
 * Changes V <- V + (V left^T) right that wait: a row of V takes them when a target names it, all rows together when
 * 32 are waiting. So moving a direction between the factors costs no pass over V, and passes become rare. Rows that
 * have taken some are remembered in a table of d^2 places; all rows settle, too, before it is full.
 */
import type { Floats } from '../../kernels/face.js';
import { overSlabs } from '../../output/slabs.js';
import type { Device } from '../../tensor/device.js';
import { TakenCounts } from './taken.js';

/** Changes of rank 1 that may wait: what the kernel takes at once. */
export const mostWaiting = 32;

/** Rows whose counts are handed to the kernel at once. */
const mostAtOnce = 4096;

export class WaitingChanges {
  readonly #device: Device;
  readonly #inputs: number;
  /** [64, d], left sides, then right sides. */
  readonly sides: Floats;
  /** [32, 32], right_f . left_r of different changes f < r. */
  readonly cross: Floats;
  /** [1], how many wait. */
  readonly count: Float64Array;
  /** How many of them a row has taken. */
  readonly taken: TakenCounts;
  readonly #stamps: Uint16Array;

  constructor(device: Device, inputs: number) {
    this.#device = device;
    this.#inputs = inputs;
    this.sides = device.persistent('weights', [2 * mostWaiting, inputs]).data;
    this.cross = device.persistent('weights', [mostWaiting, mostWaiting]).data;
    this.count = device.persistent('weights', [1], 'float64').data as Float64Array;
    this.taken = new TakenCounts(device, Math.max(mostAtOnce, inputs ** 2 / 2));
    this.#stamps = device.allocator.allocate('weights', 'uint16', mostAtOnce);
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

  /** Whether rows named by `count` targets can settle by themselves. */
  roomFor(count: number): boolean {
    return this.taken.fits(count);
  }

  /** Rows of V that ascending `label` names take what waits; there is room for them. */
  settle(V: Floats, labels: number, count: number, label: Uint32Array): void {
    if (this.rank === 0) return;
    const { taken, rank } = this;
    for (let begin = 0; begin < count; begin += mostAtOnce) {
      const some = label.subarray(begin, Math.min(begin + mostAtOnce, count));
      const stamps = this.#stamps.subarray(0, some.length);
      for (let i = 0; i < some.length; i++) stamps[i] = taken.get(some[i]);
      this.#device.kernels.settleRows({
        ...this.#changes(),
        ...{ count: some.length, labels, label: some, stamps, table: V },
      });
      for (const row of some) taken.set(row, rank);
    }
  }

  /** Rows [from, from + n) of V, copied to `table` [n, d], take what waits there. */
  settleCopy(table: Floats, from: number, n: number): void {
    const { taken } = this;
    const d = this.#inputs;
    for (let begin = 0; begin < n; begin += mostAtOnce) {
      const count = Math.min(mostAtOnce, n - begin);
      const stamps = this.#stamps.subarray(0, count);
      for (let i = 0; i < count; i++) stamps[i] = taken.get(from + begin + i);
      this.#device.kernels.settleRows({
        ...this.#changes(),
        ...{ count, labels: count, label: null, stamps },
        table: table.subarray(begin * d, (begin + count) * d),
      });
    }
  }

  /** All rows take what waits, and nothing waits. */
  async settleAll(V: Floats, labels: number, slab: number): Promise<void> {
    if (this.rank === 0) return;
    const d = this.#inputs;
    await overSlabs(labels, slab, (begin, end) => {
      this.settleCopy(V.subarray(begin * d, end * d), begin, end - begin);
      return 0;
    });
    this.#clear();
  }

  /** The same without giving the event loop its turn. */
  settleAllNow(V: Floats, labels: number): void {
    if (this.rank === 0) return;
    this.settleCopy(V, 0, labels);
    this.#clear();
  }

  #clear(): void {
    this.count[0] = 0;
    this.taken.clear();
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
  sound(): boolean {
    const [count] = this.count;
    const whole = Number.isInteger(count) && count >= 0 && count <= mostWaiting;
    return this.taken.recount(count) && whole;
  }
}
