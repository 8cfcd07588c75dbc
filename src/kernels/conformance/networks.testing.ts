/** Cases of the network kernels: one list per kernel; a kernel without one does not compile. */
import type { KernelName } from '../face.js';
import type { NetworkKernels } from '../face-networks.js';
import type { Case } from './case.testing.js';
import * as rows from './network-rows.testing.js';

export const NETWORK_CASES: Readonly<Record<KernelName & keyof NetworkKernels, readonly Case[]>> = {
  softmaxCrossEntropy: rows.SOFTMAX_CASES,
  affine: rows.AFFINE_CASES,
  affineBackward: rows.AFFINE_BACKWARD_CASES,
  swapAxes: rows.SWAP_AXES_CASES,
  rowMean: rows.ROW_MEAN_CASES,
  rowMeanBackward: rows.ROW_MEAN_BACKWARD_CASES,
};
