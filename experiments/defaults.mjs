/**
 * What runs without settings get, on validation rows of wordnet-hypernym: the output layers between which `auto` chooses
 * where a dense layer is large, by the package's own rates and width. No test row is read.
 */
import { cellsOf, qualityTable } from './lib/classification.mjs';

const dataset = 'wordnet-hypernym';
const fromGradients = { topology: { kind: 'static', start: 'gradient' } };
const groups = { kind: 'grouped', fanIn: 128, group: 32, order: 'clusters' };
/** By name; the second is what is chosen there. */
const layers = {
  dense: { kind: 'dense' },
  'groups of 32, 128 inputs, from gradients': { ...groups, ...fromGradients },
  'groups of 32, 128 inputs, evolving from chance': groups,
  'fan-in 96, from gradients': { kind: 'fan-in', fanIn: 96, ...fromGradients },
  'fan-in 32, from gradients': { kind: 'fan-in', fanIn: 32, ...fromGradients },
  'fan-in 32, evolving from chance': { kind: 'fan-in', fanIn: 32 },
};

const cells = Object.entries(layers)
  .flatMap(([name, output]) =>
    cellsOf(dataset, name, [1, 2, 3], { epochs: 4, model: { output } }).map((cell) => ({
      ...cell,
      split: 'validation',
    })),
  )
  .sort((a, b) => a.config.seed - b.config.seed);

const table = (results) =>
  [
    '# Output layers without settings',
    '',
    'Made by `npm run experiment -- defaults`. Validation rows, which took no part in training; mean ± half the range over',
    'seeds; 4 epochs, everything else by default. Bytes of the output layer include its optimiser state. Seconds are of a',
    'shared two-core machine, some of them beside other work: where their spread is wide they say nothing.',
    '',
    ...qualityTable(results, dataset, Object.keys(layers)),
    '',
  ].join('\n');

export const defaults = { cells, table };
