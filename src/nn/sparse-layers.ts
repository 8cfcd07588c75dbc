/** What networks for inference need beside sparse matrices: no gradients here. */
import type { Floats } from '../kernels/face.js';
import { affine } from '../ops/affine.js';
import { meanLast, swapAxes } from '../ops/shapes.js';
import type { SparseBatch } from '../ops/sparse-batch.js';
import type { Device } from '../tensor/device.js';
import { sizeOf, type Tensor } from '../tensor/tensor.js';
import { type ForwardContext, Module } from './module.js';

/** [B, rows, dim] -> [B, dim]. */
export class MeanRows extends Module {
  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    return tape.pass(tape.run(swapAxes, { x, axis: -2 }), (turned) => tape.run(meanLast, { x: turned }));
  }
}

/** The last two dimensions change places. */
export class SwapLast extends Module {
  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    return tape.run(swapAxes, { x, axis: -2 });
  }
}

/** y = x * scale + bias along the last dimension, with numbers that stay. */
export class FixedAffine extends Module {
  readonly gamma: Tensor;
  readonly beta: Tensor | null;

  constructor(device: Device, scale: Floats, bias: Floats | null) {
    super();
    this.gamma = filled(device, [scale.length], scale);
    this.beta = bias === null ? null : filled(device, [bias.length], bias);
  }

  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    return tape.run(affine, { x, gamma: this.gamma, beta: this.beta });
  }
}

/** Rows of a table [symbols, dim] by symbol. */
export class FixedEmbedding extends Module<SparseBatch> {
  readonly table: Tensor;

  constructor(device: Device, symbols: number, dim: number, numbers: Floats) {
    super();
    this.table = filled(device, [symbols, dim], numbers);
  }

  forward({ rows, indptr, indices, values }: SparseBatch, { tape: { device } }: ForwardContext): Tensor {
    const [vocab, dim] = this.table.shape;
    const y = device.temporary('activations', [rows, dim]);
    const table = { vocab, dim, table: this.table.data, bias: null };
    device.kernels.bagForward({ rows, indptr, indices, values, ...table, out: y.data });
    return y;
  }
}

export interface CellShape {
  readonly cell: 'rnn' | 'lstm' | 'gru';
  readonly hidden: number;
  /** Streams side by side: rows [t * streams, (t + 1) * streams) are step t. */
  readonly streams: number;
}

/** A recurrent layer whose products are those of other modules: [T * B, in] -> [T * B, hidden], states carried on. */
export class FixedRecurrent extends Module {
  readonly shape: CellShape;
  /** W x + b and U h (+ b'). */
  readonly input: Module;
  readonly state: Module;
  readonly h: Tensor;
  readonly c: Tensor | null;

  constructor(device: Device, shape: CellShape, input: Module, state: Module) {
    super();
    this.shape = shape;
    this.input = input;
    this.state = state;
    const size = [shape.streams, shape.hidden];
    this.h = device.persistent('activations', size);
    this.c = shape.cell === 'lstm' ? device.persistent('activations', size) : null;
  }

  states(): Tensor[] {
    return this.c === null ? [this.h] : [this.h, this.c];
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const { device } = context.tape;
    const { kernels } = device;
    const { cell, hidden, streams } = this.shape;
    const n = streams * hidden;
    const rows = x.shape[0];
    const out = device.temporary('activations', [rows, hidden]);
    const sums = this.input.forward(x, context);
    for (let first = 0; first < rows; first += streams) {
      const before = first === 0 ? this.h : device.rows(out, first - streams, first);
      const gates = device.rows(sums, first, first + streams).data;
      const y = device.rows(out, first, first + streams).data;
      const fromH = this.state.forward(before, context);
      const about = { batch: streams, hidden, gates, h: y };
      if (cell === 'gru') kernels.gruCell({ ...about, fromH: fromH.data, hBefore: before.data });
      else kernels.add(gates.length, gates, fromH.data, 1, gates);
      // In place: every element of c is read before it is written.
      if (this.c !== null) kernels.lstmCell({ ...about, cBefore: this.c.data, c: this.c.data });
      if (cell === 'rnn') kernels.tanh(n, gates, y);
      device.release(fromH);
    }
    device.release(sums);
    kernels.scale(n, 1, device.rows(out, rows - streams, rows).data, this.h.data);
    return out;
  }
}

function filled(device: Device, shape: readonly number[], numbers: Floats): Tensor {
  const tensor = device.persistent('weights', shape);
  if (!device.dry && sizeOf(shape) === numbers.length) tensor.data.set(numbers);
  return tensor;
}
