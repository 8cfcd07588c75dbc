/** ResMLP (Touvron et al. 2021): an image as patches; linear layers across patches and across channels. */
import { EspalierError } from '../errors.js';
import type { RandomStream } from '../kernels/random.js';
import { meanLast, swapAxes } from '../ops/shapes.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { GELU, Linear, Sequential, throughLayers } from './layers.js';
import { type ForwardContext, Module } from './module.js';
import { Affine, Residual, Transposed } from './network-layers.js';

export interface ResMlpOptions {
  readonly stream: RandomStream;
  /** Of the images. */
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly classes: number;
  /** Side of a patch; divides height and width. */
  readonly patch: number;
  /** d, the width of a patch's embedding. */
  readonly dim: number;
  /** Number of layers, each of two residual blocks. */
  readonly depth: number;
  /** Hidden width of the channel block, as a multiple of dim; default 4. */
  readonly expansion?: number;
  /** Start of the scale at the end of each branch; by default as in the paper: 0.1, 1e-5 or 1e-6 by depth. */
  readonly layerScale?: number;
}

/** [B, C, H, W] -> [B, patches, C * patch * patch]: every patch as a row. */
export class Patches extends Module {
  readonly patch: number;

  constructor(patch: number) {
    super();
    this.patch = patch;
  }

  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    const [batch, channels, height, width] = x.shape;
    const { patch } = this;
    const [down, across] = [height / patch, width / patch];
    // [B C down, patch, across, patch] -> [B C down, across, patch, patch]
    const strips = tape.reshape(x, [batch * channels * down, patch, across, patch]);
    const swapped = (rows: Tensor) => tape.run(swapAxes, { x: rows, axis: 1 });
    const shaped =
      (...shape: number[]) =>
      (rows: Tensor) =>
        tape.reshape(rows, [batch, ...shape]);
    const tiles = tape.pass(strips, swapped);
    if (channels === 1) return tape.pass(tiles, shaped(down * across, patch * patch));
    const planes = tape.pass(tiles, shaped(channels, down * across, patch * patch));
    return tape.pass(tape.pass(planes, swapped), shaped(down * across, channels * patch * patch));
  }
}

/**
 * Images [B, C, H, W] -> logits [B, classes]. Each layer, for X [patches, dim]:
 * Z = X + s1 * (A Aff(X)^T)^T,  Y = Z + s2 * C GELU(B Aff(Z));
 * then Aff, the mean over patches, and a linear classifier. No normalisation over the batch or the channels.
 *
 * @throws EspalierError `PATCH_SIZE`
 * @example new ResMLP(device, { stream, channels: 1, height: 28, width: 28, classes: 10, patch: 4, dim: 96, depth: 4 })
 */
export class ResMLP extends Module {
  readonly patches: Patches;
  readonly embed: Linear;
  readonly blocks: readonly Module[];
  readonly norm: Affine;
  readonly head: Linear;

  constructor(device: Device, options: ResMlpOptions) {
    super();
    const { stream, channels, height, width, classes, patch, dim, depth, expansion = 4 } = options;
    if (!(patch >= 1 && height % patch === 0 && width % patch === 0)) {
      throw new EspalierError({
        code: 'PATCH_SIZE',
        kind: 'usage',
        op: 'ResMLP',
        problem: 'the patches do not tile the image',
        expected: `a divisor of ${height} and ${width}`,
        received: `${patch}`,
      });
    }
    const tiles = (height / patch) * (width / patch);
    const start = options.layerScale ?? (depth <= 18 ? 0.1 : depth <= 24 ? 1e-5 : 1e-6);
    const scale = () => new Affine(device, dim, { start, bias: false });
    this.patches = new Patches(patch);
    this.embed = new Linear(device, channels * patch * patch, dim, { stream });
    this.blocks = Array.from({ length: depth }, () => [
      new Residual(
        new Sequential(
          new Affine(device, dim),
          new Transposed(new Linear(device, tiles, tiles, { stream })),
          scale(),
        ),
      ),
      new Residual(
        new Sequential(
          new Affine(device, dim),
          new Linear(device, dim, expansion * dim, { stream }),
          new GELU(),
          new Linear(device, expansion * dim, dim, { stream }),
          scale(),
        ),
      ),
    ]).flat();
    this.norm = new Affine(device, dim);
    this.head = new Linear(device, dim, classes, { stream });
  }

  forward(images: Tensor, context: ForwardContext): Tensor {
    const { tape } = context;
    const named = (name: 'embed' | 'norm' | 'head') => (x: Tensor) =>
      tape.within(name, () => this[name].forward(x, context));
    const x = tape.pass(this.patches.forward(images, context), named('embed'));
    const y = tape.pass(throughLayers(x, this.blocks, context, { name: 'blocks' }), named('norm'));
    const turned = tape.pass(y, (normed) => tape.run(swapAxes, { x: normed, axis: -2 }));
    const mean = tape.pass(turned, (all) => tape.run(meanLast, { x: all }));
    return tape.pass(mean, named('head'));
  }
}
