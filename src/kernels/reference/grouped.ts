import type { GroupedStepArgs, GroupedTopKArgs, GroupedWeights } from '../face.js';
import { steppingBf16, weightsOf } from './bf16.js';
import { fanInLogits, fanInStep } from './fan-in.js';
import { TopK } from './top-k.js';

/**
 * The columns of every slot of groups [begin, end): groups are nothing but labels whose rows of columns are equal,
 * and so every formula is that of the fixed fan-in layer.
 */
function columnsOfSlots(
  { groups, fanIn, starts, columns }: GroupedWeights,
  begin = 0,
  end = groups,
): Uint32Array {
  const out = new Uint32Array(starts[end] * fanIn);
  for (let g = begin; g < end; g++) {
    const own = columns.subarray(g * fanIn, (g + 1) * fanIn);
    for (let slot = starts[g]; slot < starts[g + 1]; slot++) out.set(own, slot * fanIn);
  }
  return out;
}

/** One slab of the output step of labels in groups (HASTE 2026): begin and end count groups. */
export function groupedStep(args: GroupedStepArgs): number {
  const { begin, end, starts, fanIn } = args;
  const columns = columnsOfSlots(args, begin, end);
  const [from, to] = [starts[begin], starts[end]];
  return steppingBf16(args, from * fanIn, to * fanIn, (wide) =>
    fanInStep({ ...wide, columns, index: null, begin: from, end: to }),
  );
}

/** The labels in ascending order, wherever their slots are. */
export function groupedTopK(args: GroupedTopKArgs): void {
  const { batch, labels, labelOf } = args;
  const top = new TopK(args);
  const columns = columnsOfSlots(args);
  const weights = weightsOf(args);
  const slotOf = new Uint32Array(labels);
  for (let slot = 0; slot < labels; slot++) slotOf[labelOf[slot]] = slot;
  const out = new Float64Array(batch);
  for (let label = 0; label < labels; label++) {
    const begin = slotOf[label];
    fanInLogits({ ...args, weights, columns, begin, end: begin + 1, out });
    top.offer(label, out);
  }
}
