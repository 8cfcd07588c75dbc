/** What an output layer refuses before anything is computed or counted. */
import { EspalierError, ensure } from '../errors.js';
import type { Floats, Positives } from '../kernels/face.js';

/** Positives must be in range, sorted by label and then row, no pair twice: kernels walk them once. */
export function checkPositives(op: string, positives: Positives, batch: number, labels: number): void {
  const { count, label, row } = positives;
  let before = -1;
  for (let i = 0; i < count; i++) {
    // One number per pair, exact below 2^53.
    const pair = label[i] * batch + row[i];
    if (label[i] < labels && row[i] < batch && pair > before) {
      before = pair;
      continue;
    }
    const inside = label[i] < labels && row[i] < batch;
    throw new EspalierError({
      code: inside ? 'POSITIVES_ORDER' : 'POSITIVES_RANGE',
      kind: 'data',
      op,
      problem: inside
        ? `positive ${i} is not behind the one before it`
        : `positive ${i} lies outside of the batch or the labels`,
      expected: inside
        ? 'pairs sorted by label, then row, none twice'
        : `labels below ${labels}, rows below ${batch}`,
      received: `label ${label[i]} in row ${row[i]}`,
    });
  }
}

/** The arrays that take the gradients of a step must hold all of them. */
export function checkGradients(
  op: string,
  gradients: { readonly weights: Floats; readonly bias: Floats } | undefined,
  weights: number,
  labels: number,
): void {
  if (gradients === undefined) return;
  ensure(gradients.weights.length >= weights && gradients.bias.length >= labels, () => ({
    code: 'GRADIENTS_SHORT',
    kind: 'usage',
    op,
    problem: 'the arrays for the gradients are too short',
    expected: `${weights} weights and ${labels} biases`,
    received: `${gradients.weights.length} and ${gradients.bias.length}`,
  }));
}
