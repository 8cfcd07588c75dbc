import { Command, Option } from 'commander';
import { DatasetDirectory } from '../../data/cache.js';
import { selectKernels } from '../../kernels/index.js';
import type { Scores } from '../../train/events.js';
import { type RememberReport, remember } from '../../train/remember.js';
import { figureColumns, figureTitles } from '../figures.js';
import { number, whole } from '../options.js';
import { out, ProgressLine } from '../terminal.js';

export function rememberCommand(): Command {
  return new Command('remember')
    .description('let a model remember rows: the most alike ones of a question vote for their labels')
    .argument('<model>', 'run directory or model directory')
    .argument('<data>', 'dataset directory with the rows')
    .requiredOption('--out <dir>', 'run directory for the model that remembers')
    .addOption(
      new Option('--rows <which>', 'train, or all: validation rows too (default: as it was trained)').choices(
        ['train', 'all'],
      ),
    )
    .option('--add', 'beside the rows that the model remembers already, not in their place')
    .option('--nearest <n>', 'rows that vote (default 32)', whole(1, 1024))
    .option('--temperature <t>', 'a row less alike by so much, in cosines, weighs e times less', temperature)
    .option('--weight <w>', 'what all votes together add to a logit', weight)
    .option(
      '--feature-weight <v>',
      'what the votes of rows that are most alike in features add to a logit; 0: none of these vote',
      featureWeight,
    )
    .option('--feature-temperature <u>', 'their temperature', temperature)
    .option(
      '--namesake <c>',
      'what is added to the logit of a label that is called as the question is; 0: names do not count',
      namesake,
    )
    .option(
      '--text-weight <u>',
      'what labels get together that are called most nearly by words of the question; 0: nothing',
      featureWeight,
    )
    .option('--text-temperature <s>', 'their temperature', temperature)
    .option('--bf16', 'store weights in half of the bytes')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Nothing is trained. Rows vote that the output layer sees in most nearly the same direction, and, beside these, those that
are most alike in features, as in words they share. So do labels by what they are called, where the dataset knows it, whether
by words of the question or exactly as it is (namesakes). Temperatures and weights are chosen on the validation rows of the dataset, where the model neither learnt from them nor remembers them, and its probabilities are
fitted anew. Rows that are added count as those there do.

Examples:
  espalier remember runs/a data/wn --out runs/b
  espalier remember runs/b data/new --add --out runs/c`,
    )
    .action(async (model: string, data: string, options: Options) => {
      const {
        nearest,
        temperature: t,
        weight: w,
        namesake: c,
        featureWeight: v,
        featureTemperature: u,
        textWeight,
        textTemperature,
      } = options;
      const line = new ProgressLine();
      const report = await remember(
        model,
        await DatasetDirectory.open(data),
        {
          ...{ out: options.out, rows: options.rows, add: options.add },
          votes: {
            ...(nearest === undefined ? {} : { nearest }),
            ...(t === undefined ? {} : { temperature: t }),
            ...(w === undefined ? {} : { weight: w }),
            ...(c === undefined ? {} : { namesake: c }),
            ...(v === undefined ? {} : { featureWeight: v }),
            ...(u === undefined ? {} : { featureTemperature: u }),
            ...(textWeight === undefined ? {} : { textWeight }),
            ...(textTemperature === undefined ? {} : { textTemperature }),
          },
          precision: options.bf16 === true ? 'bf16' : 'float32',
          onProgress: (what, done, rows) =>
            line.show(`${done.toLocaleString('en')} of ${rows.toLocaleString('en')} ${what}`),
        },
        selectKernels(),
      );
      line.clear();
      if (options.json) out(JSON.stringify(report));
      else print(report, options);
    });
}

interface Options {
  readonly out: string;
  readonly rows?: 'train' | 'all';
  readonly add?: boolean;
  readonly nearest?: number;
  readonly temperature?: number;
  readonly weight?: number;
  readonly namesake?: number;
  readonly featureWeight?: number;
  readonly featureTemperature?: number;
  readonly textWeight?: number;
  readonly textTemperature?: number;
  readonly bf16?: boolean;
  readonly json?: boolean;
}

const temperature = number('a number from 0.001 to 10', (n) => n >= 1e-3 && n <= 10);
const weight = number('a number above 0, to 1000', (n) => n > 0 && n <= 1000);
const featureWeight = number('a number from 0 to 1000', (n) => n >= 0 && n <= 1000);
const namesake = number('a number from -1000 to 1000', (n) => Math.abs(n) <= 1000);

function print(
  { model, bytes, rows, votes, column, texts, validation }: RememberReport,
  { add }: Options,
): void {
  if (validation === null) {
    out(
      add === true
        ? 'votes count as they did, and probabilities stay as they are'
        : 'no validation rows to choose by: votes count as given, or by default, and probabilities are those of the loss',
    );
  } else {
    const { rows: asked } = validation.with;
    out(`${asked.toLocaleString('en')} validation rows, labels by score, in per cent`);
    out(`  ${''.padEnd(14)}${figureTitles(ks)}`);
    out(`  ${'by itself'.padEnd(14)}${figureColumns(figuresOf(validation.without))}`);
    out(`  ${'remembering'.padEnd(14)}${figureColumns(figuresOf(validation.with))}`);
  }
  if (model === null) {
    out('votes do not help: nothing was written');
    return;
  }
  const { nearest, temperature: t, weight: w, namesake: c = 0 } = votes;
  const { featureWeight: v = 0, featureTemperature: u } = votes;
  if (column !== null)
    out(
      `a label that is called as the question is (${column}) gets ${c > 0 ? '+' : ''}${c}: ${c < 0 ? 'it is mostly none' : 'it is mostly one'}`,
    );
  if (texts > 0)
    out(
      `${texts.toLocaleString('en')} labels have words of their own: those that the question has most of get ${votes.textWeight} together, temperature ${votes.textTemperature}`,
    );
  const byDirection = w === 0 ? [] : [`temperature ${t}, weight ${w}`];
  const byFeatures = v === 0 ? [] : [`by features: temperature ${u}, weight ${v}`];
  const ways = [...byDirection, ...byFeatures];
  const saved = `${model}, ${(bytes / 1e6).toFixed(1)} MB`;
  out(
    ways.length === 0
      ? `remembers no rows, whose votes do not help: ${saved}`
      : `remembers ${rows.toLocaleString('en')} rows; ${nearest} of them vote, ${ways.join('; ')}: ${saved}`,
  );
}

const ks = [1, 3, 5];
const figuresOf = ({ precision, psp }: Scores): number[] =>
  [precision, psp].flatMap((of) => ks.map((k) => of[k]));
