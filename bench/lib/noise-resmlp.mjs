/** A ResMLP on images that are noise, and ways to keep what its backward needs: for times and memory, not for learning. */
import { blockSparse, network, nn } from '../../dist/index.js';

/** @param {number} keep @returns {import('../../dist/index.js').blockSparse.SavedForm} */
const bsr = (keep) => ({ kind: 'bsr', block: 16, keep });
/** @type {import('../../dist/index.js').blockSparse.SavedRule} */
const recompute = { op: 'linear', form: { kind: 'recompute' } };
/** The scales that end both branches of a layer: only their own d weights are learnt from what they read. */
const scales = ['blocks.*.layers.2', 'blocks.*.layers.4'].map((layer) => ({
  layer,
  op: 'affine',
  form: bsr(0.1),
}));

/**
 * `dense` keeps every tensor once.
 * @type {Record<string, import('../../dist/index.js').blockSparse.SavedOptions>}
 */
export const settings = {
  dense: { inputs: { kind: 'dense' }, masks: false },
  'keep 0.3': { inputs: bsr(0.3), masks: false },
  recompute: { inputs: { kind: 'dense' }, rules: [recompute], masks: false },
  'recompute, scales 0.1': { inputs: { kind: 'dense' }, rules: [recompute, ...scales], masks: false },
  'recompute + bf16': {
    ...{ inputs: { kind: 'bf16' }, masks: false },
    rules: [recompute, { op: 'gelu', form: { kind: 'bf16' } }],
  },
  'keep 0.3 + recompute': { inputs: bsr(0.3), rules: [recompute], masks: false },
  'keep 0.3 + recompute + GELU pruned': {
    ...{ inputs: bsr(0.3), masks: false },
    rules: [recompute, { op: 'gelu', form: bsr(0.3) }],
  },
  'dense warm-up, then keep 0.3 + recompute': {
    ...{ inputs: bsr(0.3), rules: [recompute], masks: false, warmup: 2 },
  },
};

/**
 * @param {{ batch: number, dim: number, depth: number, epochs: number }} shape An epoch is a step.
 * @param {import('../../dist/index.js').blockSparse.SavedOptions} saved
 * @param {import('../../dist/index.js').kernels.Kernels} kernels
 */
export function noiseTraining({ batch, dim, depth, epochs }, saved, kernels) {
  const [side, classes] = [28, 10];
  const train = {
    ...{ name: 'noise', rows: batch, channels: 1, height: side, width: side, classes },
    pixels: Uint8Array.from({ length: batch * side * side }, (_, i) => (i * 2654435761) >>> 24),
    labels: Uint8Array.from({ length: batch }, (_, i) => i % classes),
  };
  const task = network.imageTask({
    ...{ train, batch, seed: 1 },
    model: (device, stream) =>
      new nn.ResMLP(device, {
        ...{ stream, channels: 1, height: side, width: side, classes, patch: 4, dim, depth },
        layerScale: 0.1,
      }),
  });
  return new network.NetworkTraining(task, {
    ...{ kernels, optimizer: { kind: 'adam', rate: 1e-3 }, epochs, seed: 1 },
    saved: new blockSparse.SavedActivations(saved),
  });
}
