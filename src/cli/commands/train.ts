import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { EspalierError } from '../../errors.js';
import { withFileErrors } from '../../files.js';
import { setPath, type TrainConfigInput } from '../../train/config.js';
import { formatMemoryTable } from '../../train/memory-report.js';
import { type TrainResult, train } from '../../train/train.js';
import { parseSize } from '../size.js';
import { note, out } from '../terminal.js';
import { trainingPrinter } from '../training-printer.js';

/** Options from which a config is gathered. */
export interface ConfigOptions {
  readonly config?: string;
  readonly out?: string;
  readonly set: string[];
  readonly seed?: string;
  readonly epochs?: string;
  readonly threads?: string;
  readonly allowUnstable?: boolean;
  readonly tensorboard?: boolean;
  readonly labelRows?: boolean;
}

interface TrainCliOptions extends ConfigOptions {
  readonly resume?: string;
  readonly maxMemory?: string;
  readonly continue?: string;
  readonly warmStart?: string;
  readonly dropMissingLabels?: boolean;
  readonly onlyNewLabels?: boolean;
}

export function trainCommand(): Command {
  return new Command('train')
    .description('train a classifier on a dataset directory')
    .argument('[data]', 'dataset directory')
    .option('--out <dir>', 'run directory to make')
    .option('--config <file>', 'settings as JSON')
    .option('--set <path=value>', 'one setting, e.g. model.output.fanIn=64 (repeatable)', collect, [])
    .option('--epochs <n>', 'same as --set epochs=n')
    .option('--seed <n>', 'same as --set seed=n')
    .option('--threads <n>', 'same as --set threads=n')
    .option('--allow-unstable', 'take rates beyond the stable range of a factored layer instead of refusing')
    .option('--label-rows', labelRowsHelp)
    .option('--tensorboard', 'also write event files for TensorBoard, to tensorboard/ in the run')
    .option(
      '--max-memory <size>',
      'largest peak, e.g. 2GiB; default: what the machine has left. A chosen output layer fits, others are refused',
    )
    .option('--resume <run>', 'continue a stopped run from its newest checkpoint')
    .option(
      '--continue <model>',
      'train a finished model on: new rows, new labels; settings are those of its training, for one epoch',
    )
    .option('--drop-missing-labels', 'with --continue: labels that the dataset does not have leave the model')
    .option(
      '--only-new-labels',
      'with --continue: labels that the model does not have learn, all else stays as it is, bit by bit',
    )
    .option(
      '--warm-start <model>',
      'start from the encoder of a model, and from the labels of the same names',
    )
    .addHelpText(
      'after',
      `
Examples:
  espalier train data/wn --out runs/wn --set model.output.fanIn=64
  espalier data --from new.csv --like runs/wn --labels tags --out data/new
  espalier train data/new --continue runs/wn --out runs/wn-2`,
    )
    .action(run);
}

export const labelRowsHelp =
  'for labels whose names are words that rows use: what a label is called is an example of it, too (settings: labelRows)';

export const collect = (value: string, before: string[]): string[] => [...before, value];

async function run(data: string | undefined, options: TrainCliOptions): Promise<void> {
  const config = await gather(data, options);
  const maxMemory = options.maxMemory === undefined ? undefined : parseSize(options.maxMemory);
  const result = await trainWithSignals(config, options.resume !== undefined, maxMemory);
  if (!result.finished) {
    note(`stopped at step ${result.steps}; go on with: espalier train --resume ${result.config.out}`);
    process.exitCode = 1;
    return;
  }
  printTraining(result);
}

