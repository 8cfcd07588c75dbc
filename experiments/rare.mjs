/**
 * What favouring rare labels gains and costs (`rare`: answers by score - tau log p_l), for a dense output layer and for
 * fixed fan-in at a quarter of its memory, both as `fan-in` has tuned them. How far to favour is chosen on validation rows,
 * which took no part in the training that is scored there; the test split is then scored by models of all training rows.
 */
import { fanInConfig, fixed } from './fan-in.mjs';
import { cellsOf, mebibytes, resultsOf, unseen } from './lib/classification.mjs';
import { lineChart } from './lib/plot.mjs';
import { mean, spread } from './lib/spread.mjs';

const tuned = (row) => fanInConfig('wordnet-hypernym', row);
/**
 * wordnet-related by the logistic loss of every label, which tells labels of few examples from others better than softmax
 * over 4,096 labels drawn and takes its time: 512 units and 4 epochs, as in `extreme`.
 */
const everyLabel = (output, { rate, dropout }) => ({
  ...{ batch: 128, epochs: 4, optimizer: { kind: 'adam', rate: 5e-3 } },
  outputOptimizer: { kind: 'adam', rate, eps: 2.5e-4 },
  model: { encoder: { embedding: 512, dropout, activation: 'none' }, output },
});
const quarter = { ...fixed(104), startScale: 0.1 };

/** By dataset and name: the training config. Settings were chosen by `settings` and `fan-in`. */
const layersOf = {
  'wordnet-hypernym': Object.fromEntries(
    [
      'dense, dropout 0.3',
      'static F=104, a quarter, dropout 0.2',
      'dense, width 1024',
      'static F=208, a quarter, width 1024',
    ].map((row) => [row, tuned(row)]),
  ),
  'wordnet-related': {
    dense: everyLabel({ kind: 'dense' }, { rate: 1e-2, dropout: 0.3 }),
    'static F=104, a quarter': everyLabel(quarter, { rate: 2e-2, dropout: 0.2 }),
  },
};
const rares = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3];
/** Points of P@1 on validation rows that favouring may cost. */
const mayCost = 0.1;
/** What a cell has for its split: the rows that train. */
const trains = { validation: unseen, test: { rows: 'all' } };

const nameOf = (layer, split) => `${layer}, ${split}`;
const pictureOf = (dataset) => `rare-${dataset}.svg`;
/** The config of a layer of a dataset. */
export const rareConfig = (dataset, layer) => layersOf[dataset][layer];

const cells = Object.entries(layersOf).flatMap(([dataset, layers]) =>
  [1, 2, 3].flatMap((seed) =>
    Object.entries(layers).flatMap(([layer, config]) =>
      Object.entries(trains).flatMap(([split, rows]) =>
        cellsOf(dataset, nameOf(layer, split), [seed], { ...config, ...rows }).map((cell) => ({
          ...cell,
          split,
          rares,
        })),
      ),
    ),
  ),
);

/** [seeds] of a figure at one tau. */
const figures = (results, rare, k, what) =>
  results.map(({ rares: all }) => all.find((one) => one.rare === rare).at.find((at) => at.k === k)[what]);

/** The largest tau that costs no more than it may, by validation rows; null where none were scored. */
function chosenBy(validation) {
  if (validation.length === 0) return null;
  const p1 = (rare) => mean(figures(validation, rare, 1, 'precision'));
  const best = Math.max(...rares.map(p1));
  return Math.max(...rares.filter((rare) => p1(rare) >= best - mayCost));
}

function layerTable(dataset, layer, { validation, test }) {
  const chosen = chosenBy(validation);
  const seeds = ({ length }) => `${length} ${length === 1 ? 'seed' : 'seeds'}`;
  const size = mebibytes([test[0] ?? validation[0]], 'outputBytes').toFixed(1);
  // Columns of a split that nothing was scored on are left out.
  const columns = [
    ...[
      ['P@1', 1, 'precision'],
      ['P@5', 5, 'precision'],
      ['PSP@5', 5, 'psp'],
    ].map((one) => ['validation', validation, ...one]),
    ...['P', 'PSP'].flatMap((name) =>
      [1, 3, 5].map((k) => ['test', test, `${name}@${k}`, k, name === 'P' ? 'precision' : 'psp']),
    ),
  ].filter(([, of]) => of.length > 0);
  const rows = rares.map((tau) => {
    const cells = columns.map(([, of, , k, what]) => spread(figures(of, tau, k, what)));
    return `| ${[tau === chosen ? `**${tau}**` : tau, ...cells].join(' | ')} |`;
  });
  const titles = columns.map(([split, , name], i) =>
    columns[i - 1]?.[0] === split ? name : `${split} ${name}`,
  );
  return [
    `## ${dataset}, ${layer}`,
    '',
    `${size} MiB of output layer; ${seeds(validation)} on validation rows, ${seeds(test)} on test rows.`,
    '',
    `| tau | ${titles.join(' | ')} |`,
    `|${'---|'.repeat(1 + titles.length)}`,
    ...rows,
    '',
  ];
}

function table(results) {
  const lines = [
    '# Rare labels favoured',
    '',
    'Made by `npm run experiment -- rare`: mean ± half the range over seeds. Answers by score - tau log p_l, p_l the propensity',
    `of a label; tau 0 is by score. In bold the largest tau whose P@1 on validation rows is within ${mayCost} points of the best there;`,
    'of every run all tau are shown on the test split. A model is trained once, whatever tau is asked for.',
    '',
  ];
  for (const [dataset, layers] of Object.entries(layersOf)) {
    let isScored = false;
    for (const layer of Object.keys(layers)) {
      const [validation, test] = ['validation', 'test'].map((split) =>
        resultsOf(results, dataset, nameOf(layer, split)),
      );
      if (validation.length + test.length > 0)
        lines.push(...layerTable(dataset, layer, { validation, test }));
      isScored ||= test.length > 0;
    }
    if (isScored) lines.push(`![PSP@5 against P@1](${pictureOf(dataset)})`, '');
  }
  return lines.join('\n');
}

/** A picture of each dataset whose test rows were scored: what is gained against what it costs. */
function plots(results) {
  const charts = {};
  for (const [dataset, layers] of Object.entries(layersOf)) {
    const lines = Object.keys(layers).flatMap((layer) => {
      const test = resultsOf(results, dataset, nameOf(layer, 'test'));
      if (test.length === 0) return [];
      const at = (tau, k, what) => mean(figures(test, tau, k, what));
      return [{ name: layer, points: rares.map((tau) => [at(tau, 1, 'precision'), at(tau, 5, 'psp')]) }];
    });
    if (lines.length === 0) continue;
    const title = `${dataset}, test rows: rare labels favoured by 0 to 3`;
    charts[pictureOf(dataset)] = lineChart({ title, x: 'P@1, %', y: 'PSP@5, %', lines });
  }
  return charts;
}

export const rare = { cells, table, plots };
