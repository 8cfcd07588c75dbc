/**
 * What growth by gradients needs of softmax: log Z over all labels, of the batch and of every training row. It is the
 * first of the two walks of a training step, taken before any connection changes, so that no label sees others rewired.
 */
import type { Floats } from '../kernels/face.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import type { GrowthLogSums, GrowthSource } from './layer.js';

/** Rows walked for at once: their private sums stay about as small as those of a training step. */
const rowsAtOnce = 256;

/** `sums` as `PlannableOutput.logSums`; `ofRows`: of the training rows too. Temporaries are given back. */
export async function growthLogSums(
  device: Device,
  growth: GrowthSource,
  sums: (h: Tensor, norms: Floats) => Promise<void>,
  ofRows: boolean,
): Promise<GrowthLogSums> {
  const walk = async (h: Tensor, out: Float64Array, at: number): Promise<void> => {
    const rows = h.shape[0];
    const norms = device.temporary('workspace', [2, rows]);
    await sums(h, norms.data);
    if (!device.dry) out.set(norms.data.subarray(0, rows), at);
    device.release(norms);
  };
  const { h } = growth.batch();
  const batch = new Float64Array(device.dry ? 0 : h.shape[0]);
  await walk(h, batch, 0);
  device.release(h);
  if (!ofRows) return { batch, rows: null };

  const most = Math.min(rowsAtOnce, growth.evidenceRows);
  const rows = new Float64Array(device.dry ? 0 : growth.examples);
  for (let from = 0; from < rows.length; from += most) {
    const ids = Uint32Array.from({ length: Math.min(most, rows.length - from) }, (_, i) => from + i);
    const encoded = growth.hidden(ids);
    await walk(encoded, rows, from);
    device.release(encoded);
  }
  if (device.dry) {
    // A dry source encodes as many rows as it ever may, which are more than one walk takes.
    const encoded = growth.hidden(new Uint32Array(0));
    const block = device.temporary('workspace', [most, encoded.shape[1]]);
    await walk(block, rows, 0);
    for (const used of [block, encoded]) device.release(used);
  }
  return { batch, rows };
}
