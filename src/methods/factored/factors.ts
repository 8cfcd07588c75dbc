/**
 * W = V U + 1 omega^T, and what is known of W without forming it: Q = W^T W, wbar = W^T 1, and U^-T. V is the only
 * array with a row per label. U, Q, omega and wbar accumulate in double: one step changes them by less than half a
 * unit in the last place of a float, and would be lost.
 */
import type { Floats, Kernels } from '../../kernels/face.js';
import { adviseHugePages } from '../../kernels/native-addon.js';
import type { RandomStream } from '../../kernels/random.js';
import { overSlabs } from '../../output/slabs.js';
import type { Device } from '../../tensor/device.js';
import type { MemoryTag } from '../../tensor/memory.js';
import type { Tensor } from '../../tensor/tensor.js';
import { mostWaiting, WaitingChanges } from './waiting.js';

/** A square or a vector that accumulates in double, and its copy in the precision of the kernels. */
export interface Master {
  readonly master: Float64Array;
  readonly copy: Floats;
}

export class Factors {
  readonly device: Device;
  readonly inputs: number;
  labels: number;
  /** [L, d] */
  V: Floats;
  /** [d, d] */
  readonly U: Master;
  /** [d, d], W^T W */
  readonly Q: Master;
  /** [d, d], U^-T */
  readonly inverse: Floats;
  /** [2, d], wbar = W^T 1, then omega. */
  readonly edge: Master;
  /** What rows of V still have to take. */
  readonly waiting: WaitingChanges;
  /** Passes over all of V so far. */
  readonly passes = { count: 0, seconds: 0 };

  constructor(device: Device, labels: number, inputs: number) {
    this.device = device;
    this.labels = labels;
    this.inputs = inputs;
    const square = inputs * inputs;
    const master = (tag: MemoryTag, n: number): Master => ({
      master: device.persistent(tag, [n], 'float64').data as Float64Array,
      copy: device.persistent(tag, [n]).data,
    });
    this.V = device.persistent('weights', [labels, inputs]).data;
    this.waiting = new WaitingChanges(device, inputs);
    this.U = master('weights', square);
    this.edge = master('weights', 2 * inputs);
    this.Q = master('optimizer', square);
    this.inverse = device.persistent('optimizer', [square]).data;
    if (device.dry) return;
    // Target rows are scattered over it.
    if (this.V.byteLength >= 2 ** 26) adviseHugePages(this.V.buffer);
    this.#identity();
  }

  get kernels(): Kernels {
    return this.device.kernels;
  }

  /** Start weights of rows [from, to), U(-bound, bound), while U is the identity. */
  draw(stream: RandomStream, bound: number): void {
    const n = this.labels * this.inputs;
    const key = stream.reserve(n);
    this.kernels.uniform({ ...key, n, low: -bound, high: bound, out: this.V });
  }

