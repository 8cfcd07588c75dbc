/**
 * Labels added to a trained model: 5 % of the labels of wordnet-hypernym are held out, with every mark of them, from a
 * first training; then they are added in one pass. What the old labels lose, and how near the new ones come to a full
 * training with all labels.
 */
import { spread } from './lib/spread.mjs';

/** Rates are the package's own; width, dropout and epochs were chosen on validation rows. */
const settings = {
  batch: 128,
  epochs: 4,
  model: {
    encoder: { embedding: 512, dropout: 0.3, activation: 'none' },
    output: { kind: 'fan-in', fanIn: 64, startScale: 0.1, topology: { kind: 'static' } },
  },
};
const ways = {
  'start from rows, all rows': { on: 'all', newLabels: 'rows' },
  'drawn start, all rows': { on: 'all', newLabels: 'drawn' },
  'start from rows, only rows with new labels': { on: 'new', newLabels: 'rows' },
  'start from rows, hardly a step': { on: 'all', newLabels: 'rows', epochs: 0.004 },
};

const cells = [1, 2, 3].map((seed) => ({
  name: `wordnet-hypernym seed ${seed}`.replaceAll(' ', '-'),
  dataset: 'wordnet-hypernym',
  module: './new-labels-cell.mjs',
  ...{ seed, share: 0.05, settings, ways },
  scores: ['old', 'oldFirst', 'new', 'newFirst'],
}));

function table(results) {
  const lines = [
    '# Labels added to a trained model',
    '',
    'Made by `npm run experiment -- new-labels`. wordnet-hypernym, 5 % of the labels held out of a first training with',
    'every mark of them, then added with `--continue` in one pass. P@1 on the test split: over rows that have no new',
    'label, with all labels competing and among old labels alone; and over rows that have one, with all labels competing',
    `and among new labels alone (looked for in the best 200). ${settings.epochs} epochs for the first and for the full training; seeds: ${results.length}.`,
    'Seconds are of a shared two-core machine.',
    '',
    '| | rows without new labels | among old labels | rows with new labels | among new labels | seconds |',
    '|---|---|---|---|---|---|',
  ];
  const row = (name, of) => {
    const all = results.map(({ result }) => of(result));
    const cell = (what, digits) =>
      spread(
        all.map((one) => one[what]),
        digits,
      );
    lines.push(
      `| ${name} | ${cell('old')} | ${cell('oldFirst')} | ${cell('new')} | ${cell('newFirst')} | ${cell('seconds', 0)} |`,
    );
  };
  row('before', ({ base }) => base);
  for (const name of Object.keys(ways)) row(name, (result) => result.ways[name]);
  row('full training', ({ retrained }) => retrained);
  const best = Object.keys(ways)[0];
  const mean = (of) => results.reduce((sum, { result }) => sum + of(result), 0) / results.length;
  const lost = mean(({ base, ways: own }) => base.old - own[best].old);
  const forgotten = mean(({ base, ways: own }) => base.oldFirst - own[best].oldFirst);
  const unavoidable = mean(({ base, retrained }) => base.old - retrained.old);
  const short = mean(({ retrained, ways: own }) => retrained.newFirst - own[best].newFirst);
  const shortRows = mean(({ retrained, ways: own }) => retrained.new - own[best].new);
  const [{ result }] = results;
  lines.push(
    '',
    `${result.added} labels beside ${result.old}. With a start from rows and one pass over all rows, rows without new labels lose`,
    `${lost.toFixed(2)} points of P@1 (wanted: at most 0.5), ${unavoidable.toFixed(2)} of them lost by a full training too, in which new labels`,
    `compete as well; among old labels alone ${forgotten.toFixed(2)} are lost. New labels are ${short.toFixed(2)} points from a full training`,
    `among themselves, and their rows ${shortRows.toFixed(2)} (wanted: at most 2).`,
    '',
  );
  return lines.join('\n');
}

export const newLabels = { cells, table };
