import { basename, join, resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import pc from 'picocolors';
import { mebibytes } from '../../train/memory-report.js';
import { type TrialRecord, type TuneEvent, type TuneResult, tune } from '../../train/tune/index.js';
import { whole } from '../options.js';
import { parseSize } from '../size.js';
import { duration, note, out, ProgressLine } from '../terminal.js';
import { type ConfigOptions, collect, gatherConfig } from './train.js';

interface TuneCliOptions extends Omit<ConfigOptions, 'seed'> {
  readonly budget: number;
  readonly seed: number;
  readonly objective: 'accuracy' | 'memory';
  readonly maxMemory?: string;
  readonly trials?: number;
  readonly leastRows?: number;
  readonly json?: boolean;
}

export function tuneCommand(): Command {
  return new Command('tune')
    .description('search settings on the validation rows, within minutes: what is gained, what it takes')
    .argument('<data>', 'dataset directory')
    .requiredOption('--budget <time>', 'for the whole search, e.g. 20m, 90s, 2h', minutes)
    .option('--out <dir>', 'directory of the search; default: tune/ and the name of the dataset')
    .option('--config <file>', 'settings as JSON that hold for every trial')
    .option('--set <path=value>', 'one such setting: it is not searched (repeatable)', collect, [])
    .option('--epochs <n>', 'same as --set epochs=n')
    .option('--threads <n>', 'same as --set threads=n')
    .option('--seed <n>', 'of the draws and the samples of rows', whole(0, 0xffffffff), 1)
    .addOption(
      new Option('--objective <what>', 'accuracy, or memory: the least that is about as good')
        .choices(['accuracy', 'memory'])
        .default('accuracy'),
    )
    .option('--max-memory <size>', 'most accounted memory of a training on all rows, e.g. 1GiB')
    .option('--trials <n>', 'most trials', whole(1))
    .option('--least-rows <n>', 'fewest rows that a trial sees (default: 4000)', whole(1))
    .option('--json', 'all of it as JSON')
    .addHelpText(
      'after',
      `
Called again with a larger budget, the search goes on. Examples:
  espalier tune data/wn --budget 20m
  espalier tune data/wn --budget 20m --set model.output.kind=grouped --objective memory`,
    )
    .action(run);
}

/** Minutes in `20m`, `90s`, `1.5h`; minutes without a unit. */
export function minutes(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(s|m|min|h)?\s*$/i.exec(text);
  const perUnit: Readonly<Record<string, number>> = { s: 1 / 60, m: 1, min: 1, h: 60 };
  const value = match === null ? 0 : Number(match[1]) * perUnit[(match[2] ?? 'm').toLowerCase()];
  if (value > 0) return value;
  throw new InvalidArgumentError('a time above 0: 90s, 20m, 2h');
}

async function run(data: string, options: TuneCliOptions): Promise<void> {
  const { budget, seed, objective, trials, leastRows } = options;
  const directory = options.out ?? join('tune', basename(resolve(data)));
  const {
    data: _d,
    out: _o,
    ...config
  } = await gatherConfig(undefined, {
    ...options,
    out: undefined,
    seed: undefined,
  });
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals) => {
    if (stop.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143);
    note(`\n${signal}: ending; the trial that runs is lost, the others are kept`);
    stop.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const printer = tunePrinter(60 * budget);
  let result: TuneResult;
  try {
    result = await tune(
      {
        ...{ data, out: directory, minutes: budget, config, seed, objective, trials, leastRows },
        maxMemory: options.maxMemory === undefined ? undefined : parseSize(options.maxMemory),
      },
      { onEvent: printer.event, signal: stop.signal },
    );
  } finally {
    printer.done();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
  if (options.json === true) out(JSON.stringify(result, null, 2));
  else print(result);
  if (!stop.signal.aborted) return;
  note('stopped; the same command goes on');
  process.exitCode = 1;
}

const percent = (share: number) => (100 * share).toFixed(2);
const changes = (settings: TrialRecord['settings']) =>
  Object.entries(settings)
    .filter(([path]) => path !== 'model.output')
    .map(([path, value]) => `${path.replace(/^model\.(encoder\.)?/, '')} ${value}`)
    .join(', ');

function tunePrinter(budget: number): { event(event: TuneEvent): void; done(): void } {
  const line = new ProgressLine();
  let rungs = 1;
  const event = (e: TuneEvent): void => {
    switch (e.event) {
      case 'start':
        rungs = e.rungs.length;
        if (e.resumed > 0)
          line.say(`going on after ${e.resumed} trials, ${duration(e.spent)} of ${duration(budget)} spent`);
        for (const { rows, labelsSeen, ceiling } of rungs === 1 ? [] : e.rungs.slice(0, -1))
          line.say(
            `${rows.toLocaleString('en')} rows show ${percent(labelsSeen)} % of the labels: P@1 can come to ${percent(ceiling)} % there`,
          );
        break;
      case 'progress':
        line.show(
          `trial ${e.trial + 1}, ${e.draw === 0 ? 'default' : `draw ${e.draw}`}, rung ${e.rung + 1}/${rungs}: ${e.output}, epoch ${e.epoch.toFixed(1)}/${e.epochs}${e.best === null ? '' : `, P@1 ${percent(e.best)}`}; ${duration(e.seconds)} of ${duration(budget)}`,
        );
        break;
      case 'trial': {
        const { trial, draw, rung, score, output, status, settings, problem, secondsPerEpoch } = e.record;
        const what =
          score === null
            ? (problem ?? 'not scored')
            : `${pc.bold(`P@1 ${percent(score.p1.value)}`)}, ${(secondsPerEpoch ?? 0).toFixed(1)} s per epoch`;
        const drawn = draw === 0 ? 'default settings' : changes(settings);
        line.say(
          `trial ${trial + 1}, rung ${rung + 1}/${rungs}${status === 'done' ? '' : `, ${status}`}: ${what}; ${output}${drawn === '' ? '' : `, ${drawn}`}`,
        );
        break;
      }
    }
  };
  return { event, done: () => line.clear() };
}

function print({
  trials,
  frontier,
  chosen,
  control,
  rungs,
  files,
  validationRows,
  seconds,
}: TuneResult): void {
  const header = ['P@1', '95 % interval', 'rows', 'MiB', 's/epoch', 'examples/s'];
  const widths = [8, 17, 10, 9, 9, 12];
  const cells = (values: readonly string[]) => values.map((text, i) => text.padStart(widths[i])).join('');
  out(
    `${trials.length} trials in ${duration(seconds)}, judged on ${validationRows.toLocaleString('en')} validation rows; test rows were not read`,
  );
  out();
  out(`${'what nothing else is better than'.padEnd(44)}${cells(header)}`);
  const rows = control === null || frontier.includes(control) ? frontier : [...frontier, control];
  for (const record of rows) {
    const { score, bytes, secondsPerEpoch, examplesPerSecond, output, draw } = record;
    if (score === null) continue;
    const mark = record === chosen ? '* ' : '  ';
    const name = `${mark}${output}${draw === 0 ? ' (default)' : `, draw ${draw}`}`;
    const values = [
      percent(score.p1.value),
      `${percent(score.p1.low)}-${percent(score.p1.high)}`,
      record.rows.toLocaleString('en'),
      mebibytes(bytes),
      (secondsPerEpoch ?? Number.NaN).toFixed(1),
      Math.round(examplesPerSecond ?? 0).toLocaleString('en'),
    ];
    out(`${name.slice(0, 43).padEnd(44)}${cells(values)}`);
  }
  out(
    '(* chosen; P@1 in percent on as many training rows as stand beside it; MiB and s/epoch are of all rows)',
  );
  out();
  const drawn = chosen.draw === 0 ? 'the default settings' : `${chosen.output}, ${changes(chosen.settings)}`;
  out(`chosen: ${drawn}`);
  if (chosen.rung < rungs.length - 1)
    out('  no trial has seen all rows yet: the same command with a larger --budget goes on');
  if (chosen.draw !== 0 && control !== null && control.score !== null && chosen.score !== null)
    out(
      `  P@1 ${percent(chosen.score.p1.value)} against ${percent(control.score.p1.value)} of the default settings, chosen and judged on the same rows`,
    );
  out(`all trials: ${files.trials}; picture: ${files.picture}; train it with:`);
  out(`  espalier train --config ${files.config} --out runs/tuned`);
}
