/** Takes part in the training of any network with any optimiser: a gate for every weight of the chosen layers. */
import type { Parameter } from '../../autograd/parameter.js';
import { EspalierError } from '../../errors.js';
import type { Optimizer } from '../../optim/optimizer.js';
import type { Participant, ParticipantEvent } from '../../optim/participant.js';
import type { Device } from '../../tensor/device.js';
import { countBits } from '../masks/mask.js';
import { beginsWith, chooseWeights, parametrizationTaken, type Selection } from '../masks/select.js';
import { Gated, type GateOptions } from './gated.js';

export interface GateTrainingOptions extends GateOptions, Selection {
  /** Draws of sampled gates; default 0. */
  readonly seed?: number;
  /** Settings of layers that differ, by name or beginning of a name. */
  readonly layers?: Readonly<Record<string, GateOptions>>;
}

export interface GatedNetwork {
  readonly device: Device;
  readonly optimizer: Optimizer;
  readonly instance: { readonly learner: { namedParameters(): Iterable<[string, Parameter]> } };
  readonly stepsPerEpoch: number;
  /** Of an epoch. */
  readonly examples: number;
}

/** Weights kept and there, of one layer. */
export interface GateShare {
  readonly name: string;
  readonly kept: number;
  readonly of: number;
}

/** A layer as the log tells it. */
export interface GateRecord extends GateShare {
  /** Shares of the gates in equal bins of [0, 1]. */
  readonly shares: readonly number[];
}

const bins = 20;

/** lambda1 and lambda2 for LeNet-5, of the loss summed over the examples (section 4.1). */
const PAPER = { bimodal: 0.001, spread: 0.05 };

/**
 * Training Sparse Neural Networks (Srinivas, Subramanya & Babu 2016): loss + lambda1 sum g (1 - g) + lambda2 sum g.
 * Every layer is chosen, the first convolution too, unless `exclude` names it.
 *
 * The penalties are a prior over the weights, so their loss is that of all examples together; training here minimises
 * its mean. The defaults are therefore the paper's lambda1 = 0.001 and lambda2 = 0.05 over the examples of an epoch;
 * numbers of your own are taken as they are, beside the mean loss.
 *
 * @throws EspalierError `GATE_OPTIONS`, `PARAMETRIZATION_TAKEN`
 * @example new NetworkTraining(task, { ...options, methods: (parts) => [new GateTraining(parts, { spread: 0.05 })] })
 */
export class GateTraining implements Participant {
  readonly name = 'gates';
  readonly gated: readonly { readonly name: string; readonly parameter: Parameter; readonly gates: Gated }[];
  readonly #stepsPerEpoch: number;
  #events: ParticipantEvent[] = [];

  constructor(network: GatedNetwork, options: GateTrainingOptions = {}) {
    const { device, optimizer, instance, stepsPerEpoch, examples } = network;
    const { seed = 0, layers = {}, exclude = ['embedding'] } = options;
    this.#stepsPerEpoch = stepsPerEpoch;
    this.gated = chooseWeights(instance.learner.namedParameters(), { exclude }).map(({ name, parameter }) => {
      const own = Object.entries(layers).find(([part]) => beginsWith(name, part))?.[1];
      const penalties = { bimodal: PAPER.bimodal / examples, spread: PAPER.spread / examples };
      const how = { ...penalties, ...options, ...own };
      check(how, name, parameter);
      const gates = new Gated(device, parameter, { ...how, seed, name, optimizer: optimizer.spec });
      parameter.parametrization = gates;
      return { name, parameter, gates };
    });
  }

  afterStep(step: number): void {
    if ((step + 1) % this.#stepsPerEpoch !== 0) return;
    this.#events.push({ event: 'gates', epoch: (step + 1) / this.#stepsPerEpoch, layers: this.#records() });
  }

  beforeEvaluation(): void {
    for (const { gates } of this.gated) gates.settle();
  }

  drainEvents(): readonly ParticipantEvent[] {
    return this.#events.splice(0);
  }

  /** How many weights of each layer have a gate above 1/2. */
  shares(): GateShare[] {
    return this.gated.map(({ name, parameter, gates }) => {
      gates.settle();
      return { name, kept: countBits(gates.bits, parameter.size), of: parameter.size };
    });
  }

  #records(): GateRecord[] {
    const shares = this.shares();
    return this.gated.map(({ gates: { gates } }, i) => {
      const counts = new Array<number>(bins).fill(0);
      for (const gate of gates) counts[Math.max(0, Math.min(bins - 1, Math.floor(bins * gate)))]++;
      return { ...shares[i], shares: counts.map((n) => n / Math.max(1, gates.length)) };
    });
  }

  /** Leaves plain parameters with zeros where gates are closed: the end of training. */
  finish(): void {
    for (const { gates } of this.gated) gates.finish();
  }
}

function check(how: GateOptions, name: string, parameter: Parameter): void {
  if (parameter.parametrization !== null) {
    throw parametrizationTaken('GateTraining', name, parameter.parametrization.kind);
  }
  const { bimodal = 0, spread = 0, rate = 1, start = 0.75 } = how;
  const first = typeof start === 'number' ? start : start.magnitudes;
  if (bimodal >= 0 && spread >= 0 && rate >= 0 && first >= 0 && first <= 1) return;
  throw new EspalierError({
    code: 'GATE_OPTIONS',
    kind: 'usage',
    op: 'GateTraining',
    problem: `the gates of ${name} are out of range`,
    expected: 'bimodal, spread and rate from 0 on, start in [0, 1]',
    received: JSON.stringify(how),
  });
}
