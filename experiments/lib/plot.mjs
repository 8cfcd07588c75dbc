/** Line charts as SVG: readable in light and dark, printed as they are seen. */

const WIDTH = 700;
const HEIGHT = 400;
const MARGIN = { left: 70, right: 200, top: 40, bottom: 50 };
// Told apart by people with colour-blindness too (Okabe and Ito), and by their marks.
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#7f7f7f', '#000000'];
const escaped = (text) =>
  String(text).replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);

/** A scale from [low, high] to [from, to], and where its ticks are. */
function scale(values, from, to, logarithmic) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (low === high) [low, high] = logarithmic ? [low / 2, high * 2] : [low - 1, high + 1];
  if (logarithmic) {
    [low, high] = [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high))];
    const ticks = [];
    for (let t = low; t <= high * 1.0001; t *= 10) ticks.push(t);
    const at = (x) =>
      from + ((Math.log10(x) - Math.log10(low)) / (Math.log10(high) - Math.log10(low))) * (to - from);
    return { at, ticks };
  }
  const raw = (high - low) / 5;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= raw);
  [low, high] = [Math.floor(low / step) * step, Math.ceil(high / step) * step];
  const ticks = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, i) => low + i * step);
  return { at: (x) => from + ((x - low) / (high - low)) * (to - from), ticks };
}

const number = (x) =>
  Math.abs(x) >= 1e4 || (x !== 0 && Math.abs(x) < 1e-2)
    ? x.toExponential(0).replace('e+', 'e')
    : `${+x.toPrecision(3)}`;

const marks = [
  (x, y) => `<circle cx="${x}" cy="${y}" r="4"/>`,
  (x, y) => `<rect x="${x - 4}" y="${y - 4}" width="8" height="8"/>`,
  (x, y) => `<path d="M${x} ${y - 5}l5 9h-10z"/>`,
  (x, y) => `<path d="M${x} ${y - 5}l5 5l-5 5l-5-5z"/>`,
];

/**
 * @param {{ title: string, x: string, y: string, logX?: boolean, logY?: boolean,
 *   lines: { name: string, points: [number, number][], loose?: boolean }[] }} chart `loose`: marks without a line
 */
export function lineChart({ title, x, y, logX = false, logY = false, lines }) {
  const points = lines.flatMap((line) => line.points);
  const sx = scale(
    points.map(([a]) => a),
    MARGIN.left,
    WIDTH - MARGIN.right,
    logX,
  );
  const sy = scale(
    points.map(([, b]) => b),
    HEIGHT - MARGIN.bottom,
    MARGIN.top,
    logY,
  );
  // Room for the longest name, and for many.
  const longest = Math.max(0, ...lines.map(({ name }) => name.length));
  const width = Math.max(WIDTH, WIDTH - MARGIN.right + 40 + 7 * longest);
  const height = Math.max(HEIGHT, MARGIN.top + 10 + 20 * lines.length);
  const out = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}">`,
    '<style>text{font:13px system-ui,sans-serif;fill:#222}.t{font-size:15px;font-weight:600}.g{stroke:#ddd}.b{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#ddd}.g{stroke:#444}.b{fill:#181818}}</style>',
    `<rect class="b" width="${width}" height="${height}"/>`,
    `<text class="t" x="${MARGIN.left}" y="22">${escaped(title)}</text>`,
  ];
  for (const tick of sx.ticks) {
    const at = sx.at(tick).toFixed(1);
    out.push(`<line class="g" x1="${at}" x2="${at}" y1="${MARGIN.top}" y2="${HEIGHT - MARGIN.bottom}"/>`);
    out.push(
      `<text x="${at}" y="${HEIGHT - MARGIN.bottom + 18}" text-anchor="middle">${number(tick)}</text>`,
    );
  }
  for (const tick of sy.ticks) {
    const at = sy.at(tick).toFixed(1);
    out.push(`<line class="g" y1="${at}" y2="${at}" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}"/>`);
    out.push(`<text x="${MARGIN.left - 8}" y="${Number(at) + 4}" text-anchor="end">${number(tick)}</text>`);
  }
  const middle = (MARGIN.left + WIDTH - MARGIN.right) / 2;
  out.push(`<text x="${middle}" y="${HEIGHT - 10}" text-anchor="middle">${escaped(x)}</text>`);
  const half = (MARGIN.top + HEIGHT - MARGIN.bottom) / 2;
  out.push(`<text transform="translate(18 ${half}) rotate(-90)" text-anchor="middle">${escaped(y)}</text>`);
  for (const [i, { name, points: own, loose = false }] of lines.entries()) {
    const colour = COLOURS[i % COLOURS.length];
    // After the last colour, the first one with another mark.
    const mark = marks[(i + Math.floor(i / COLOURS.length)) % marks.length];
    const at = own.map(([a, b]) => [Number(sx.at(a).toFixed(1)), Number(sy.at(b).toFixed(1))]);
    const path = at.map(([a, b], j) => `${j === 0 ? 'M' : 'L'}${a} ${b}`).join('');
    if (!loose) out.push(`<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    out.push(`<g fill="${colour}">${at.map(([a, b]) => mark(a, b)).join('')}</g>`);
    const legend = MARGIN.top + 10 + 20 * i;
    out.push(`<g fill="${colour}">${mark(WIDTH - MARGIN.right + 16, legend)}</g>`);
    out.push(`<text x="${WIDTH - MARGIN.right + 26}" y="${legend + 4}">${escaped(name)}</text>`);
  }
  return `${out.join('\n')}\n</svg>\n`;
}
