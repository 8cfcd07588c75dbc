/** A comparison as one HTML file for the meeting: no scripts, nothing loaded, made for screen and paper. */
import { type Amount, amountsSvg, escaped, intervalsSvg, linesSvg } from '../../pictures/index.js';
import type { ComparedRun, Comparison } from './compare.js';

const STYLE = `:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;color:#1d231f;background:#fff;max-width:58rem;margin:0 auto;padding:1.5rem 1rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.2rem;margin:2.2rem 0 .5rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
p{margin:.3rem 0 .8rem}.soft{color:#5a645d;font-size:.9rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.92rem;width:100%}
th{text-align:left;font-weight:500;color:#5a645d}thead th{color:inherit;font-weight:600}
td,th{padding:.3rem .8rem .3rem 0;border-top:1px solid #dfe3dc;vertical-align:top}thead th{border-top:0}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td small{display:block;color:#5a645d;white-space:nowrap}
td .up{color:#2f6b3c}td .down{color:#b5432f}
svg{display:block;width:100%;max-width:44rem;height:auto;margin:.6rem 0;break-inside:avoid}ul{margin:.2rem 0 .8rem;padding-left:1.2rem}
.verdict{border-left:4px solid #2f6b3c;padding:.1rem 0 .1rem .9rem;break-inside:avoid}
@media(prefers-color-scheme:dark){body{color:#e7ebe6;background:#181818}.soft,th,td small{color:#a1aca4}td,th{border-color:#333b35}td .up{color:#7ccb8a}td .down{color:#ee8a76}}
@media print{:root{color-scheme:light}body{color:#000;background:#fff;font-size:11pt;max-width:none;padding:0}h2{break-after:avoid}.soft,th,td small{color:#444}td,th{border-color:#bbb}td .up,td .down{color:#000}svg text{fill:#222}svg .b{fill:#fff}svg .g{stroke:#ccc}tr,svg{break-inside:avoid}}`;

const percent = (share: number) => (100 * share).toFixed(2);
const mebibytes = (bytes: number | null) => (bytes === null ? '–' : `${(bytes / 2 ** 20).toFixed(1)} MiB`);

