/** Measured time: which form of a layer is faster here, and how the sparse network compares with the dense one. */
import type { Floats } from '../../kernels/face.js';
import { RandomStream } from '../../kernels/random.js';
import type { Module } from '../../nn/module.js';
import type { Device } from '../../tensor/device.js';
import { sizeOf, type Tensor } from '../../tensor/tensor.js';
import { inference, type SparseNetwork } from './network.js';

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Medians of the milliseconds of both, taken in turns. */
function race(rounds: number, one: () => void, other: () => void): [number, number] {
  const times: [number[], number[]] = [[], []];
  for (const work of [one, other]) work();
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

/**
 * Chooses for every layer the form that is faster on this machine, for one example and for 64 at a time.
 * Answers are the same to rounding either way.
 */
export function chooseForms(network: SparseNetwork, device: Device, rounds = 15): void {
  const { input } = network.program;
  for (const [size, batch] of [
    ['few', 1],
    ['many', 64],
  ] as const) {
    const context = inference(device);
    for (const layer of network.weighted()) {
      // The input that this layer gets: the network is run up to it.
      device.arena.reset();
      const x = device.temporary('data', [batch, ...input]);
      x.data.set(examples(batch * sizeOf(input)));
      const seen: Tensor[] = [];
      const real = layer.forward;
      layer.forward = (own, how) => {
        const copy = device.temporary('data', own.shape);
        copy.data.set(own.data);
        seen.push(copy);
        return real.call(layer, own, how);
      };
      network.forward(x, context);
      layer.forward = real;
      const run = (form: 'sparse' | 'dense') => () => device.release(layer.run(form, seen[0], context));
      const [sparse, dense] = race(rounds, run('sparse'), run('dense'));
      layer.forms[size] = sparse <= dense ? 'sparse' : 'dense';
    }
  }
}

export interface Latency {
  readonly batch: number;
  /** Milliseconds per batch. */
  readonly dense: number;
  readonly sparse: number;
}

/** Medians of interleaved forward passes of the network as it was trained and as it was exported. */
export function compareLatency(
  device: Device,
  learner: Module,
  network: SparseNetwork,
  batches: readonly number[] = [1, 64],
  rounds = 51,
): Latency[] {
  const { input } = network.program;
  const context = inference(device);
  return batches.map((batch) => {
    const values = examples(batch * sizeOf(input)) as Floats;
    const pass = (of: Module) => () => {
      device.arena.reset();
      const x = device.temporary('data', [batch, ...input]);
      x.data.set(values);
      of.forward(x, context);
    };
    const [sparse, dense] = race(rounds, pass(network), pass(learner));
    return { batch, dense, sparse };
  });
}
