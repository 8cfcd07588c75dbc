import { Command } from 'commander';
import pc from 'picocolors';
import { writeFileAtomic } from '../../files.js';
import { selectKernels } from '../../kernels/index.js';
import type { Comparison } from '../../reports/compare/compare.js';
import { number, whole } from '../options.js';
import { openSplit, splitOption } from '../split.js';
import { note, out, ProgressLine } from '../terminal.js';

interface CompareCliOptions {
  readonly data: string;
  readonly split: string;
  readonly pricePerHour?: number;
  readonly out?: string;
  readonly seed: number;
  readonly threads?: number;
  readonly json?: boolean;
}

export function compareCommand(): Command {
  return new Command('compare')
    .description('runs side by side on the same rows: accuracy with intervals, cost, speed, break-even')
    .argument('<runs...>', 'run directories; the first is what the others are compared to')
    .requiredOption('--data <dir>', 'dataset directory')
    .option(...splitOption)
    .option(
      '--price-per-hour <x>',
      'of the machine, in any currency',
      number('a number above 0', (n) => n > 0),
    )
    .option('--out <file>', 'one HTML file with everything inside, for screen and paper')
    .option('--seed <n>', 'of the bootstrap', whole(0), 1)
    .option('--threads <n>', 'threads of the kernels', whole(1))
    .option('--json', 'print JSON instead of a table')
    .addHelpText(
      'after',
      '\nExample:\n  espalier compare runs/dense runs/sparse --data data/wn --price-per-hour 0.2 --out compare.html',
    )
    .action(run);
}

async function run(runs: string[], options: CompareCliOptions): Promise<void> {
  const { directory: data, split } = await openSplit('espalier compare', options.data, options.split);
  const { compareRuns } = await import('../../reports/compare/compare.js');
  const line = new ProgressLine();
  const comparison = await compareRuns({
    ...{ runs, data, split, kernels: selectKernels({ threads: options.threads }) },
    ...{
      pricePerHour: options.pricePerHour,
      seed: options.seed,
      onProgress: (text: string) => line.show(text),
    },
  });
  line.clear();
  if (options.json === true) out(JSON.stringify(comparison));
  else print(comparison);
  if (options.out === undefined) return;
  const { comparePage } = await import('../../reports/compare/page.js');
  await writeFileAtomic(options.out, comparePage(comparison));
  note(`wrote ${options.out}`);
}

function print({ runs, rows, split, draws }: Comparison): void {
  out(
    `${rows.toLocaleString('en')} ${split} rows, 95 % intervals from ${draws} draws; differences to ${runs[0].name}`,
  );
  const names = Object.keys(runs[0].accuracy);
  for (const { name, accuracy, speed, trainingSeconds, peakBytes, modelBytes, words, breakEven } of runs) {
    out();
    out(pc.bold(name));
    for (const figure of names) {
      const { value, low, high, difference: d } = accuracy[figure];
      const to =
        d === null
          ? ''
          : `  ${d.value < 0 ? '' : '+'}${(100 * d.value).toFixed(2)} [${(100 * d.low).toFixed(2)}, ${(100 * d.high).toFixed(2)}]`;
      out(
        `  ${figure.padEnd(14)}${(100 * value).toFixed(2).padStart(6)} [${(100 * low).toFixed(2)}, ${(100 * high).toFixed(2)}]${to}`,
      );
    }
    const known = (x: number | null, unit: string, by = 1) =>
      x === null ? '-' : `${(x / by).toFixed(1)} ${unit}`;
    out(
      `  training ${known(trainingSeconds, 's')}, peak ${known(peakBytes, 'MiB', 2 ** 20)}, model ${known(modelBytes, 'MiB', 2 ** 20)}`,
    );
    out(
      `  one answer ${speed.latency.p50.toFixed(2)} ms (p99 ${speed.latency.p99.toFixed(2)}), ${Math.round(speed.rowsPerSecond).toLocaleString('en')} rows/s`,
    );
    for (const text of words.gained) out(`  ${pc.green('+')} ${text}`);
    for (const text of words.lost) out(`  ${pc.red('-')} ${text}`);
    if (breakEven !== null) out(`  ${breakEven.words}`);
  }
}