  #identity(): void {
    const { inputs } = this;
    this.U.master.fill(0);
    for (let i = 0; i < inputs; i++) this.U.master[i * inputs + i] = 1;
    this.U.copy.set(this.U.master);
    this.inverse.set(this.U.master);
  }

  /** Whether V is W, as at the start. */
  #isPlain(): boolean {
    const { inputs: d } = this;
    const identity = this.U.copy.every((x, at) => x === (at % (d + 1) === 0 ? 1 : 0));
    return identity && this.edge.master.subarray(d).every((x) => x === 0);
  }

  /** The copies again from their masters, after those were loaded. */
  round(): void {
    for (const { master, copy } of [this.U, this.Q, this.edge]) copy.set(master);
  }

  /** Rows of V whose products fill a few megabytes. */
  get slabRows(): number {
    return Math.max(1, Math.min(this.labels, Math.ceil(2 ** 20 / this.inputs)));
  }

  /** out [n, d] <- rows `from` of V, times U, plus omega: weights themselves. */
  weightsInto(v: Floats, n: number, out: Floats): void {
    const { inputs: d } = this;
    const bias = this.edge.copy.subarray(d, 2 * d);
    this.kernels.gemm({ m: n, n: d, k: d, a: v, b: this.U.copy, c: out, bias });
  }

  /** Q and wbar from the weights themselves: 4 L d^2 operations. */
  recount(): void {
    const { inputs: d, device } = this;
    const rows = this.slabRows;
    const [w, product, sums] = [[rows, d], [d, d], [d]].map((shape) => device.temporary('workspace', shape));
    if (!device.dry) {
      this.settleAllNow();
      this.Q.master.fill(0);
      this.edge.master.fill(0, 0, d);
      const plain = this.#isPlain();
      for (let begin = 0; begin < this.labels; begin += rows) {
        const n = Math.min(rows, this.labels - begin);
        const v = this.V.subarray(begin * d, (begin + n) * d);
        const weights = plain ? v : w.data;
        if (!plain) this.weightsInto(v, n, weights);
        this.addToGram(weights, weights, n, product.data);
        this.kernels.columnSum(n, d, weights, sums.data, false);
        for (let j = 0; j < d; j++) this.edge.master[j] += sums.data[j];
      }
      this.round();
    }
    for (const used of [w, product, sums]) device.release(used);
  }

  /** Q += (a^T b + b^T a) / 2, a and b [n, d]; `product` is scratch [d, d]. */
  addToGram(a: Floats, b: Floats, n: number, product: Floats): void {
    const { inputs: d } = this;
    this.kernels.gemm({ transA: true, m: d, n: d, k: n, a, b, c: product });
    this.kernels.accumulateSymmetric(d, { x: product, keep: 1, alpha: 0.5, ...this.Q });
  }

  /** Target rows take the changes that wait for them. */
  async settle(count: number, label: Uint32Array): Promise<void> {
    if (this.waiting.roomFor(count)) this.waiting.settle(this.V, this.labels, count, label);
    else await this.settleAll();
  }

  /** All rows do: one pass over V. */
  async settleAll(): Promise<void> {
    await this.#pass(() => this.waiting.settleAll(this.V, this.labels, 16 * this.slabRows));
  }

  /** The same at once. */
  settleAllNow(): void {
    this.waiting.settleAllNow(this.V, this.labels);
  }

  async #pass(work: () => Promise<unknown>): Promise<void> {
    const start = performance.now();
    await work();
    this.passes.count++;
    this.passes.seconds += (performance.now() - start) / 1000;
  }

  /** Rows [begin, end) of V with everything that waits for them: V itself, or a copy in `scratch`. */
  settled(begin: number, end: number, scratch: Tensor | null): Floats {
    const { inputs: d } = this;
    const rows = this.V.subarray(begin * d, end * d);
    if (scratch === null || this.waiting.rank === 0) return rows;
    const copy = scratch.data.subarray(0, rows.length);
    copy.set(rows);
    this.waiting.settleCopy(copy, begin, end - begin);
    return copy;
  }

  /** Room for `settled` slabs, where anything waits. */
  settledScratch(rows: number): Tensor | null {
    const needed = this.waiting.rank > 0 || this.device.dry;
    return needed ? this.device.temporary('workspace', [Math.min(rows, this.labels), this.inputs]) : null;
  }

  /** V <- V + (V left^T) right, left and right [rank, d]: waits, or is made at once where it is too large to wait. */
  async change(rank: number, left: Floats, right: Floats): Promise<void> {
    if (this.waiting.rank + rank > mostWaiting) await this.settleAll();
    if (rank <= mostWaiting) {
      this.waiting.add(rank, left, right);
      return;
    }
    const { inputs: d, device, kernels } = this;
    const rows = 16 * this.slabRows;
    const wide = device.temporary('workspace', [Math.min(rows, this.labels), rank]);
    await this.#pass(() =>
      overSlabs(this.labels, rows, (begin, end) => {
        const table = this.V.subarray(begin * d, end * d);
        const n = end - begin;
        kernels.gemm({ transB: true, m: n, n: rank, k: d, a: table, b: left, c: wide.data });
        kernels.gemm({ m: n, n: d, k: rank, a: wide.data, b: right, c: table, accumulate: true });
        return 0;
      }),
    );
    device.release(wide);
  }

  /** V <- V U, U <- I. */
  async absorb(): Promise<void> {
    const { inputs: d, device } = this;
    await this.settleAll();
    const rows = this.slabRows;
    const out = device.temporary('workspace', [rows, d]);
    await this.#pass(() =>
      overSlabs(this.labels, rows, (begin, end) => {
        const v = this.V.subarray(begin * d, end * d);
        const n = end - begin;
        this.kernels.gemm({ m: n, n: d, k: d, a: v, b: this.U.copy, c: out.data });
        v.set(out.data.subarray(0, n * d));
        return 0;
      }),
    );
    device.release(out);
    this.#identity();
  }

  /** V <- V / factor, U <- factor U, for a factor common to all directions. */
  async rescale(factor: number): Promise<void> {
    const { inputs: d, kernels } = this;
    await this.settleAll();
    await this.#pass(() =>
      overSlabs(this.labels, 16 * this.slabRows, (begin, end) => {
        const v = this.V.subarray(begin * d, end * d);
        kernels.scale(v.length, 1 / factor, v, v);
        return 0;
      }),
    );
    for (let i = 0; i < d * d; i++) this.U.master[i] *= factor;
    this.U.copy.set(this.U.master);
    kernels.scale(d * d, 1 / factor, this.inverse, this.inverse);
  }

  /**
   * U^-T again: Newton's iteration, X <- X + X (I - U^T X), which squares the residual each time; by elimination in
   * double where that is too far off. Returns the largest element of the residual before, and whether it was by
   * elimination; null when U is singular.
   */
  invert(): { readonly residual: number; readonly eliminated: boolean } | null {
    const { inputs: d, device, kernels, inverse } = this;
    const [off, change] = [0, 1].map(() => device.temporary('workspace', [d, d]));
    const before = this.#residual(off.data);
    // After one more turn rounding is all that is left.
    const near = device.precision === 'float64' ? 1e-8 : 1e-3;
    let residual = before;
    // Elements below this keep the norm of the residual below 1 for any U that is off in a few directions.
    let eliminated = !(residual <= 1 / 16);
    while (!eliminated) {
      kernels.gemm({ m: d, n: d, k: d, a: inverse, b: off.data, c: change.data });
      kernels.add(d * d, inverse, change.data, 1, inverse);
      if (residual <= near) break;
      const last = residual;
      residual = this.#residual(off.data);
      eliminated = !(residual < last / 2);
    }
    const sound = !eliminated || this.#eliminate();
    for (const used of [off, change]) device.release(used);
    return sound ? { residual: before, eliminated } : null;
  }

  /** out <- I - U^T U^-T; returns its largest element, Infinity where one is not a number. */
  #residual(out: Floats): number {
    const { inputs: d, kernels, inverse } = this;
    kernels.gemm({ transA: true, m: d, n: d, k: d, a: this.U.copy, b: inverse, c: out });
    let residual = 0;
    for (let i = 0; i < d; i++) {
      for (let at = i * d; at < (i + 1) * d; at++) {
        const e = (at === i * d + i ? 1 : 0) - out[at];
        out[at] = e;
        if (!(Math.abs(e) <= residual)) residual = Number.isNaN(e) ? Infinity : Math.abs(e);
      }
    }
    return residual;
  }

  #eliminate(): boolean {
    const { inputs: d, device, kernels, inverse, U } = this;
    const turned = device.temporary('workspace', [d, d], 'float64');
    const a = turned.data as Float64Array;
    for (let i = 0; i < d; i++) for (let j = 0; j < d; j++) a[j * d + i] = U.master[i * d + j];
    const pivot = kernels.invert(d, a);
    if (pivot > 0) inverse.set(a);
    device.release(turned);
    return pivot > 0;
  }

  /** Takes, dry, the memory of the largest repair, so that plans hold it. */
  rehearse(): void {
    const { inputs: d, device } = this;
    const used = [0, 1].map(() => device.temporary('workspace', [d, d]));
    used.push(device.temporary('workspace', [d, d], 'float64'));
    for (const tensor of used) device.release(tensor);
    device.release(device.temporary('workspace', [this.slabRows, d]));
  }

  /** Whether U^-T and Q belong to these weights, as far as one look tells. */
  async consistent(): Promise<boolean> {
    const { inputs: d, device, kernels, inverse } = this;
    const product = device.temporary('workspace', [d, d]);
    kernels.gemm({ transA: true, m: d, n: d, k: d, a: this.U.copy, b: inverse, c: product.data });
    for (let i = 0; i < d; i++) product.data[i * d + i] -= 1;
    const residual = Math.sqrt(kernels.sumSquares(d * d, product.data));
    device.release(product);
    if (!(residual <= 0.1)) return false;
    const { gram, sum } = await this.probe();
    return Math.max(gram, sum) <= 1e-2;
  }

  /**
   * How far Q and wbar are from W^T W and W^T 1, by one probe x: | |Wx|^2 - x^T Q x | / x^T Q x and
   * |1^T W x - wbar . x| / (|Wx| sqrt(L)). One pass over V.
   */
  async probe(): Promise<{ readonly gram: number; readonly sum: number }> {
    const { inputs: d, labels, device, kernels } = this;
    const x = Float64Array.from({ length: d }, (_, j) => Math.cos(1 + 2.399963 * j * j) / Math.sqrt(d));
    const turned = device.temporary('workspace', [d]);
    const rows = this.slabRows;
    const scratch = this.settledScratch(rows);
    const out = device.temporary('workspace', [Math.min(rows, labels)]);
    let [shift, square, sum, wanted, wantedSum] = [0, 0, 0, 0, 0];
    for (let i = 0; i < d; i++) {
      let u = 0;
      let q = 0;
      for (let j = 0; j < d; j++) {
        u += this.U.master[i * d + j] * x[j];
        q += this.Q.master[i * d + j] * x[j];
      }
      turned.data[i] = u;
      wanted += x[i] * q;
      wantedSum += x[i] * this.edge.master[i];
      shift += x[i] * this.edge.master[d + i];
    }
    await overSlabs(labels, rows, (begin, end) => {
      const n = end - begin;
      const b = this.settled(begin, end, scratch);
      kernels.gemm({ transB: true, m: 1, n, k: d, a: turned.data, b, c: out.data });
      const part = kernels.sum(n, out.data);
      square += kernels.sumSquares(n, out.data) + 2 * shift * part + n * shift * shift;
      sum += part + n * shift;
      return 0;
    });
    for (const used of [turned, out, scratch]) if (used !== null) device.release(used);
    const gram = Math.abs(square - wanted) / Math.max(square, Number.MIN_VALUE);
    return { gram, sum: Math.abs(sum - wantedSum) / Math.max(Math.sqrt(square * labels), Number.MIN_VALUE) };
  }
}
