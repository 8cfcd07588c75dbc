/** Logits of some labels, each a row of fixed fan-in, whatever the layer stores them as. */
import type { Columns, FanInWeights, Floats, WorkspaceShape } from '../../kernels/face.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import { columnType } from './topology.js';

/** [B, labels] of h [B, d] against all rows; `shape.labels` says how many there are. */
export function rowLogits(device: Device, h: Tensor, shape: WorkspaceShape, rows: FanInWeights): Tensor {
  const { batch, inputs, labels } = shape;
  const out = device.temporary('activations', [batch, labels]);
  const workspace = device.temporary('workspace', [device.kernels.topKWorkspace(shape, 1)]);
  device.kernels.fanInLogits({
    ...rows,
    ...{ batch, inputs, labels, begin: 0, end: labels },
    h: h.data,
    out: out.data,
    workspace: workspace.data,
  });
  device.release(workspace);
  return out;
}

/** Rows as they are written out: columns and weights [labels, fanIn], bias [labels]. */
export interface GatheredRows {
  readonly columns: Columns;
  readonly weights: Floats;
  readonly bias: Floats;
}

/** The same of rows that `put` writes, one call each; a dry device has the room counted and nothing written. */
export function gatheredLogits(
  device: Device,
  h: Tensor,
  shape: WorkspaceShape,
  put: (rows: GatheredRows, i: number) => void,
): Tensor {
  const { labels, fanIn, inputs } = shape;
  const columns = device.temporary('workspace', [labels * fanIn], columnType(inputs));
  const weights = device.temporary('workspace', [labels * fanIn]);
  const bias = device.temporary('workspace', [labels]);
  const rows = { columns: columns.raw as Columns, weights: weights.data, bias: bias.data };
  for (let i = 0; i < labels && !device.dry; i++) put(rows, i);
  const out = rowLogits(device, h, shape, { fanIn, ...rows });
  for (const used of [columns, weights, bias]) device.release(used);
  return out;
}
