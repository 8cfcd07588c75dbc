/** Options of the factored output layer, and what it refuses. */
import { EspalierError, ensure } from '../../errors.js';
import type { RandomStream } from '../../kernels/random.js';
import type { OptimizerSpec } from '../../optim/rules.js';
import { type SphericalLoss, sphericalSoftmax, squaredError, taylorSoftmax, zLoss } from './losses.js';

export interface FactoredOptions {
  /** d */
  readonly inputs: number;
  /** L */
  readonly labels: number;
  /** One of losses.ts, or your own. */
  readonly loss: SphericalLoss;
  /** Plain SGD, with weight decay if wanted; anything else is refused. */
  readonly optimizer: OptimizerSpec;
  /** Draws the start weights, U(-1/sqrt(d), 1/sqrt(d)). */
  readonly stream: RandomStream;
  /** Start weights are uniform within +-startScale / sqrt(d); default 1. */
  readonly startScale?: number;
  /** Takes steps whose rate makes plain SGD itself grow instead of refusing them; default false. */
  readonly allowUnstable?: boolean;
  /** Largest ratio of singular values of U; default 1e3: rounding errors grow with it. */
  readonly band?: number;
  /** Steps between comparisons of Q and wbar with the weights themselves, one pass over V; default 10,000. */
  readonly probeEvery?: number;
}

export const spherical = {
  squaredError: (_: LossSettings) => squaredError,
  sphericalSoftmax: (settings: LossSettings) => sphericalSoftmax(settings),
  taylorSoftmax: (_: LossSettings) => taylorSoftmax,
  zLoss: (settings: LossSettings) => zLoss(settings),
} as const;
export type SphericalLossName = keyof typeof spherical;
export const sphericalLossNames = Object.keys(spherical) as SphericalLossName[];

export interface LossSettings {
  /** Of the spherical softmax. */
  readonly epsilon?: number;
  /** Of the Z-loss. */
  readonly alpha?: number;
  readonly beta?: number;
}

/** The loss of that name; refuses BCE, hinge and softmax, and says why. */
export function sphericalLoss(name: string, settings: LossSettings = {}): SphericalLoss {
  ensure(Object.hasOwn(spherical, name), () => ({
    code: 'FACTORED_LOSS',
    kind: 'usage',
    op: 'FactoredOutput',
    problem: `the loss ${JSON.stringify(name)} needs every single output, which this layer never computes`,
    expected: sphericalLossNames.join(', '),
    received: name,
    hint: 'BCE and hinge losses belong to the dense and the fan-in layer; the nearest to softmax are taylorSoftmax and zLoss',
  }));
  return spherical[name as SphericalLossName](settings);
}

/** Refuses optimisers that do not keep W = V U + 1 omega^T, sizes that are none, and starts that cannot be left. */
export function checkFactored(op: string, options: FactoredOptions): void {
  const { optimizer, inputs, labels, startScale = 1, band = 1e3, probeEvery = 1, loss } = options;
  const momentum =
    optimizer.kind === 'sgd' && ((optimizer.momentum ?? 0) !== 0 || (optimizer.nesterov ?? false));
  if (optimizer.kind !== 'sgd' || momentum) {
    throw new EspalierError({
      code: 'FACTORED_OPTIMIZER',
      kind: 'usage',
      op,
      problem:
        'only plain SGD keeps the updates of this layer at low rank: moments would be full matrices of L x d numbers that change everywhere at every step',
      expected: 'sgd without momentum; weight decay is welcome',
      received: momentum ? `sgd with momentum` : optimizer.kind,
      hint: 'set outputOptimizer to { kind: "sgd", rate: ... }; the encoder may keep its own optimiser',
    });
  }
  const check = (holds: boolean, code: string, what: string, expected: string, received: number) =>
    ensure(holds, () => ({ code, kind: 'usage', op, problem: what, expected, received: `${received}` }));
  const whole = (x: number) => Number.isSafeInteger(x) && x >= 1;
  check(whole(inputs), 'FACTORED_SIZE', 'the width of the hidden vectors is no size', '1 or more', inputs);
  check(whole(labels), 'FACTORED_SIZE', 'the number of labels is no size', '1 or more', labels);
  check(band > 1, 'FACTORED_BAND', 'the band of singular values is empty', 'a ratio above 1', band);
  check(whole(probeEvery), 'FACTORED_PROBE', 'probeEvery is out of range', '1 step or more', probeEvery);
  ensure(startScale !== 0 || loss.leavesZero, () => ({
    code: 'ZERO_START',
    kind: 'usage',
    op,
    problem: `the gradient of ${loss.name} is zero (or none) where all weights are zero: training would never leave the start`,
    expected: 'startScale above 0',
    received: `${startScale}`,
  }));
}

/** Target values must be numbers. */
export function checkValues(op: string, count: number, values: ArrayLike<number> | null | undefined): void {
  if (values === null || values === undefined) return;
  ensure(values.length >= count, () => ({
    code: 'TARGET_VALUES_SHORT',
    kind: 'data',
    op,
    problem: 'there is not one value per target',
    expected: `${count}`,
    received: `${values.length}`,
  }));
  for (let i = 0; i < count; i++) {
    ensure(Number.isFinite(values[i]), () => ({
      code: 'TARGET_VALUE',
      kind: 'data',
      op,
      problem: `the value of target ${i} is not finite`,
      received: `${values[i]}`,
    }));
  }
}
