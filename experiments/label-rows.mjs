/**
 * What labels are called, as rows beside those of the data (`labelRows`): networks with and without, each by itself and with
 * the votes of its training rows, as in `remember`, whose settings these are but for width and fan-in on wordnet-related:
 * there the quarter is to be smaller than the best linear trees. How many label rows and for how long was chosen on
 * validation rows, for the quarter, as was its dropout beside them (0.3 of 0.3 and 0.4); the dense layer has the same rows of
 * labels and the dropout that it has without. Votes of test cells, and what namesakes weigh, are those of validation cells;
 * the dense layer, whose validation cell is not run, has those of the quarter. Cells without votes by features are from before
 * there were any, those without rows of labels from before names counted.
 */
import { fanInConfig } from './fan-in.mjs';
import { cellsWithVotes, tablesWithVotes, votes } from './remember.mjs';

/** Texts of labels were the first of their words alone once. */
const texts = { texts: 'all words' };
const withLabels = (config) => ({ ...config, labelRows: { share: 0.75, until: 0.75 } });
const narrow = (row, more = {}, dropout = undefined) => {
  const config = fanInConfig('wordnet-related', row);
  const { encoder, output } = config.model;
  const own = { ...encoder, embedding: 768, dropout: dropout ?? encoder.dropout };
  return { ...config, model: { ...config.model, encoder: own, output: { ...output, ...more } } };
};
// A quarter of dense's bytes: 10 a connection, 8 a dense weight.
const quarter = (dropout) => narrow('static F=200, a quarter, dropout 0.4', { fanIn: 152 }, dropout);
const denseOfNouns = fanInConfig('wordnet-hypernym', 'dense, dropout 0.3');
const ofNouns = fanInConfig('wordnet-hypernym', 'static F=104, a quarter, dropout 0.2');

const tasks = {
  'wordnet-related': {
    'static F=152 of 768, a quarter': [quarter(), votes(0.07, 12)],
    'static F=152 of 768, a quarter, labels as rows': [
      withLabels(quarter(0.3)),
      votes(0.07, 8, -12, [0.3, 10]),
      texts,
    ],
    'dense, width 768, labels as rows': [withLabels(narrow('dense')), votes(0.07, 8, -12, [0.3, 10]), texts],
    // Longer; no validation cells.
    'static F=152 of 768, a quarter, labels as rows, 12 epochs': [
      { ...withLabels(quarter(0.4)), epochs: 12 },
      votes(0.07, 8, -12, [0.3, 10]),
      texts,
    ],
    'dense, width 768, labels as rows, 12 epochs': [
      { ...withLabels(narrow('dense')), epochs: 12 },
      votes(0.07, 8, -12, [0.3, 10]),
      texts,
    ],
    'static F=152 of 768, a quarter, labels as rows, names too': [
      withLabels(quarter(0.3)),
      votes(0.07, 8, -16, [0.3, 10], [0.3, 48]),
      texts,
    ],
    'static F=152 of 768, a quarter, labels as rows, 12 epochs, names too': [
      { ...withLabels(quarter(0.4)), epochs: 12 },
      votes(0.07, 8, -16, [0.3, 10], [0.3, 48]),
      texts,
    ],
    'dense, width 768, labels as rows, names too': [
      withLabels(narrow('dense')),
      votes(0.15, 10, -12, undefined, [0.3, 32]),
      texts,
    ],
  },
  'wordnet-hypernym': {
    'static F=104, a quarter, labels as rows': [withLabels(ofNouns), votes(0.07, 16), texts],
    'static F=104, a quarter, names too': [ofNouns, votes(0.05, 8, 0, undefined, [0.1, 12]), texts],
    'dense, dropout 0.3, names too': [denseOfNouns, votes(0.05, 8, 0, undefined, [0.1, 12]), texts],
  },
};

const table = (results) =>
  [
    '# Labels as rows',
    '',
    'Made by `npm run experiment -- label-rows`: what a label is called (all words of a synset), as a row of it, behind the',
    'rows of each batch: 0.75 for each of these, during the first three quarters of training (`labelRows`). By score; mean ±',
    'half the range over seeds; votes of training rows as in remember.md, whose columns these are, and which has the networks of',
    'wordnet-hypernym without rows of labels. Epochs are of the rows of the data: with rows of labels training sees 56 % more',
    'examples. Share and length were chosen on validation rows of wordnet-related, as was the dropout beside them, 0.3',
    'of 0.3 and 0.4; without them it is 0.4, chosen for 200 connections of 1,024 (with texts of the first word alone). Votes, also',
    'those by features, and what is added for a label that is called as the row is (a namesake, `espalier remember`), were chosen',
    'on validation rows, one seed, and are of one sum: figures of validation rows with them are of the rows that chose them. On',
    'wordnet-hypernym votes by features gain no more than chance there and were not taken. On wordnet-related a namesake is mostly the',
    'synset itself, which is none of its own; trees know no names. The dense layer has the choice of the quarter. Rows of 12 epochs',
    'have the votes of 8; the quarter a dropout of 0.4 there, the only one that was tried, dense its own, of which 0.6 and 0.7 are',
    'alike on validation rows. Names too: labels are also found by words of the row that they are called by (`--text-weight`); there',
    'each layer of wordnet-related has its own choice on validation rows, dense votes by direction of temperature 0.15 and weight 10,',
    'and none by features, which gain no more than chance beside these. Seconds of these rows were measured beside other work.',
    '',
    ...tablesWithVotes(results, tasks),
  ].join('\n');

export const labelRows = { cells: cellsWithVotes(tasks), table };
