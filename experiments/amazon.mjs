/**
 * Training at the shape of Amazon-3M (2,812,281 labels, hidden width 768, batches of 128) on made data with planted
 * structure and a long tail: per-label fan-in in both forms, and groups in bfloat16. A cell that is stopped goes on where
 * it was. `--labels N --steps N` tries it at another size and leaves the table alone.
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

const cells = Object.entries(outputs).map(([output, spec]) => ({
  name: `${labels}-${output}`.replaceAll(/[ =,]+/g, '-'),
  module: './amazon-cell.mjs',
  ...{ output, spec, labels, steps, batch: 128, width: 768, features: 337_067, seed: 1 },
}));

const gib = (bytes) => (bytes / 2 ** 30).toFixed(3);

function table(results) {
  return [
    '# At the shape of Amazon-3M',
    '',
    'Made by `npm run experiment -- amazon-3m`: made data with planted structure and a long tail, hidden width 768,',
    'batches of 128, plain SGD for the output layer. P@1 is over test rows with a label that at least 5 training rows have,',
    'counting such labels alone; beside it what always naming the most frequent label gives. GiB of the output layer',
    'include all of its training state (weights, connections, index, optimiser). Seconds are of this machine.',
    '',
    '| output layer | labels | steps | s per step | P@1 % | most frequent % | ratio (10) | output GiB (most) | process peak GiB | kernels |',
    '|---|---|---|---|---|---|---|---|---|---|',
    ...results.map(({ cell, result: r }) => {
      const ratio = r.p1 / r.frequent;
      return `| ${cell.output} | ${r.labels.toLocaleString('en')} | ${r.steps} | ${r.secondsPerStep.toFixed(2)} | ${(100 * r.p1).toFixed(2)} | ${(100 * r.frequent).toFixed(3)} | ${ratio.toFixed(1)} | ${gib(r.outputBytes)} (${most[cell.output]}) | ${gib(r.peakRss)} | ${r.kernels} |`;
    }),
    '',
  ].join('\n');
}

export const amazon = { cells, table, documents: whole };
