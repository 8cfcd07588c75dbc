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
const atEqualTime = 20;
const dataset = 'brown-words';
const settingsOf = (method, epochs, seed) => ({ ...methods[method], seed, batch, epochs });

const cells = [
  ...['equal epochs', 'equal time'].flatMap((budget) =>
    Object.keys(methods).flatMap((method) => {
      const whole = method === 'softmax';
      if (whole && budget === 'equal time') return [];
      return [1, 2, 3].map((seed) => ({
        name: `${dataset} ${budget} ${method} seed ${seed}`.replaceAll(/[ ,=]+/g, '-'),
        dataset,
        method,
        budget,
        ks: [1, 5, 10],
        config: {
          ...settingsOf(method, budget === 'equal time' ? atEqualTime : 1, seed),
          // Given so much time, each keeps what validation says was its best epoch.
          validation:
            budget === 'equal time'
              ? { rows: 5000, every: 1, best: true }
              : { rows: 5000, every: 0.25, best: false },
        },
      }));
    }),
  ),
  {
    name: `${dataset}-time`,
    dataset,
    module: './training-time.mjs',
    rounds: 15,
    settings: Object.fromEntries(Object.keys(methods).map((method) => [method, settingsOf(method, 1, 1)])),
  },
];

function table(results) {
  const times = results.find(({ cell }) => cell.settings !== undefined)?.result;
  const { labels } = results.find(({ cell }) => cell.config !== undefined).result;
  const lines = [
    '# Word prediction with the full vocabulary',
    '',
    'Made by `npm run experiment -- words`. A neural 4-gram model (three words before, embeddings of 128 summed by place,',
    `relu) of the Brown corpus; each of the ${labels.toLocaleString('en')} words of its training text is a label. Share of test words (of`,
    'those that training has seen) among the best k; test rows scored once per run; mean ± half the range over seeds.',
    'Times of a step are medians (and quartiles) of one process in which the losses take turns of a quarter second.',
    'Softmax over all words takes the settings that validation chose for sampled softmax. Runs of several epochs keep the',
    'model of the epoch that validation liked best.',
    '',
  ];
  for (const budget of ['equal epochs', 'equal time']) {
    if (!results.some(({ cell }) => cell.budget === budget)) continue;
    lines.push(
      budget === 'equal time'
        ? `## Within the time of one epoch of softmax over all words`
        : '## At equal epochs',
      '',
      '| loss | seeds | epochs | top-1 % | top-5 % | top-10 % | ms per step | time, in epochs of softmax | output MiB |',
      '|---|---|---|---|---|---|---|---|---|',
    );
    for (const method of Object.keys(methods)) {
      // One epoch of softmax is the measure of both tables.
      const wanted = method === 'softmax' ? 'equal epochs' : budget;
      const rows = results
        .filter(({ cell }) => cell.budget === wanted && cell.method === method)
        .map(({ result }) => result);
      if (rows.length === 0) continue;
      const top = (i) => spread(rows.map((row) => row.at[i].precision * row.at[i].k));
      const { epochs } = rows[0].config;
      const own = times?.times[method];
      const share = own && (epochs * own.median) / times.times.softmax.median;
      lines.push(
        `| ${method} | ${rows.length} | ${epochs} | ${top(0)} | ${top(1)} | ${top(2)} | ${
          own ? `${own.median.toFixed(2)} (${own.low.toFixed(2)} to ${own.high.toFixed(2)})` : '-'
        } | ${share?.toFixed(2) ?? '-'} | ${(rows[0].outputBytes / 2 ** 20).toFixed(1)} |`,
      );
    }
    lines.push('');
  }
  lines.push(`![Quality over time](words-${dataset}.svg)`, '');
  return lines.join('\n');
}

/** Validation over time, of the longest run of each loss; time by what a step takes. */
function plots(results) {
  const times = results.find(({ cell }) => cell.settings !== undefined)?.result;
  if (times === undefined) return {};
  const lines = Object.keys(methods).flatMap((name) => {
    const own = results.filter(({ cell }) => cell.method === name).map(({ result }) => result);
    if (own.length === 0) return [];
    const { curve } = own.reduce((a, b) => (b.config.epochs > a.config.epochs ? b : a));
    const seconds = (epoch) => (epoch * times.stepsPerEpoch * times.times[name].median) / 1000;
    return [{ name, points: curve.map(({ epoch, p1 }) => [seconds(epoch), p1]) }];
  });
  return {
    [`words-${dataset}.svg`]: lineChart({
      title: 'Next word: validation over time',
      x: 'seconds of training',
      y: 'top-1 %',
      logX: true,
      lines,
    }),
  };
}

export const words = { cells, table, plots };
