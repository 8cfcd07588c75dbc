/** Character language modelling: streams of text side by side, truncated backpropagation through time. */
import type { Tape } from '../../autograd/tape.js';
import { TextStreams } from '../../data/text.js';
import { EspalierError } from '../../errors.js';
import { RandomStream } from '../../kernels/random.js';
import type { CharacterModel } from '../../nn/recurrent-layers.js';
import { softmaxCrossEntropy } from '../../ops/softmax-cross-entropy.js';
import type { SparseBatch } from '../../ops/sparse-batch.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { NetworkTask, Split, TaskInstance } from './task.js';

export interface TextTaskOptions {
  readonly train: Uint16Array;
  readonly validation?: Uint16Array;
  readonly test?: Uint16Array;
  /** Different symbols. */
  readonly symbols: number;
  /** Streams side by side. */
  readonly batch: number;
  /** Symbols of a stream per training step. */
  readonly steps: number;
  readonly seed: number;
  /** Makes the network; its states must be carried for `batch` streams. */
  readonly model: (device: Device, stream: RandomStream) => CharacterModel;
}

/** @example textTask({ ...cutText(symbols), symbols: alphabet.length, batch: 32, steps: 64, seed: 1, model }) */
export function textTask(options: TextTaskOptions): NetworkTask {
  const { train, validation, test, batch, steps } = options;
  const { pieces } = new TextStreams(train, batch, steps);
  return {
    name: 'text',
    stepsPerEpoch: pieces,
    examples: pieces * batch * steps,
    dataBytes: 2 * (train.length + (validation?.length ?? 0) + (test?.length ?? 0)),
    create: (device, module) =>
      new TextInstance(
        device,
        module === undefined ? options : { ...options, model: () => module as unknown as CharacterModel },
      ),
  };
}

class TextInstance implements TaskInstance {
  readonly learner: CharacterModel;
  readonly totals = new Float64Array(2);
  readonly predictions: number;
  readonly #options: TextTaskOptions;
  readonly #streams = new Map<Split, TextStreams>();
  readonly #inputs: SparseBatch;
  readonly #targets: Uint32Array;
  readonly #dry: boolean;

  constructor(device: Device, options: TextTaskOptions) {
    const { batch, steps, symbols, seed } = options;
    const rows = batch * steps;
    this.#options = options;
    this.#dry = device.dry;
    this.predictions = rows;
    this.#targets = new Uint32Array(rows);
    this.#inputs = {
      ...{ rows, nnz: rows, width: symbols, values: null },
      indptr: Int32Array.from({ length: rows + 1 }, (_, i) => i),
      indices: new Uint32Array(rows),
    };
    this.learner = options.model(device, RandomStream.named(seed, 'init'));
  }

  trainLoss(tape: Tape, step: number, dropoutStream: RandomStream): Tensor {
    return this.#run(tape, 'train', step % this.#of('train').pieces, true, dropoutStream);
  }

  pieces(split: Split): number {
    return this.#of(split).pieces;
  }

  score(tape: Tape, split: Split, piece: number): void {
    this.#run(tape, split, piece, false, RandomStream.named(0, 'unused'));
  }

  suspend(): () => void {
    const kept = this.learner.states().map((state) => state.data.slice());
    return () => {
      for (const [i, state] of this.learner.states().entries()) state.data.set(kept[i]);
    };
  }

  #run(tape: Tape, split: Split, piece: number, training: boolean, dropoutStream: RandomStream): Tensor {
    const { indices } = this.#inputs;
    this.#of(split).fill(piece, indices, this.#targets);
    if (piece === 0 && !this.#dry) for (const state of this.learner.states()) state.data.fill(0);
    const z = this.learner.forward(this.#inputs, { tape, training, dropoutStream });
    return tape.run(softmaxCrossEntropy, { z, labels: this.#targets, smoothing: 0, totals: this.totals });
  }

  #of(split: Split): TextStreams {
    const known = this.#streams.get(split);
    if (known !== undefined) return known;
    const symbols = this.#options[split];
    if (symbols === undefined) {
      throw new EspalierError({
        code: 'SPLIT_MISSING',
        kind: 'usage',
        op: 'textTask',
        problem: `the task has no ${split} text`,
        hint: `pass ${split} to textTask`,
      });
    }
    const streams = new TextStreams(symbols, this.#options.batch, this.#options.steps);
    this.#streams.set(split, streams);
    return streams;
  }
}
