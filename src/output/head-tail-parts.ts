/** What a layer of two parts hands to each of them: labels, positives, and room for gradients. */
import type { Floats, Positives } from '../kernels/face.js';
import type { Device } from '../tensor/device.js';
import { checkGradients } from './check.js';
import type { OutputLayer, StepOptions } from './layer.js';

interface Parts {
  readonly head: OutputLayer;
  readonly tail: OutputLayer;
}

type Gradients = NonNullable<StepOptions['gradients']>;

/** The `count` most frequent labels, ascending; of equally frequent ones the smaller. */
export function mostFrequent(frequencies: ArrayLike<number>, count: number): Uint32Array {
  const order = Uint32Array.from({ length: frequencies.length }, (_, l) => l);
  order.sort((a, b) => frequencies[b] - frequencies[a] || a - b);
  return order.slice(0, count).sort();
}

/** Those elements of `ofLabels` that belong to `labels`. */
export function ofPart<T extends number | Floats>(ofLabels: T, labels: Uint32Array): number | Float64Array {
  return typeof ofLabels === 'number' ? ofLabels : Float64Array.from(labels, (label) => ofLabels[label]);
}

/**
 * The positives of both parts, numbered as they number labels; their order stays.
 *
 * @param place [L], the number of a label within the head, or ~ the number within the tail
 */
export function splitPositives(
  device: Device,
  place: Int32Array,
  targets: Positives,
): { head: Positives; tail: Positives; release: () => void } {
  const { count } = targets;
  // The share of the head is known only now: every part gets room for all of them, so that plans stay exact.
  const capacity = targets.capacity ?? count;
  const label = device.temporary('workspace', [capacity], 'uint32');
  const row = device.temporary('workspace', [capacity], 'uint32');
  const [labels, rows] = [label.raw as Uint32Array, row.raw as Uint32Array];
  const seen = device.dry ? 0 : count;
  let heads = 0;
  for (let i = 0; i < seen; i++) if (place[targets.label[i]] >= 0) heads++;
  let [atHead, atTail] = [0, heads];
  for (let i = 0; i < seen; i++) {
    const own = place[targets.label[i]];
    const at = own >= 0 ? atHead++ : atTail++;
    labels[at] = own >= 0 ? own : ~own;
    rows[at] = targets.row[i];
  }
  const part = (from: number, to: number): Positives => ({
    count: to - from,
    capacity,
    label: labels.subarray(from, to),
    row: rows.subarray(from, to),
  });
  const release = () => {
    for (const used of [label, row]) device.release(used);
  };
  return { head: part(0, heads), tail: part(heads, seen), release };
}

/** Connections of each label, in order: where its row begins in arrays of gradients. */
function rowLengths({ head, tail }: Parts): { head: number; tail: number } {
  const length = (part: OutputLayer) => (part.labels === 0 ? 0 : part.connections(0).inputs.length);
  return { head: length(head), tail: length(tail) };
}

export function checkPartGradients(op: string, parts: Parts, gradients: Gradients): void {
  const { head, tail } = rowLengths(parts);
  const weights = head * parts.head.labels + tail * parts.tail.labels;
  checkGradients(op, gradients, weights, parts.head.labels + parts.tail.labels);
}

/** Room for the gradients of both parts, of the precision of `like`. */
export function partGradients(parts: Parts, like: Gradients): { head: Gradients; tail: Gradients } {
  const lengths = rowLengths(parts);
  const kind = like.weights instanceof Float32Array ? Float32Array : Float64Array;
  const of = (part: OutputLayer, length: number): Gradients => ({
    weights: new kind(part.labels * length),
    bias: new kind(part.labels),
  });
  return { head: of(parts.head, lengths.head), tail: of(parts.tail, lengths.tail) };
}

/** Gradients of both parts as those of one layer, by label; `place` as above. */
export function joinGradients(
  parts: Parts,
  place: Int32Array,
  own: { readonly head: Gradients; readonly tail: Gradients },
  out: Gradients,
): void {
  const lengths = rowLengths(parts);
  let at = 0;
  for (const [label, local] of place.entries()) {
    const [part, length] = local >= 0 ? [own.head, lengths.head] : [own.tail, lengths.tail];
    const row = local >= 0 ? local : ~local;
    out.weights.set(part.weights.subarray(row * length, (row + 1) * length), at);
    out.bias[label] = part.bias[row];
    at += length;
  }
}