export function duration(seconds: number | null): string {
  if (seconds === null) return '–';
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

/** The page; every name in it is escaped. */
export function comparePage(comparison: Comparison): string {
  const { runs, data, split, rows, labels, kernels, threads, draws, seed, borders, pricePerHour } =
    comparison;
  const names = runs.map(({ name }) => name);
  const title = `${names.join(' · ')} on ${data}`;
  const count = (n: number) => n.toLocaleString('en');
  const body = [
    `<h1>${escaped(names.join(' against '))}</h1>`,
    `<p class="soft">${count(rows)} ${escaped(split)} rows of ${escaped(data)}, ${count(labels)} labels. Speed measured on ${escaped(kernels)}, ${threads} thread(s), all runs in turns.${pricePerHour === null ? '' : ` One hour of the machine: ${pricePerHour}.`}</p>`,
    ...runs.slice(1).map((run) => verdict(run, names[0])),
    '<h2>Accuracy</h2>',
    `<p class="soft">With 95 % intervals: ${count(draws)} bootstrap draws of the rows, the same for all runs, seed ${seed}. Differences are to ${escaped(names[0])}; arrows where the interval leaves 0 out.</p>`,
    accuracyTable(comparison),
    intervalsSvg({
      ...{ title: 'Right among the first k predictions', unit: '%', series: names },
      groups: ['P@1', 'P@3', 'P@5'].map((figure) => groupOf(figure, figure, runs)),
    }),
    intervalsSvg({
      ...{ title: 'True labels found among the first five, by their frequency', unit: '%', series: names },
      groups: ['head', 'torso', 'tail'].map((bucket) => groupOf(bucket, `${bucket} found@5`, runs)),
    }),
    `<p class="soft">Tail: labels with at most ${count(borders.tailAtMost)} training rows; torso: at most ${count(borders.torsoAtMost)}; head: more.</p>`,
    '<h2>Cost</h2>',
    costTable(runs),
    picture('Training time', runs, (r) => r.trainingSeconds, duration),
    picture('Peak memory in training, accounted', runs, (r) => r.peakBytes, mebibytes),
    picture('Model on disk', runs, (r) => r.modelBytes, mebibytes),
    picture(
      'Latency of one answer, median',
      runs,
      (r) => r.speed.latency.p50,
      (x) => `${(x ?? 0).toFixed(2)} ms`,
    ),
    picture(
      'Throughput in batches',
      runs,
      (r) => r.speed.rowsPerSecond,
      (x) => `${count(Math.round(x ?? 0))} rows/s`,
    ),
    ...breakEven(comparison),
    `<p class="soft">Latency and throughput begin at a row of features and end at its five best labels; turning text into features comes on top and is the same for runs of one dataset. Measurements of a shared machine: read them against each other.</p>`,
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>${escaped(title)}</title><style>${STYLE}</style></head>
<body>
${body.join('\n')}
</body></html>
`;
}

function verdict({ name, words, breakEven }: ComparedRun, first: string): string {
  const list = (title: string, items: readonly string[]) =>
    items.length === 0
      ? ''
      : `<h3>${title}</h3><ul>${items.map((item) => `<li>${escaped(item)}</li>`).join('')}</ul>`;
  return `<section class="verdict"><h2>${escaped(name)}, against ${escaped(first)}</h2>${list('Gained', words.gained)}${list('Lost', words.lost)}${list('Alike', words.alike)}${breakEven === null ? '' : `<p>${escaped(breakEven.words)}</p>`}</section>`;
}

function groupOf(name: string, figure: string, runs: readonly ComparedRun[]) {
  const marks = runs.map(({ accuracy: { [figure]: f } }) => ({
    value: 100 * f.value,
    low: 100 * f.low,
    high: 100 * f.high,
  }));
  return { name, marks };
}

function accuracyTable({ runs }: Comparison): string {
  const figures = Object.keys(runs[0].accuracy);
  const cell = (run: ComparedRun, figure: string) => {
    const { value, low, high, difference } = run.accuracy[figure];
    const sign = (x: number) => `${x < 0 ? '−' : '+'}${percent(Math.abs(x))}`;
    const arrow =
      difference === null
        ? ''
        : difference.low > 0
          ? '<span class="up">▲</span> '
          : difference.high < 0
            ? '<span class="down">▼</span> '
            : '';
    const to =
      difference === null
        ? ''
        : `<small>${arrow}${sign(difference.value)} [${sign(difference.low)}, ${sign(difference.high)}]</small>`;
    return `<td class="n">${percent(value)}<small>[${percent(low)}, ${percent(high)}]</small>${to}</td>`;
  };
  return table(
    '%',
    runs,
    figures.map((figure) => [figure, runs.map((run) => cell(run, figure))]),
  );
}

function costTable(runs: readonly ComparedRun[]): string {
  const row = (title: string, of: (run: ComparedRun) => string): [string, string[]] => [
    title,
    runs.map((run) => `<td class="n">${escaped(of(run))}</td>`),
  ];
  return table('', runs, [
    row('Output layer', (r) => r.output),
    row('Weights', (r) => r.weights.toLocaleString('en')),
    row('Training time', (r) => duration(r.trainingSeconds)),
    row('Peak memory, accounted', (r) => mebibytes(r.peakBytes)),
    row('Peak memory, process', (r) => mebibytes(r.peakRssBytes)),
    row('Model on disk', (r) => mebibytes(r.modelBytes)),
    row('Latency p50 / p95 / p99, ms', ({ speed: { latency: l } }) =>
      [l.p50, l.p95, l.p99].map((x) => x.toFixed(2)).join(' / '),
    ),
    row('Throughput, rows/s', (r) => Math.round(r.speed.rowsPerSecond).toLocaleString('en')),
  ]);
}

function table(
  corner: string,
  runs: readonly ComparedRun[],
  rows: readonly (readonly [string, readonly string[]])[],
): string {
  const head = runs.map(({ name }) => `<th scope="col" class="n">${escaped(name)}</th>`).join('');
  const lines = rows.map(
    ([title, cells]) => `<tr><th scope="row">${escaped(title)}</th>${cells.join('')}</tr>`,
  );
  return `<div class="wide"><table><thead><tr><th>${corner}</th>${head}</tr></thead><tbody>${lines.join('\n')}</tbody></table></div>`;
}

function picture(
  title: string,
  runs: readonly ComparedRun[],
  of: (run: ComparedRun) => number | null,
  show: (x: number | null) => string,
): string {
  const amounts = runs.map((run): Amount => ({ name: run.name, value: of(run), text: show(of(run)) }));
  return amountsSvg({ title, amounts });
}

function breakEven({ runs, pricePerHour }: Comparison): string[] {
  const known = runs.filter(({ trainingSeconds }) => trainingSeconds !== null);
  if (runs.length < 2 || known.length !== runs.length) return [];
  const price = pricePerHour ?? 1;
  const crossings = runs.flatMap(({ breakEven: b }) => (b?.answers ? [b.answers] : []));
  const until = 1.6 * Math.max(...crossings, crossings.length === 0 ? 1e7 : 0);
  const cost = (run: ComparedRun, answers: number) =>
    (price * ((run.trainingSeconds ?? 0) + answers / run.speed.rowsPerSecond)) / 3600;
  return [
    '<h2>Training and serving together</h2>',
    ...runs.slice(1).map(({ name, breakEven: b }) => `<p>${escaped(name)}: ${escaped(b?.words ?? '')}</p>`),
    linesSvg({
      title:
        pricePerHour === null
          ? 'Machine hours, training included'
          : `Cost, training included, at ${pricePerHour} an hour`,
      xTitle: 'answers served',
      yTitle: pricePerHour === null ? 'hours' : 'cost',
      lines: runs.map((run) => ({
        name: run.name,
        points: [[0, cost(run, 0)] as const, [until, cost(run, until)] as const],
      })),
      marks: runs.flatMap((run) =>
        run.breakEven?.answers
          ? [{ x: run.breakEven.answers, y: cost(run, run.breakEven.answers), text: 'break-even' }]
          : [],
      ),
    }),
  ];
}
