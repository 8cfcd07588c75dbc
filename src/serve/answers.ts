/** From a worker's numbers to the words of an answer. */
import type { PredictResponse, PredictResult, Why } from '../client/types.js';
import { confident, predictionsOf } from '../model/predict.js';
import type { Generation } from './model-host.js';
import type { ParsedPredict } from './schema.js';
import type { Answered } from './worker-lane.js';

export function predictResponse(
  { job, threshold, precision }: ParsedPredict,
  { answer, by }: Answered<Generation>,
): PredictResponse {
  const { calibration, id } = by.model;
  const nameOf = (label: number) => by.labels.name(label) ?? String(label);
  const results = job.inputs.map((_, r): PredictResult => {
    const all = predictionsOf(answer, r, by.model, nameOf);
    const predictions = confident(all, { threshold, precision }, calibration);
    const asked = threshold !== undefined || precision !== undefined;
    const none = asked ? { none: predictions.length === 0 && all.length > 0 } : {};
    const result = { predictions, ...none, knownFeatures: answer.known[r] };
    if (job.explain === 0) return result;
    const shown = answer.explanations[r].slice(0, predictions.length);
    const explanations = shown.map((why): Why => ({ ...why, name: nameOf(why.label) }));
    return { ...result, explanations };
  });
  return { model: id, results };
}
