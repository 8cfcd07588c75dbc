/**
 * Fixed fan-in against the dense control on real extreme classification: dense, and static and SET at two
 * fan-ins, at equal epochs with one shared encoder. All settings were chosen on validation rows; here every cell
 * trains on all training rows (validation rows included) and scores the test split once.
 */
import { cellsOf, qualityTable } from './lib/classification.mjs';

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
    return cellsOf(dataset, output, isDense ? denseSeeds : seeds, {
      batch,
      epochs,
      optimizer,
      rows: 'all',
      ...(isDense ? dense : sparse),
      model: { encoder, output: { ...spec, startScale: isDense ? 1 : 0.1 } },
    });
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
    if (!results.some(({ cell }) => cell.dataset === dataset)) continue;
    lines.push(`## ${dataset}`, '', ...qualityTable(results, dataset, Object.keys(outputs)), '');
  }
  return lines.join('\n');
}

export const fanIn = { cells, table };
