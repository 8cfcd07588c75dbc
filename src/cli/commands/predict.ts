import { createInterface } from 'node:readline';
import { Command, Option } from 'commander';
import type { FeaturizerRow } from '../../data/featurizer/index.js';
import { columnsOf } from '../../data/readers/index.js';
import { EspalierError } from '../../errors.js';
import { selectKernels } from '../../kernels/index.js';
import { type Answer, Model } from '../../model/model.js';
import type { Prediction, SparseInput } from '../../model/predict.js';
import { mostRare } from '../../model/ranking.js';
import { number, whole } from '../options.js';
import { out } from '../terminal.js';
import { because } from './explain.js';
import { collect } from './train.js';

const inputKinds = ['auto', 'text', 'jsonl'] as const;
type InputKind = (typeof inputKinds)[number];

interface PredictOptions {
  readonly k: number;
  readonly threshold?: number;
  readonly precision?: number;
  readonly rare?: number;
  readonly exclude: readonly string[];
  readonly excludeColumn?: string;
  readonly features?: boolean;
  readonly input: InputKind;
  readonly json?: boolean;
  readonly explain?: number | true;
}

export function predictCommand(): Command {
  return new Command('predict')
    .description('answer lines of standard input with the best labels')
    .argument('<model>', 'run directory or model directory')
    .option('--k <n>', 'labels per line', whole(1, 10_000), 5)
    .option('--threshold <p>', 'leave out labels below this probability; "none" where none is left', number())
    .option(
      '--precision <p>',
      'leave out labels that were right less often than this on validation rows',
      number('a number between 0 and 1', (n) => n > 0 && n < 1),
    )
    .option(
      '--rare <x>',
      'favour labels that were seen rarely: 0 to 10; 1 finds more of them at little cost in others',
      number(`a number from 0 to ${mostRare}`, (n) => n >= 0 && n <= mostRare),
    )
    .option('--exclude <label>', 'a label that is no answer to any line (repeatable)', collect, [])
    .option(
      '--exclude-column <name>',
      'column of JSON lines with labels that are no answer to that line, as a product is none to itself: a name or a list',
    )
    .option('--features', 'lines are sparse rows (index:value ...) instead of text')
    .addOption(
      new Option(
        '--input <kind>',
        'what a line is: text, or a JSON object with the columns of the training data',
      )
        .choices(inputKinds)
        .default('auto'),
    )
    .option(
      '--explain [n]',
      'say what speaks for and against the best n labels (default 1)',
      whole(1, 10_000),
    )
    .option('--json', 'one JSON object per line')
    .addHelpText(
      'after',
      '\nExamples:\n  echo "small domesticated carnivore" | espalier predict runs/wn --k 5\n  espalier predict runs/posts --json < new-posts.jsonl\n  espalier predict runs/products --exclude-column id < products.jsonl',
    )
    .action(predict);
}

async function predict(path: string, options: PredictOptions): Promise<void> {
  const model = await Model.load(path, selectKernels());
  const explain = options.explain === true ? 1 : (options.explain ?? 0);
  let line = 0;
  for await (const text of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
    line++;
    const input = options.features ? parseRow(text, line) : inputOf(text, line, options.input, model);
    const { k, threshold, precision, rare, excludeColumn } = options;
    const own = excludeColumn === undefined ? [] : excludedBy(text, line, excludeColumn);
    const exclude = [...options.exclude, ...own];
    print(text, await model.predict(input, { k, threshold, precision, rare, exclude, explain }), options);
  }
}

function print(
  text: string,
  { predictions, none, explanations, knownFeatures }: Answer,
  options: PredictOptions,
) {
  if (options.json) {
    const why = options.explain === undefined ? {} : { explanations };
    const asked = options.threshold !== undefined || options.precision !== undefined;
    out(JSON.stringify({ input: text, predictions, ...(asked ? { none } : {}), ...why }));
    return;
  }
  const nothing = knownFeatures === 0 && !options.features;
  const remark = nothing ? ' (no known word: what follows is only how frequent labels are)' : '';
  printPredictions(`${text}${remark}`, predictions);
  if (none) out(`${'none'.padStart(14)}`);
  for (const [i, why] of explanations.entries()) {
    out(`  ${predictions[i].name}:`);
    for (const reason of because(why)) out(`    ${reason}`);
  }
}

/** `text`, then one indented line per label. */
export function printPredictions(text: string, predictions: readonly Prediction[]): void {
  out(text);
  for (const { name, score, probability } of predictions) {
    out(
      `  ${(probability === null ? score.toFixed(3) : `${(100 * probability).toFixed(1)} %`).padStart(8)}  ${name}`,
    );
  }
}

/** A line of text, or the columns that the model knows of a JSON object; `auto`: JSON where it has one of them. */
function inputOf(text: string, line: number, kind: InputKind, { featurizer }: Model): FeaturizerRow {
  if (kind === 'text' || featurizer === null || (kind === 'auto' && !text.startsWith('{'))) return text;
  // Text may begin with a brace; asked for JSON, the error below speaks.
  const object = objectOf(text);
  const row = object === null ? {} : columnsOf(object, featurizer.columns);
  if (Object.keys(row).length > 0) return row;
  if (kind === 'auto') return text;
  throw new EspalierError({
    code: 'PREDICT_LINE',
    kind: 'data',
    op: 'espalier predict',
    problem: object !== null ? 'the object has none of the columns of the model' : 'a line is no JSON object',
    expected: `an object with ${featurizer.columns.map((column) => JSON.stringify(column)).join(', ')}`,
    received: text.slice(0, 80),
    file: 'standard input',
    line,
  });
}

/** A line as a JSON object, or null. */
function objectOf(text: string): Record<string, unknown> | null {
  try {
    const found: unknown = JSON.parse(text);
    const sound = typeof found === 'object' && found !== null && !Array.isArray(found);
    return sound ? (found as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/** The labels that a line names in `column`; none where it does not have that. */
function excludedBy(text: string, line: number, column: string): string[] {
  const object = objectOf(text);
  const value = object?.[column] ?? [];
  const names = Array.isArray(value) ? value : [value];
  if (object !== null && names.every((name) => typeof name === 'string' || typeof name === 'number'))
    return names.map(String);
  throw new EspalierError({
    code: 'PREDICT_LINE',
    kind: 'data',
    op: 'espalier predict',
    problem: object === null ? 'a line is no JSON object' : `${JSON.stringify(column)} names no labels`,
    expected: `an object whose ${JSON.stringify(column)} is a label or a list of labels`,
    received: text.slice(0, 80),
    file: 'standard input',
    line,
  });
}

function parseRow(text: string, line: number): SparseInput {
  const indices: number[] = [];
  const values: number[] = [];
  for (const token of text.trim().split(/\s+/).filter(Boolean)) {
    const match = /^(\d+):([-+.\deE]+)$/.exec(token);
    const value = Number(match?.[2]);
    if (match === null || !Number.isFinite(value)) {
      throw new EspalierError({
        code: 'PREDICT_LINE',
        kind: 'data',
        op: 'espalier predict',
        problem: 'this is not a sparse row',
        expected: 'index:value pairs with blanks between them',
        received: JSON.stringify(token.slice(0, 40)),
        file: 'standard input',
        line,
      });
    }
    indices.push(Number(match[1]));
    values.push(value);
  }
  return { indices, values };
}
