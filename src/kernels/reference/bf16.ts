import { roundWeights, widenBf16 } from '../bf16.js';
import type { Bf16Weights, Floats, OutputStepCommon } from '../face.js';

interface Stored {
  readonly weights: Floats;
  readonly bf16?: Bf16Weights | null;
}

/** The weights as numbers of the backend's precision, wherever they are stored. */
export function weightsOf({ weights, bf16 }: Stored): Floats {
  if (!bf16) return weights;
  const wide =
    weights instanceof Float32Array
      ? new Float32Array(bf16.weights.length)
      : new Float64Array(bf16.weights.length);
  widenBf16(bf16.weights, wide);
  return wide;
}

/** A step on weights [from, to), which are rounded again once they are updated. */
export function steppingBf16<A extends Stored & OutputStepCommon>(
  args: A,
  from: number,
  to: number,
  step: (args: A) => number,
): number {
  const { bf16 } = args;
  if (!bf16) return step(args);
  const weights = weightsOf(args);
  const loss = step({ ...args, weights, bf16: null });
  if (args.backward && args.update.rule !== null)
    roundWeights(weights, bf16.rounding, from, to, bf16.weights);
  return loss;
}
