/** Values with intervals, several series side by side: who is better, and how sure that is. */
import { lineAt, page, place, textAt } from './svg.js';

export interface IntervalMark {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export interface IntervalGroup {
  readonly name: string;
  /** One per series; null: nothing known. */
  readonly marks: readonly (IntervalMark | null)[];
}

export interface Intervals {
  readonly title: string;
  readonly unit: string;
  readonly series: readonly string[];
  readonly groups: readonly IntervalGroup[];
}

/** Tell apart on paper, on screens light and dark, and for most colour-blind eyes (Okabe & Ito). */
export const seriesColours = [
  '#0072b2',
  '#d55e00',
  '#009e73',
  '#cc79a7',
  '#b38600',
  '#56b4e9',
  '#7a7a7a',
  '#8b5a2b',
];

/** Round numbers that split [from, to] into about `count` parts. */
export function ticks(from: number, to: number, count = 5): number[] {
  const raw = (to - from) / count;
  if (!(raw > 0) || !Number.isFinite(raw)) return [from];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw) ?? raw;
  const first = Math.ceil(from / step - 1e-9);
  return Array.from({ length: Math.floor(to / step + 1e-9) - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  );
}

/**
 * Groups downwards, a dot with its interval per series.
 * @example intervalsSvg({ title: 'P@k', unit: '%', series: ['a', 'b'], groups: [{ name: 'P@1', marks }] })
 */
export function intervalsSvg({ title, unit, series, groups }: Intervals): string {
  const [left, width, row, gap, top] = [150, 470, 15, 12, 70];
  const ends = groups.flatMap(({ marks }) => marks.flatMap((m) => (m === null ? [] : [m.low, m.high])));
  const low = Math.max(0, Math.min(...ends, 1e9));
  const high = Math.max(...ends, low + 1e-6);
  const room = (high - low) * 0.06;
  const [from, to] = [Math.max(0, low - room), high + room];
  const x = (v: number) => left + ((v - from) / (to - from)) * width;
  const groupHeight = series.length * row + gap;
  const foot = top + groups.length * groupHeight;
  const parts = ticks(from, to).flatMap((t) => [
    lineAt(x(t), top - 6, x(t), foot),
    textAt(x(t), foot + 15, String(t), { anchor: 'middle' }),
  ]);
  const each = Math.min(180, (left + width) / Math.max(1, series.length));
  for (const [s, name] of series.entries()) {
    const x0 = 16 + s * each;
    const room = Math.max(3, Math.floor((each - 28) / 7));
    parts.push(
      `<circle cx="${place(x0 + 4)}" cy="44" r="4" fill="${seriesColours[s % seriesColours.length]}"/>`,
      textAt(x0 + 14, 48, name.length > room ? `${name.slice(0, room - 1)}…` : name),
    );
  }
  for (const [g, { name, marks }] of groups.entries()) {
    const y0 = top + g * groupHeight;
    parts.push(textAt(left - 10, y0 + (series.length * row) / 2 + 4, name, { anchor: 'end' }));
    for (const [s, mark] of marks.entries()) {
      if (mark === null) continue;
      const y = y0 + s * row + row / 2;
      const colour = seriesColours[s % seriesColours.length];
      parts.push(
        `<line x1="${place(x(mark.low))}" x2="${place(x(mark.high))}" y1="${place(y)}" y2="${place(y)}" stroke="${colour}" stroke-width="2"/>`,
        `<circle cx="${place(x(mark.value))}" cy="${place(y)}" r="4" fill="${colour}"/>`,
        textAt(x(mark.high) + 6, y + 4, mark.value.toFixed(to < 10 ? 2 : 1)),
      );
    }
  }
  parts.push(textAt(left + width, foot + 30, unit, { anchor: 'end' }));
  return page(title, left + width + 60, foot + 38, parts);
}
