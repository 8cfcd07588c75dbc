/** Lines over steps, epochs or time; the values under the cursor stand in the legend, by mouse and by arrow keys. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import type { Figure } from '../../reports/types.js';
import { Chart } from './frame.js';

export interface Line {
  readonly name: string;
  /** A colour of the style sheet: `--run-0`. */
  readonly colour: string;
  readonly dash?: number[];
  readonly x: readonly Figure[];
  readonly y: readonly Figure[];
  readonly low?: readonly Figure[];
  readonly high?: readonly Figure[];
  /** Filled down to the axis: areas are given from the outermost to the innermost. */
  readonly area?: boolean;
  /** Points are drawn where lines have few. */
  readonly dots?: boolean;
}

export interface CurveProps {
  readonly title: string;
  readonly unit: string;
  readonly lines: readonly Line[];
  readonly xName: string;
  readonly show: (value: Figure) => string;
  /** As the axis says it; default as the legend does. */
  readonly tick?: (value: Figure) => string;
  /** Round numbers of this quantity, e.g. powers of two for bytes. */
  readonly incrs?: number[];
  readonly showX: (value: Figure) => string;
  readonly log?: boolean;
  /** The axis begins at 0. */
  readonly zero?: boolean;
  readonly height?: number;
  /** What to do where there is nothing to draw. */
  readonly empty: string;
  /** The legend shows these values instead of the heights: parts of a stack. */
  readonly parts?: readonly (readonly Figure[])[];
}

export function useTheme(): number {
  const [theme, setTheme] = useState(0);
  useEffect(() => {
    const media = matchMedia('(prefers-color-scheme: dark)');
    const onChange = () => setTheme((n) => n + 1);
    media.addEventListener('change', onChange);
    return () => media.removeEventListener('change', onChange);
  }, []);
  return theme;
}

export const colourOf = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** What is drawn: lines that have anything, and the shadows that tell a line's range. */
function layersOf(lines: readonly Line[]) {
  const layers: { line: Line; y: readonly Figure[]; role: 'line' | 'high' | 'low' }[] = [];
  for (const line of lines) {
    if (line.low !== undefined && line.low.length > 0) {
      layers.push({ line, y: line.high ?? [], role: 'high' }, { line, y: line.low, role: 'low' });
    }
    layers.push({ line, y: line.y, role: 'line' });
  }
  return layers;
}

type Column = (number | null | undefined)[];

/** One x axis for all, ascending; uPlot wants every line on it. */
function joined(layers: ReturnType<typeof layersOf>): [Column, ...Column[]] {
  const xs = new Set<number>();
  for (const { line } of layers) for (const x of line.x) if (x !== null && Number.isFinite(x)) xs.add(x);
  const axis = [...xs].sort((a, b) => a - b);
  const place = new Map(axis.map((x, i) => [x, i]));
  const columns = layers.map(({ line, y }) => {
    const column: Column = new Array(axis.length).fill(undefined);
    for (let i = 0; i < line.x.length; i++) {
      const at = line.x[i] === null ? undefined : place.get(line.x[i] as number);
      if (at !== undefined) column[at] = y[i];
    }
    return column;
  });
  return [axis, ...columns];
}

