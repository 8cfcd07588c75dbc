/** From a worker's numbers to the words of an answer. */
import type { PredictResponse, PredictResult, Why } from '../client/types.js';
import { evidenceIn } from '../model/evidence.js';
import { isSparse, type ModelInput } from '../model/input.js';
import { predictionsOf } from '../model/predict.js';
import type { Generation } from './model-host.js';
import type { ParsedPredict } from './schema.js';
import type { Answered } from './worker-lane.js';

export function predictResponse(
  { job, threshold }: ParsedPredict,
  { answer, by }: Answered<Generation>,
): PredictResponse {
  const { spec, id } = by.model;
  const nameOf = (label: number) => by.labels.name(label) ?? String(label);
  const results = job.inputs.map((input, r): PredictResult => {
    const predictions = predictionsOf(answer, r, spec, nameOf).filter(
      ({ probability, score }) => (probability ?? score) >= threshold,
    );
    const result = { predictions, knownFeatures: answer.known[r] };
    if (job.explain === 0) return result;
    const explanations = answer.explanations[r]
      .slice(0, predictions.length)
      .map(
        (why): Why => ({ ...why, name: nameOf(why.label), highlights: highlights(input, by.fields, why) }),
      );
    return { ...result, explanations };
  });
  return { model: id, results };
}

function highlights(
  input: ModelInput,
  fields: readonly string[],
  why: Omit<Why, 'name' | 'highlights'>,
): Why['highlights'] {
  if (isSparse(input)) return [];
  const texts = typeof input === 'string' ? { [fields[0]]: input } : input;
  return Object.entries(texts).flatMap(([field, text]) =>
    evidenceIn(text, field, why).map((place) => ({ field, ...place })),
  );
}
