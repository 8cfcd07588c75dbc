/** Bars and heat maps: small pictures without a cursor. */
import { useEffect, useRef } from 'preact/hooks';
import type { Bins } from '../../reports/types.js';
import { colourOf, useTheme } from './curve.js';
import { short } from './format.js';
import { Chart } from './frame.js';

/** Bins as bars; a second set as an outline: how it was at the start. */
export function Histogram(props: {
  readonly title: string;
  readonly unit: string;
  readonly bins: Bins;
  readonly before?: Bins;
  readonly note?: string;
  readonly integer?: boolean;
}) {
  const { title, unit, bins, before, note, integer = false } = props;
  const [width, height, left, foot] = [320, 130, 8, 18];
  const from = Math.min(bins.from, before?.from ?? bins.from);
  const to = Math.max(bins.to, before?.to ?? bins.to);
  // Densities, so that bins of different widths compare.
  const density = (b: Bins) => b.shares.map((s) => (s * b.shares.length) / (b.to - b.from));
  const most = Math.max(1e-30, ...density(bins), ...(before ? density(before) : []));
  const x = (v: number) => left + ((v - from) / (to - from)) * (width - 2 * left);
  const y = (d: number) => height - foot - (d / most) * (height - foot - 6);
  const edge = (b: Bins, i: number) => b.from + ((b.to - b.from) * i) / b.shares.length;
  const outline = (b: Bins) =>
    `M${x(b.from)} ${y(0)}${density(b)
      .map((d, i) => `L${x(edge(b, i))} ${y(d)}L${x(edge(b, i + 1))} ${y(d)}`)
      .join('')}L${x(b.to)} ${y(0)}`;
  const show = (v: number) => (integer ? Math.round(v).toLocaleString('en') : short(v));
  return (
    <Chart title={title} unit={unit}>
      <svg viewBox={`0 0 ${width} ${height}`} role="img" aria-label={`${title}: ${note ?? ''}`}>
        <path d={outline(bins)} class="fill" />
        {before && <path d={outline(before)} class="outline" />}
        <line x1={left} x2={width - left} y1={height - foot} y2={height - foot} class="axis" />
        {[0, 0.5, 1].map((part) => (
          <text
            key={part}
            x={x(from + part * (to - from))}
            y={height - 5}
            text-anchor={part === 0 ? 'start' : part === 1 ? 'end' : 'middle'}
          >
            {show(from + part * (to - from))}
          </text>
        ))}
      </svg>
      {note && <p class="note">{note}</p>}
    </Chart>
  );
}

/** Histograms over time: one column per moment, darker where more values are. */
export function HeatOverTime(props: {
  readonly title: string;
  readonly unit: string;
  readonly columns: readonly { readonly step: number; readonly bins: Bins }[];
  readonly note?: string;
}) {
  const { title, unit, columns, note } = props;
  const theme = useTheme();
  const canvas = useRef<HTMLCanvasElement>(null);
  const from = Math.min(...columns.map(({ bins }) => bins.from));
  const to = Math.max(...columns.map(({ bins }) => bins.to));
  const rows = 48;
  useEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (context === null || context === undefined) return;
    context.clearRect(0, 0, columns.length, rows);
    context.fillStyle = colourOf('--accent');
    for (let c = 0; c < columns.length; c++) {
      const { bins } = columns[c];
      const of = (v: number) => Math.floor(((v - bins.from) / (bins.to - bins.from)) * bins.shares.length);
      const density = (s: number) => (s * bins.shares.length) / (bins.to - bins.from);
      const most = Math.max(1e-30, ...bins.shares.map(density));
      for (let r = 0; r < rows; r++) {
        const bin = of(from + ((rows - r - 0.5) / rows) * (to - from));
        const s = bins.shares[bin];
        if (s === undefined || s <= 0) continue;
        // From a share of 1e-5 of the fullest on, by its logarithm.
        context.globalAlpha = Math.max(0.04, 1 + Math.log10(density(s) / most) / 5);
        context.fillRect(c, r, 1, 1);
      }
    }
    context.globalAlpha = 1;
  }, [columns, theme]);
  const last = columns[columns.length - 1];
  return (
    <Chart title={title} unit={unit}>
      <div class="heat">
        <div class="ticks">
          <span>{short(to)}</span>
          <span>{from < 0 && to > 0 ? '0' : short((from + to) / 2)}</span>
          <span>{short(from)}</span>
        </div>
        <canvas
          ref={canvas}
          width={columns.length}
          height={rows}
          role="img"
          aria-label={`${title} over time. ${note ?? ''}`}
        />
        <div class="ticks across">
          <span>step {short(columns[0]?.step ?? 0)}</span>
          <span>{short(last?.step ?? 0)}</span>
        </div>
      </div>
      {note && <p class="note">{note}</p>}
    </Chart>
  );
}