export function Curve(props: CurveProps) {
  const {
    title,
    unit,
    lines,
    xName,
    show,
    showX,
    log = false,
    zero = false,
    height = 206,
    empty,
    parts,
    tick,
    incrs,
  } = props;
  const theme = useTheme();
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const drawn = useMemo(
    () => lines.filter(({ x, y }) => y.some((v, i) => v !== null && x[i] !== null && (!log || v > 0))),
    [lines, log],
  );
  const layers = useMemo(() => layersOf(drawn), [drawn]);
  const data = useMemo(() => {
    const all = joined(layers);
    if (log)
      for (const column of all.slice(1))
        for (let i = 0; i < column.length; i++) if ((column[i] ?? 1) <= 0) column[i] = null;
    return all;
  }, [layers, log]);
  // What needs a new plot; new data alone does not.
  const shape = JSON.stringify([
    theme,
    log,
    zero,
    height,
    xName,
    layers.map(({ line: { colour, dash, area, dots }, role }) => [colour, dash, area, dots, role]),
  ]);

  // `shape` stands for all that the plot is made of.
  useEffect(() => {
    const element = host.current;
    if (element === null || layers.length === 0) return;
    const soft = colourOf('--soft');
    const font = '12px system-ui, sans-serif';
    const grid = { stroke: colourOf('--grid'), width: 1 };
    const axis = { stroke: soft, font, grid, ticks: { ...grid, size: 4 } };
    const bands = layers.flatMap(({ role, line }, i) =>
      role === 'high'
        ? [{ series: [i + 1, i + 2] as [number, number], fill: `${colourOf(line.colour)}22` }]
        : [],
    );
    const made = new uPlot(
      {
        width: element.clientWidth,
        height,
        padding: [8, 18, 0, 0],
        legend: { show: false },
        cursor: {
          y: false,
          points: { size: 7 },
          drag: { x: true, y: false },
          sync: { key: `curves-${xName}` },
        },
        scales: {
          x: { time: false },
          y: log ? { distr: 3 } : { range: (_, low, high) => rangeOf(low, high, zero) },
        },
        axes: [
          {
            ...axis,
            ...{ size: 26, gap: 3, space: 64, label: xName, labelSize: 16, labelGap: 0, labelFont: font },
            values: (_, splits) => splits.map((v) => showX(v)),
          },
          {
            ...axis,
            ...{ size: 58, gap: 4, space: 32, incrs },
            values: (_, splits) => splits.map((v) => (v === null ? '' : (tick ?? show)(v))),
          },
        ],
        bands,
        series: [
          {},
          ...layers.map(({ line, role }) => ({
            stroke: role === 'line' ? colourOf(line.colour) : 'transparent',
            width: role === 'line' ? (line.area ? 1 : 1.75) : 0,
            dash: line.dash,
            fill: line.area ? colourOf(line.colour) : undefined,
            points: { show: role === 'line' && line.dots === true, size: 5, fill: colourOf(line.colour) },
            spanGaps: false,
          })),
        ],
        hooks: { setCursor: [(u) => setAt(u.cursor.idx ?? null)] },
      },
      data as uPlot.AlignedData,
      element,
    );
    plot.current = made;
    const resize = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }));
    resize.observe(element);
    return () => {
      resize.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape]);

  useEffect(() => {
    plot.current?.setData(data as uPlot.AlignedData);
  }, [data]);

  /** Left and right walk along the points. */
  const onKey = (event: KeyboardEvent) => {
    const u = plot.current;
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (u === null || step === undefined) return;
    event.preventDefault();
    const last = data[0].length - 1;
    const from = u.cursor.idx ?? (step > 0 ? -1 : last + 1);
    const to = Math.max(0, Math.min(last, from + step));
    u.setCursor({ left: u.valToPos(data[0][to] as number, 'x'), top: 10 });
  };

  const x = at === null ? null : (data[0][at] ?? null);
  return (
    <Chart
      title={title}
      unit={unit}
      aside={
        x !== null && (
          <span class="at">
            {xName} {showX(x)}
          </span>
        )
      }
    >
      {layers.length === 0 ? (
        <p class="empty">{empty}</p>
      ) : (
        <>
          <div
            class="plot"
            ref={host}
            // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys read values off the curve
            tabIndex={0}
            role="img"
            aria-label={`${title}, ${unit}; arrow keys read values`}
            onKeyDown={onKey}
          />
          <ul class="legend" aria-live="polite">
            {drawn.map((line) => (
              <li key={line.name}>
                <i class={line.dash ? 'swatch dashed' : 'swatch'} style={{ '--c': `var(${line.colour})` }} />
                <span class="who">{line.name}</span>
                <b>{show(valueAt(line, parts?.[lines.indexOf(line)] ?? line.y, x))}</b>
              </li>
            ))}
          </ul>
        </>
      )}
    </Chart>
  );
}

function rangeOf(low: number | null, high: number | null, zero: boolean): [number, number] {
  const [from, to] = [zero ? 0 : (low ?? 0), high ?? 1];
  const room = (to - from) * 0.06 || Math.abs(to) * 0.1 || 1;
  return [zero ? 0 : from - room, to + room];
}

/** Of a line at x: its nearest point at or before; without x, its last. */
function valueAt({ x: xs }: Line, ys: readonly Figure[], x: number | null): Figure {
  for (let i = xs.length - 1; i >= 0; i--) {
    if (ys[i] !== null && xs[i] !== null && (x === null || (xs[i] as number) <= x)) return ys[i];
  }
  return null;
}
