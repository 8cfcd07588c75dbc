/**
 * Ways to make a large output layer small, on real extreme classification: dense, a bottleneck of equal memory, static
 * and evolving fixed fan-in, the two remedies for gradients that a sparse layer holds back, and groups that share inputs,
 * each at two sparsities, with equal epochs and one encoder per dataset. Ullah et al. 2024; HASTE (arXiv 2606.01117).
 * All settings were chosen on validation rows; here every cell trains on all training rows and scores the test split once.
 */
import { cellsOf, mebibytes, qualityTable, resultsOf } from './lib/classification.mjs';
import { lineChart } from './lib/plot.mjs';
import { mean, spread } from './lib/spread.mjs';

const seeds = [1, 2, 3];

const tasks = {
  'wordnet-hypernym': {
    /** A quarter of dense's memory, and less than a tenth. */
    fanIns: [104, 32],
    config: { batch: 256, epochs: 6, optimizer: { kind: 'adam', rate: 5e-3 } },
    model: { encoder: { embedding: 512, dropout: 0.5, activation: 'none' } },
    dense: { outputOptimizer: { kind: 'adam', rate: 1e-2, eps: 2.5e-4 } },
    sparse: { outputOptimizer: { kind: 'adam', rate: 2e-2, eps: 2.5e-4 } },
    /** A weight, two moments: and a connection of its own names its input in 2 bytes more. */
    weightBytes: 12,
    every: 281,
    auxiliary: { lambda: 0.4, cutoff: 1 },
    width: 2048,
  },
  'wordnet-related': {
    fanIns: [100, 32],
    config: { batch: 128, epochs: 4, optimizer: { kind: 'adam', rate: 5e-3 } },
    model: { encoder: { embedding: 512, dropout: 0.5, activation: 'none' }, loss: 'softmax' },
    // By `settings`: one rate for all connections of a label's own (32 from chance would want 0.8), one for those behind an
    // intermediate layer. For groups it was not searched.
    dense: { outputOptimizer: { kind: 'adagrad', rate: 0.1 } },
    bottleneck: { outputOptimizer: { kind: 'adagrad', rate: 0.05 } },
    sparse: { outputOptimizer: { kind: 'adagrad', rate: 0.4 } },
    behind: { outputOptimizer: { kind: 'adagrad', rate: 0.2 } },
    grouped: { outputOptimizer: { kind: 'adagrad', rate: 0.2 } },
    weightBytes: 8,
    /** Of every layer but groups, which take softmax over all labels. */
    draws: { samples: 4096 },
    every: 775,
    auxiliary: { lambda: 0.4, cutoff: 1 },
    width: 2048,
    /**
     * ReLU fails here whatever the rates: on validation rows 13 to 19 % of P@1 at F=100 with rates of 0.02 to 0.2 for the
     * output and 1e-3 and 5e-3 for the rest, where 29.2 % is had without the layer and 29.9 % with a linear one.
     */
    isLinearToo: true,
  },
};

/** Connections of a group, which names its inputs once, or width of a bottleneck, in the memory of F connections a label. */
const sameMemory = (fanIn, { weightBytes }) => Math.floor((fanIn * (weightBytes + 2)) / weightBytes);

/** By name, per task: the output layer, and what else of the config differs. */
function layersOf(task) {
  const { dense, sparse, bottleneck = dense, behind = sparse, grouped = sparse } = task;
  const { fanIns, every, auxiliary, width, isLinearToo = false, draws = {} } = task;
  const prune = { mode: 'fraction', fraction: 0.2, scope: 'label' };
  const [chance, gradient] = [{ start: 'random' }, { start: 'gradient', products: 'bf16' }];
  const set = { kind: 'set', every, prune, ...chance };
  const rigl = { kind: 'rigl', every, prune, products: 'bf16' };
  // Layers that draw their labels start small.
  const startScale = draws.samples === undefined ? 1 : 0.1;
  const layers = { dense: { output: { kind: 'dense', startScale, ...draws }, ...dense } };
  for (const fanIn of fanIns) {
    const own = (topology, intermediate) => ({
      output: { kind: 'fan-in', fanIn, startScale: 0.1, topology, ...draws, intermediate },
      ...(intermediate === undefined ? sparse : behind),
    });
    const groups = (head) => ({
      output: {
        ...{
          kind: 'grouped',
          fanIn: sameMemory(fanIn, task),
          group: 16,
          order: 'clusters',
          startScale: 0.1,
          head,
        },
        topology: { ...rigl, ...gradient },
      },
      ...grouped,
    });
    Object.assign(layers, {
      [`bottleneck, memory of F=${fanIn}`]: {
        output: { kind: 'bottleneck', width: sameMemory(fanIn, task), startScale, ...draws },
        ...bottleneck,
      },
      [`static F=${fanIn}`]: own({ kind: 'static', ...chance }),
      [`static from gradients F=${fanIn}`]: own({ kind: 'static', ...gradient }),
      [`SET F=${fanIn}`]: own(set),
      [`RigL F=${fanIn}`]: own({ ...rigl, ...chance }),
      [`SET + intermediate F=${fanIn}`]: own(set, { width }),
      ...(isLinearToo
        ? {
            [`SET + linear intermediate F=${fanIn}`]: own(set, { width, activation: 'none' }),
          }
        : {}),
      [`SET + auxiliary F=${fanIn}`]: { ...own(set), auxiliary },
      [`grouped, memory of F=${fanIn}`]: groups(0),
      [`grouped + dense head F=${fanIn}`]: groups(0.02),
    });
  }
  return layers;
}

