/** What a model may be asked about: text, values by column, or numbered features; and how that becomes a row. */
import type { FeaturizerRow } from '../data/featurizer/index.js';
import { EspalierError, suggest } from '../errors.js';
import type { LoadedModel } from './model-io.js';
import type { SparseInput } from './predict.js';

/** Free text, values by the name of their column, or numbered features. */
export type ModelInput = FeaturizerRow | SparseInput;

export const isSparse = (input: ModelInput): input is SparseInput =>
  typeof input === 'object' && 'indices' in input && typeof input.indices === 'object' && 'values' in input;

/**
 * Features of an input. Text alone goes to the first text column of the model's featurizer.
 * @throws EspalierError `PREDICT_NO_TEXT`, `PREDICT_FIELD`, `PREDICT_FEATURE`, `FEATURE_VALUE`
 */
export function rowOf({ featurizer }: Pick<LoadedModel, 'featurizer'>, input: ModelInput): SparseInput {
  if (isSparse(input)) {
    if (input.indices.length === input.values.length) return input;
    throw new EspalierError({
      code: 'PREDICT_FEATURE',
      kind: 'data',
      op: 'predict',
      problem: 'there is not one value per index',
      expected: `${input.indices.length} values`,
      received: `${input.values.length}`,
    });
  }
  if (featurizer === null) {
    throw new EspalierError({
      code: 'PREDICT_NO_TEXT',
      kind: 'usage',
      op: 'predict',
      problem: 'this model was trained on numbered features, not on text',
      expected: 'features: { indices, values }',
      received: 'text',
    });
  }
  if (typeof input === 'string') return featurizer.featurize([input]);
  const { columns } = featurizer;
  for (const name of Object.keys(input)) {
    if (columns.includes(name)) continue;
    const near = suggest(name, columns);
    throw new EspalierError({
      code: 'PREDICT_FIELD',
      kind: 'data',
      op: 'predict',
      problem: `this model has no column ${JSON.stringify(name.slice(0, 80))}`,
      expected: columns.map((column) => JSON.stringify(column)).join(', '),
      received: JSON.stringify(name.slice(0, 80)),
      hint: near === undefined ? undefined : `did you mean ${JSON.stringify(near)}?`,
    });
  }
  return featurizer.featurize([input]);
}
