/** A factored model as one with plain weights: W = V U + 1 omega^T, written out once. */
import { EspalierError } from '../errors.js';
import { FactoredOutput } from '../methods/factored/factored-output.js';
import { Classifier } from './classifier.js';
import type { LoadedModel } from './model-io.js';
import { modelArrays } from './state.js';

/**
 * The same model with the output weights W [L, d] of a factored layer as one array: what any other program can read,
 * and what answers single queries a little sooner. Takes L * d more numbers while both exist.
 *
 * @throws EspalierError `EXPORT_PLAIN` for models whose weights are plain already.
 * @example const classifier = plainClassifier(await loadClassifier('runs/words', kernels));
 */
export function plainClassifier({ classifier, shape, spec }: LoadedModel): Classifier {
  const { output, device } = classifier;
  if (spec.output.kind !== 'factored' || !(output instanceof FactoredOutput)) {
    throw new EspalierError({
      code: 'EXPORT_PLAIN',
      kind: 'usage',
      op: 'plainClassifier',
      problem: 'only factored weights can be written out, and those of this model are plain',
      received: `output kind ${spec.output.kind}`,
      hint: 'the model directory itself is safetensors and JSON: any tool can read it',
    });
  }
  const plain = new Classifier(
    device,
    shape,
    { ...spec, output: { ...spec.output, form: 'dense' } },
    { seed: 0, outputOptimizer: { kind: 'sgd', rate: 1 } },
  );
  const from = new Map(modelArrays(classifier).map(({ name, data }) => [name, data]));
  const weights = output.plainWeights();
  for (const { name, data } of modelArrays(plain)) {
    data.set(name === 'output.weights' ? weights : (from.get(name) as typeof weights));
  }
  plain.output.loaded();
  return plain;
}
