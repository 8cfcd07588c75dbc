import type { OutputLayer } from '../../output/layer.js';
import type { Device } from '../../tensor/device.js';
import { DenseTwin } from './dense-twin.js';
import { FactoredOutput } from './factored-output.js';
import type { FactoredOptions } from './options.js';

export { DenseTwin } from './dense-twin.js';
export { FactoredOutput } from './factored-output.js';
export type { StabilityEvent, StabilityReport, Tally } from './guard.js';
export {
  type LossExample,
  type SphericalLoss,
  sphericalSoftmax,
  squaredError,
  taylorSoftmax,
  zLoss,
} from './losses.js';
export {
  type FactoredOptions,
  type LossSettings,
  type SphericalLossName,
  sphericalLoss,
  sphericalLossNames,
} from './options.js';

/** The factored layer, or its dense twin: the same training in O(m L d) per step. */
export function factoredOutput(
  device: Device,
  options: FactoredOptions & { readonly form?: 'factored' | 'dense' },
): OutputLayer {
  return options.form === 'dense' ? new DenseTwin(device, options) : new FactoredOutput(device, options);
}
