/**
 * Topology of a fixed fan-in layer: drawing connections, choosing what to prune, regrowing in place.
 * Law: every row has exactly F different columns, before and after any rewiring.
 */
import { EspalierError } from '../../errors.js';
import { widenBf16 } from '../../kernels/bf16.js';
import type { Columns, Floats } from '../../kernels/face.js';
import type { RandomStream } from '../../kernels/random.js';

/** Marks which columns a row uses, in O(F) per row whatever the number of columns. */
export class RowMarks {
  readonly #stamp: Uint32Array;
  #row = 0;

  constructor(inputs: number) {
    this.#stamp = new Uint32Array(inputs);
  }

  nextRow(): void {
    this.#row++;
    if (this.#row > 0xffffffff) {
      this.#stamp.fill(0);
      this.#row = 1;
    }
  }

  use(column: number): void {
    this.#stamp[column] = this.#row;
  }

  used(column: number): boolean {
    return this.#stamp[column] === this.#row;
  }
}

/** 16 bits name the columns of up to 65,536 inputs. */
export const columnType = (inputs: number): 'uint16' | 'uint32' => (inputs <= 65_536 ? 'uint16' : 'uint32');

interface ColumnsShape {
  readonly rows: number;
  readonly fanIn: number;
  readonly inputs: number;
  readonly shared?: number;
  readonly row: 'label' | 'group';
}

/** Refuses columns that came from a file with one out of range, or twice in a row. */
export function checkColumns(
  op: string,
  columns: Columns,
  { rows, fanIn, inputs, shared = 0, row }: ColumnsShape,
): void {
  const marks = new RowMarks(inputs);
  const first = inputs - shared;
  for (let r = 0; r < rows; r++) {
    marks.nextRow();
    for (let slot = r * fanIn; slot < (r + 1) * fanIn; slot++) {
      const column = columns[slot];
      const k = slot - r * fanIn;
      const inPlace = k < shared ? column === first + k : column < first;
      if (inPlace && !marks.used(column)) {
        marks.use(column);
        continue;
      }
      throw new EspalierError({
        code: 'COLUMNS_INVALID',
        kind: 'data',
        op,
        problem: `${row} ${r} has a column that is out of range or occurs twice`,
        expected:
          shared === 0
            ? `${fanIn} different columns below ${inputs}`
            : `columns ${first} to ${inputs - 1}, then ${fanIn - shared} different ones below ${first}`,
        received: `${column}`,
        hint: 'the model file is damaged or was made by another program: restore it from a copy',
      });
    }
  }
}

/**
 * Draws F different columns uniformly for each row in [from, to). With S shared inputs, the last S of them, in their order,
 * are the first S columns of every row, and the others are drawn of [0, inputs - S).
 */
export function drawColumns(
  columns: Columns,
  fanIn: number,
  inputs: number,
  from: number,
  to: number,
  stream: RandomStream,
  shared = 0,
): void {
  const marks = new RowMarks(inputs);
  for (let row = from; row < to; row++) {
    marks.nextRow();
    const base = row * fanIn;
    for (let k = 0; k < shared; k++) columns[base + k] = inputs - shared + k;
    // Floyd's sampling (Bentley & Floyd 1987): exactly F draws, no rejection, uniform over subsets.
    for (let k = shared; k < fanIn; k++) {
      const last = inputs - shared - fanIn + k;
      const drawn = stream.below(last + 1);
      const column = marks.used(drawn) ? last : drawn;
      marks.use(column);
      columns[base + k] = column;
    }
  }
}

/** A uniformly drawn column that the marked row does not use; the caller guarantees that there is one. */
export function drawFree(marks: RowMarks, inputs: number, used: number, stream: RandomStream): number {
  if (used * 4 < inputs * 3) {
    for (;;) {
      const column = stream.below(inputs);
      if (!marks.used(column)) return column;
    }
  }
  let skip = stream.below(inputs - used);
  for (let column = 0; ; column++) {
    if (!marks.used(column) && skip-- === 0) return column;
  }
}

