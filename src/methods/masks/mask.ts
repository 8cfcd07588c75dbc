/** Fixed masks: some weights of a parameter are 0 and stay so, one bit each. */
import type { Parameter, Parametrization } from '../../autograd/parameter.js';
import type { Floats, Moments, UpdateRule } from '../../kernels/face.js';
import type { Device } from '../../tensor/device.js';

/**
 * Where the bit is 0, weights, gradients and moments are exactly 0, after every step of any optimiser. With all bits
 * set a step is that of the plain parameter, bit for bit.
 */
export class FixedMask implements Parametrization {
  readonly kind = 'mask';
  /** [ceil(n / 32)] */
  readonly bits: Uint32Array;
  readonly #device: Device;
  readonly #parameter: Parameter;

  constructor(device: Device, parameter: Parameter) {
    this.#device = device;
    this.#parameter = parameter;
    const words = Math.ceil(parameter.size / 32);
    this.bits = device.persistent('indices', [words], 'uint32').raw as Uint32Array;
  }

  /** Takes new bits: what they clear becomes 0, in the weights and in the moments. */
  set(bits: Uint32Array, { m, v }: Moments): void {
    const { kernels } = this.#device;
    this.bits.set(bits);
    for (const array of [this.#parameter.data, m, v]) {
      if (array !== null) kernels.maskApply(this.#parameter.size, this.bits, array, array);
    }
  }

  prepare(): void {}

  maskGradient(): void {
    const { size, grad } = this.#parameter;
    const g = grad?.data as Floats;
    this.#device.kernels.maskApply(size, this.bits, g, g);
  }

  update(rule: UpdateRule, moments: Moments, gradScale: number): void {
    const { kernels } = this.#device;
    const { size: n, data: w, grad } = this.#parameter;
    const g = grad?.data as Floats;
    this.maskGradient();
    kernels.update({ rule, n, w, g, ...moments, gradScale });
    // What an optimiser makes of 0 may be NaN (Adam with eps = 0), and weight decay may leave -0.
    kernels.maskApply(n, this.bits, w, w);
  }

  *state(): Iterable<readonly [string, Uint32Array]> {
    yield ['mask', this.bits];
  }

  /** Gives its memory back; the parameter then stands for itself. */
  release(): void {
    this.#device.allocator.release('indices', this.bits);
    this.#parameter.parametrization = null;
  }
}

/** Bits of the `keep` largest magnitudes; of equal ones the first. */
export function largestMagnitudes(w: Floats, keep: number): Uint32Array {
  const n = w.length;
  const bits = new Uint32Array(Math.ceil(n / 32));
  if (keep <= 0) return bits;
  const sizes = new Float64Array(n);
  for (let i = 0; i < n; i++) sizes[i] = Math.abs(w[i]);
  sizes.sort();
  const threshold = sizes[Math.max(0, n - keep)];
  let above = 0;
  for (let i = 0; i < n; i++) if (Math.abs(w[i]) > threshold) above++;
  let ties = keep - above;
  for (let i = 0; i < n; i++) {
    const size = Math.abs(w[i]);
    if (size > threshold || (size === threshold && ties-- > 0)) bits[i >>> 5] |= 1 << (i & 31);
  }
  return bits;
}

/** How many of the first `n` bits are set. */
export function countBits(bits: Uint32Array, n: number): number {
  let count = 0;
  for (let i = 0; i < n; i++) count += (bits[i >>> 5] >>> (i & 31)) & 1;
  return count;
}
