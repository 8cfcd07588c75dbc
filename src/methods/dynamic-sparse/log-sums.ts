/**
 * What growth by gradients needs of softmax: log Z over all labels, of the batch and of every row of the evidence. It is
 * the first of the two walks of a training step, over blocks of rows; a row is walked for once in a rewiring, however
 * many of its labels are looked at.
 */
import type { Floats } from '../../kernels/face.js';
import type { GrowthSource } from '../../output/layer.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';

/** Rows walked for at once: their private sums stay as small as those of a training step. */
const rowsAtOnce = 256;

export class LogSums {
  readonly #device: Device;
  readonly #growth: GrowthSource;
  readonly #own: (h: Tensor, norms: Floats) => Promise<void>;
  /** [examples]: log Z, NaN where it is not known yet. */
  readonly #known: Float64Array;

  /** `own`: the sums over the labels of the layer that grows. */
  constructor(device: Device, growth: GrowthSource, own: (h: Tensor, norms: Floats) => Promise<void>) {
    this.#device = device;
    this.#growth = growth;
    this.#own = own;
    this.#known = new Float64Array(device.dry ? 0 : growth.examples).fill(Number.NaN);
  }

  /** norms[b] = log Z_b, norms [2, B]. */
  ofBatch(h: Tensor, norms: Floats): Promise<void> {
    return this.#growth.logSums?.(h, norms) ?? this.#own(h, norms);
  }

  /** log Z and shares, [2, rows], of training rows whose hidden vectors are h [rows, d]. */
  async ofRows(h: Tensor, rows: Uint32Array): Promise<Tensor> {
    const device = this.#device;
    const count = h.shape[0];
    const norms = device.temporary('workspace', [2, count]);
    const open = device.dry
      ? Uint32Array.from({ length: Math.min(rowsAtOnce, count) })
      : Uint32Array.from(rows.keys()).filter((i) => Number.isNaN(this.#known[rows[i]]));
    for (let from = 0; from < open.length; from += rowsAtOnce) {
      await this.#walk(h, rows, open.subarray(from, from + rowsAtOnce));
    }
    for (let i = 0; i < count && !device.dry; i++) {
      norms.data[i] = this.#known[rows[i]];
      norms.data[count + i] = 1 / Math.max(1, this.#growth.labelsOf(rows[i]));
    }
    return norms;
  }

  async #walk(h: Tensor, rows: Uint32Array, some: Uint32Array): Promise<void> {
    const device = this.#device;
    const inputs = h.shape[1];
    const block = device.temporary('workspace', [some.length, inputs]);
    const sums = device.temporary('workspace', [2, some.length]);
    for (const [i, at] of device.dry ? [] : some.entries()) {
      block.data.set(h.data.subarray(at * inputs, (at + 1) * inputs), i * inputs);
    }
    await this.ofBatch(block, sums.data);
    for (const [i, at] of device.dry ? [] : some.entries()) this.#known[rows[at]] = sums.data[i];
    device.release(sums);
    device.release(block);
  }
}
