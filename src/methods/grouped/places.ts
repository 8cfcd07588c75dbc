/** Where labels are: the slot of every label, and the groups that slots are cut into. */
import { EspalierError, ensure } from '../../errors.js';
import type { Floats } from '../../kernels/face.js';
import type { RandomStream } from '../../kernels/random.js';
import type { GroupOrder } from './options.js';

/** Writes the slot of every label. */
export function orderInto(slotOf: Uint32Array, order: GroupOrder, stream: RandomStream): void {
  if (order instanceof Uint32Array) {
    ensure(order.length === slotOf.length && isPermutation(order), () => ({
      code: 'GROUP_ORDER',
      kind: 'usage',
      op: 'GroupedFanInOutput',
      problem: 'the order of labels is not a permutation of them',
      expected: `every slot from 0 to ${slotOf.length - 1} once`,
      received: `${order.length} slots`,
    }));
    slotOf.set(order);
    return;
  }
  for (let label = 0; label < slotOf.length; label++) slotOf[label] = label;
  if (order === 'random') stream.shuffle(slotOf);
}

export function isPermutation(slotOf: Uint32Array): boolean {
  const seen = new Uint8Array(slotOf.length);
  for (const slot of slotOf) {
    if (slot >= slotOf.length || seen[slot] === 1) return false;
    seen[slot] = 1;
  }
  return true;
}

/** Groups of `size` slots, as many as there are labels for; were there more groups, the rest is spread over the last. */
export function startsInto(starts: Uint32Array, labels: number, size: number): void {
  const groups = starts.length - 1;
  for (let g = 0; g <= groups; g++) starts[g] = Math.min(g * size, labels - (groups - g));
}

/** Groups as a layer starts with. */
export function plainStarts(labels: number, groups: number, size: number): Uint32Array {
  const starts = new Uint32Array(groups + 1);
  startsInto(starts, labels, size);
  return starts;
}

export const identity = (n: number): Uint32Array => Uint32Array.from({ length: n }, (_, i) => i);

/** The group of a slot, by bisection. */
export function groupOf(starts: Uint32Array, slot: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (starts[middle] <= slot) low = middle;
    else high = middle;
  }
  return low;
}

/** Refuses groups and slots, come from a file, that no layer could have written. */
export function checkPlaces(slotOf: Uint32Array, starts: Uint32Array, size: number): void {
  let sound = isPermutation(slotOf) && starts[0] === 0 && starts[starts.length - 1] === slotOf.length;
  for (let g = 0; g + 1 < starts.length; g++) {
    sound &&= starts[g] <= starts[g + 1] && starts[g + 1] - starts[g] <= size;
  }
  if (sound) return;
  throw new EspalierError({
    code: 'GROUPS_INVALID',
    kind: 'data',
    op: 'GroupedFanInOutput.loaded',
    problem: 'the groups do not hold every label once',
    expected: `${slotOf.length} labels in groups of at most ${size}`,
    hint: 'the model file is damaged or was made by another program: restore it from a copy',
  });
}

/** Places of labels after some came and went. */
export interface Regrouped {
  readonly slotOf: Uint32Array;
  readonly starts: Uint32Array;
  /** [groups], the old group whose inputs a group continues, or -1. */
  readonly groupFrom: Int32Array;
  /** [labels], the old slot whose weights a slot continues, or -1. */
  readonly slotFrom: Int32Array;
}

/**
 * A label that stays keeps the inputs of its group, so groups that lose labels stay as they are, only smaller; new
 * labels first fill these, in order, then groups of their own. Groups without labels go.
 */
export function regroup(
  map: Int32Array,
  oldSlotOf: Uint32Array,
  oldStarts: Uint32Array,
  size: number,
): Regrouped {
  const groups: { from: number; labels: number[] }[] = [];
  const fresh: number[] = [];
  const byGroup: number[][] = Array.from({ length: oldStarts.length - 1 }, () => []);
  for (const [label, from] of map.entries()) {
    if (from < 0) fresh.push(label);
    else byGroup[groupOf(oldStarts, oldSlotOf[from])].push(label);
  }
  for (const [from, labels] of byGroup.entries()) {
    // Several new labels may continue the same old one: what does not fit becomes a group of the same inputs.
    for (let i = 0; i < labels.length; i += size) groups.push({ from, labels: labels.slice(i, i + size) });
  }
  let next = 0;
  for (const { labels } of groups)
    while (labels.length < size && next < fresh.length) labels.push(fresh[next++]);
  for (; next < fresh.length; next += size) groups.push({ from: -1, labels: fresh.slice(next, next + size) });

  const slotOf = new Uint32Array(map.length);
  const slotFrom = new Int32Array(map.length);
  const starts = new Uint32Array(groups.length + 1);
  let slot = 0;
  for (const [g, { labels }] of groups.entries()) {
    for (const label of labels) {
      slotFrom[slot] = map[label] < 0 ? -1 : oldSlotOf[map[label]];
      slotOf[label] = slot++;
    }
    starts[g + 1] = slot;
  }
  return { slotOf, starts, slotFrom, groupFrom: Int32Array.from(groups, ({ from }) => from) };
}

/** Whole groups that stand together, or one run of slots within a group; `starts` are theirs. */
export interface Run {
  readonly group: number;
  readonly groups: number;
  readonly starts: Uint32Array;
}

/** The slots of labels from `from` on, as few runs as there can be. */
export function runsFrom(from: number, labelOf: Uint32Array, starts: Uint32Array): Run[] {
  const runs: Run[] = [];
  const wholes = (begin: number, end: number) => {
    if (begin < end)
      runs.push({ group: begin, groups: end - begin, starts: starts.subarray(begin, end + 1) });
  };
  let whole = 0;
  for (let group = 0; group + 1 < starts.length; group++) {
    const end = starts[group + 1];
    let slot = starts[group];
    while (slot < end && labelOf[slot] >= from) slot++;
    if (slot === end) continue;
    wholes(whole, group);
    whole = group + 1;
    for (slot = starts[group]; slot < end; ) {
      const first = slot;
      while (slot < end && labelOf[slot] >= from) slot++;
      if (slot > first) runs.push({ group, groups: 1, starts: Uint32Array.of(first, slot) });
      slot++;
    }
  }
  wholes(whole, starts.length - 1);
  return runs;
}

/** Groups of these labels alone, each with the places of its labels among them. */
export function wholeGroups(
  slotOf: Uint32Array,
  starts: Uint32Array,
  labels: Uint32Array,
): Map<number, readonly number[]> {
  const members = new Map<number, number[]>();
  for (const [i, label] of labels.entries()) {
    const group = groupOf(starts, slotOf[label]);
    const own = members.get(group);
    if (own === undefined) members.set(group, [i]);
    else own.push(i);
  }
  for (const [group, own] of members)
    if (own.length < starts[group + 1] - starts[group]) members.delete(group);
  return members;
}

/** Adds what one label says of the inputs that its group should have: every label has the same say. */
export function addSay(say: Float64Array, row: Floats): void {
  let squares = 0;
  for (const w of row) squares += w * w;
  for (let j = 0; j < say.length && squares > 0; j++) say[j] += row[j] ** 2 / squares;
}
