/**
 * Fixed fan-in against the dense control on real extreme classification: dense, static at a quarter of dense's memory,
 * alone and behind a linear layer, and static and SET at two smaller fan-ins, at equal epochs with one shared encoder and
 * one loss; and ensembles of the networks of a row's seeds. All settings were chosen on validation rows, but for the linear
 * layer's on wordnet-related, where it was tried as it is; here every cell trains on all training rows (validation rows
 * included) and scores the test split once.
 */
import { cellsOf, qualityTable, resultsOf } from './lib/classification.mjs';

const seeds = [1, 2, 3];
/** Of rows that are also scored as an ensemble. */
const members = [1, 2, 3, 4, 5];
const asEnsemble = ['dense', 'SET F=64'];
const ks = [1, 3, 5];

const tasks = {
  'wordnet-hypernym': {
    common: { batch: 256, epochs: 6, optimizer: { kind: 'adam', rate: 5e-3 } },
    model: { encoder: { embedding: 512, dropout: 0.5, activation: 'none' } },
    dense: { outputOptimizer: { kind: 'adam', rate: 1e-2, eps: 2.5e-4 } },
    sparse: { outputOptimizer: { kind: 'adam', rate: 2e-2, eps: 2.5e-4 } },
    output: {},
    every: 281,
    // A quarter of dense's bytes, moments and columns counted: 14 a connection, 12 a dense weight.
    quarter: 104,
    // The same with the linear layer's weights and moments, 12 bytes each. Less dropout, 0.2 and 0.3, or half of the rate
    // brings it nothing on validation rows (P@1 70.8 to 70.9, PSP@5 40.3 to 40.4; without the layer 72.4 and 40.8).
    behind: 94,
    /**
     * Dropout of these by itself, on validation rows: few connections want less of it. Rates of 3e-2 and 4e-2 trade, at
     * 0.1 to 0.2 of dropout, 0.3 to 1.0 points of P@1 for 0.1 to 0.6 of PSP@5 (two seeds).
     */
    dropouts: { dense: 0.3, 'static F=104, a quarter': 0.2 },
    // 60 connections that all labels share, and 32 of each label's own, behind 512 + 60 linear units.
    lowRank: { fanIn: 92, shared: 60 },
    /**
     * Twice the width, for both kinds of layer: no rows of this table, but of the experiment `rare`. Dropout of best PSP@5
     * on validation rows, one seed: dense at 0.3, 0.4, 0.5 has 41.8, 41.9, 41.6 there and 72.1, 71.9, 72.0 of P@1, fan-in
     * at 0.2, 0.3, 0.4, 0.5 has 41.9, 41.9, 41.6, 41.3 and 71.9, 72.2, 72.2, 72.9.
     */
    wide: { embedding: 1024, quarter: 208, dropouts: { dense: 0.4, static: 0.3 } },
  },
  'wordnet-related': {
    common: { batch: 128, epochs: 8, optimizer: { kind: 'adam', rate: 5e-3 } },
    model: { encoder: { embedding: 1024, dropout: 0.6, activation: 'none' }, loss: 'softmax' },
    dense: { outputOptimizer: { kind: 'adagrad', rate: 0.05 } },
    sparse: { outputOptimizer: { kind: 'adagrad', rate: 0.2 } },
    output: { samples: 4096 },
    every: 775,
    // 10 and 8.
    quarter: 200,
    behind: 192,
    /** Chosen for this fan-in on validation rows: 34.0 % of P@1 there, 33.4 with the settings of the smaller ones. */
    ofQuarter: { outputOptimizer: { kind: 'adagrad', rate: 0.1 }, dropout: 0.5 },
    /** Validation rows: 34.8 % with this. Of dense it was not looked for again. */
    dropouts: { 'static F=200, a quarter': 0.4 },
  },
};

