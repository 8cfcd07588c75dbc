/**
 * Dense-sparse-dense training (Han et al. 2017) on image networks and a character LSTM, against dense training of the
 * same epochs and rates, which the paper did not always give its baselines. The sparsity is from the paper's range, not
 * tuned; the test split is scored once per run.
 */
import { pictures } from '../dist/index.js';
import { groupsOf } from './lib/groups.mjs';
import { halfInterval } from './lib/networks.mjs';
import { mean, spread } from './lib/spread.mjs';

const seeds = [1, 2, 3];
/** Both trainings fall along the same cosine; the last phase of DSD is at a tenth of it on top, as in the paper. */
const schedule = { kind: 'cosine', warmup: 0.02, floor: 0.05 };
const images = ['mnist', 'fashion-mnist'];

const networks = {
  'lenet-300-100': { phases: { dense: 6, sparse: 3, redense: 3, sparsity: 0.3 }, datasets: images },
  'lenet-5': { phases: { dense: 3, sparse: 1.5, redense: 1.5, sparsity: 0.3 }, datasets: images },
  resnet: { phases: { dense: 2, sparse: 1, redense: 1, sparsity: 0.3 }, datasets: ['fashion-mnist'] },
  'char-lstm': {
    phases: { dense: 3, sparse: 1.5, redense: 1.5, sparsity: 0.3 },
    datasets: ['tinyshakespeare'],
  },
};

const cells = Object.entries(networks).flatMap(([network, { datasets, phases }]) =>
  datasets.flatMap((dataset) =>
    seeds.map((seed) => ({
      ...{ name: `${network}-${dataset}-seed-${seed}`, module: './dsd-cell.mjs', network, images: dataset },
      config: { seed, phases, schedule },
    })),
  ),
);

/** Whether a dataset is text: then it is scored in bits per character. */
const isText = (dataset) => dataset === 'tinyshakespeare';

/** Percent of right answers for images, bits per character for text. */
const figure = (text) => (score) => (text ? score.loss / Math.LN2 : 100 * score.accuracy);
/** What DSD is better by: points of accuracy, or bits per character. */
const gainOf = (text) => {
  const of = figure(text);
  return ({ test }) => (text ? -1 : 1) * (of(test.dsd) - of(test.dense));
};

/** Better or worse where the interval says so, otherwise no difference that these seeds show. */
function verdict(gains) {
  if (gains.length < 2) return 'one seed';
  const [middle, half] = [mean(gains), halfInterval(gains)];
  return Math.abs(middle) <= half ? 'no difference shown' : middle > 0 ? 'better' : 'worse';
}

function table(results) {
  const lines = [
    '# Dense, sparse, dense',
    '',
    'Made by `npm run experiment -- dsd`. Mean ± half the range over seeds; test split, scored once per run: percent of',
    'images, bits per character for text. The control is dense training of the same epochs, rates, seed and optimiser. Gain:',
    'what DSD is better by, with the 95 % interval of its mean over seeds. After S: on validation, at the end of the sparse',
    'phase. The cost of inference is that of the dense network either way.',
    '',
    '| network | data | seeds | epochs D + S + D | sparsity | dense control | DSD | gain | verdict | validation after D, S, D |',
    '|---|---|---|---|---|---|---|---|---|---|',
  ];
  for (const { network, dataset, how, rows } of groupsOf(networks, results)) {
    const text = isText(dataset);
    const of = figure(text);
    const gains = rows.map(gainOf(text));
    const interval = gains.length > 1 ? ` ±${halfInterval(gains).toFixed(3)}` : '';
    const { dense, sparse, redense, sparsity } = how.phases;
    const digits = text ? 3 : 2;
    const course = rows[0].course.map((_, i) =>
      mean(rows.map((row) => of(row.course[i].validation))).toFixed(digits),
    );
    lines.push(
      `| ${network} | ${dataset} | ${rows.length} | ${dense} + ${sparse} + ${redense} | ${sparsity} | ${spread(
        rows.map(({ test }) => of(test.dense)),
        digits,
      )} | ${spread(
        rows.map(({ test }) => of(test.dsd)),
        digits,
      )} | ${mean(gains).toFixed(3)}${interval} | ${verdict(gains)} | ${course.join(', ')} |`,
    );
  }
  return [...lines, '', ...claims(results)].join('\n');
}

function claims(results) {
  const lines = ['## Claims', '', '| claim of the paper | measured | held |', '|---|---|---|'];
  for (const { network, dataset, rows } of groupsOf(networks, results)) {
    const text = isText(dataset);
    const gains = rows.map(gainOf(text));
    const held = verdict(gains) === 'better' ? 'held' : '**not held**';
    const unit = text ? 'bits per character' : 'points';
    lines.push(
      `| DSD beats dense training: ${network}, ${dataset} | ${mean(gains).toFixed(3)} ${unit} at an equal budget | ${held} |`,
    );
    const of = figure(text);
    const rise = mean(
      rows.map(({ course }) => (text ? -1 : 1) * (of(course[2].validation) - of(course[0].validation))),
    );
    lines.push(
      `| the network is better after the last phase than after the first: ${network}, ${dataset} | ${rise.toFixed(3)} ${unit} on validation | ${rise > 0 ? 'held' : '**not held**'} |`,
    );
  }
  return [...lines, ''];
}

/** Weights through the phases, of seed 1 or the first there is. */
function plots(results) {
  const files = {};
  for (const { network, dataset, rows } of groupsOf(networks, results)) {
    const [{ course }] = rows;
    const panels = course.map(({ name, histogram, zeros }) => ({
      title: `${name}, ${(100 * zeros).toFixed(0)} % are 0`,
      shares: histogram,
    }));
    const { limit } = course[0];
    files[`dsd-${network}-${dataset}-weights.svg`] = pictures.histogramsSvg({
      ...{ title: `Weights of ${network} on ${dataset}`, from: -limit, to: limit, logarithmic: true, panels },
    });
  }
  return files;
}

export const dsd = { cells, table, plots };
