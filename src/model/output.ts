/** The output layer of a description. */
import type { RandomStream } from '../kernels/random.js';
import { FixedFanInOutput } from '../methods/dynamic-sparse/fan-in-output.js';
import { GroupedFanInOutput } from '../methods/grouped/grouped-output.js';
import { DenseOutput, type DenseOutputOptions } from '../output/dense.js';
import type { OutputLayer } from '../output/layer.js';
import type { Device } from '../tensor/device.js';
import type { OutputSpec } from './spec.js';

export function makeOutput(
  device: Device,
  spec: OutputSpec,
  common: DenseOutputOptions,
  rewireStream: RandomStream,
): OutputLayer {
  switch (spec.kind) {
    case 'dense':
      return new DenseOutput(device, common);
    case 'fan-in':
      return new FixedFanInOutput(device, { ...common, ...spec, rewireStream });
    case 'grouped':
      return new GroupedFanInOutput(device, { ...common, ...spec, rewireStream });
  }
}
