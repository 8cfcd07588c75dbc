/** What an output layer refuses before anything is computed or counted. */
import { EspalierError, ensure } from '../errors.js';
import type { Floats, Positives } from '../kernels/face.js';
import { shapeText, type Tensor } from '../tensor/tensor.js';
import type { LabelStart, OutputLayer } from './layer.js';

/** Positives of layers whose targets are 0 or 1: pairs as below, and no values, which would be forgotten. */
export function checkPositives(op: string, positives: Positives, batch: number, labels: number): void {
  checkPairs(op, positives, batch, labels);
  refuseValues(op, positives);
}

/** Pairs must be in range, sorted by label and then row, none twice: kernels walk them once. */
export function checkPairs(op: string, positives: Positives, batch: number, labels: number): void {
  const { count, label, row, capacity = count } = positives;
  ensure(count <= capacity, () => ({
    code: 'POSITIVES_CAPACITY',
    kind: 'usage',
    op,
    problem: 'a batch has more positives than were announced, and than room was planned for',
    expected: `at most ${capacity}`,
    received: `${count}`,
    hint: 'plan with the largest number of positives that a batch can have',
  }));
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

/** k of `topK`. */
export function checkTopK(k: number): void {
  ensure(Number.isInteger(k) && k > 0, () => ({
    code: 'TOP_K_RANGE',
    kind: 'usage',
    op: 'topK',
    problem: 'k is not a positive whole number',
    received: `${k}`,
  }));
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

function refuseValues(op: string, { values, count }: Positives): void {
  for (let i = 0; values != null && i < count; i++) {
    ensure(values[i] === 1, () => ({
      code: 'TARGET_VALUES',
      kind: 'usage',
      op,
      problem: 'the targets of this layer are labels without values',
      expected: 'no values, or all 1',
      received: `${values[i]}`,
      hint: 'the factored layer (model.output.kind = "factored") takes real-valued targets',
    }));
  }
}

/** Hidden vectors [B, inputs]; returns B. */
export function checkHidden(op: string, h: Tensor, inputs: number): number {
  ensure(h.shape.length === 2 && h.shape[1] === inputs, () => ({
    code: 'SHAPE_MISMATCH',
    kind: 'usage',
    op,
    problem: 'the hidden vectors have the wrong width',
    expected: `[_, ${inputs}]`,
    received: shapeText(h.shape),
  }));
  return h.shape[0];
}

/** A label must exist. */
export function checkLabel(op: string, label: number, labels: number): void {
  ensure(Number.isInteger(label) && label >= 0 && label < labels, () => ({
    code: 'LABEL_RANGE',
    kind: 'usage',
    op,
    problem: 'there is no such label',
    expected: `0 to ${labels - 1}`,
    received: `${label}`,
  }));
}

/** Labels that start anew, each once, with a row of weights and a bias each. */
export function checkStart(
  op: string,
  labels: Uint32Array,
  { weights, bias }: LabelStart,
  layer: { readonly labels: number; readonly inputs: number },
): void {
  const seen = new Set<number>();
  for (const label of labels) {
    checkLabel(op, label, layer.labels);
    seen.add(label);
  }
  const n = labels.length;
  ensure(seen.size === n && weights.length === n * layer.inputs && bias.length === n, () => ({
    code: 'LABEL_START',
    kind: 'usage',
    op,
    problem: 'there is not one row of weights and one bias for each of the labels, named once',
    expected: `${n} different labels, ${n * layer.inputs} weights and ${n} biases`,
    received: `${seen.size} labels, ${weights.length} weights and ${bias.length} biases`,
  }));
}

/** `StepOptions.from`, where it is given, of a layer that can leave labels out of a step. */
export function checkFrom(op: string, layer: Pick<OutputLayer, 'labels' | 'capabilities'>, from = 0): void {
  const able = layer.capabilities.learnsFrom;
  ensure(from === 0 || (able && Number.isInteger(from) && from > 0 && from <= layer.labels), () => ({
    code: 'STEP_FROM',
    kind: 'usage',
    op,
    problem: able ? 'there is no such label to begin with' : 'this layer cannot leave labels out of a step',
    expected: able ? `0 to ${layer.labels}` : '0',
    received: `from ${from}`,
  }));
}

/** Arguments of `shiftLogits`. */
export function checkShift(op: string, labels: number, from: number, by: number): void {
  ensure(Number.isInteger(from) && from >= 0 && from <= labels && Number.isFinite(by), () => ({
    code: 'LABEL_SHIFT',
    kind: 'usage',
    op,
    problem: 'there is no such label to begin with, or no finite number to add',
    expected: `a label of 0 to ${labels}, and a finite number`,
    received: `from ${from} by ${by}`,
  }));
}

/** New label j continues old label map[j]; -1 starts anew. */
export function checkLabelMap(map: Int32Array, labels: number): void {
  for (const from of map) {
    ensure(from >= -1 && from < labels, () => ({
      code: 'LABEL_MAP_RANGE',
      kind: 'usage',
      op: 'resizeLabels',
      problem: 'the label map names an old label that does not exist',
      expected: `-1 to ${labels - 1}`,
      received: `${from}`,
    }));
  }
}
