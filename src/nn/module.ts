/** Modules: named parameters and a forward pass on a tape, as in PyTorch. */
import { Parameter } from '../autograd/parameter.js';
import type { Tape } from '../autograd/tape.js';
import type { RandomStream } from '../kernels/random.js';
import type { SparseBatch } from '../ops/sparse-batch.js';
import { Tensor } from '../tensor/tensor.js';

/** What a forward pass needs beside its input. */
export interface ForwardContext {
  readonly tape: Tape;
  readonly training: boolean;
  /** The stream that dropout draws from. */
  readonly dropoutStream: RandomStream;
}

export type ModuleInput = Tensor | SparseBatch;

export abstract class Module<In extends ModuleInput = Tensor> {
  abstract forward(x: In, context: ForwardContext): Tensor;

  /**
   * Every parameter below this module with its dotted name, in the order of definition; a shared one once, under
   * its first name, so that an optimiser moves it once.
   */
  *namedParameters(prefix = '', seen = new Set<Parameter>()): Generator<[string, Parameter]> {
    for (const [key, value] of Object.entries(this)) {
      if (value instanceof Parameter) {
        if (seen.has(value)) continue;
        seen.add(value);
        yield [prefix + key, value];
      } else if (value instanceof Module) yield* value.namedParameters(`${prefix}${key}.`, seen);
      else if (Array.isArray(value)) {
        for (const [i, child] of value.entries()) {
          if (child instanceof Module) yield* child.namedParameters(`${prefix}${key}.${i}.`, seen);
        }
      }
    }
  }

  /** What training changes beside parameters (running statistics, states), with dotted names. */
  *namedBuffers(prefix = '', seen = new Set<object>()): Generator<[string, Tensor]> {
    for (const [key, value] of Object.entries(this)) {
      const children = Array.isArray(value)
        ? value.map((child, i) => [`${key}.${i}`, child])
        : [[key, value]];
      for (const [name, child] of children) {
        if (seen.has(child)) continue;
        if (child instanceof Module) {
          seen.add(child);
          yield* child.namedBuffers(`${prefix}${name}.`, seen);
        } else if (child instanceof Tensor && !(child instanceof Parameter)) {
          seen.add(child);
          yield [prefix + name, child];
        }
      }
    }
  }

  parameters(): Parameter[] {
    return [...this.namedParameters()].map(([, parameter]) => parameter);
  }

  zeroGrad(): void {
    for (const parameter of this.parameters()) parameter.zeroGrad();
  }
}
