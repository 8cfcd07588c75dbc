/**
 * What favouring rare labels gains and costs (`rare`: answers by score - rare log p_l), for a dense output layer and for
 * fixed fan-in at a quarter of its memory, both as `fan-in` has tuned them. How far to favour is chosen on validation rows,
 * which took no part in the training that is scored there; the test split is then scored by models of all training rows.
 */
import { fanInConfig } from './fan-in.mjs';
import { cellsOf, mebibytes, resultsOf } from './lib/classification.mjs';
import { lineChart } from './lib/plot.mjs';
import { mean, spread } from './lib/spread.mjs';

const dataset = 'wordnet-hypernym';
const layers = ['dense, dropout 0.3', 'static F=104, a quarter, dropout 0.2'];
const rares = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3];
/** Points of P@1 on validation rows that favouring may cost. */
const mayCost = 0.1;
const splits = { validation: 'train', test: 'all' };

const nameOf = (layer, split) => `${layer}, ${split}`;
const cells = [1, 2, 3].flatMap((seed) =>
  layers.flatMap((layer) =>
    Object.entries(splits).flatMap(([split, rows]) =>
      cellsOf(dataset, nameOf(layer, split), [seed], {
        ...fanInConfig(dataset, layer),
        rows,
        ...(split === 'validation' ? { validation: { best: false, rows: 1000 }, calibration: null } : {}),
      }).map((cell) => ({ ...cell, split, rares })),
    ),
  ),
);

/** [seeds] of a figure at one tau. */
const figures = (results, rare, k, what) =>
  results.map(({ rares: all }) => all.find((one) => one.rare === rare).at.find((at) => at.k === k)[what]);

/** The largest tau that costs no more than it may, by validation rows; null where none were scored. */
function chosenOf(results, layer) {
  const scored = resultsOf(results, dataset, nameOf(layer, 'validation'));
  if (scored.length === 0) return null;
  const p1 = (rare) => mean(figures(scored, rare, 1, 'precision'));
  const best = Math.max(...rares.map(p1));
  return Math.max(...rares.filter((rare) => p1(rare) >= best - mayCost));
}

function table(results) {
  const lines = [
    '# Rare labels favoured',
    '',
    'Made by `npm run experiment -- rare`, on wordnet-hypernym: mean \u00b1 half the range over seeds. Answers by score - tau log p_l, p_l the',
    `propensity of a label; tau 0 is by score. In bold the largest tau whose P@1 on validation rows is within ${mayCost} points of the best`,
    'there; of every run all tau are shown on the test split. A model is trained once, whatever tau is asked for.',
    '',
  ];
  for (const layer of layers) {
    const [validation, test] = ['validation', 'test'].map((split) =>
      resultsOf(results, dataset, nameOf(layer, split)),
    );
    if (validation.length === 0 && test.length === 0) continue;
    const chosen = chosenOf(results, layer);
    const size =
      test.length === 0 ? '' : `, ${mebibytes(test, 'outputBytes').toFixed(1)} MiB of output layer`;
    lines.push(
      `## ${layer} (${Math.max(validation.length, test.length)} seeds${size})`,
      '',
      '| tau | validation P@1 | P@5 | PSP@5 | test P@1 | P@3 | P@5 | PSP@1 | PSP@3 | PSP@5 |',
      `|${'---|'.repeat(10)}`,
    );
    for (const rare of rares) {
      const cell = (of, k, what) => (of.length === 0 ? '' : spread(figures(of, rare, k, what)));
      const row = [
        rare === chosen ? `**${rare}**` : rare,
        ...[
          [1, 'precision'],
          [5, 'precision'],
          [5, 'psp'],
        ].map(([k, what]) => cell(validation, k, what)),
        ...['precision', 'psp'].flatMap((what) => [1, 3, 5].map((k) => cell(test, k, what))),
      ];
      lines.push(`| ${row.join(' | ')} |`);
    }
    lines.push('');
  }
  return lines.join('\n');
}

const plots = (results) => ({
  'rare.svg': lineChart({
    title: 'wordnet-hypernym, test rows: rare labels favoured by 0 to 3',
    x: 'P@1, %',
    y: 'PSP@5, %',
    lines: layers.flatMap((layer) => {
      const test = resultsOf(results, dataset, nameOf(layer, 'test'));
      if (test.length === 0) return [];
      const at = (k, what) => rares.map((rare) => mean(figures(test, rare, k, what)));
      const [x, y] = [at(1, 'precision'), at(5, 'psp')];
      return [{ name: layer, points: x.map((value, i) => [value, y[i]]) }];
    }),
  }),
});

export const rare = { cells, table, plots };
