/** Recurrent layers on sequences [T, B, inputs] -> [T, B, hidden]. */
import { Parameter } from '../autograd/parameter.js';
import type { RandomStream } from '../kernels/random.js';
import { gru, lstm, rnn } from '../ops/recurrent.js';
import type { SparseBatch } from '../ops/sparse-batch.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';
import { Dropout, EmbeddingBag, initUniform, Linear } from './layers.js';
import { type ForwardContext, Module } from './module.js';

export interface RecurrentOptions {
  readonly stream: RandomStream;
  /**
   * Sequences at a time whose state goes on from call to call, without a gradient (truncated backpropagation through
   * time); by default every call begins with zeros.
   */
  readonly carry?: number;
}

/** What the recurrent layers share; weights start in U(-1/sqrt(hidden), 1/sqrt(hidden)). */
abstract class Recurrent extends Module {
  readonly inputWeight: Parameter;
  readonly stateWeight: Parameter;
  readonly bias: Parameter;
  /** [carry, hidden]; null where nothing is carried. */
  readonly h: Tensor | null;

  constructor(device: Device, inputs: number, hidden: number, gates: number, options: RecurrentOptions) {
    super();
    const { stream, carry } = options;
    const bound = 1 / Math.sqrt(hidden);
    const make = (...shape: number[]) => {
      const parameter = new Parameter(device, shape);
      initUniform(device, parameter, stream, -bound, bound);
      return parameter;
    };
    this.inputWeight = make(gates * hidden, inputs);
    this.stateWeight = make(gates * hidden, hidden);
    this.bias = make(gates * hidden);
    this.h = carry === undefined ? null : device.persistent('activations', [carry, hidden]);
  }
}

/** h_t = tanh(W x_t + U h_(t-1) + b). */
export class RNN extends Recurrent {
  constructor(device: Device, inputs: number, hidden: number, options: RecurrentOptions) {
    super(device, inputs, hidden, 1, options);
  }

  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    const { inputWeight, stateWeight, bias, h } = this;
    return tape.run(rnn, { x, inputWeight, stateWeight, bias, h });
  }
}

/** Long short-term memory, gates in the order i, f, g, o; the forget gates' bias starts at 1 (Gers et al. 2000). */
export class LSTM extends Recurrent {
  readonly c: Tensor | null;

  constructor(device: Device, inputs: number, hidden: number, options: RecurrentOptions) {
    super(device, inputs, hidden, 4, options);
    this.c = options.carry === undefined ? null : device.persistent('activations', [options.carry, hidden]);
    if (!device.dry) this.bias.data.fill(1, hidden, 2 * hidden);
  }

  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    const { inputWeight, stateWeight, bias, h, c } = this;
    return tape.run(lstm, { x, inputWeight, stateWeight, bias, h, c });
  }
}

/** Gated recurrent units, gates in the order r, z, n, the reset gate after the product (Cho et al. 2014). */
export class GRU extends Recurrent {
  readonly stateBias: Parameter;

  constructor(device: Device, inputs: number, hidden: number, options: RecurrentOptions) {
    super(device, inputs, hidden, 3, options);
    this.stateBias = new Parameter(device, [3 * hidden]);
  }

  forward(x: Tensor, { tape }: ForwardContext): Tensor {
    const { inputWeight, stateWeight, bias, stateBias, h } = this;
    return tape.run(gru, { x, inputWeight, stateWeight, bias, stateBias, h });
  }
}

/** One row of a table per symbol: an embedding bag of single entries. */
export class Embedding extends EmbeddingBag {
  constructor(device: Device, symbols: number, dim: number, options: { readonly stream: RandomStream }) {
    super(device, symbols, dim, { ...options, bias: false });
  }
}

export interface CharacterModelOptions extends RecurrentOptions {
  readonly symbols: number;
  /** Streams side by side: T * B symbols come step-major. */
  readonly batch: number;
  readonly embedding?: number;
  readonly hidden: number;
  /** Default 1. */
  readonly layers?: number;
  readonly kind?: 'lstm' | 'gru' | 'rnn';
  /** After the embedding and every layer; default 0. */
  readonly dropout?: number;
}

const KINDS = { lstm: LSTM, gru: GRU, rnn: RNN } as const;

/** A character language model: embedding, recurrent layers, logits [T * B, symbols] of the symbol that follows. */
export class CharacterModel extends Module<SparseBatch> {
  readonly embedding: Embedding;
  readonly layers: readonly Recurrent[];
  readonly dropout: Dropout;
  readonly head: Linear;
  readonly #batch: number;

  constructor(device: Device, options: CharacterModelOptions) {
    super();
    const {
      stream,
      symbols,
      batch,
      hidden,
      layers = 1,
      kind = 'lstm',
      embedding = 64,
      dropout = 0,
    } = options;
    const make = KINDS[kind];
    this.#batch = batch;
    this.embedding = new Embedding(device, symbols, embedding, { stream });
    this.layers = Array.from(
      { length: layers },
      (_, i) => new make(device, i === 0 ? embedding : hidden, hidden, options),
    );
    this.dropout = new Dropout(dropout);
    this.head = new Linear(device, hidden, symbols, { stream });
  }

  /** Streams side by side. */
  get streams(): number {
    return this.#batch;
  }

  /** The states that go on from call to call. */
  states(): Tensor[] {
    return this.layers.flatMap((layer) =>
      [layer.h, layer instanceof LSTM ? layer.c : null].filter((t) => t !== null),
    );
  }

  forward(symbols: SparseBatch, context: ForwardContext): Tensor {
    const { tape } = context;
    const rows = this.dropout.forward(this.embedding.forward(symbols, context), context);
    const steps = rows.shape[0] / this.#batch;
    let x = tape.reshape(rows, [steps, this.#batch, rows.shape[1]]);
    for (const layer of this.layers) x = this.dropout.forward(layer.forward(x, context), context);
    return this.head.forward(tape.reshape(x, [rows.shape[0], x.shape[2]]), context);
  }
}
