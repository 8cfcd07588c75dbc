/** Cases of the network kernels: one list per kernel; a kernel without one does not compile. */
import type { NetworkKernels } from '../face-networks.js';
import type { Case } from './case.testing.js';
import * as cells from './network-cells.testing.js';
import * as images from './network-images.testing.js';
import * as rows from './network-rows.testing.js';
import * as sparse from './network-sparse.testing.js';

export const NETWORK_CASES: Readonly<Record<keyof NetworkKernels, readonly Case[]>> = {
  softmaxCrossEntropy: rows.SOFTMAX_CASES,
  affine: rows.AFFINE_CASES,
  affineBackward: rows.AFFINE_BACKWARD_CASES,
  swapAxes: rows.SWAP_AXES_CASES,
  rowMean: rows.ROW_MEAN_CASES,
  rowMeanBackward: rows.ROW_MEAN_BACKWARD_CASES,
  loadImages: images.LOAD_IMAGES_CASES,
  conv2d: images.CONV2D_CASES,
  conv2dBackwardInput: images.CONV2D_BACKWARD_INPUT_CASES,
  conv2dBackwardWeight: images.CONV2D_BACKWARD_WEIGHT_CASES,
  conv2dWorkspace: images.CONV2D_WORKSPACE_CASES,
  maxPool: images.MAX_POOL_CASES,
  maxPoolBackward: images.MAX_POOL_BACKWARD_CASES,
  avgPool: images.AVG_POOL_CASES,
  avgPoolBackward: images.AVG_POOL_BACKWARD_CASES,
  batchNorm: images.BATCH_NORM_CASES,
  batchNormApply: images.BATCH_NORM_APPLY_CASES,
  batchNormBackward: images.BATCH_NORM_BACKWARD_CASES,
  tanh: cells.TANH_CASES,
  tanhBackward: cells.TANH_BACKWARD_CASES,
  lstmCell: cells.LSTM_CELL_CASES,
  lstmCellBackward: cells.LSTM_CELL_BACKWARD_CASES,
  gruCell: cells.GRU_CELL_CASES,
  gruCellBackward: cells.GRU_CELL_BACKWARD_CASES,
  maskApply: cells.MASK_APPLY_CASES,
  gateApply: cells.GATE_APPLY_CASES,
  gateUpdate: cells.GATE_UPDATE_CASES,
  sparseDots: sparse.SPARSE_DOTS_CASES,
  padPlanes: sparse.PAD_PLANES_CASES,
  shiftedSums: sparse.SHIFTED_SUMS_CASES,
};
