import { RandomStream } from '../kernels/random.js';
import { DenseOutput } from './dense.js';
import { describeSampled } from './sampled.testing.js';

describeSampled(
  'DenseOutput',
  (device, options) => new DenseOutput(device, { ...options, stream: RandomStream.named(4, 'x') }),
);
