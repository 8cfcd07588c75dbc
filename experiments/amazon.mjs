/**
 * Training at the shape of Amazon-3M (2,812,281 labels, hidden width 768, batches of 128) on made data with planted
 * structure and a long tail: per-label fan-in in both forms, and groups in bfloat16. A cell that is stopped goes on where
 * it was. Time and memory are of cells of their own with few steps, to be run on a machine that does nothing else
 * (`--only time`). `--labels N --steps N` tries it at another size and leaves the table alone.
 */
const given = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at > 0 ? Number(process.argv[at + 1]) : otherwise;
};
const labels = given('labels', 2_812_281);
const steps = given('steps', 2400);
const whole = labels === 2_812_281 && steps >= 2000;

const rewires = { kind: 'set', every: 500, prune: { mode: 'fraction', fraction: 0.15, scope: 'label' } };
const outputs = {
  'per label, F=64, fast': { kind: 'fan-in', fanIn: 64, form: 'fast', topology: rewires },
  'per label, F=64, compact': { kind: 'fan-in', fanIn: 64, form: 'compact', topology: rewires },
  'groups of 32, F=128, bf16': {
    ...{ kind: 'grouped', fanIn: 128, group: 32, precision: 'bf16' },
    topology: { kind: 'static' },
  },
};
/** GiB of output layer with all of its training state, at most: the promise of the project. */
const most = {
  'per label, F=64, fast': 1.6,
  'per label, F=64, compact': 1.2,
  'groups of 32, F=128, bf16': 0.8,
};

const cellOf = (output, { suffix = '', ...own } = {}) => ({
  name: `${labels}-${output}${suffix}`.replaceAll(/[ =,]+/g, '-'),
  module: './amazon-cell.mjs',
  ...{ output, spec: outputs[output], labels, steps, batch: 128, width: 768, features: 337_067, seed: 1 },
  ...own,
});
const timed = { suffix: ', time', steps: 60, scored: false };
const cells = [
  ...Object.keys(outputs).map((output) => cellOf(output)),
  ...Object.keys(outputs).map((output) => cellOf(output, timed)),
];

const gib = (bytes) => (bytes / 2 ** 30).toFixed(3);

function table(results) {
  return [
    '# At the shape of Amazon-3M',
    '',
    'Made by `npm run experiment -- amazon-3m`: made data with planted structure and a long tail, hidden width 768,',
    'batches of 128, plain SGD for the output layer. P@1 is over test rows with a label that at least 5 training rows have,',
    'counting such labels alone; beside it what always naming the most frequent label gives. GiB of the output layer',
    'include all of its training state (weights, connections, index, optimiser). Seconds are medians over a run of 60 steps',
    'by itself on two threads of a shared machine (`--only time`): runs of 2,400 steps were stopped, continued, and stood beside',
    'other work. What was not trained to the end has no P@1, and its process peak is of those 60 steps.',
    '',
    '| output layer | labels | steps | P@1 % | most frequent % | ratio (10) | s per step | output GiB (most) | process peak GiB | kernels |',
    '|---|---|---|---|---|---|---|---|---|---|',
    ...Object.keys(outputs).flatMap((output) => {
      const of = (wanted) =>
        results.find(({ cell }) => cell.output === output && (cell.scored ?? true) === wanted)?.result;
      const [whole, brief] = [of(true), of(false)];
      const memory = whole ?? brief;
      if (memory === undefined) return [];
      const quality =
        whole === undefined
          ? ['', '', '', '']
          : [
              whole.steps.toLocaleString('en'),
              (100 * whole.p1).toFixed(2),
              (100 * whole.frequent).toFixed(3),
              (whole.p1 / whole.frequent).toFixed(0),
            ];
      const row = [output, memory.labels.toLocaleString('en'), ...quality];
      const costs = [`${gib(memory.outputBytes)} (${most[output]})`, gib(memory.peakRss)];
      return [
        `| ${[...row, brief?.secondsPerStep.toFixed(2) ?? '', ...costs, memory.kernels].join(' | ')} |`,
      ];
    }),
    '',
  ].join('\n');
}

export const amazon = { cells, table, documents: whole };