/** Trains with the progress line; the first SIGINT or SIGTERM saves and leaves, a second one leaves at once. */
export async function trainWithSignals(
  config: TrainConfigInput,
  resume: boolean,
  maxMemory?: number,
): Promise<TrainResult> {
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals) => {
    if (stop.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143);
    note(`\n${signal}: saving a checkpoint; once more to leave at once`);
    stop.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const printer = trainingPrinter();
  try {
    return await train(config, { onEvent: printer.event, signal: stop.signal, resume, maxMemory });
  } finally {
    printer.done();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

async function gather(data: string | undefined, options: TrainCliOptions): Promise<TrainConfigInput> {
  if (options.resume !== undefined) {
    const { config, out, epochs, seed, threads, allowUnstable, tensorboard, labelRows } = options;
    const others = [config, out, epochs, seed, threads, allowUnstable, tensorboard, labelRows, data];
    if (others.some((o) => o !== undefined) || options.set.length > 0) {
      throw new EspalierError({
        code: 'RESUME_OPTIONS',
        kind: 'usage',
        op: 'espalier train',
        problem: '--resume takes every setting from the run',
        hint: `espalier train --resume ${options.resume}`,
      });
    }
    const { fingerprint: _, ...stored } = await readJson(join(options.resume, 'config.json'));
    return { ...stored, out: options.resume } as TrainConfigInput;
  }
  const { continue: model, warmStart, dropMissingLabels, onlyNewLabels } = options;
  const ofContinue = dropMissingLabels ? '--drop-missing-labels' : onlyNewLabels ? '--only-new-labels' : null;
  if ((model !== undefined && warmStart !== undefined) || (ofContinue !== null && model === undefined)) {
    throw new EspalierError({
      code: 'START_OPTIONS',
      kind: 'usage',
      op: 'espalier train',
      problem:
        model === undefined
          ? `${ofContinue} belongs to --continue`
          : '--continue and --warm-start are two ways to start',
      expected: 'one of --continue and --warm-start',
    });
  }
  const config = (await gatherConfig(data, options)) as Record<string, unknown>;
  if (model !== undefined) setPath(config, `start.model=${JSON.stringify(model)}`);
  if (dropMissingLabels) setPath(config, 'start.missingLabels=drop');
  if (onlyNewLabels) setPath(config, 'start.learn=new');
  if (warmStart !== undefined) {
    setPath(config, `start.model=${JSON.stringify(warmStart)}`);
    setPath(config, 'start.mode=share');
  }
  return config as TrainConfigInput;
}

/** The settings of a config file with those of the command line on top. */
export async function gatherConfig(
  data: string | undefined,
  options: ConfigOptions,
): Promise<TrainConfigInput> {
  const config = options.config === undefined ? {} : await readJson(options.config);
  if (data !== undefined) config.data = data;
  if (options.out !== undefined) config.out = options.out;
  for (const key of ['epochs', 'seed', 'threads'] as const) {
    if (options[key] !== undefined) setPath(config, `${key}=${options[key]}`);
  }
  if (options.allowUnstable === true) setPath(config, 'model.output.allowUnstable=true');
  if (options.tensorboard === true) setPath(config, 'tensorboard=true');
  if (options.labelRows === true) setPath(config, 'labelRows={}');
  for (const assignment of options.set) setPath(config, assignment);
  return config as TrainConfigInput;
}

async function readJson(file: string): Promise<Record<string, unknown>> {
  const text = await withFileErrors('espalier train', file, () => readFile(file, 'utf8'));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new EspalierError({
      code: 'CONFIG_JSON',
      kind: 'usage',
      op: 'espalier train',
      problem: `the settings are not JSON: ${(cause as Error).message}`,
      file,
      cause,
    });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new EspalierError({
    code: 'CONFIG_JSON',
    kind: 'usage',
    op: 'espalier train',
    problem: 'the settings are not a JSON object',
    file,
  });
}

/** Speed, memory and the place of the model. */
export function printTraining(result: TrainResult): void {
  const { config, memory } = result;
  out(
    `trained ${result.steps.toLocaleString('en')} steps, ${Math.round(result.examplesPerSecond).toLocaleString('en')} examples/s`,
  );
  out();
  for (const line of formatMemoryTable(memory, config.model.output.kind)) out(line);
  out();
  if (result.model !== null) out(`model: ${join(config.out, 'model')} -> ${result.model}`);
}
