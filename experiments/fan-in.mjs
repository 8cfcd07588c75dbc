/**
 * Fixed fan-in against the dense control on real extreme classification: dense, and static and SET at two
 * fan-ins, at equal epochs with one shared encoder. All settings were chosen on validation rows; here every cell
 * trains on all training rows (validation rows included) and scores the test split once.
 */
import { mean, spread } from './lib/spread.mjs';

const seeds = [1, 2, 3];

const tasks = {
  'wordnet-hypernym': {
    encoder: { embedding: 512, dropout: 0.5 },
    batch: 256,
    epochs: 14,
    optimizer: { kind: 'adam', rate: 2e-3 },
    dense: { outputOptimizer: { kind: 'adam', rate: 2e-3 } },
    sparse: { outputOptimizer: { kind: 'adam', rate: 2e-3 } },
    denseSeeds: seeds,
  },
  'wordnet-related': {
    encoder: { embedding: 512, embeddingBound: 0.5, dropout: 0.2 },
    batch: 64,
    epochs: 4,
    optimizer: { kind: 'adam', rate: 7e-3 },
    dense: { outputOptimizer: { kind: 'adam', rate: 3e-3, eps: 1e-3 } },
    sparse: { outputOptimizer: { kind: 'adam', rate: 2e-2, eps: 1e-3 } },
    denseSeeds: [1],
  },
};

const rewiring = { kind: 'set', every: 750, prune: { mode: 'fraction', fraction: 0.3, scope: 'label' } };
const outputs = {
  dense: { kind: 'dense' },
  'static F=32': { kind: 'fan-in', fanIn: 32, topology: { kind: 'static' } },
  'SET F=32': { kind: 'fan-in', fanIn: 32, topology: rewiring },
  'static F=64': { kind: 'fan-in', fanIn: 64, topology: { kind: 'static' } },
  'SET F=64': { kind: 'fan-in', fanIn: 64, topology: rewiring },
};

const cells = Object.entries(tasks).flatMap(([dataset, task]) =>
  Object.entries(outputs).flatMap(([output, spec]) => {
    const { encoder, batch, epochs, optimizer, dense, sparse, denseSeeds } = task;
    const isDense = spec.kind === 'dense';
    return (isDense ? denseSeeds : seeds).map((seed) => ({
      name: `${dataset} ${output} seed ${seed}`.replaceAll(/[ =]/g, '-'),
      dataset,
      output,
      config: {
        seed,
        batch,
        epochs,
        optimizer,
        rows: 'all',
        ...(isDense ? dense : sparse),
        model: { encoder, output: { ...spec, startScale: isDense ? 1 : 0.1 } },
      },
    }));
  }),
);

function table(results) {
  const lines = [
    '# Fixed fan-in against dense',
    '',
    'Made by `npm run experiment -- fan-in`. Test split, scored once per run; mean ± half the range over seeds;',
    'equal epochs and one encoder for all rows of a dataset; settings chosen on validation rows. Bytes of the output',
    'layer include its optimiser state. Seconds are of a shared two-core machine: compare them with each other only.',
    '',
  ];
  for (const dataset of Object.keys(tasks)) {
    const here = results.filter(({ cell }) => cell.dataset === dataset);
    if (here.length === 0) continue;
    lines.push(
      `## ${dataset}`,
      '',
      '| output layer | seeds | P@1 | P@3 | P@5 | PSP@1 | PSP@3 | PSP@5 | output MiB | process peak MiB | seconds |',
      '|---|---|---|---|---|---|---|---|---|---|---|',
    );
    for (const output of Object.keys(outputs)) {
      const rows = here.filter(({ cell }) => cell.output === output).map(({ result }) => result);
      if (rows.length === 0) continue;
      const at = (i, what) => spread(rows.map((row) => row.at[i][what]));
      const mib = (what) => mean(rows.map((row) => row[what])) / 2 ** 20;
      lines.push(
        `| ${output} | ${rows.length} | ${at(0, 'precision')} | ${at(1, 'precision')} | ${at(2, 'precision')} | ${at(0, 'psp')} | ${at(1, 'psp')} | ${at(2, 'psp')} | ${mib('outputBytes').toFixed(1)} | ${mib('peakRss').toFixed(0)} | ${spread(
          rows.map((row) => row.seconds),
          0,
        )} |`,
      );
    }
    lines.push('');
  }
  return lines.join('\n');
}

export const fanIn = { cells, table };