/** The training config of a row of a dataset, on all training rows. */
export function extremeConfig(dataset, row) {
  const task = tasks[dataset];
  const { output, ...more } = layersOf(task)[row];
  return { rows: 'all', ...task.config, ...more, model: { ...task.model, output } };
}

/** First seeds come first: a whole table early, its spread later. */
const cells = Object.entries(tasks)
  .flatMap(([dataset, task]) =>
    Object.keys(layersOf(task)).flatMap((row) => cellsOf(dataset, row, seeds, extremeConfig(dataset, row))),
  )
  .sort((a, b) => a.config.seed - b.config.seed);

const gradientNorm = (rows) =>
  spread(
    rows.map((row) => row.encoderNorm),
    3,
  );

/** The paper's claims as comparisons of two rows, and whether they held beyond the spread of the seeds. */
function claims(results, dataset, { fanIns, isLinearToo }) {
  const values = (output, of) => resultsOf(results, dataset, output).map(of);
  const p1 = (row) => row.at[0].precision;
  const compare = (what, better, worse, of = p1, unit = 'points of P@1') => {
    const [a, b] = [values(better, of), values(worse, of)];
    if (a.length === 0 || b.length === 0) return `- ${what}: open, not all cells have run.`;
    const gain = mean(a) - mean(b);
    const figures = `${better} against ${worse}: ${gain >= 0 ? '+' : ''}${gain.toFixed(2)} ${unit}`;
    if (Math.min(a.length, b.length) < 2)
      return `- ${what}: open, one seed tells nothing of its noise (${figures}).`;
    const noise = Math.max(...[a, b].map((list) => (Math.max(...list) - Math.min(...list)) / 2));
    const verdict = Math.abs(gain) <= noise ? 'not shown' : gain > 0 ? 'held' : 'did not hold';
    return `- ${what}: **${verdict}** (${figures}, seeds within ±${noise.toFixed(2)}).`;
  };
  const lines = [];
  for (const f of fanIns) {
    lines.push(
      compare('Connections that evolve beat connections that stay', `SET F=${f}`, `static F=${f}`),
      compare('Growth by gradients beats growth by chance', `RigL F=${f}`, `SET F=${f}`),
      compare('A start from gradients spares rewiring', `static from gradients F=${f}`, `RigL F=${f}`),
      compare(
        'A fixed fan-in beats a bottleneck of equal memory',
        `SET F=${f}`,
        `bottleneck, memory of F=${f}`,
      ),
      compare('The auxiliary objective helps', `SET + auxiliary F=${f}`, `SET F=${f}`),
      compare(
        'It brings more gradient to the encoder',
        `SET + auxiliary F=${f}`,
        `SET F=${f}`,
        (r) => r.encoderNorm,
        'of norm',
      ),
      compare('The intermediate layer helps', `SET + intermediate F=${f}`, `SET F=${f}`),
      ...(isLinearToo
        ? [compare('A linear intermediate layer helps', `SET + linear intermediate F=${f}`, `SET F=${f}`)]
        : []),
      compare('A dense head helps groups', `grouped + dense head F=${f}`, `grouped, memory of F=${f}`),
    );
  }
  return [...lines, ...bestSparse(results, dataset)];
}

