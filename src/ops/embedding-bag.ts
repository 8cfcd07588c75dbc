import { Parameter } from '../autograd/parameter.js';
import type { Operation } from '../autograd/tape.js';
import { EspalierError } from '../errors.js';
import type { Activation } from '../kernels/face.js';
import type { Tensor } from '../tensor/tensor.js';
import { expectRank, expectShape } from './check.js';
import type { SparseBatch } from './sparse-batch.js';

export interface EmbeddingBagArgs {
  readonly batch: SparseBatch;
  /** [vocab, dim] */
  readonly table: Tensor;
  /** [dim] */
  readonly bias: Tensor | null;
  readonly activation: Activation;
}

/** y[b] = act(sum_e value_e * table[index_e] + bias), e over the entries of row b: a CSR x dense product. */
export const embeddingBag: Operation<EmbeddingBagArgs, void> = {
  name: 'embeddingBag',

  infer({ batch, table, bias }) {
    expectRank('embeddingBag', 'table', table, 2);
    if (batch.width > table.shape[0]) {
      throw new EspalierError({
        code: 'FEATURES_MISMATCH',
        kind: 'usage',
        op: 'embeddingBag',
        problem: 'the batch has more features than the table has rows',
        expected: `at most ${table.shape[0]}`,
        received: `${batch.width}`,
        hint: 'use the dataset that the model was made for',
      });
    }
    if (bias !== null) expectShape('embeddingBag', 'bias', bias, [table.shape[1]]);
    return [batch.rows, table.shape[1]];
  },

  inputs: ({ table, bias }) => [table, bias],

  forward({ kernels }, { batch, table, bias, activation }, out) {
    const [vocab, dim] = table.shape;
    const { rows, indptr, indices, values } = batch;
    const b = bias?.data ?? null;
    kernels.bagForward({
      rows,
      indptr,
      indices,
      values,
      vocab,
      dim,
      table: table.data,
      bias: b,
      out: out.data,
    });
    if (activation === 'relu') kernels.relu(out.size, out.data, out.data);
  },

  needs: ({ activation }, out) => (activation === 'relu' ? [{ tensor: out, as: 'sign' }] : []),

  // ds = dy * 1[y > 0];  dtable[i] = sum over entries e with index_e = i of value_e * ds[row_e];  db = sum_rows ds
  backward(device, { batch, table, bias, activation }, _saved, out, dout, into, kept) {
    const { kernels } = device;
    const [vocab, dim] = table.shape;
    const { rows, nnz, indptr, indices, values } = batch;
    if (activation === 'relu') kept.gate(out, dout);
    if (into.wants(bias)) {
      const { target, accumulate } = into.place(bias);
      kernels.columnSum(rows, dim, dout.data, target.data, accumulate);
    }
    if (!into.wants(table)) return;

    const columns = device.temporary('workspace', [nnz], 'uint32');
    const colptr = device.temporary('workspace', [nnz + 1], 'int32');
    const rowOf = device.temporary('workspace', [nnz], 'uint32');
    const weightOf = device.temporary('workspace', [nnz]);
    const scratch = device.temporary('workspace', [2 * nnz], 'uint32');
    const byColumn = {
      columns: columns.raw as Uint32Array,
      colptr: colptr.raw as Int32Array,
      rowOf: rowOf.raw as Uint32Array,
      valueOf: weightOf.data,
    };
    const occurring = kernels.csrTranspose({
      rows,
      indptr,
      indices,
      values,
      vocab,
      ...byColumn,
      scratch: scratch.raw as Uint32Array,
    });
    device.release(scratch);
    const count = device.dry ? nnz : occurring;
    const grad = device.temporary('gradients', [count, dim]);
    kernels.bagBackward({ count, dim, ...byColumn, dy: dout.data, grad: grad.data });
    for (const used of [colptr, rowOf, weightOf]) device.release(used);

    if (table instanceof Parameter && table.sparseGradient) {
      into.rows(table, { count, rows: byColumn.columns, values: grad });
      return;
    }
    const { target, accumulate } = into.place(table);
    if (!device.dry) scatterRows(target.data, accumulate, byColumn.columns, count, dim, grad.data);
    for (const used of [columns, grad]) device.release(used);
  },

  flops: ({ batch, table }) => 2 * batch.nnz * table.shape[1],
};

/** The dense gradient of a small table: zero, then add the rows. */
function scatterRows(
  target: Float32Array | Float64Array,
  accumulate: boolean,
  rows: Uint32Array,
  count: number,
  dim: number,
  grad: Float32Array | Float64Array,
): void {
  if (!accumulate) target.fill(0);
  for (let t = 0; t < count; t++) {
    const base = rows[t] * dim;
    for (let j = 0; j < dim; j++) target[base + j] += grad[t * dim + j];
  }
}
