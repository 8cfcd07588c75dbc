/** The long tail of labels as pictures: rows of each label, the most frequent first, both axes logarithmic. */

/** Rows of the label at each rank, at ranks that are spread evenly on a logarithmic axis. */
export function tailCurve(
  frequencies: Uint32Array,
  points = 64,
): { readonly rank: number; readonly rows: number }[] {
  const sorted = Uint32Array.from(frequencies).sort().reverse();
  const ranks = new Set<number>();
  for (let p = 0; p < points && sorted.length > 0; p++) {
    ranks.add(Math.round(sorted.length ** (points === 1 ? 0 : p / (points - 1))));
  }
  return [...ranks].map((rank) => ({ rank, rows: sorted[rank - 1] }));
}

const EIGHTHS = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/** Lines for a terminal. */
export function longTailText(frequencies: Uint32Array, width = 60, height = 8): string[] {
  const sorted = Uint32Array.from(frequencies).sort().reverse();
  if (sorted.length === 0) return [];
  const top = Math.log1p(sorted[0]);
  const columns = Array.from({ length: width }, (_, x) => {
    const rank = Math.min(sorted.length, Math.max(1, Math.round(sorted.length ** (x / (width - 1)))));
    return (8 * height * Math.log1p(sorted[rank - 1])) / Math.max(top, 1e-9);
  });
  const lines = Array.from({ length: height }, (_, line) => {
    const base = 8 * (height - 1 - line);
    const bar = columns.map((level) => EIGHTHS[Math.max(0, Math.min(8, Math.round(level - base)))]).join('');
    const mark =
      line === 0 ? String(sorted[0]) : line === height - 1 ? String(sorted[sorted.length - 1]) : '';
    return `${mark.padStart(9)} ${bar}`;
  });
  const last = sorted.length.toLocaleString('en');
  return [...lines, `${'rows'.padStart(9)} ${'label 1'.padEnd(width - last.length)}${last}`];
}

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [640, 360, 64, 16, 36, 44];

/** The same as SVG; its colours follow the page's light or dark scheme. */
export function longTailSvg(frequencies: Uint32Array): string {
  const curve = tailCurve(frequencies, 200);
  const [lastRank, most] = [Math.max(2, frequencies.length), Math.max(2, curve[0]?.rows ?? 0)];
  const x = (rank: number) => LEFT + ((WIDTH - LEFT - RIGHT) * Math.log(rank)) / Math.log(lastRank);
  // Labels of no row lie on the axis, a little below one row.
  const y = (rows: number) =>
    HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * Math.log2(1 + rows)) / Math.log2(1 + most);
  const number = (n: number) => n.toLocaleString('en');
  const decades = (limit: number) =>
    Array.from({ length: Math.floor(Math.log10(limit)) + 1 }, (_, d) => 10 ** d);
  const marks = [
    ...decades(lastRank).map(
      (rank) =>
        `<path d="M${x(rank).toFixed(1)} ${TOP}V${HEIGHT - BOTTOM}"/><text x="${x(rank).toFixed(1)}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${number(rank)}</text>`,
    ),
    ...decades(most).map(
      (rows) =>
        `<path d="M${LEFT} ${y(rows).toFixed(1)}H${WIDTH - RIGHT}"/><text x="${LEFT - 6}" y="${(y(rows) + 4).toFixed(1)}" text-anchor="end">${number(rows)}</text>`,
    ),
  ];
  const line = curve
    .map(({ rank, rows }, i) => `${i === 0 ? 'M' : 'L'}${x(rank).toFixed(1)} ${y(rows).toFixed(1)}`)
    .join('');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Training rows of each label, from the most frequent label to the rarest">
<style>
:root { --ink: #1b1b1b; --faint: #d5d5d5; --line: #0a63c9; --back: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --faint: #444444; --line: #6cb2ff; --back: #16181c; } }
text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.marks path { stroke: var(--faint); }
.curve { fill: none; stroke: var(--line); stroke-width: 2; }
</style>
<rect width="100%" height="100%" fill="var(--back)"/>
<text x="${LEFT}" y="22" font-weight="600">Training rows of each of ${number(frequencies.length)} labels</text>
<g class="marks">${marks.join('\n')}</g>
<path class="curve" d="${line}"/>
<text x="${WIDTH - RIGHT}" y="${HEIGHT - 10}" text-anchor="end">label, by rank</text>
</svg>
`;
}
