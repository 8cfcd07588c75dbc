/** The reference kernels of networks. */
import type { NetworkKernels } from '../../face-networks.js';
import { affine, affineBackward } from './affine.js';
import { batchNorm, batchNormApply, batchNormBackward } from './batch-norm.js';
import * as cells from './cells.js';
import { conv2d, conv2dBackwardInput, conv2dBackwardWeight } from './conv.js';
import * as gates from './gates.js';
import { loadImages } from './load-images.js';
import * as pools from './pool.js';
import { rowMean, rowMeanBackward } from './row-mean.js';
import { softmaxCrossEntropy } from './softmax.js';
import * as sparse from './sparse.js';
import { swapAxes } from './swap-axes.js';

export const networkKernels: NetworkKernels = {
  softmaxCrossEntropy,
  affine,
  affineBackward,
  swapAxes,
  rowMean,
  rowMeanBackward,
  loadImages,
  conv2d,
  conv2dBackwardInput,
  conv2dBackwardWeight,
  conv2dWorkspace: () => 0,
  ...pools,
  batchNorm,
  batchNormApply,
  batchNormBackward,
  ...cells,
  ...gates,
  ...sparse,
};
