/**
 * How rates and dropout of other experiments were chosen: on validation rows, which take no part in the training here, one
 * seed. A grid for each layer, all else as in the experiment that it is for; no test row is read.
 */
import { extremeConfig } from './extreme.mjs';
import { cellsOf, resultsOf, unseen } from './lib/classification.mjs';
import { rareConfig } from './rare.mjs';

const adagrad = (rate, eps) => ({
  outputOptimizer: { kind: 'adagrad', rate, ...(eps === undefined ? {} : { eps }) },
});
const adam = (rate, dropout, eps = 2.5e-4) => ({ outputOptimizer: { kind: 'adam', rate, eps }, dropout });

/** By the experiment that they are for, and its dataset and rows: what is tried. */
const grids = [
  ...Object.entries({
    dense: [adam(1e-2, 0.3), adam(1e-2, 0.5)],
    'static F=104, a quarter': [adam(2e-2, 0.1), adam(2e-2, 0.2), adam(2e-2, 0.4), adam(3e-2, 0.2)],
  }).map(([row, tries]) => ({ of: 'rare', configOf: rareConfig, dataset: 'wordnet-related', row, tries })),
  ...Object.entries({
    'dense, width 1024': [adam(5e-3, 0.4), adam(1e-2, 0.4), adam(2e-2, 0.4)],
    'static F=208, a quarter, width 1024': [adam(1e-2, 0.3), adam(2e-2, 0.3), adam(4e-2, 0.3)],
  }).map(([row, tries]) => ({ of: 'rare', configOf: rareConfig, dataset: 'wordnet-hypernym', row, tries })),
  // eps of all rows of that table is the default of Adagrad. A larger one is tried with the two rows that it compares most.
  ...Object.entries({
    dense: [...[0.05, 0.1, 0.2].map((rate) => adagrad(rate)), adagrad(0.2, 3e-3)],
    'bottleneck, memory of F=100': [0.05, 0.1, 0.2].map((rate) => adagrad(rate)),
    'bottleneck, memory of F=32': [0.05, 0.1, 0.2].map((rate) => adagrad(rate)),
    'static from gradients F=100': [...[0.1, 0.2, 0.4, 0.8].map((rate) => adagrad(rate)), adagrad(0.3, 3e-3)],
    'SET F=100': [0.1, 0.2, 0.4, 0.8].map((rate) => adagrad(rate)),
    'SET F=32': [0.1, 0.2, 0.4, 0.8].map((rate) => adagrad(rate)),
    'SET + linear intermediate F=32': [0.2, 0.4].map((rate) => adagrad(rate)),
  }).map(([row, tries]) => ({
    ...{ of: 'extreme', configOf: extremeConfig, dataset: 'wordnet-related', row, tries },
  })),
];

const settingOf = ({ outputOptimizer: { rate, eps = 1e-10 }, dropout }) =>
  `rate ${rate}, eps ${eps}${dropout === undefined ? '' : `, dropout ${dropout}`}`;

/** A config with what is tried in the place of its own. */
function changed({ model, ...config }, { outputOptimizer, dropout = model.encoder.dropout }) {
  return { ...config, outputOptimizer, model: { ...model, encoder: { ...model.encoder, dropout } } };
}

const titleOf = ({ of, row }) => `${of}: ${row}`;
const cells = grids.flatMap((grid) =>
  grid.tries.flatMap((what) =>
    cellsOf(grid.dataset, `${titleOf(grid)}, ${settingOf(what)}`, [1], {
      ...changed(grid.configOf(grid.dataset, grid.row), what),
      ...unseen,
    }).map((cell) => ({ ...cell, split: 'validation' })),
  ),
);

/** The rule, the same for all layers: what is best in the two figures together that the comparison is about. */
const worth = ({ at }) => at[0].precision + at[2].psp;

function gridTable(results, grid) {
  const rows = grid.tries.flatMap((what) =>
    resultsOf(results, grid.dataset, `${titleOf(grid)}, ${settingOf(what)}`).map((result) => ({
      what,
      result,
    })),
  );
  if (rows.length === 0) return [];
  const best = rows.length > 1 ? Math.max(...rows.map(({ result }) => worth(result))) : Number.NaN;
  return [
    `### ${grid.dataset}, ${titleOf(grid)}`,
    '',
    '| setting | P@1 | P@3 | P@5 | PSP@1 | PSP@3 | PSP@5 |',
    `|${'---|'.repeat(7)}`,
    ...rows.map(({ what, result }) => {
      const figures = ['precision', 'psp'].flatMap((name) => result.at.map((at) => at[name].toFixed(2)));
      const setting = settingOf(what);
      return `| ${[worth(result) === best ? `**${setting}**` : setting, ...figures].join(' | ')} |`;
    }),
    '',
  ];
}

const table = (results) =>
  [
    '# Settings, and how they were chosen',
    '',
    'Made by `npm run experiment -- settings`. Validation rows, which took no part in training; one seed. For each layer the',
    'rate and eps of its output optimiser (and dropout where it is named), all else as in the experiment named before it. In',
    'bold what has the largest sum of P@1 and PSP@5: the rule for all layers alike. `extreme` takes the best of eps 1e-10, and',
    '0.4 for all connections of a label that are its own and behind no other layer, 0.05 for both bottlenecks.',
    '',
    ...grids.flatMap((grid) => gridTable(results, grid)),
  ].join('\n');

export const settings = { cells, table };
