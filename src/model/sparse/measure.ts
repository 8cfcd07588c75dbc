/** Measured time: which form of a layer is faster here, and how the sparse network compares with the dense one. */
import type { Floats } from '../../kernels/face.js';
import { RandomStream } from '../../kernels/random.js';
import type { Module } from '../../nn/module.js';
import type { SparseBatch } from '../../ops/sparse-batch.js';
import type { Device } from '../../tensor/device.js';
import { sizeOf, type Tensor } from '../../tensor/tensor.js';
import { inference, MANY, type SparseNetwork } from './network.js';
import type { Program } from './program.js';

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Medians of the milliseconds of both, taken in turns. */
function race(rounds: number, one: () => void, other: () => void): [number, number] {
  const times: [number[], number[]] = [[], []];
  for (const work of [one, other]) {
    // Microseconds of work are measured once the interpreter has compiled them.
    const until = performance.now() + 20;
    do work();
    while (performance.now() < until);
  }
  for (let round = 0; round < rounds; round++) {
    for (const [i, work] of [one, other].entries()) {
      const since = performance.now();
      work();
      times[i].push(performance.now() - since);
    }
  }
  return [median(times[0]), median(times[1])];
}

function examples(size: number): Float32Array {
  const stream = RandomStream.named(1, 'examples');
  return Float32Array.from({ length: size }, () => 2 * stream.uniform() - 1);
}

/** An input for `batch` examples; of text as many steps of every stream. */
function inputOf(device: Device, { input, steps }: Program, batch: number, values: Floats): Tensor {
  const [first, second] = steps;
  if (first.kind !== 'embedding') {
    const x = device.temporary('data', [batch, ...input]);
    x.data.set(values.subarray(0, x.size));
    return x;
  }
  const rows = batch * (second?.kind === 'recurrent' ? second.streams : 1);
  const symbols: SparseBatch = {
    ...{ rows, nnz: rows, width: first.table.outputs, values: null },
    indptr: Int32Array.from({ length: rows + 1 }, (_, i) => i),
    indices: Uint32Array.from({ length: rows }, (_, i) => (i * 31) % first.table.outputs),
  };
  return symbols as unknown as Tensor;
}

/**
 * Chooses for every layer the form that is faster on this machine, for one example and for 64 at a time.
 * Answers are the same to rounding either way.
 */
export function chooseForms(network: SparseNetwork, device: Device, rounds = 15): void {
  const { program } = network;
  for (const [size, batch] of [
    ['few', 1],
    ['many', 64],
  ] as const) {
    const context = inference(device);
    const values = examples(batch * sizeOf(program.input)) as Floats;
    for (const layer of network.weighted()) {
      // The input that this layer gets: the network is run up to it.
      device.arena.reset();
      const seen: Tensor[] = [];
      const real = layer.forward;
      layer.forward = (own, how) => {
        if (seen.length === 0) {
          const copy = device.temporary('data', own.shape);
          copy.data.set(own.data);
          seen.push(copy);
        }
        return real.call(layer, own, how);
      };
      network.forward(inputOf(device, program, batch, values), context);
      layer.forward = real;
      const run = (form: 'sparse' | 'dense') => () => device.release(layer.run(form, seen[0], context));
      const [sparse, dense] = race(rounds, run('sparse'), run('dense'));
      layer.forms[size] = sparse <= dense ? 'sparse' : 'dense';
    }
  }
}

export interface Latency {
  readonly batch: number;
  /** Milliseconds per batch: of the network as it was trained. */
  readonly dense: number;
  /** Of the exported network. */
  readonly sparse: number;
  /** Of the exported network with every zero multiplied, where its layers are linear and the examples few; else null. */
  readonly exportedDense: number | null;
}

/** Medians of interleaved passes of the network as it was trained and as it was exported. */
export function compareLatency(
  device: Device,
  learner: Module,
  network: SparseNetwork,
  batches: readonly number[] = [1, 64],
  rounds = 51,
): Latency[] {
  const { program } = network;
  const context = inference(device);
  return batches.map((batch) => {
    const values = examples(batch * sizeOf(program.input)) as Floats;
    const pass = (of: Module) => () => {
      device.arena.reset();
      of.forward(inputOf(device, program, batch, values), context);
    };
    const text = program.steps[0].kind === 'embedding';
    const own = text ? pass(network) : () => void network.logits(values, batch);
    const [sparse, dense] = race(rounds, own, pass(learner));
    const few = batch < MANY && !text && network.logitsAs('dense', values, batch) !== null;
    const plain = () => void network.logitsAs('dense', values, batch);
    return { batch, dense, sparse, exportedDense: few ? race(rounds, plain, own)[0] : null };
  });
}
