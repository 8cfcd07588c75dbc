/** Points over two axes with a third quantity as their colour: what is gained, what it takes, and how long. */
import { ticks } from './intervals.js';
import { lineAt, page, place, textAt } from './svg.js';

export interface ScatterPoint {
  readonly x: number;
  readonly y: number;
  /** Ends of the interval of y, if known. */
  readonly low?: number;
  readonly high?: number;
  /** What the colour tells. */
  readonly z: number;
  readonly name?: string;
  /** On the line of points that nothing is better than; others are drawn small. */
  readonly onFrontier?: boolean;
  /** Gets a ring. */
  readonly chosen?: boolean;
}

export interface Scatter {
  readonly title: string;
  readonly xTitle: string;
  readonly yTitle: string;
  readonly zTitle: string;
  readonly points: readonly ScatterPoint[];
}

/** From quick (blue) over green to slow (orange), told apart by lightness too. */
const shades = ['#0072b2', '#2a8fa8', '#009e73', '#b38600', '#d55e00'];
const short = (x: number) => String(Number(x.toPrecision(x >= 100 ? 3 : 2)));

/** Ends of an axis with some room, so that one point alone has an axis too. */
function range(values: readonly number[]): readonly [number, number] {
  const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  if (!(high >= low)) return [0, 1];
  const room = high > low ? 0.06 * (high - low) : Math.max(1e-9, 0.1 * Math.abs(high));
  return [low - room, high + room];
}

/**
 * @example scatterSvg({ title: 'Trials', xTitle: 'MiB', yTitle: 'P@1', zTitle: 's per epoch', points: [{ x: 9, y: 70, z: 3 }] })
 */
export function scatterSvg({ title, xTitle, yTitle, zTitle, points }: Scatter): string {
  const [left, top, width, height] = [70, 60, 520, 300];
  const [x0, x1] = range(points.map((p) => p.x));
  const [y0, y1] = range(
    points.flatMap((p) => [p.y, ...(p.onFrontier ? [p.low ?? p.y, p.high ?? p.y] : [])]),
  );
  const x = (v: number) => left + ((v - x0) / (x1 - x0)) * width;
  const y = (v: number) => top + height - ((v - y0) / (y1 - y0)) * height;
  const order = points.map(({ z }) => z).toSorted((a, b) => a - b);
  // By rank, so that one slow point does not make all others look alike.
  const rank = (z: number) => (order.length < 2 ? 0 : order.indexOf(z) / (order.length - 1));
  const colour = (z: number) => shades[Math.min(shades.length - 1, Math.floor(rank(z) * shades.length))];
  const parts = [
    ...ticks(x0, x1).flatMap((t) => [
      lineAt(x(t), top, x(t), top + height),
      textAt(x(t), top + height + 16, String(t), { anchor: 'middle' }),
    ]),
    ...ticks(y0, y1).flatMap((t) => [
      lineAt(left, y(t), left + width, y(t)),
      textAt(left - 6, y(t) + 4, String(t), { anchor: 'end' }),
    ]),
    textAt(left + width, top + height + 34, xTitle, { anchor: 'end' }),
    textAt(left - 40, top - 14, yTitle),
  ];
  const sorted = points.toSorted((a, b) => Number(a.onFrontier ?? false) - Number(b.onFrontier ?? false));
  for (const { x: px, y: py, z, low, high, name, onFrontier = false, chosen = false } of sorted) {
    const [cx, cy] = [place(x(px)), place(y(py))];
    const fill = colour(z);
    if (onFrontier && low !== undefined && high !== undefined)
      parts.push(
        `<line x1="${cx}" x2="${cx}" y1="${place(y(low))}" y2="${place(y(high))}" stroke="${fill}" stroke-width="1.5"/>`,
      );
    if (chosen)
      parts.push(`<circle cx="${cx}" cy="${cy}" r="10" fill="none" stroke="${fill}" stroke-width="2"/>`);
    parts.push(
      `<circle cx="${cx}" cy="${cy}" r="${onFrontier ? 6 : 3}" fill="${fill}"${onFrontier ? '' : ' fill-opacity="0.5"'}/>`,
    );
    if (name !== undefined) {
      const right = x(px) < left + 0.7 * width;
      parts.push(textAt(x(px) + (right ? 13 : -13), y(py) + 4, name, { anchor: right ? 'start' : 'end' }));
    }
  }
  const side = left + width + 24;
  parts.push(textAt(side, top + 4, zTitle));
  const least = new Map<string, number>();
  for (const z of order) if (!least.has(colour(z))) least.set(colour(z), z);
  for (const [i, [shade, from]] of [...least].entries()) {
    parts.push(
      `<circle cx="${side + 6}" cy="${top + 22 + i * 18}" r="5" fill="${shade}"/>`,
      textAt(side + 18, top + 26 + i * 18, `from ${short(from)}`),
    );
  }
  return page(title, side + 130, top + height + 46, parts);
}
