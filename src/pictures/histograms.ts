/** Histograms: of weights through the phases of a training, of gates over its epochs. */
import { boxAt, lineAt, page, textAt } from './svg.js';

export interface HistogramPanel {
  readonly title: string;
  /** Shares of equal bins. */
  readonly shares: readonly number[];
}

export interface Histograms {
  readonly title: string;
  readonly from: number;
  readonly to: number;
  /** Heights are logarithms, from a share of 1e-5 on: rare values stay visible beside a peak at 0. Default false. */
  readonly logarithmic?: boolean;
  readonly panels: readonly HistogramPanel[];
}

/** Shares of `values` in `bins` equal bins of [from, to]; what lies outside is counted at the ends. */
export function histogram(values: ArrayLike<number>, bins: number, from: number, to: number): number[] {
  const counts = new Array<number>(bins).fill(0);
  for (let i = 0; i < values.length; i++) {
    const bin = Math.floor(((values[i] - from) / (to - from)) * bins);
    counts[Math.max(0, Math.min(bins - 1, bin))]++;
  }
  return counts.map((count) => count / Math.max(1, values.length));
}

const LEAST = 1e-5;

/** Height in [0, 1] of a share, against the largest. */
function height(share: number, largest: number, logarithmic: boolean): number {
  if (share <= 0 || largest <= 0) return 0;
  if (!logarithmic) return share / largest;
  return Math.max(0, Math.log(share / LEAST) / Math.log(Math.max(largest, 2 * LEAST) / LEAST));
}

const PANEL = { width: 190, height: 120, gap: 24, top: 48, left: 16, columns: 3 };

/**
 * Panels on one scale, three side by side.
 * @example histogramsSvg({ title: 'Weights', from: -0.2, to: 0.2, panels: [{ title: 'dense', shares }] })
 */
export function histogramsSvg({ title, from, to, logarithmic = false, panels }: Histograms): string {
  const largest = Math.max(0, ...panels.flatMap(({ shares }) => shares));
  const parts = panels.flatMap(({ title: name, shares }, i) => {
    const x = PANEL.left + (i % PANEL.columns) * (PANEL.width + PANEL.gap);
    const y = PANEL.top + Math.floor(i / PANEL.columns) * (PANEL.height + 56);
    const wide = PANEL.width / Math.max(1, shares.length);
    const bars = shares.map((share, j) => {
      const tall = PANEL.height * height(share, largest, logarithmic);
      return tall === 0 ? '' : boxAt(x + j * wide, y + PANEL.height - tall, Math.max(0.5, wide - 0.5), tall);
    });
    const foot = y + PANEL.height;
    const ends = [
      textAt(x, foot + 15, `${from}`),
      textAt(x + PANEL.width, foot + 15, `${to}`, { anchor: 'end' }),
    ];
    const over = textAt(x + PANEL.width / 2, y - 4, name, { anchor: 'middle' });
    return [lineAt(x, foot, x + PANEL.width, foot), ...bars.filter((bar) => bar !== ''), ...ends, over];
  });
  const rows = Math.ceil(panels.length / PANEL.columns);
  const bottom = PANEL.top + rows * (PANEL.height + 56);
  const scale = logarithmic
    ? [textAt(PANEL.left, bottom, `heights are logarithms of shares, from ${LEAST} on`)]
    : [];
  const across = Math.max(1, Math.min(PANEL.columns, panels.length));
  const width = Math.max(420, 2 * PANEL.left + across * (PANEL.width + PANEL.gap) - PANEL.gap);
  return page(title, width, bottom + 12, [...parts, ...scale]);
}

/** One line of blocks, as high as the shares. */
export function histogramText(shares: readonly number[], logarithmic = false): string {
  const largest = Math.max(0, ...shares);
  return shares
    .map(
      (share) =>
        ' ▁▂▃▄▅▆▇█'[share <= 0 ? 0 : Math.max(1, Math.round(8 * height(share, largest, logarithmic)))],
    )
    .join('');
}

/** At most `count` of `items`, evenly spaced, the first and the last among them. */
export function evenly<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) return [...items];
  return Array.from({ length: count }, (_, i) => items[Math.round((i * (items.length - 1)) / (count - 1))]);
}
