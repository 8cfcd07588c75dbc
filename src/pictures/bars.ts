/** Bars of shares: how much of each layer is left. */
import { boxAt, page, textAt } from './svg.js';

export interface Bar {
  readonly name: string;
  /** In [0, 1]. */
  readonly share: number;
}

const percent = (share: number) => `${(100 * share).toFixed(share < 0.1 ? 2 : 1)} %`;

/** @example barsSvg({ title: 'Weights left', bars: [{ name: 'first', share: 0.04 }] }) */
export function barsSvg({ title, bars }: { readonly title: string; readonly bars: readonly Bar[] }): string {
  const [left, width, step] = [190, 340, 24];
  const parts = bars.flatMap(({ name, share }, i) => {
    const y = 44 + i * step;
    const part = Math.max(0, Math.min(1, share));
    return [
      textAt(left - 8, y + 12, name, { anchor: 'end' }),
      boxAt(left, y, width, 16, 'fill="#8884"'),
      boxAt(left, y, width * part, 16),
      textAt(left + width + 8, y + 12, percent(share)),
    ];
  });
  return page(title, left + width + 90, 56 + bars.length * step, parts);
}

/** A line per bar: `first     ███▌                 12.0 %`. */
export function barsText(bars: readonly Bar[], width = 40): string[] {
  const wide = Math.max(0, ...bars.map(({ name }) => name.length));
  return bars.map(({ name, share }) => {
    const eighths = Math.round(8 * width * Math.max(0, Math.min(1, share)));
    const full = '█'.repeat(eighths >> 3) + ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths & 7];
    return `${name.padEnd(wide)}  ${full.padEnd(width)}  ${percent(share).padStart(7)}`;
  });
}
