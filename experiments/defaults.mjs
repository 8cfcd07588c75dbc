/**
 * What runs without settings get, on validation rows: the output layers between which `auto` chooses where a dense layer is
 * large, by the package's own rates and width. No test row is read.
 */
import { parseConfig } from '../dist/train/config.js';
import { cellsOf, qualityTable } from './lib/classification.mjs';

const fromGradients = { topology: { kind: 'static', start: 'gradient' } };
const groups = { kind: 'grouped', fanIn: 128, group: 32, order: 'clusters' };
const evolving = { topology: { kind: 'set' } };
const few = {
  'fan-in 32, from gradients': { output: { kind: 'fan-in', fanIn: 32, ...fromGradients } },
  'fan-in 32, evolving from chance': { output: { kind: 'fan-in', fanIn: 32, ...evolving } },
  'the same, ReLU and dropout 0.5': {
    output: { kind: 'fan-in', fanIn: 32, ...evolving },
    encoder: { activation: 'relu', dropout: 0.5 },
  },
};
/** By dataset and name, the model's settings. What is chosen: 96 connections from gradients, and 32. */
const layersOf = {
  'wordnet-hypernym': {
    dense: { output: { kind: 'dense' } },
    'dense, no activation': { output: { kind: 'dense' }, encoder: { activation: 'none' } },
    'groups of 32, 128 inputs, from gradients': { output: { ...groups, ...fromGradients } },
    'groups of 32, 128 inputs, evolving from chance': { output: { ...groups, ...evolving } },
    'fan-in 96, from gradients': { output: { kind: 'fan-in', fanIn: 96, ...fromGradients } },
    ...few,
  },
  'wordnet-related': {
    ...few,
    'fan-in 32, from gradients, behind a linear layer': {
      output: { kind: 'fan-in', fanIn: 32, intermediate: { width: 2048, activation: 'none' } },
    },
  },
};
/** Results are kept by the settings of their cells: with those that defaults make of them, which may change. */
function settled(config) {
  const { model, batch, optimizer, outputOptimizer } = parseConfig({ data: '-', out: '-', ...config });
  return { model, batch, optimizer, outputOptimizer };
}

const cells = Object.entries(layersOf)
  .flatMap(([dataset, layers]) =>
    Object.entries(layers).flatMap(([name, model]) =>
      cellsOf(dataset, name, [1, 2, 3], { epochs: 4, model }).map((cell) => ({
        ...cell,
        settled: settled({ model }),
        split: 'validation',
      })),
    ),
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
    ...Object.entries(layersOf).flatMap(([dataset, layers]) => [
      `## ${dataset}`,
      '',
      ...qualityTable(results, dataset, Object.keys(layers)),
      '',
    ]),
  ].join('\n');

export const defaults = { cells, table };