/** Weights as a layer holds them: a Uint16Array holds bfloat16. */
export type StoredWeights = Floats | Uint16Array;

/** Of every bfloat16 without its sign. */
const bf16Magnitudes = (() => {
  const all = new Float32Array(1 << 15);
  widenBf16(
    Uint16Array.from({ length: all.length }, (_, bits) => bits),
    all,
  );
  return all;
})();

/** |weight| of a slot. */
export function magnitudesOf(weights: StoredWeights): (slot: number) => number {
  if (weights instanceof Uint16Array) return (slot) => bf16Magnitudes[weights[slot] & 0x7fff];
  return (slot) => Math.abs(weights[slot]);
}

/**
 * The `count`-th smallest magnitude of `weights`, exactly and in linear time without a copy: two histogram
 * passes over the bits of |w| in float32, which order as the numbers do. Returns the magnitude and how many
 * weights equal to it may go, so that `count` weights are pruned in all. Float64 weights count as rounded; those of
 * bfloat16 need one pass. The first `shared` slots of every `fanIn` do not count.
 */
export function selectMagnitude(
  weights: StoredWeights,
  count: number,
  { fanIn, shared } = { fanIn: weights.length, shared: 0 },
): { threshold: number; ties: number } {
  if (count <= 0) return { threshold: 0, ties: 0 };
  // NOTE: three loops, no function of a slot: called for every weight it would double the time. Without shared slots all is one row.
  const n = weights.length;
  const row = shared === 0 ? n : fanIn;
  const own = row - shared;
  if (weights instanceof Uint16Array) {
    const having = new Uint32Array(1 << 15);
    for (let base = shared; base < n; base += row)
      for (let i = base; i < base + own; i++) having[weights[i] & 0x7fff]++;
    let below = 0;
    let magnitude = 0;
    while (below + having[magnitude] < count) below += having[magnitude++];
    return { threshold: bf16Magnitudes[magnitude], ties: count - below };
  }
  const probe = new Float32Array(1);
  const bits = new Uint32Array(probe.buffer);
  const magnitudeBits = (w: number): number => {
    probe[0] = Math.abs(w);
    return bits[0];
  };
  const high = new Uint32Array(1 << 16);
  for (let base = shared; base < n; base += row)
    for (let i = base; i < base + own; i++) high[magnitudeBits(weights[i]) >>> 16]++;
  let before = 0;
  let bucket = 0;
  while (before + high[bucket] < count) before += high[bucket++];
  const low = new Uint32Array(1 << 16);
  for (let base = shared; base < n; base += row) {
    for (let i = base; i < base + own; i++) {
      const b = magnitudeBits(weights[i]);
      if (b >>> 16 === bucket) low[b & 0xffff]++;
    }
  }
  let rest = 0;
  while (before + low[rest] < count) before += low[rest++];
  bits[0] = (bucket << 16) | rest;
  return { threshold: probe[0], ties: count - before };
}

/**
 * The `count` slots of one row with the smallest magnitudes, smallest first (ties: the earlier slot), into
 * `order`. Few of a row go, so most slots cost one comparison.
 */
export function smallestSlots(
  sizeOf: (slot: number) => number,
  base: number,
  fanIn: number,
  count: number,
  order: Uint32Array,
): void {
  if (count === 0) return;
  const magnitude = (i: number): number => sizeOf(base + order[i]);
  let held = 0;
  for (let k = 0; k < fanIn; k++) {
    const w = sizeOf(base + k);
    if (held === count && w >= magnitude(held - 1)) continue;
    let i = held < count ? held++ : held - 1;
    while (i > 0 && magnitude(i - 1) > w) {
      order[i] = order[i - 1];
      i--;
    }
    order[i] = k;
  }
}

/** The `count` columns of the largest magnitudes, ascending; of equal ones the smaller. */
export function largestInputs(magnitudes: Floats, count: number): Uint32Array {
  const order = Uint32Array.from({ length: magnitudes.length }, (_, j) => j);
  order.sort((a, b) => Math.abs(magnitudes[b]) - Math.abs(magnitudes[a]) || a - b);
  return order.slice(0, count).sort();
}
