/** The reference kernels of networks. */
import type { NetworkKernels } from '../../face-networks.js';
import { affine, affineBackward } from './affine.js';
import { rowMean, rowMeanBackward } from './row-mean.js';
import { softmaxCrossEntropy } from './softmax.js';
import { swapAxes } from './swap-axes.js';

export const networkKernels: NetworkKernels = {
  softmaxCrossEntropy,
  affine,
  affineBackward,
  swapAxes,
  rowMean,
  rowMeanBackward,
};
