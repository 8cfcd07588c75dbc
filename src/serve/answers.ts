/** From a worker's numbers to the words of an answer. */
import type { PredictResponse, PredictResult, Why } from '../client/types.js';
import { confident, predictionsOf } from '../model/predict.js';
import type { PredictJob } from './messages.js';
import type { Generation } from './model-host.js';
import type { Answered } from './worker-lane.js';

export function predictResponse(
  { inputs, confidence, rare, explain }: PredictJob,
  { answer, by }: Answered<Generation>,
): PredictResponse {
  const { calibration, spec, id } = by.model;
  const nameOf = (label: number) => by.labels.name(label) ?? String(label);
  const asked = confidence.threshold !== undefined || confidence.precision !== undefined;
  const results = inputs.map((_, r): PredictResult => {
    const all = predictionsOf(answer, r, { calibration, spec, rare }, nameOf);
    const predictions = confident(all, confidence, calibration);
    const none = asked ? { none: predictions.length === 0 && all.length > 0 } : {};
    const result = { predictions, ...none, knownFeatures: answer.known[r] };
    if (explain === 0) return result;
    const explanations = answer.explanations[r].map((why): Why => ({ ...why, name: nameOf(why.label) }));
    return { ...result, explanations };
  });
  return { model: id, results };
}
