/** Straight and crooked lines over two axes. */
import { seriesColours, ticks } from './intervals.js';
import { lineAt, page, place, textAt } from './svg.js';

export interface Lines {
  readonly title: string;
  readonly xTitle: string;
  readonly yTitle: string;
  readonly lines: readonly {
    readonly name: string;
    readonly points: readonly (readonly [number, number])[];
  }[];
  /** Marks with a word on them. */
  readonly marks?: readonly { readonly x: number; readonly y: number; readonly text: string }[];
}

const words = (x: number) =>
  Math.abs(x) >= 1e9
    ? `${x / 1e9} G`
    : Math.abs(x) >= 1e6
      ? `${x / 1e6} M`
      : Math.abs(x) >= 1e4
        ? `${x / 1e3} k`
        : String(x);

/** @example linesSvg({ title: 'Cost', xTitle: 'answers', yTitle: 'hours', lines: [{ name: 'a', points: [[0, 1], [9, 4]] }] }) */
export function linesSvg({ title, xTitle, yTitle, lines, marks = [] }: Lines): string {
  const [left, top, width, height] = [70, 60, 500, 240];
  const all = lines.flatMap(({ points }) => points);
  const xMost = Math.max(1e-300, ...all.map(([x]) => x));
  const yMost = Math.max(1e-300, ...all.map(([, y]) => y)) * 1.05;
  const x = (v: number) => left + (v / xMost) * width;
  const y = (v: number) => top + height - (v / yMost) * height;
  const parts = [
    ...ticks(0, xMost).flatMap((t) => [
      lineAt(x(t), top, x(t), top + height),
      textAt(x(t), top + height + 16, words(t), { anchor: 'middle' }),
    ]),
    ...ticks(0, yMost).flatMap((t) => [
      lineAt(left, y(t), left + width, y(t)),
      textAt(left - 6, y(t) + 4, words(t), { anchor: 'end' }),
    ]),
    textAt(left + width, top + height + 34, xTitle, { anchor: 'end' }),
    textAt(left - 40, top - 10, yTitle),
  ];
  for (const [i, { points }] of lines.entries()) {
    const path = points
      .map(([px, py], p) => `${p === 0 ? 'M' : 'L'}${place(x(px))} ${place(y(py))}`)
      .join('');
    parts.push(
      `<path d="${path}" fill="none" stroke="${seriesColours[i % seriesColours.length]}" stroke-width="2"/>`,
    );
  }
  for (const mark of marks) {
    parts.push(
      `<circle cx="${place(x(mark.x))}" cy="${place(y(mark.y))}" r="4" fill="#888"/>`,
      textAt(x(mark.x) + 7, y(mark.y) + 15, mark.text),
    );
  }
  for (const [i, { name }] of lines.entries()) {
    const at = top + 14 + i * 17;
    parts.push(
      `<line x1="${left + width + 14}" x2="${left + width + 34}" y1="${at - 4}" y2="${at - 4}" stroke="${seriesColours[i % seriesColours.length]}" stroke-width="3"/>`,
      textAt(left + width + 40, at, name.length > 24 ? `${name.slice(0, 23)}…` : name),
    );
  }
  return page(title, left + width + 220, top + height + 46, parts);
}
