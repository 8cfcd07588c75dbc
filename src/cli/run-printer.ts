/** A run in words, for terminals. */
import pc from 'picocolors';
import { histogramText } from '../pictures/index.js';
import type { Figure, RunReport, Table } from '../reports/index.js';
import { duration, note, out } from './terminal.js';

const number = (x: Figure | undefined, digits = 2) =>
  x === null || x === undefined ? '-' : x.toFixed(digits);
const count = (x: Figure) => (x === null ? '-' : Math.round(x).toLocaleString('en'));
const mebibytes = (x: Figure) => (x === null ? '-' : `${(x / 2 ** 20).toFixed(1)} MiB`);

export function printRun(run: RunReport): void {
  const line = (title: string, text: string) => out(`${title.padEnd(20)}${text}`);
  const done =
    run.steps === null || run.step === null ? '' : `, step ${count(run.step)} of ${count(run.steps)}`;
  line('status', `${pc.bold(run.status)}${done}`);
  line('data', `${count(run.rows)} rows, ${count(run.features)} features, ${count(run.labels)} labels`);
  line('output layer', `${run.output ?? '-'}, ${count(run.weights)} weights in all`);
  line('kernels', `${run.kernels ?? '-'} on ${run.threads ?? '-'} thread(s)`);
  line('time at work', `${duration(run.seconds ?? Number.NaN)}, ${count(run.examplesPerSecond)} examples/s`);
  line(
    'peak memory',
    `${mebibytes(run.peakBytes)} accounted, ${mebibytes(run.peakRssBytes ?? run.rssBytes)} resident`,
  );
  line('model on disk', mebibytes(run.modelBytes));
  const loss = curve(run.progress, 'loss');
  if (loss !== '') line('training loss', `${loss} ${number(run.loss, 4)}`);
  const last = run.validations[run.validations.length - 1];
  if (last !== undefined) {
    line(
      'validation',
      Object.entries(last.precision)
        .map(([k, x]) => `P@${k} ${number(x)}`)
        .join('  '),
    );
    for (const [bucket, byK] of Object.entries(last.buckets ?? {})) {
      line(
        `  ${bucket}`,
        Object.entries(byK)
          .map(([k, x]) => `found@${k} ${number(x.recall)}`)
          .join('  '),
      );
    }
  }
  const explored = run.rewires.columns.explored?.mean;
  if (explored !== undefined)
    line('connections tried', `${number(100 * (explored[explored.length - 1] ?? 0))} % of all possible`);
  for (const { name, from, to, shares } of run.snapshots[run.snapshots.length - 1]?.weights ?? []) {
    line(name.slice(-19), `${from.toPrecision(2)} |${histogramText(shares, true)}| ${to.toPrecision(2)}`);
  }
  for (const problem of run.problems) note(`${pc.yellow('note')} ${problem}`);
}

function curve(table: Table, column: string, width = 48): string {
  const mean = table.columns[column]?.mean.filter((x) => x !== null) ?? [];
  if (mean.length < 2) return '';
  const picked = Array.from(
    { length: Math.min(width, mean.length) },
    (_, i, all = Math.min(width, mean.length)) => mean[Math.round((i * (mean.length - 1)) / (all - 1))],
  );
  return histogramText(picked.map((x) => Math.max(0, x)));
}