/** Connections start where the gradient of each label's positives is largest, in both kinds of rows. */
const start = { start: 'gradient', products: 'bf16' };
const prune = { mode: 'fraction', fraction: 0.2, scope: 'label' };
export const fixed = (fanIn) => ({ kind: 'fan-in', fanIn, topology: { kind: 'static', ...start } });
const linear = ({ encoder }) => ({ width: encoder.embedding, activation: 'none', start: 'identity' });
const lowRankOf = ({ encoder }, { fanIn, shared }) => ({
  ...{ ...fixed(fanIn), shared },
  intermediate: { ...linear({ encoder }), width: encoder.embedding + shared },
});
const layersOf = ({ every, quarter, behind, lowRank, model }) => ({
  dense: { kind: 'dense' },
  [quarterOf({ quarter })]: fixed(quarter),
  [`static F=${behind} behind a linear layer, a quarter`]: { ...fixed(behind), intermediate: linear(model) },
  ...(lowRank === undefined
    ? {}
    : {
        [`static, ${lowRank.shared} shared of F=${lowRank.fanIn}, behind a linear layer, a quarter`]:
          lowRankOf(model, lowRank),
      }),
  ...Object.fromEntries(
    [64, 32].flatMap((fanIn) => [
      [`SET F=${fanIn}`, { ...fixed(fanIn), topology: { kind: 'set', every, prune, ...start } }],
      [`static F=${fanIn}`, fixed(fanIn)],
    ]),
  ),
});
const quarterOf = ({ quarter }) => `static F=${quarter}, a quarter`;
/** Every row: its layer, and what is its own of dropout and optimisers. */
const rowsOf = (task) => {
  const layers = layersOf(task);
  const rowOf = (output) => ({
    layer: layers[output],
    ...(output === quarterOf(task) ? task.ofQuarter : {}),
  });
  const rows = Object.keys(layers).map((output) => [output, rowOf(output)]);
  const tuned = Object.entries(task.dropouts ?? {}).map(([output, dropout]) => [
    `${output}, dropout ${dropout}`,
    { ...rowOf(output), dropout },
  ]);
  return Object.fromEntries([...rows, ...tuned]);
};
/** The same at another width, for experiments that go on from this one. */
function wideRowsOf({ wide }) {
  if (wide === undefined) return {};
  const { embedding, quarter, dropouts } = wide;
  return {
    [`dense, width ${embedding}`]: { layer: { kind: 'dense' }, embedding, dropout: dropouts.dense },
    [`${quarterOf({ quarter })}, width ${embedding}`]: {
      layer: fixed(quarter),
      embedding,
      dropout: dropouts.static,
    },
  };
}
const together = (output) => `${output}, ${members.length} networks`;

/** The training config of a row, on all training rows. */
function configOf(task, { layer, ...own }) {
  const isDense = layer.kind === 'dense';
  const { encoder } = task.model;
  const { dropout = encoder.dropout, embedding = encoder.embedding, ...optimizers } = own;
  return {
    ...task.common,
    rows: 'all',
    ...(isDense ? task.dense : task.sparse),
    ...optimizers,
    model: {
      ...task.model,
      encoder: { ...encoder, embedding, dropout },
      output: {
        ...layer,
        ...task.output,
        startScale: isDense && task.output.samples === undefined ? 1 : 0.1,
      },
    },
  };
}

/** The config of a row by its name in the table of a dataset, or of one at its other width. */
export function fanInConfig(dataset, row) {
  const task = tasks[dataset];
  return configOf(task, { ...rowsOf(task), ...wideRowsOf(task) }[row]);
}

const cells = Object.entries(tasks).flatMap(([dataset, task]) =>
  Object.entries(rowsOf(task)).flatMap(([output, row]) => {
    const joins = asEnsemble.includes(output);
    const networks = cellsOf(dataset, output, joins ? members : seeds, configOf(task, row)).map((cell) => ({
      ...cell,
      ...(joins ? { member: true } : {}),
      ks,
    }));
    const ensemble = {
      name: `${dataset} ${output} ensemble`.replaceAll(/[ =+,]+/g, '-'),
      ...{ dataset, output: together(output), module: './lib/lists.mjs', ks },
      members: networks.map(({ name }) => name),
    };
    return joins ? [...networks, ensemble] : networks;
  }),
);

/** What an ensemble costs: the sum of its networks, trained one after the other. */
function withCosts(results) {
  return results.map(({ cell, result }) => {
    if (cell.members === undefined) return { cell, result };
    const of = results.filter((other) => cell.members.includes(other.cell.name)).map((other) => other.result);
    const sum = (what) => of.reduce((total, one) => total + one[what], 0);
    const costs = {
      ...{ outputBytes: sum('outputBytes'), seconds: sum('seconds') },
      peakRss: Math.max(...of.map(({ peakRss }) => peakRss)),
    };
    return { cell, result: { ...result, ...costs } };
  });
}

function table(results) {
  const lines = [
    '# Fixed fan-in against dense',
    '',
    'Made by `npm run experiment -- fan-in`. Test split, scored once per run; mean ± half the range over seeds;',
    'equal epochs, one encoder and one loss for all rows of a dataset; settings chosen on validation rows: those of the linear',
    'layer on wordnet-hypernym alone, rate and dropout of 200 connections on wordnet-related by themselves, dropout where it',
    'is named. Bytes of the output layer include its optimiser state and the linear layer. Seconds are of a shared two-core machine: compare them',
    'with each other only. Rows of several networks rank labels by the mean of their probabilities; their bytes and seconds are sums.',
    '',
  ];
  for (const [dataset, task] of Object.entries(tasks)) {
    if (resultsOf(results, dataset, 'dense').length === 0) continue;
    const rows = [...Object.keys(rowsOf(task)), ...asEnsemble.map(together)];
    lines.push(`## ${dataset}`, '', ...qualityTable(withCosts(results), dataset, rows), '');
  }
  return lines.join('\n');
}

export const fanIn = { cells, table };
