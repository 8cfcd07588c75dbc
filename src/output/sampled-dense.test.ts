import { RandomStream } from '../kernels/random.js';
import { DenseOutput } from './dense.js';
import { describeSampled } from './sampled.testing.js';
import { SampledDenseOutput } from './sampled-dense.js';

const stream = () => RandomStream.named(4, 'x');

describeSampled('SampledDenseOutput', {
  sampled: (device, options) => new SampledDenseOutput(device, { ...options, stream: stream() }),
  full: (device, options) => new DenseOutput(device, { ...options, loss: 'softmax', stream: stream() }),
});
