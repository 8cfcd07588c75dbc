/**
 * What remembered rows gain: every network without and with the votes of its training rows, by score, and how large its
 * files are with weights in bfloat16. Networks as `fan-in` has tuned them. How much votes count is chosen on validation rows,
 * which took no part in that training; the test split is then scored by models of all training rows, once each way.
 */
import { fanInConfig, fixed } from './fan-in.mjs';
import { cellsOf, qualityTable, unseen } from './lib/classification.mjs';
import { mean } from './lib/spread.mjs';

const few = (fanIn, dropout) => {
  const config = fanInConfig('wordnet-hypernym', 'static F=104, a quarter, dropout 0.2');
  const { encoder, output } = config.model;
  return {
    ...config,
    model: { ...config.model, encoder: { ...encoder, dropout }, output: { ...output, ...fixed(fanIn) } },
  };
};

/** `features`, `words`: temperature and weight of votes by features, of words labels are called by; default: they count nothing. */
export const votes = (temperature, weight, namesake = 0, features = undefined, words = undefined) => ({
  ...{ nearest: 32, temperature, weight },
  ...(namesake !== 0 && { namesake }),
  ...(features && { featureTemperature: features[0], featureWeight: features[1] }),
  ...(words && { textTemperature: words[0], textWeight: words[1] }),
});
/** By dataset and layer: its config, and the votes of models that score the test split, as its validation cell chose them. */
const tasks = {
  'wordnet-hypernym': {
    dense: [fanInConfig('wordnet-hypernym', 'dense, dropout 0.3'), votes(0.05, 8)],
    'static F=104, a quarter': [
      fanInConfig('wordnet-hypernym', 'static F=104, a quarter, dropout 0.2'),
      votes(0.05, 8),
    ],
    'static F=32': [few(32, 0.1), votes(0.03, 12)],
  },
  'wordnet-related': {
    dense: [fanInConfig('wordnet-related', 'dense'), votes(0.07, 8)],
    'static F=200, a quarter': [
      fanInConfig('wordnet-related', 'static F=200, a quarter, dropout 0.4'),
      votes(0.07, 8),
    ],
  },
};
/** Of the best linear trees, three of them together, over the same features: P@1/3/5 of the test split, MB. */
const trees = {
  'wordnet-hypernym': { precision: [74.93, 65.14, 54.81], megabytes: 55 },
  'wordnet-related': { precision: [38.36, 21.71, 15.07], megabytes: 184 },
};
const rares = [0.5, 1, 1.5];
const ks = [1, 3, 5];
const nameOf = (layer, split) => `${layer}, ${split}`;

/** A validation cell per layer, and test cells of three seeds; `more` is what cells of other data have beside. */
export const cellsWithVotes = (tasks) =>
  Object.entries(tasks).flatMap(([dataset, layers]) =>
    [1, 2, 3].flatMap((seed) =>
      Object.entries(layers).flatMap(([layer, [config, chosen, more = {}]]) => {
        const words = chosen.textWeight !== undefined && { words: true };
        const features = (words || chosen.featureWeight !== undefined) && { features: true };
        const cell = (split, rows, how) =>
          cellsOf(dataset, nameOf(layer, split), [seed], { ...config, ...rows }).map((one) => ({
            ...one,
            ...{ split, rares, remember: { ...how, ...features, ...words }, ks, ...more },
          }));
        // One seed chooses.
        return [
          ...(seed === 1 ? cell('validation', unseen, {}) : []),
          ...cell('test', { rows: 'all' }, { votes: chosen }),
        ];
      }),
    ),
  );

/** The rows of a table: each layer without votes, with them, and with rare labels favoured too; as results of their own. */
function withAndWithout(results, dataset, layers, split) {
  return Object.keys(layers).flatMap((layer) =>
    results
      .filter(({ cell }) => cell.dataset === dataset && cell.output === nameOf(layer, split))
      .flatMap(({ cell, result }) => {
        const { votes, bytes, rares: voted, unnamed = voted, featureless = unnamed } = result.remembered;
        const { temperature, weight, namesake, featureTemperature, featureWeight } = votes;
        const at = (rare, of = voted) => of.find((one) => one.rare === rare).at;
        const told = featureWeight ? 'votes, by features too' : 'votes';
        const named = namesake ? `${told}, and ${namesake} for namesakes` : told;
        const own = (name, more) => ({ cell: { ...cell, output: name }, result: { ...result, ...more } });
        if (votes.textWeight) {
          const all = `${layer}: ${named}, and ${votes.textWeight} for words in names, temperature ${votes.textTemperature}`;
          return [own(all, { at: at(0), bytes }), own(`${all}, and tau 1`, { at: at(1), bytes })];
        }
        return [
          own(layer, {}),
          own(`${layer}: votes, temperature ${temperature}, weight ${weight}`, {
            ...{ at: at(0, featureless), bytes },
          }),
          ...(featureWeight
            ? [
                own(`${layer}: ${told}, temperature ${featureTemperature}, weight ${featureWeight}`, {
                  ...{ at: at(0, unnamed), bytes },
                }),
              ]
            : []),
          ...(namesake ? [own(`${layer}: ${named}`, { at: at(0), bytes })] : []),
          own(`${layer}: ${named}, and tau 1`, { at: at(1), bytes }),
        ];
      }),
  );
}

const table = (results) =>
  [
    '# Rows remembered',
    '',
    'Made by `npm run experiment -- remember`: networks without and with the votes of their training rows (`espalier',
    'remember`), labels by score; mean ± half the range over seeds. Each network is trained once, and with votes no weight is',
    'another, but for bfloat16. Temperature and weight of votes were chosen on validation rows, one seed: figures of validation',
    'rows with votes are of the rows that chose them, and the dense layer on wordnet-related has the choice of the sparse one.',
    '"tau 1": rare labels favoured too. Output MiB, process peak and seconds are of training. MB: all files of the model, names',
    'of labels and words included, weights in bfloat16 where there are votes and in float32 where there are none. Answering with',
    'votes takes 2 bytes per hidden unit and row more: 74 MB on wordnet-hypernym, 215 MB on wordnet-related. Trees are of the same',
    'features and rows, three together.',
    '',
    ...tablesWithVotes(results, tasks),
  ].join('\n');

/** A table for each dataset and split. */
export function tablesWithVotes(results, tasks) {
  const lines = [];
  for (const [dataset, layers] of Object.entries(tasks)) {
    for (const split of ['validation', 'test']) {
      const rows = withAndWithout(results, dataset, layers, split);
      if (rows.length === 0) continue;
      const names = [...new Set(rows.map(({ cell }) => cell.output))];
      const megabytes = { MB: (of) => mean(of.map(({ bytes }) => bytes / 1e6)).toFixed(0) };
      lines.push(`## ${dataset}, ${split} rows`, '', ...qualityTable(rows, dataset, names, megabytes));
      const { precision, megabytes: ofTrees } = trees[dataset];
      const shown = precision.map((p) => p.toFixed(2)).join(' | ');
      if (split === 'test') lines.push(`| best linear trees | | ${shown} | | | | | | | ${ofTrees} |`);
      lines.push('');
    }
  }
  return lines;
}

export const remember = { cells: cellsWithVotes(tasks), table };
