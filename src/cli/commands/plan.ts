import { Command } from 'commander';
import { DatasetDirectory } from '../../data/cache.js';
import { EspalierError } from '../../errors.js';
import { selectKernels } from '../../kernels/index.js';
import { memoryTags } from '../../tensor/memory.js';
import { chooseOutput } from '../../train/auto-output.js';
import { mebibytes } from '../../train/memory-report.js';
import { leavesOutputOpen, provisional } from '../../train/open-output.js';
import { type PlanLine, planTraining, type RunPlan } from '../../train/plan.js';
import { trainingRows, validationRows } from '../../train/train.js';
import { parseSize } from '../size.js';
import { out, ProgressLine } from '../terminal.js';
import { type ConfigOptions, collect, gatherConfig, labelRowsHelp } from './train.js';

interface PlanCliOptions extends ConfigOptions {
  readonly maxMemory?: string;
  readonly calibrate: boolean;
  readonly json?: boolean;
}

export function planCommand(): Command {
  return new Command('plan')
    .description(
      'what a run would take, before it starts: memory by kind, operations, minutes; and what fits',
    )
    .argument('[data]', 'dataset directory')
    .option('--config <file>', 'settings as JSON')
    .option('--set <path=value>', 'one setting, e.g. model.output.fanIn=64 (repeatable)', collect, [])
    .option('--label-rows', labelRowsHelp)
    .option('--threads <n>', 'same as --set threads=n')
    .option('--max-memory <size>', 'largest peak of the process, e.g. 2GiB: chooses what fits')
    .option('--no-calibrate', 'no minutes: saves the two seconds of trying')
    .option('--json', 'all of it as JSON')
    .addHelpText(
      'after',
      '\nExample:\n  espalier plan data/wn --set model.output.fanIn=64 --max-memory 512MiB',
    )
    .action(plan);
}

async function plan(path: string | undefined, options: PlanCliOptions): Promise<void> {
  const maxMemory = options.maxMemory === undefined ? undefined : parseSize(options.maxMemory);
  const input = { ...(await gatherConfig(path, options)), out: 'none' };
  const checked = provisional(input);
  const directory = await DatasetDirectory.open(checked.data);
  const training = await trainingRows(directory, checked);
  const validation = await validationRows(directory, checked);
  const kernels = selectKernels({ backend: checked.backend, threads: checked.threads || undefined });
  // Without a bound: what fits is found below, and shown with what did not.
  const open = leavesOutputOpen(input);
  const data = { ...training, validation };
  const config = open ? (await chooseOutput(input, kernels, data, unbounded)).config : checked;
  const line = new ProgressLine();
  const made = await planTraining(config, kernels, data, {
    maxMemory,
    calibrate: options.calibrate,
    onProgress: (name) => line.show(`planning ${name}`),
  });
  line.clear();
  if (options.json === true) out(JSON.stringify(made, null, 2));
  else print(made, open ? 'chosen, as no output layer is configured' : 'as configured');
  if (made.fitting !== null && made.fitting.chosen === null) throw cannotFit(made);
}

const unbounded = { maxMemory: Infinity, baseRss: 0 };

const cell = (text: string, width = 15) => text.padStart(width);

function print({ lines, advice, fitting }: RunPlan, first: string): void {
  out(
    [
      'output layer'.padEnd(22),
      ...['total MiB', 'peak RSS', 'weights', 'optimizer', 'other', 'MFLOP/example', 'minutes'].map((t) =>
        cell(t),
      ),
    ].join(''),
  );
  for (const [i, line] of lines.entries()) out(row(line, i === 0));
  out(`(* ${first}; minutes are of training steps alone, from a moment of calibration)`);
  out();
  out(`recommended: ${advice.choice}`);
  for (const reason of advice.reasons) out(`  - ${reason}`);
  if (fitting === null) return;
  out();
  const { chosen, bound } = fitting;
  if (chosen === null) return;
  out(`fits ${mebibytes(bound)} MiB: ${chosen.name}, predicted peak ${mebibytes(chosen.peakRss)} MiB`);
  for (const setting of chosen.settings) out(`  --set '${setting}'`);
}

function row(
  { name, bytes, totalBytes, peakRss, flopsPerExample, minutes }: PlanLine,
  configured: boolean,
): string {
  const other = totalBytes - bytes.weights - bytes.optimizer;
  return [
    `${configured ? '* ' : '  '}${name}`.padEnd(22),
    ...[totalBytes, peakRss, bytes.weights, bytes.optimizer, other].map((b) => cell(mebibytes(b))),
    cell((flopsPerExample / 1e6).toFixed(2)),
    cell(minutes === null ? '-' : minutes.toFixed(minutes < 10 ? 1 : 0)),
  ].join('');
}

function cannotFit({ fitting, lines }: RunPlan): EspalierError {
  const tried = fitting?.tried ?? [];
  const smallest = tried.reduce((a, b) => (a.peakRss <= b.peakRss ? a : b), lines[0]);
  const largest = memoryTags.reduce((a, b) => (smallest.bytes[a] >= smallest.bytes[b] ? a : b));
  return new EspalierError({
    code: 'PLAN_TOO_LARGE',
    kind: 'usage',
    op: 'espalier plan',
    problem: 'nothing fits into this memory',
    expected: `at most ${mebibytes(fitting?.bound ?? 0)} MiB`,
    received: `${mebibytes(smallest.peakRss)} MiB with ${smallest.name}, of which ${mebibytes(smallest.bytes[largest])} MiB are ${largest}`,
    hint: 'lower model.encoder.embedding or batch, take sgd for optimizer and outputOptimizer, or allow more',
  });
}
