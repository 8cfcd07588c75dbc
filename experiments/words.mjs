/**
 * Word prediction: a neural 4-gram model with the full vocabulary of a corpus under five losses. Those of the
 * spherical family train exactly at a cost that does not know the vocabulary; softmax walks over all of it, sampled
 * softmax over some of it. Once at equal epochs, once at many that still take less time than one of softmax. Settings
 * were chosen on validation rows.
 */
import { lineChart } from './lib/plot.mjs';
import { spread } from './lib/spread.mjs';

const encoder = { embedding: 128, dropout: 0 };
const batch = 128;
const factored = (loss, output, rate) => ({
  model: { encoder, loss, output: { kind: 'factored', ...output } },
  outputOptimizer: { kind: 'sgd', rate },
  optimizer: { kind: 'adam', rate: 1e-2 },
});
const softmax = (samples, outputOptimizer) => ({
  model: { encoder, loss: 'softmax', output: { kind: 'dense', samples } },
  outputOptimizer,
  optimizer: { kind: 'adam', rate: 5e-3 },
});
const methods = {
  'Z-loss': factored('zLoss', {}, 10),
  'Taylor softmax': factored('taylorSoftmax', {}, 300),
  'spherical softmax': factored('sphericalSoftmax', { epsilon: 0.01 }, 30),
  'sampled softmax, 512': softmax(512, { kind: 'adagrad', rate: 0.05 }),
  softmax: softmax(0, { kind: 'adagrad', rate: 0.05 }),
};
/** Epochs that take less time, together, than one of softmax over all words. */
const atEqualTime = 12;

const cells = ['brown-words'].flatMap((dataset) =>
  ['equal epochs', 'equal time'].flatMap((budget) =>
    Object.entries(methods).flatMap(([method, settings]) => {
      const slow = method === 'softmax';
      if (slow && budget === 'equal time') return [];
      const seeds = slow || budget === 'equal time' ? [1] : [1, 2, 3];
      return seeds.map((seed) => ({
        name: `${dataset} ${budget} ${method} seed ${seed}`.replaceAll(/[ ,=]+/g, '-'),
        dataset,
        method,
        budget,
        ks: [1, 5, 10],
        config: {
          ...settings,
          seed,
          batch,
          epochs: budget === 'equal time' ? atEqualTime : 1,
          validation: { rows: 5000, every: budget === 'equal time' ? 1 : 0.25 },
        },
      }));
    }),
  ),
);

function table(results) {
  const lines = [
    '# Word prediction with the full vocabulary',
    '',
    'Made by `npm run experiment -- words`. A neural 4-gram model (three words before, embeddings of 128 summed by place,',
    'relu), every word of the training text a label. Share of test words (of those that training has seen) among the',
    'best k; test rows scored once per run; mean ± half the range over seeds. Seconds and steps per second are of a shared',
    'two-core machine: compare them within this table only. "Within the time of softmax": as many epochs as shown, all of',
    'which took less time than its one. Softmax over all words takes the settings that validation chose for sampled',
    'softmax: a search of its own would take hours.',
    '',
  ];
  for (const dataset of new Set(results.map(({ cell }) => cell.dataset))) {
    const { labels } = results.find(({ cell }) => cell.dataset === dataset).result;
    lines.push(`## ${dataset}: ${labels.toLocaleString('en')} words`, '');
    for (const budget of ['equal epochs', 'equal time']) {
      lines.push(
        `### ${budget === 'equal time' ? 'within the time of one epoch of softmax' : budget}`,
        '',
        '| loss | seeds | epochs | top-1 % | top-5 % | top-10 % | seconds | ms per step | output MiB |',
        '|---|---|---|---|---|---|---|---|---|',
      );
      for (const method of Object.keys(methods)) {
        // One epoch of softmax is the measure of both tables.
        const wanted = method === 'softmax' ? 'equal epochs' : budget;
        const rows = results
          .filter(({ cell }) => cell.dataset === dataset && cell.budget === wanted && cell.method === method)
          .map(({ result }) => result);
        if (rows.length === 0) continue;
        const top = (i) => spread(rows.map((row) => row.at[i].precision * row.at[i].k));
        const perStep = rows.map((row) => (1000 * batch) / row.examplesPerSecond);
        lines.push(
          `| ${method} | ${rows.length} | ${rows[0].config.epochs} | ${top(0)} | ${top(1)} | ${top(2)} | ${spread(
            rows.map((row) => row.seconds),
            0,
          )} | ${spread(perStep)} | ${(rows[0].outputBytes / 2 ** 20).toFixed(1)} |`,
        );
      }
      lines.push('');
    }
    lines.push(`![Quality over time](words-${dataset}.svg)`, '');
  }
  return lines.join('\n');
}

/** Validation over time, of the longest run of each loss. */
function plots(results) {
  return Object.fromEntries(
    [...new Set(results.map(({ cell }) => cell.dataset))].map((dataset) => {
      const lines = Object.keys(methods).flatMap((name) => {
        const own = results.filter(({ cell }) => cell.dataset === dataset && cell.method === name);
        if (own.length === 0) return [];
        const { result } = own.reduce((a, b) => (b.result.seconds > a.result.seconds ? b : a));
        return [{ name, points: result.curve.map(({ seconds, p1 }) => [seconds, p1]) }];
      });
      return [
        `words-${dataset}.svg`,
        lineChart({
          title: 'Next word: validation over time',
          x: 'seconds of training',
          y: 'top-1 %',
          logX: true,
          lines,
        }),
      ];
    }),
  );
}

export const words = { cells, table, plots };
