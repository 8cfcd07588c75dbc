/**
 * The reference backend: every kernel of the face in plain TypeScript, slow and obvious. In float64 it is the
 * specification and the oracle of all tests; in float32 it is what runs where no compiler is.
 *
 * Arithmetic is in doubles, only stores round. Reductions run in row and label order, so that chunks and slabs
 * change nothing.
 */
import { ensure } from '../../errors.js';
import type { FanInIndexArgs, FanInScreenArgs, Kernels, WorkspaceShape } from '../face.js';
import { bagBackward, bagForward, csrTranspose } from './bag.js';
import { balancedSplit } from './balanced-split.js';
import * as bsr from './bsr.js';
import { denseStep, denseTopK } from './dense-output.js';
import * as elementwise from './elementwise.js';
import * as factored from './factored.js';
import { fanInLogits, fanInStep, fanInTopK } from './fan-in.js';
import { fanInRegrow } from './fan-in-regrow.js';
import { gemm } from './gemm.js';
import { groupedStep, groupedTopK } from './grouped.js';
import { layerNorm, layerNormBackward } from './layer-norm.js';
import { networkKernels } from './networks/index.js';
import { dropout, uniform } from './random-fill.js';
import { update, updateRows } from './update.js';

/**
 * The kernels in plain TypeScript, on buffers of the given precision.
 *
 * @example
 * const kernels = referenceKernels('float64');
 * kernels.relu(2, Float64Array.of(-1, 2), out); // out = [0, 2]
 */
export function referenceKernels(precision: 'float32' | 'float64'): Kernels {
  return {
    name: `reference/${precision}`,
    precision,
    threads: 1,
    gemm,
    ...bsr,
    bagForward,
    csrTranspose,
    bagBackward,
    balancedSplit,
    layerNorm,
    layerNormBackward,
    ...elementwise,
    uniform,
    dropout,
    update,
    updateRows,
    ...factored,
    ...networkKernels,
    fanInStep,
    fanInLogits,
    fanInTopK,
    fanInScreenLength: () => 0,
    fanInScreenBuild,
    fanInIndexLength: () => 0,
    fanInIndexBuild,
    fanInRegrow,
    fanInRegrowWorkspace: () => 0,
    denseStep,
    denseTopK,
    groupedStep,
    groupedTopK,
    fanInWorkspace: () => 0,
    denseWorkspace: () => 0,
    groupedWorkspace: () => 0,
    groupedTopKWorkspace: ({ batch }) => batch,
    topKWorkspace: (shape: WorkspaceShape) => shape.batch,
  };
}

/** Every label is computed. */
function fanInScreenBuild({ screen }: FanInScreenArgs): void {
  ensure(screen.length === 0, () => ({
    code: 'KERNEL_FAN_IN_SCREEN',
    kind: 'usage',
    op: 'fanInScreenBuild',
    problem: 'the reference backend screens no labels',
    expected: 'a screen of fanInScreenLength() = 0 bytes',
    received: `${screen.length} bytes`,
  }));
}

/** The compact form needs no index. */
function fanInIndexBuild({ index }: FanInIndexArgs): void {
  ensure(index.length === 0, () => ({
    code: 'KERNEL_FAN_IN_INDEX',
    kind: 'usage',
    op: 'fanInIndexBuild',
    problem: 'the reference backend has no backward index',
    expected: 'an index of fanInIndexLength() = 0 elements',
    received: `${index.length} elements`,
  }));
}
