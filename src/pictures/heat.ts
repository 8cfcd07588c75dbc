/** Heat maps: what survived, per pixel of the input, per filter, or as the matrix itself. */
import { boxAt, page, textAt } from './svg.js';

export interface HeatMap {
  readonly title: string;
  readonly rows: number;
  /** [rows * columns], none negative */
  readonly values: ArrayLike<number>;
}

/** From light to dark; 0 is its own colour, so that nothing and little differ. */
function colour(share: number): string {
  if (share <= 0) return '#8882';
  const mix = (low: number, high: number) => Math.round(low + (high - low) * share);
  return `rgb(${mix(253, 125)},${mix(224, 3)},${mix(160, 80)})`;
}

const sizeOf = ({ rows, values }: HeatMap) => Math.ceil(values.length / Math.max(1, rows));

/** Not by `Math.max(...values)`: as arguments, some hundred thousand values overflow the stack. */
function largestOf(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, values[i]);
  return most;
}

/** @example heatSvg({ title: 'Weights left per pixel', rows: 28, values: counts }) */
export function heatSvg(map: HeatMap): string {
  const { title, rows, values } = map;
  const columns = sizeOf(map);
  const most = largestOf(values);
  const cell = Math.max(2, Math.min(40, Math.floor(440 / Math.max(1, columns, rows))));
  const parts = Array.from(values, (value, i) => {
    const how = `fill="${colour(most === 0 ? 0 : value / most)}"`;
    return boxAt(16 + (i % columns) * cell, 40 + Math.floor(i / columns) * cell, cell, cell, how);
  });
  const bottom = 40 + rows * cell + 20;
  const scale = textAt(16, bottom, `grey: none; darkest: ${Number(most.toPrecision(4))}`);
  return page(title, Math.max(480, 32 + columns * cell), bottom + 12, [...parts, scale]);
}

/** Lines of shades, two characters per cell up to 40 columns, wider maps in fewer cells. */
export function heatText(map: HeatMap, widest = 64): string[] {
  const { rows, values } = map;
  const columns = sizeOf(map);
  const step = Math.max(1, Math.ceil(columns / widest));
  const [down, across] = [Math.ceil(rows / step), Math.ceil(columns / step)];
  const sums = new Float64Array(down * across);
  for (let i = 0; i < values.length; i++) {
    sums[Math.floor(Math.floor(i / columns) / step) * across + Math.floor((i % columns) / step)] += values[i];
  }
  const most = largestOf(sums);
  const shade = (value: number) =>
    value <= 0 ? ' ' : '░▒▓█'[Math.min(3, Math.floor((4 * value) / (most + Number.EPSILON)))];
  return Array.from({ length: down }, (_, r) =>
    Array.from(sums.subarray(r * across, (r + 1) * across), (v) => shade(v).repeat(step === 1 ? 2 : 1)).join(
      '',
    ),
  );
}
