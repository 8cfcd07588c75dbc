import type { Floats, OutputStepCommon } from '../face.js';
import { applyRule } from './update.js';

/** What an output step does with the gradient of one label, while it exists: count it, hand it out, apply it. */
export function useLabelGradient(
  args: OutputStepCommon,
  weights: Floats,
  bias: Floats,
  label: number,
  /** Gradient of the label's weights, [width], and of its bias, [1]. */
  dw: Float64Array,
  db: Float64Array,
): void {
  const { squares } = args;
  const { rule, weightMoments, biasMoments, dWeights, dBias, updateScale } = args.update;
  const width = dw.length;
  const at = label * width;
  if (squares !== null) {
    for (let k = 0; k < width; k++) squares[0] += dw[k] * dw[k];
    squares[1] += db[0] * db[0];
  }
  if (dWeights !== null) dWeights.set(dw, at);
  if (dBias !== null) dBias[label] = db[0];
  if (rule !== null) {
    applyRule(rule, rule.weightDecay, width, weights, weightMoments, at, dw, 0, updateScale);
    applyRule(rule, 0, 1, bias, biasMoments, label, db, 0, updateScale);
  }
}
