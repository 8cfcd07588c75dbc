/** Convolutions whose weights are mostly 0, for inference: every weight is a shift of a plane, times a number. */
import type { Floats } from '../kernels/face.js';
import type { Tensor } from '../tensor/tensor.js';
import { type ForwardContext, Module } from './module.js';
import type { SparseRows } from './sparse-linear.js';

export interface SparseConvShape {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelHeight: number;
  readonly kernelWidth: number;
  readonly stride: number;
  readonly padding: number;
  readonly groups: number;
}

/** y = act(conv(x, weight) + bias) for x [B, C, H, W], weight [out, in / groups * kernel * kernel] by rows; no gradient. */
export class SparseConv2d extends Module {
  readonly shape: SparseConvShape;
  readonly rowsOf: SparseRows;
  readonly biasValues: Floats | null;
  readonly relu: boolean;
  /** Of the last size of images: offsets of the weights in a padded image. */
  #known = { height: -1, width: -1, offsets: new Uint32Array() };

  constructor(shape: SparseConvShape, weight: SparseRows, bias: Floats | null, relu: boolean) {
    super();
    this.shape = shape;
    this.rowsOf = weight;
    this.biasValues = bias;
    this.relu = relu;
  }

  forward(x: Tensor, { tape: { device } }: ForwardContext): Tensor {
    const { outChannels, kernelHeight, kernelWidth, stride, padding } = this.shape;
    const [batch, channels, height, width] = x.shape;
    const down = Math.floor((height + 2 * padding - kernelHeight) / stride) + 1;
    const across = Math.floor((width + 2 * padding - kernelWidth) / stride) + 1;
    const y = device.temporary('activations', [batch, outChannels, down, across]);
    const [tall, pitch] = [height, width].map((side) => Math.ceil((side + 2 * padding) / stride));
    const inputs = channels * stride * stride * tall * pitch;
    const padded = padding === 0 && stride === 1 ? x : device.temporary('workspace', [batch, inputs]);
    if (padded !== x) {
      const planes = { planes: batch * channels, height, width, padding, stride };
      device.kernels.padPlanes({ ...planes, x: x.data, y: padded.data });
    }
    const { rows, indptr, values } = this.rowsOf;
    const product = { batch, inputs, rows, indptr, values, bias: this.biasValues, relu: this.relu };
    const offsets = this.#offsets(height, width, tall, pitch);
    device.kernels.shiftedSums({ ...product, down, across, pitch, offsets, x: padded.data, y: y.data });
    if (padded !== x) device.release(padded);
    return y;
  }

  /** Tap (c, i, j) reads plane (c, i % s, j % s) from row floor(i / s), column floor(j / s) on. */
  #offsets(height: number, width: number, tall: number, pitch: number): Uint32Array {
    if (this.#known.height === height && this.#known.width === width) return this.#known.offsets;
    const { inChannels, outChannels, kernelHeight, kernelWidth, stride, groups } = this.shape;
    const { indptr, indices } = this.rowsOf;
    const offsets = new Uint32Array(indices.length);
    for (let o = 0; o < outChannels; o++) {
      const firstChannel = Math.floor((o * groups) / outChannels) * (inChannels / groups);
      for (let e = indptr[o]; e < indptr[o + 1]; e++) {
        const j = indices[e] % kernelWidth;
        const i = Math.floor(indices[e] / kernelWidth) % kernelHeight;
        const channel = firstChannel + Math.floor(indices[e] / (kernelWidth * kernelHeight));
        const plane = (channel * stride + (i % stride)) * stride + (j % stride);
        offsets[e] = (plane * tall + Math.floor(i / stride)) * pitch + Math.floor(j / stride);
      }
    }
    this.#known = { height, width, offsets };
    return offsets;
  }
}
