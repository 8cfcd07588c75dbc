/** What experiments that compare output layers on the same datasets share: cells by dataset, layer and seed, and tables. */
import { mean, spread } from './spread.mjs';

/** A cell per seed; `config` is a training config without data and run directory. */
export const cellsOf = (dataset, output, seeds, config) =>
  seeds.map((seed) => ({
    name: `${dataset} ${output} seed ${seed}`.replaceAll(/[ =+,:]+/g, '-'),
    dataset,
    output,
    config: { seed, ...config },
  }));

/** Settings of cells that are scored on validation rows: these neither train nor choose the model that is kept. */
export const unseen = { rows: 'train', validation: { best: false, rows: 1000 }, calibration: null };

/** The results of one row of a table. */
export const resultsOf = (results, dataset, output) =>
  results
    .filter(({ cell }) => cell.dataset === dataset && cell.output === output)
    .map(({ result }) => result);

export const mebibytes = (rows, what) => mean(rows.map((row) => row[what])) / 2 ** 20;

/** Seconds of training; a process that was paused says nothing of it (`paused`, written into its result by hand). */
function timeOf(rows) {
  const seconds = rows.filter(({ paused }) => paused !== true).map((row) => row.seconds);
  return seconds.length === 0 ? '' : spread(seconds, 0);
}

/** `more`: further columns, name to a function of the results of a row. */
export function qualityTable(results, dataset, outputs, more = {}) {
  const lines = [
    `| output layer | seeds | P@1 | P@3 | P@5 | PSP@1 | PSP@3 | PSP@5 | output MiB | process peak MiB | seconds |${Object.keys(
      more,
    )
      .map((name) => ` ${name} |`)
      .join('')}`,
    `|${'---|'.repeat(11 + Object.keys(more).length)}`,
  ];
  for (const output of outputs) {
    const rows = resultsOf(results, dataset, output);
    if (rows.length === 0) continue;
    const at = (i, what) => spread(rows.map((row) => row.at[i][what]));
    const cells = [
      output,
      rows.length,
      ...['precision', 'psp'].flatMap((what) => [0, 1, 2].map((i) => at(i, what))),
      mebibytes(rows, 'outputBytes').toFixed(1),
      mebibytes(rows, 'peakRss').toFixed(0),
      timeOf(rows),
      ...Object.values(more).map((of) => of(rows)),
    ];
    lines.push(`| ${cells.join(' | ')} |`);
  }
  return lines;
}