/** The project's own aim: within one point of dense at a quarter of its output layer's memory. */
function bestSparse(results, dataset) {
  const rowOf = (output) => {
    const rows = resultsOf(results, dataset, output);
    const at = (i, what) => mean(rows.map((row) => row.at[i][what]));
    return rows.length === 0
      ? null
      : { output, p1: at(0, 'precision'), psp5: at(2, 'psp'), mib: mebibytes(rows, 'outputBytes') };
  };
  const dense = rowOf('dense');
  if (dense === null)
    return ['- Within one point of dense at a quarter of its memory: open, dense has not run.'];
  const small = Object.keys(layersOf(tasks[dataset]))
    .filter((output) => output !== 'dense' && !output.startsWith('bottleneck'))
    .map(rowOf)
    .filter((row) => row !== null && row.mib <= dense.mib / 4);
  if (small.length === 0)
    return ['- Within one point of dense at a quarter of its memory: open, no such cell has run.'];
  const best = small.reduce((a, b) => (b.p1 > a.p1 ? b : a));
  const held = best.p1 >= dense.p1 - 1 ? 'held' : 'did not hold';
  return [
    `- Within one point of dense at a quarter of its output layer's memory: **${held}** (${best.output}: P@1 ${best.p1.toFixed(2)} against ${dense.p1.toFixed(2)}, PSP@5 ${best.psp5.toFixed(2)} against ${dense.psp5.toFixed(2)}, ${best.mib.toFixed(1)} MiB against ${dense.mib.toFixed(1)}).`,
  ];
}

function table(results) {
  const lines = [
    '# Small output layers on extreme classification',
    '',
    'Made by `npm run experiment -- extreme`. Test split, scored once per run; mean ± half the range over seeds; equal',
    'epochs and one encoder for all rows of a dataset; settings chosen on validation rows. Bytes of the output layer',
    'include its optimiser state. The gradient norm is that which reaches the encoder, mean over training. Seconds are of',
    'a shared two-core machine: compare them with each other only. wordnet-related learns by softmax over 4,096 labels drawn,',
    'groups over all labels. The intermediate layer is followed by ReLU, which wordnet-related with its Adagrad does not bear at any',
    'rate that was tried; there is a linear one too. Rates of wordnet-related are by [settings](settings.md), of groups as of 1,024',
    'units and 8 epochs; eps of Adagrad is its default throughout, though dense and connections from gradients would both gain by',
    'a larger one. Logistic loss over all labels finds more there, in several times the time: [settings](settings.md), [defaults](defaults.md).',
    '',
  ];
  for (const [dataset, task] of Object.entries(tasks)) {
    if (!results.some(({ cell }) => cell.dataset === dataset)) continue;
    const outputs = Object.keys(layersOf(task));
    lines.push(
      `## ${dataset}`,
      '',
      ...qualityTable(results, dataset, outputs, { 'gradient norm': gradientNorm }),
      '',
      `![Quality and memory](extreme-${dataset}-memory.svg)`,
      '',
      `![Quality and gradient](extreme-${dataset}-gradient.svg)`,
      '',
      '### Claims',
      '',
      ...claims(results, dataset, task),
      '',
    );
  }
  return lines.join('\n');
}

const families = [
  'dense',
  'bottleneck',
  'static F',
  'static from gradients',
  'SET F',
  'RigL',
  'SET + intermediate',
  'SET + linear intermediate',
  'SET + auxiliary',
  'grouped',
];
const familyOf = (output) =>
  output.startsWith('grouped') ? 'grouped' : families.find((family) => output.startsWith(family));

function plots(results) {
  const charts = {};
  for (const [dataset, task] of Object.entries(tasks)) {
    if (!results.some(({ cell }) => cell.dataset === dataset)) continue;
    const linesOf = (x) =>
      families
        .map((family) => ({
          name: family.replace(' F', ''),
          loose: true,
          points: Object.keys(layersOf(task))
            .filter((output) => familyOf(output) === family)
            .map((output) => resultsOf(results, dataset, output))
            .filter((rows) => rows.length > 0)
            .map((rows) => [x(rows), mean(rows.map((row) => row.at[0].precision))]),
        }))
        .filter(({ points }) => points.length > 0);
    const y = 'P@1 on test, %';
    charts[`extreme-${dataset}-memory.svg`] = lineChart({
      ...{
        title: `${dataset}: quality and memory`,
        x: 'output layer with optimiser state, MiB',
        y,
        logX: true,
      },
      lines: linesOf((rows) => mebibytes(rows, 'outputBytes')),
    });
    charts[`extreme-${dataset}-gradient.svg`] = lineChart({
      ...{
        title: `${dataset}: quality and gradient`,
        x: 'gradient norm at the encoder, mean',
        y,
        logX: true,
      },
      lines: linesOf((rows) => mean(rows.map((row) => row.encoderNorm))),
    });
  }
  return charts;
}

export const extreme = { cells, table, plots };
