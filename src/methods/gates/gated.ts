/** Weights behind gates: effective = weight * bit, one real gate per weight that is learnt with it. */
import type { Parameter, Parametrization } from '../../autograd/parameter.js';
import type { Floats, Moments, UpdateRule } from '../../kernels/face.js';
import { RandomStream } from '../../kernels/random.js';
import { makeMoments, type OptimizerSpec } from '../../optim/rules.js';
import type { Device } from '../../tensor/device.js';
import { largestMagnitudes } from '../masks/mask.js';

export interface GateOptions {
  /** lambda1 of the mean loss: sum of g (1 - g), pushes gates to 0 or 1. Default: the paper's 0.001, see GateTraining. */
  readonly bimodal?: number;
  /** lambda2 of the mean loss: sum of g, pushes gates to 0. Default: the paper's 0.05, see GateTraining. */
  readonly spread?: number;
  /** Where gates start; `magnitudes`: 1 for the largest `keep` share of |w|, 0.49 for the rest. Default 0.75. */
  readonly start?: number | { readonly magnitudes: number };
  /** Bits are drawn with probability g in training; evaluation takes g > 1/2 either way. Default false. */
  readonly sampled?: boolean;
  /** Learning rate of gates, as a multiple of the weights'; 0: gates stay as they are. Default 1. */
  readonly rate?: number;
}

/** Srinivas, Subramanya & Babu 2016: the gates of one parameter. */
export class Gated implements Parametrization {
  readonly kind = 'gates';
  /** [n], the weights, whatever their gates say. */
  readonly weights: Floats;
  /** [n], in [0, 1] */
  readonly gates: Floats;
  /** [ceil(n / 32)], of the last `prepare`. */
  readonly bits: Uint32Array;
  readonly #device: Device;
  readonly #parameter: Parameter;
  readonly #moments: Moments;
  readonly #options: Required<Omit<GateOptions, 'start'>>;
  readonly #seed: number;
  readonly #name: string;

  constructor(
    device: Device,
    parameter: Parameter,
    options: GateOptions & {
      readonly bimodal: number;
      readonly spread: number;
      readonly optimizer: OptimizerSpec;
      readonly seed: number;
      readonly name: string;
    },
  ) {
    const { bimodal, spread, start = 0.75, sampled = false, rate = 1, seed, name } = options;
    const n = parameter.size;
    this.#device = device;
    this.#parameter = parameter;
    this.#options = { bimodal, spread, sampled, rate };
    this.#seed = seed;
    this.#name = name;
    this.weights = device.persistent('weights', [n]).data;
    this.gates = device.persistent('weights', [n]).data;
    this.bits = device.persistent('indices', [Math.ceil(n / 32)], 'uint32').raw as Uint32Array;
    this.#moments = rate === 0 ? { m: null, v: null } : makeMoments(device, options.optimizer, n);
    if (device.dry) return;
    this.weights.set(parameter.data);
    if (typeof start === 'number') this.gates.fill(start);
    else {
      const kept = largestMagnitudes(parameter.data, Math.round(n * start.magnitudes));
      for (let i = 0; i < n; i++) this.gates[i] = (kept[i >>> 5] >>> (i & 31)) & 1 ? 1 : 0.49;
    }
    this.settle();
  }

  prepare(step: number): void {
    const n = this.#parameter.size;
    const stream = RandomStream.named(this.#seed, `gates/${this.#name}/${step}`);
    this.#apply(this.#options.sampled ? stream.reserve(n) : null);
  }

  /** What will be deployed: weights whose gate is above 1/2. */
  settle(): void {
    this.#apply(null);
  }

  update(rule: UpdateRule, moments: Moments, gradScale: number): void {
    const { bimodal, spread, rate } = this.#options;
    this.#device.kernels.gateUpdate({
      ...{ n: this.#parameter.size, rule, w: this.weights, moments },
      gateRule: rate === 0 ? null : { ...rule, rate: rule.rate * rate, weightDecay: 0 },
      ...{ g: this.gates, gateMoments: this.#moments, bits: this.bits },
      ...{ grad: this.#parameter.grad?.data as Floats, gradScale, bimodal, spread },
    });
  }

  *state(): Iterable<readonly [string, Floats]> {
    yield ['weights', this.weights];
    yield ['gates', this.gates];
    if (this.#moments.m !== null) yield ['m', this.#moments.m];
    if (this.#moments.v !== null) yield ['v', this.#moments.v];
  }

  /** Leaves weight * bit in the parameter, which then stands for itself. */
  finish(): void {
    this.settle();
    this.#parameter.parametrization = null;
    const { allocator } = this.#device;
    for (const array of [this.weights, this.gates]) allocator.release('weights', array);
    allocator.release('indices', this.bits);
    for (const array of [this.#moments.m, this.#moments.v])
      if (array !== null) allocator.release('optimizer', array);
  }

  #apply(key: ReturnType<RandomStream['reserve']> | null): void {
    const { size: n, data: effective } = this.#parameter;
    this.#device.kernels.gateApply({ n, key, w: this.weights, g: this.gates, bits: this.bits, effective });
  }
}
