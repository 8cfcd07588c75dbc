/** The bytes that one training step of an output layer takes, by letting its dry twin take one. */
import type { Device } from '../tensor/device.js';
import type { OutputLayer, OutputPlan, StepShape } from './layer.js';

/** @param twin of the layer on `device`, which is dry and holds nothing else */
export async function bytesOfStep(
  device: Device,
  twin: OutputLayer,
  { batch, positives }: StepShape,
): Promise<Pick<OutputPlan, 'bytes' | 'totalBytes'>> {
  const nothing = new Uint32Array(0);
  const h = device.temporary('activations', [batch, twin.inputs]);
  device.temporary('data', [2 * positives], 'uint32');
  await twin.step(h, { count: positives, label: nothing, row: nothing }, { rate: 0 });
  return { bytes: device.ledger.atPeak(), totalBytes: device.ledger.peakBytes };
}
