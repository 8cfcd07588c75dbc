/** Takes part in the training of any network with any optimiser: masks by magnitude, phase after phase. */
import type { Parameter } from '../../autograd/parameter.js';
import { EspalierError } from '../../errors.js';
import type { Optimizer } from '../../optim/optimizer.js';
import type { Participant, ParticipantEvent, ParticipantState } from '../../optim/participant.js';
import type { Device } from '../../tensor/device.js';
import { FixedMask, largestMagnitudes } from '../masks/mask.js';
import {
  beginsWith,
  type Chosen,
  chooseWeights,
  parametrizationTaken,
  type Selection,
} from '../masks/select.js';
import { type Phase, type Span, spansOf, sparsityAt } from './phases.js';

export interface PhasedMaskOptions extends Selection {
  readonly phases: readonly Phase[];
  /** Sparsities of layers that differ from the phase's, by name or beginning of a name; dense phases stay dense. */
  readonly layers?: Readonly<Record<string, number>>;
}

export interface MaskedNetwork {
  readonly device: Device;
  readonly optimizer: Optimizer;
  readonly instance: { readonly learner: { namedParameters(): Iterable<[string, Parameter]> } };
  readonly stepsPerEpoch: number;
  readonly steps: number;
}

/**
 * In a sparse phase every chosen parameter keeps its largest magnitudes; the rest is exactly 0, as are its gradients and
 * moments, until a dense phase lets it start from 0 again.
 *
 * @throws EspalierError `PHASES_INVALID`
 * @example new NetworkTraining(task, { ...options, methods: (parts) => [new PhasedMasks(parts, { phases: densePhases(...) })] })
 */
export class PhasedMasks implements Participant {
  readonly name = 'phases';
  readonly spans: readonly Span[];
  readonly chosen: readonly Chosen[];
  readonly #network: MaskedNetwork;
  readonly #layers: Readonly<Record<string, number>>;
  #phase = -1;
  /** That the masks of the phase have; NaN: no masks. */
  #sparsity = Number.NaN;
  #events: ParticipantEvent[] = [];

  constructor(network: MaskedNetwork, options: PhasedMaskOptions) {
    this.#network = network;
    this.#layers = options.layers ?? {};
    this.spans = spansOf(options.phases, network.stepsPerEpoch, network.steps);
    this.chosen = chooseWeights(network.instance.learner.namedParameters(), options);
  }

  /** Masks of all chosen parameters, which sparse phases hold. */
  plan(): void {
    if (this.spans.every(({ sparsity = 0 }) => sparsity === 0)) return;
    for (const one of this.chosen) this.#maskOf(one);
  }

  beforeStep(step: number): void {
    const phase = this.spans.findIndex(({ end }) => step < end);
    const span = this.spans[phase];
    const sparsity = sparsityAt(span, this.#before(phase), step, this.#network.stepsPerEpoch);
    const wanted = (span.sparsity ?? 0) > 0 ? sparsity : Number.NaN;
    const entered = phase !== this.#phase;
    if (entered || !Object.is(wanted, this.#sparsity)) this.#enter(phase, wanted, entered, step);
  }

  rateFactor(step: number): number {
    return this.spans.find(({ end }) => step < end)?.rate ?? 1;
  }

  drainEvents(): readonly ParticipantEvent[] {
    return this.#events.splice(0);
  }

  state(): ParticipantState {
    return { arrays: [], values: { phase: this.#phase, sparsity: this.#sparsity } };
  }

  restore(values: unknown): void {
    const { phase, sparsity } = (values ?? {}) as { phase?: unknown; sparsity?: unknown };
    if (!Number.isInteger(phase) || typeof sparsity !== 'number' || (phase as number) >= this.spans.length) {
      throw new EspalierError({
        code: 'CHECKPOINT_STATE',
        kind: 'data',
        op: 'resume',
        problem: 'the checkpoint was not made with these phases',
        received: JSON.stringify(values),
      });
    }
    this.#phase = phase as number;
    this.#sparsity = sparsity;
    // The bits themselves come with the arrays of the checkpoint.
    for (const one of this.chosen) {
      if (Number.isNaN(sparsity)) this.#drop(one.parameter);
      else this.#maskOf(one);
    }
  }

  #before(phase: number): number {
    return phase === 0 ? 0 : (this.spans[phase - 1].sparsity ?? 0);
  }

  #enter(phase: number, sparsity: number, entered: boolean, step: number): void {
    const { optimizer } = this.#network;
    const span = this.spans[phase];
    // A phase as sparse as the one before goes on with its masks.
    const same = Object.is(sparsity, this.#sparsity);
    for (const one of same ? [] : this.chosen) {
      const { name, parameter } = one;
      if (Number.isNaN(sparsity)) this.#drop(parameter);
      else {
        const share = this.#share(name, sparsity, span.sparsity ?? 0);
        const keep = Math.round(parameter.size * (1 - share));
        const bits = largestMagnitudes(parameter.data, keep);
        this.#maskOf(one).set(bits, optimizer.momentsOf(parameter));
      }
    }
    this.#phase = phase;
    this.#sparsity = sparsity;
    if (entered) {
      this.#events.push({
        event: 'phase',
        name: span.name,
        step,
        sparsity: span.sparsity ?? 0,
        rate: span.rate ?? 1,
      });
    }
  }

  /** A layer's own sparsity, on its way there as far as the phase is. */
  #share(name: string, now: number, goal: number): number {
    const own = Object.entries(this.#layers).find(([part]) => beginsWith(name, part))?.[1];
    return own === undefined ? now : goal === 0 ? 0 : (own * now) / goal;
  }

  #maskOf({ name, parameter }: Chosen): FixedMask {
    if (parameter.parametrization instanceof FixedMask) return parameter.parametrization;
    if (parameter.parametrization !== null) {
      throw parametrizationTaken('PhasedMasks', name, parameter.parametrization.kind);
    }
    const mask = new FixedMask(this.#network.device, parameter);
    parameter.parametrization = mask;
    return mask;
  }

  #drop(parameter: Parameter): void {
    if (parameter.parametrization instanceof FixedMask) parameter.parametrization.release();
  }
}
