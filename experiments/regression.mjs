/**
 * Sparse targets of 109,103 dimensions: wordnet-related under the four losses of the factored layer, beside a fixed
 * fan-in layer with BCE of as many epochs; and the time of one step against the number of labels.
 */
import { lineChart } from './lib/plot.mjs';
import { mean, spread } from './lib/spread.mjs';

const dataset = 'wordnet-related';
const batch = 128;
const epochs = 4;
const encoder = { embedding: 512, dropout: 0.2, activation: 'none' };
const factored = (loss, output, rate) => ({
  model: { encoder, loss, output: { kind: 'factored', ...output } },
  outputOptimizer: { kind: 'sgd', rate },
  optimizer: { kind: 'adam', rate: 5e-3 },
});
const methods = {
  'squared error': factored('squaredError', {}, 1),
  'spherical softmax': factored('sphericalSoftmax', { epsilon: 0.1 }, 100),
  'Taylor softmax': factored('taylorSoftmax', {}, 300),
  'Z-loss': factored('zLoss', { alpha: 0.3, beta: 20 }, 10),
  'fan-in 64, BCE': {
    model: {
      encoder,
      loss: 'bce',
      output: { kind: 'fan-in', fanIn: 64, startScale: 0.1, topology: { kind: 'rigl' } },
    },
    optimizer: { kind: 'adam', rate: 7e-3 },
  },
};
const timed = [1e3, 1e4, 1e5, 1e6];

const cells = [
  ...Object.entries(methods).flatMap(([method, settings]) =>
    [1, 2, 3].map((seed) => ({
      name: `${dataset} ${method} seed ${seed}`.replaceAll(/[ ,=]+/g, '-'),
      dataset,
      method,
      config: { ...settings, seed, batch, epochs, rows: 'all', validation: { rows: 0 } },
    })),
  ),
  ...timed.map((labels) => ({ name: `time-L-${labels}`, module: './step-time.mjs', labels })),
];

function table(results) {
  const lines = [
    '# Sparse targets of 109,103 dimensions',
    '',
    'Made by `npm run experiment -- regression`. Factored layer (exact plain SGD) behind an embedding bag of 512,',
    `${epochs} epochs; test split, scored once per run; mean ± half the range over seeds. Seconds are of a shared two-core`,
    'machine: compare them within the table only.',
    '',
    '| loss | seeds | P@1 | P@3 | P@5 | PSP@1 | PSP@5 | seconds | ms per step | output MiB |',
    '|---|---|---|---|---|---|---|---|---|---|',
  ];
  for (const method of Object.keys(methods)) {
    const rows = results.filter(({ cell }) => cell.method === method).map(({ result }) => result);
    if (rows.length === 0) continue;
    const at = (i, what) => spread(rows.map((row) => row.at[i][what]));
    lines.push(
      `| ${method} | ${rows.length} | ${at(0, 'precision')} | ${at(1, 'precision')} | ${at(2, 'precision')} | ${at(0, 'psp')} | ${at(2, 'psp')} | ${spread(
        rows.map((row) => row.seconds),
        0,
      )} | ${spread(rows.map((row) => (1000 * batch) / row.examplesPerSecond))} | ${(
        mean(rows.map((row) => row.outputBytes)) / 2 ** 20
      ).toFixed(0)} |`,
    );
  }
  const times = timesOf(results);
  if (times.length > 0) {
    const { d, m, K } = times[0];
    lines.push(
      '',
      `## Time of one step against the number of labels (d=${d}, m=${m}, K=${K}, milliseconds, median)`,
      '',
      '| labels | factored, Z-loss | dense, squared error by the plain way |',
      '|---|---|---|',
      ...times.map(
        ({ labels, factored: f, dense }) =>
          `| ${labels.toLocaleString('en')} | ${f.toFixed(2)} | ${dense === null ? '-' : dense.toFixed(1)} |`,
      ),
      '',
      '![Time per step](regression-time.svg)',
      '',
    );
  }
  return lines.join('\n');
}

const timesOf = (results) =>
  results.filter(({ cell }) => cell.module !== undefined).map(({ result }) => result);

function plots(results) {
  const times = timesOf(results);
  if (times.length < 2) return {};
  const lines = ['factored', 'dense'].map((form) => ({
    name: form === 'factored' ? 'factored' : 'dense twin',
    points: times.filter((time) => time[form] !== null).map((time) => [time.labels, time[form]]),
  }));
  return {
    'regression-time.svg': lineChart({
      title: 'Time of one training step',
      x: 'labels',
      y: 'milliseconds',
      logX: true,
      logY: true,
      lines: lines.filter(({ points }) => points.length > 0),
    }),
  };
}

export const regression = { cells, table, plots };
