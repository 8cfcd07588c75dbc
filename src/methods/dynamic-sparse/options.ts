/** Options of the fixed fan-in output layer and its topology. */
import { ensure } from '../../errors.js';
import type { RandomStream } from '../../kernels/random.js';
import type { OutputBaseOptions } from '../../output/base-options.js';
import type { Draws } from '../../output/sampled-softmax.js';

/**
 * `fraction`: the smallest share of weights goes, per label or over the whole layer.
 * `threshold`: weights below tau go; tau falls from `tau` to 1e-4 along a cosine while rewiring lasts.
 */
export type PruneRule =
  | {
      readonly mode: 'fraction';
      readonly fraction: number;
      readonly scope: 'label' | 'layer';
      /** cosine: the fraction falls to 0 at the end of rewiring; constant: it stays. */
      readonly anneal: 'constant' | 'cosine';
    }
  | { readonly mode: 'threshold'; readonly tau: number };

/** Where connections come from before the first step: chance, or the gradient of every label's positives. */
export interface StartRule {
  /** `gradient`: all connections are chosen by the dense gradient at the start weights. Default `random`. */
  readonly start?: 'random' | 'gradient';
  /** Positives looked at per label, at most, wherever all of them are asked for; default 16. */
  readonly perLabel?: number;
  /**
   * How the dense gradient is multiplied where connections grow by it: `bf16` rounds h and G by at most 2^-8 of
   * themselves and takes pairs where the processor can, about twice as fast; near ties may then fall the other way.
   * Only the choice of connections depends on it, no weight. Default `float32`; the settings of a run say `bf16`.
   */
  readonly products?: 'float32' | 'bf16';
}

interface Evolution extends StartRule {
  readonly prune: PruneRule;
  /** Steps between rewirings. */
  readonly every: number;
  /** Share of all steps after which connections stay. */
  readonly until: number;
}

/** Prune the small, regrow at random: sparse evolutionary training (Mocanu et al. 2018). */
export interface SetTopology extends Evolution {
  readonly kind: 'set';
}

/** Prune the small, regrow where the dense gradient is largest (Evci et al. 2020). */
export interface RiglTopology extends Evolution {
  readonly kind: 'rigl';
  /**
   * `batch`: the gradient of one batch, as published: it says next to nothing of labels without a positive in it.
   * `positives`: every label's own positives, wherever they are, against the negatives of one batch.
   */
  readonly sample: 'batch' | 'positives';
}

/** Connections stay as they start: the control. */
export interface StaticTopology extends StartRule {
  readonly kind: 'static';
}

export type Topology = StaticTopology | SetTopology | RiglTopology;

export const defaultPerLabel = 16;

/** What rewiring asks of the training run: nothing, a batch, or all positives beside it. */
export function growsBy(topology: Topology): 'chance' | 'batch' | 'positives' {
  if (topology.start === 'gradient') return 'positives';
  return topology.kind === 'rigl' ? topology.sample : 'chance';
}

export const defaultRigl: RiglTopology = {
  kind: 'rigl',
  prune: { mode: 'fraction', fraction: 0.15, scope: 'label', anneal: 'cosine' },
  every: 300,
  until: 0.66,
  sample: 'positives',
  perLabel: defaultPerLabel,
  start: 'gradient',
};

export const defaultSet: SetTopology = {
  kind: 'set',
  prune: { mode: 'fraction', fraction: 0.15, scope: 'layer', anneal: 'constant' },
  every: 300,
  until: 0.66,
};

/** Refuses a fan-in, or a part of it, that the inputs do not have. */
export function checkFanIn({ fanIn, inputs, shared = 0 }: FanInOutputOptions): void {
  ensure(Number.isInteger(fanIn) && fanIn >= 1 && fanIn <= inputs, () => ({
    code: 'FAN_IN_RANGE',
    kind: 'usage',
    op: 'FixedFanInOutput',
    problem: 'the fan-in is out of range',
    expected: `1 to ${inputs}, the width of the hidden vectors`,
    received: `${fanIn}`,
    hint: 'use the dense output layer for a fan-in of the full width',
  }));
  ensure(Number.isInteger(shared) && shared >= 0 && shared < fanIn, () => ({
    code: 'FAN_IN_SHARED',
    kind: 'usage',
    op: 'FixedFanInOutput',
    problem: 'the number of shared inputs is out of range',
    expected: `0 to ${fanIn - 1}: at least one connection of ${fanIn} is a label's own`,
    received: `${shared}`,
    hint: 'use a bottleneck for a layer whose inputs are all shared',
  }));
}

/** Refuses settings that would never rewire, or prune more than there is. */
export function checkTopology(topology: Topology): void {
  const check = (holds: boolean, what: string, expected: string, received: number) =>
    ensure(holds, () => ({
      code: 'TOPOLOGY_RANGE',
      kind: 'usage',
      op: 'FixedFanInOutput',
      problem: `${what} is out of range`,
      expected,
      received: `${received}`,
    }));
  const { perLabel = 1 } = topology;
  check(
    Number.isInteger(perLabel) && perLabel >= 1,
    'topology.perLabel',
    'a positive whole number',
    perLabel,
  );
  if (topology.kind === 'static') return;
  const { prune, every, until } = topology;
  check(Number.isInteger(every) && every >= 1, 'topology.every', 'a positive whole number of steps', every);
  check(until >= 0 && until <= 1, 'topology.until', 'a share of all steps, 0 to 1', until);
  if (prune.mode === 'threshold') {
    check(prune.tau > 0 && prune.tau < Infinity, 'topology.prune.tau', 'a positive magnitude', prune.tau);
  } else {
    const { fraction } = prune;
    check(
      fraction >= 0 && fraction <= 1,
      'topology.prune.fraction',
      'a share of the weights, 0 to 1',
      fraction,
    );
  }
}

/**
 * `fast` keeps a second, 16-bit index for the backward product: about 2.4 more bytes per connection.
 * `compact` walks the connections once more instead: 6 bytes per connection in all, 4 with weights in bfloat16.
 */
export type FanInForm = 'fast' | 'compact';

export interface FanInOutputOptions extends Omit<OutputBaseOptions, 'chunk'> {
  /** F, connections per label. */
  readonly fanIn: number;
  /**
   * S < F of a label's connections, to the last S inputs, which are the same for all labels and never change: with inputs
   * [h, V h] they are a low-rank part of rank S beside the sparse one. Default 0.
   */
  readonly shared?: number;
  readonly topology: Topology;
  readonly form?: FanInForm;
  readonly chunk?: number;
  /** Draws start connections and weights. */
  readonly stream: RandomStream;
  /** Draws regrown connections. */
  readonly rewireStream: RandomStream;
  /**
   * Learns by sampled softmax, in the compact form: a step costs the labels drawn, F weights and F columns each.
   * Connections evolve as ever: what grows by gradients looks at all labels, on rewiring steps alone.
   */
  readonly sampling?: Draws;
}
