/**
 * Labels added to a trained model: 5 % of the labels of wordnet-hypernym are held out, with every mark of them, from a
 * first training; then they are added in one pass. What the old labels lose, and how near the new ones come to a full
 * training with all labels.
 */
import { spread } from './lib/spread.mjs';

/** Rates are the package's own; width, dropout and epochs were chosen on validation rows. */
const settingsOf = (output) => ({
  batch: 128,
  epochs: 4,
  model: { encoder: { embedding: 512, dropout: 0.3, activation: 'none' }, output },
});
/** Connections of each label, and the groups that runs get here which name no output layer. */
const layers = {
  'fan-in 64': settingsOf({ kind: 'fan-in', fanIn: 64, startScale: 0.1, topology: { kind: 'static' } }),
  'grouped 128 by 32': settingsOf({
    ...{ kind: 'grouped', fanIn: 128, group: 32, order: 'clusters' },
    topology: { kind: 'static', start: 'gradient' },
  }),
};
const ways = {
  'only new labels learn': { on: 'all', newLabels: 'rows', learn: 'new' },
  'start from rows, all rows': { on: 'all', newLabels: 'rows' },
  'only new labels learn, in one pass': { on: 'all', newLabels: 'rows', learn: 'new', epochs: 1 },
  'drawn start, all rows': { on: 'all', newLabels: 'drawn' },
  'start from rows, only rows with new labels': { on: 'new', newLabels: 'rows' },
  'start from rows, hardly a step': { on: 'all', newLabels: 'rows', epochs: 0.004 },
};

/** Models are those of the last step; validation rows bring new labels to the level of old ones, and calibrate. */
const validation = { rows: 4000, best: false, every: 100 };

/** Names of the first layer's cells are older than the second layer: with another name they would be run again. */
const cells = Object.entries(layers).flatMap(([layer, settings]) =>
  [1, 2, 3].map((seed) => ({
    name: `wordnet-hypernym ${layer.startsWith('grouped') ? 'grouped ' : ''}seed ${seed}`.replaceAll(
      ' ',
      '-',
    ),
    dataset: 'wordnet-hypernym',
    module: './new-labels-cell.mjs',
    ...{ seed, share: 0.05, settings, ways, validation },
    scores: ['old', 'oldFirst', 'new', 'newFirst'],
  })),
);

function table(all) {
  const lines = [
    '# Labels added to a trained model',
    '',
    'Made by `npm run experiment -- new-labels`. wordnet-hypernym, 5 % of the labels held out of a first training with',
    'every mark of them, then added with `--continue` in one pass, or with `--only-new-labels` in four, which take less',
    'time than one pass of all labels (their logits are brought to the level of old ones on the 4,000 validation rows,',
    'which nothing else is chosen on). P@1 on the test split: over rows that have no new',
    'label, with all labels competing and among old labels alone; and over rows that have one, with all labels competing',
    'and among new labels alone (looked for in the best 200). 4 epochs for the first and for the full training.',
    'Seconds are of a shared two-core machine.',
    '',
  ];
  for (const [layer, { model }] of Object.entries(layers)) {
    const results = all.filter(({ cell }) => cell.settings.model.output.kind === model.output.kind);
    if (results.length > 0) lines.push(`## ${layer}, seeds: ${results.length}`, '', ...section(results), '');
  }
  return lines.join('\n');
}

function section(results) {
  const lines = [
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
  const mean = (of) => results.reduce((sum, { result }) => sum + of(result), 0) / results.length;
  const unavoidable = mean(({ base, retrained }) => base.old - retrained.old);
  const verdict = (name) => {
    const lost = mean(({ base, ways: own }) => base.old - own[name].old);
    const forgotten = mean(({ base, ways: own }) => base.oldFirst - own[name].oldFirst);
    const short = mean(({ retrained, ways: own }) => retrained.newFirst - own[name].newFirst);
    const shortRows = mean(({ retrained, ways: own }) => retrained.new - own[name].new);
    return [
      `- ${name}: rows without new labels lose ${lost.toFixed(2)} points (wanted: at most 0.5), ${forgotten.toFixed(2)} among old`,
      `  labels alone; rows with new labels end ${shortRows.toFixed(2)} points below a full training (wanted: at most 2), new labels`,
      `  among themselves ${short.toFixed(2)}.`,
    ];
  };
  const [{ result }] = results;
  lines.push(
    '',
    `${result.added} labels beside ${result.old}. A full training, in which new labels compete as well, loses ${unavoidable.toFixed(2)} points on`,
    'rows without new labels.',
    '',
    ...Object.keys(ways).slice(0, 3).flatMap(verdict),
  );
  return lines;
}

export const newLabels = { cells, table };
