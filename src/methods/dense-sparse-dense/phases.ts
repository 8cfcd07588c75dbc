/** Training in phases, each with its sparsity and its rate: DSD, one-shot and gradual pruning are lists of them. */
import { EspalierError } from '../../errors.js';

export interface Phase {
  readonly name: string;
  readonly epochs: number;
  /** Share of the weights that are 0; default 0: dense, no mask. */
  readonly sparsity?: number;
  /**
   * The sparsity rises to `sparsity` along a cubic over the phase, from that of the phase before, in steps of `every`
   * epochs: s_t = s_f + (s_0 - s_f) (1 - t)^3 (Zhu & Gupta 2018, eq. 1); default: at once.
   */
  readonly gradual?: { readonly every: number };
  /** Multiplies the learning rate; default 1. */
  readonly rate?: number;
}

export interface DsdPhases {
  /** Epochs of the first dense, each sparse and each later dense phase. */
  readonly dense: number;
  readonly sparse: number;
  readonly redense: number;
  /** Default 0.3; the paper uses 0.25 to 0.5. */
  readonly sparsity?: number;
  /** Sparse and dense phases after the first; default 1. */
  readonly rounds?: number;
  /** Of the rate in the last dense phase of each round; default 0.1 (Han et al. 2017, section 3). */
  readonly finalRate?: number;
}

/**
 * Dense, sparse, dense (Han et al. 2017), with as many rounds as asked for.
 * @example densePhases({ dense: 6, sparse: 3, redense: 3, sparsity: 0.5 })
 */
export function densePhases(how: DsdPhases): Phase[] {
  const { sparsity = 0.3, rounds = 1, finalRate = 0.1 } = how;
  const later = Array.from({ length: rounds }, (_, i): Phase[] => [
    { name: rounds === 1 ? 'sparse' : `sparse ${i + 1}`, epochs: how.sparse, sparsity },
    { name: rounds === 1 ? 'dense again' : `dense again ${i + 1}`, epochs: how.redense, rate: finalRate },
  ]);
  return [{ name: 'dense', epochs: how.dense }, ...later.flat()];
}

/** Trains, prunes once by magnitude, trains on what is left (Han et al. 2015). */
export function oneShotPhases(dense: number, tuning: number, sparsity: number, rate = 0.1): Phase[] {
  return [
    { name: 'dense', epochs: dense },
    { name: 'tuning', epochs: tuning, sparsity, rate },
  ];
}

/** Trains, prunes little by little, and trains on what is left (Zhu & Gupta 2018). */
export function gradualPhases(
  how: { readonly dense: number; readonly pruning: number; readonly tuning: number; readonly every?: number },
  sparsity: number,
): Phase[] {
  return [
    { name: 'dense', epochs: how.dense },
    { name: 'pruning', epochs: how.pruning, sparsity, gradual: { every: how.every ?? 0.1 } },
    { name: 'tuning', epochs: how.tuning, sparsity },
  ];
}

/** A phase in steps. */
export interface Span extends Phase {
  readonly begin: number;
  readonly end: number;
}

/**
 * The phases in steps; the last one takes what rounding leaves.
 * @throws EspalierError `PHASES_INVALID`
 */
export function spansOf(phases: readonly Phase[], stepsPerEpoch: number, steps: number): Span[] {
  const total = phases.reduce((sum, { epochs }) => sum + epochs, 0);
  const sound = phases.every(
    ({ epochs, sparsity = 0, rate = 1, gradual }) =>
      epochs > 0 && sparsity >= 0 && sparsity < 1 && rate > 0 && (gradual === undefined || gradual.every > 0),
  );
  if (!sound || phases.length === 0 || Math.abs(total * stepsPerEpoch - steps) > Math.max(1, 1e-6 * steps)) {
    throw new EspalierError({
      code: 'PHASES_INVALID',
      kind: 'usage',
      op: 'phases',
      problem: 'the phases are not those of this training',
      expected: `epochs that add up to ${steps / stepsPerEpoch}, sparsities in [0, 1), rates and intervals above 0`,
      received: JSON.stringify(phases),
    });
  }
  let begin = 0;
  let epochs = 0;
  return phases.map((phase, i) => {
    epochs += phase.epochs;
    const end = i === phases.length - 1 ? steps : Math.min(steps, Math.round(epochs * stepsPerEpoch));
    const span = { ...phase, begin, end };
    begin = end;
    return span;
  });
}

/** The sparsity that holds at a step, given that of the phase before. */
export function sparsityAt(span: Span, before: number, step: number, stepsPerEpoch: number): number {
  const { sparsity = 0, gradual, begin, end } = span;
  if (gradual === undefined) return sparsity;
  const every = Math.max(1, Math.round(gradual.every * stepsPerEpoch));
  const rises = Math.max(1, Math.floor((end - 1 - begin) / every));
  const progress = Math.min(1, Math.floor((step - begin) / every) / rises);
  return sparsity + (before - sparsity) * (1 - progress) ** 3;
}
