import { expect } from 'vitest';
import type { KernelName, Kernels } from '../face.js';
import { BAG_BACKWARD_CASES, BAG_FORWARD_CASES, CSR_TRANSPOSE_CASES } from './bag.testing.js';
import { BALANCED_SPLIT_CASES } from './balanced-split.testing.js';
import * as bsr from './bsr.testing.js';
import type { Case, Outputs } from './case.testing.js';
import * as elementwise from './elementwise.testing.js';
import * as factored from './factored.testing.js';
import { FAN_IN_REGROW_CASES } from './fan-in-regrow.testing.js';
import { GEMM_CASES } from './gemm.testing.js';
import { LAYER_NORM_BACKWARD_CASES, LAYER_NORM_CASES } from './layer-norm.testing.js';
import { NETWORK_CASES } from './networks.testing.js';
import {
  DENSE_STEP_CASES,
  FAN_IN_INDEX_BUILD_CASES,
  FAN_IN_STEP_CASES,
  GROUPED_STEP_CASES,
} from './output-step.testing.js';
import { DROPOUT_CASES, UNIFORM_CASES } from './random-fill.testing.js';
import { FAN_IN_SCREEN_CASES } from './screen.testing.js';
import {
  DENSE_TOP_K_CASES,
  FAN_IN_LOGITS_CASES,
  FAN_IN_TOP_K_CASES,
  GROUPED_TOP_K_CASES,
} from './top-k.testing.js';
import { UPDATE_CASES, UPDATE_ROWS_CASES } from './update.testing.js';

/** Lengths differ between backends; that they suffice is what the guards of all other cases check. */
function lengthCase(lengths: (kernels: Kernels) => number[]): Case {
  return {
    name: 'is a whole number of elements, for any batch',
    run: (kernels): Outputs => ({
      sound: Number(lengths(kernels).every((n) => Number.isSafeInteger(n) && n >= 0)),
    }),
    law: ({ sound }) => expect(sound).toBe(1),
  };
}

const WORKSPACES = [0, 1, 17, 64, 1000].map((batch) => ({
  batch,
  inputs: 100,
  labels: 5000,
  chunk: 64,
  fanIn: 32,
}));

/** One list of cases per kernel; a kernel without one does not compile. */
export const CASES: Readonly<Record<KernelName, readonly Case[]>> = {
  gemm: GEMM_CASES,
  bsrCompress: bsr.BSR_COMPRESS_CASES,
  bsrExpand: bsr.BSR_EXPAND_CASES,
  bsrDense: bsr.BSR_DENSE_CASES,
  denseBsr: bsr.DENSE_BSR_CASES,
  bsrColumnDots: bsr.BSR_COLUMN_DOTS_CASES,
  poolRows: bsr.POOL_ROWS_CASES,
  signMask: bsr.SIGN_MASK_CASES,
  maskBackward: bsr.MASK_BACKWARD_CASES,
  bf16Round: bsr.BF16_ROUND_CASES,
  bf16Widen: bsr.BF16_WIDEN_CASES,
  bagForward: BAG_FORWARD_CASES,
  csrTranspose: CSR_TRANSPOSE_CASES,
  bagBackward: BAG_BACKWARD_CASES,
  balancedSplit: BALANCED_SPLIT_CASES,
  layerNorm: LAYER_NORM_CASES,
  layerNormBackward: LAYER_NORM_BACKWARD_CASES,
  relu: elementwise.RELU_CASES,
  reluBackward: elementwise.RELU_BACKWARD_CASES,
  gelu: elementwise.GELU_CASES,
  geluBackward: elementwise.GELU_BACKWARD_CASES,
  add: elementwise.ADD_CASES,
  multiply: elementwise.MULTIPLY_CASES,
  scale: elementwise.SCALE_CASES,
  columnSum: elementwise.COLUMN_SUM_CASES,
  sum: elementwise.SUM_CASES,
  sumSquares: elementwise.SUM_SQUARES_CASES,
  uniform: UNIFORM_CASES,
  dropout: DROPOUT_CASES,
  update: UPDATE_CASES,
  updateRows: UPDATE_ROWS_CASES,
  ...NETWORK_CASES,
  pairDots: factored.PAIR_DOTS_CASES,
  pairGather: factored.PAIR_GATHER_CASES,
  pairScatter: factored.PAIR_SCATTER_CASES,
  settleRows: factored.SETTLE_ROWS_CASES,
  scaleRows: factored.SCALE_ROWS_CASES,
  accumulate: factored.ACCUMULATE_CASES,
  accumulateSymmetric: factored.ACCUMULATE_SYMMETRIC_CASES,
  invert: factored.INVERT_CASES,
  fanInStep: FAN_IN_STEP_CASES,
  fanInRegrow: FAN_IN_REGROW_CASES,
  fanInRegrowWorkspace: [
    lengthCase((kernels) => WORKSPACES.map((shape) => kernels.fanInRegrowWorkspace(shape))),
  ],
  fanInLogits: FAN_IN_LOGITS_CASES,
  fanInTopK: FAN_IN_TOP_K_CASES,
  fanInScreenLength: [
    lengthCase((kernels) =>
      [1, 128, 129, 1024, 1025, 70_000].map((inputs) =>
        kernels.fanInScreenLength({ inputs, labels: 5000, fanIn: 32 }),
      ),
    ),
  ],
  fanInScreenBuild: FAN_IN_SCREEN_CASES,
  fanInIndexLength: [
    lengthCase((kernels) =>
      [1, 32, 64, 5000].map((chunk) =>
        kernels.fanInIndexLength({ inputs: 100, labels: 5000, fanIn: 32, chunk }),
      ),
    ),
  ],
  fanInIndexBuild: FAN_IN_INDEX_BUILD_CASES,
  denseStep: DENSE_STEP_CASES,
  denseTopK: DENSE_TOP_K_CASES,
  groupedStep: GROUPED_STEP_CASES,
  groupedTopK: GROUPED_TOP_K_CASES,
  fanInWorkspace: [lengthCase((kernels) => WORKSPACES.map((shape) => kernels.fanInWorkspace(shape)))],
  denseWorkspace: [
    lengthCase((kernels) => WORKSPACES.map((shape) => kernels.denseWorkspace({ ...shape, fanIn: 0 }))),
  ],
  groupedWorkspace: [
    lengthCase((kernels) =>
      WORKSPACES.map((shape) => kernels.groupedWorkspace({ ...shape, groupSize: shape.chunk })),
    ),
  ],
  groupedTopKWorkspace: [
    lengthCase((kernels) =>
      WORKSPACES.map((shape) => kernels.groupedTopKWorkspace({ ...shape, groupSize: shape.chunk }, 5)),
    ),
  ],
  topKWorkspace: [lengthCase((kernels) => WORKSPACES.map((shape) => kernels.topKWorkspace(shape, 5)))],
};
