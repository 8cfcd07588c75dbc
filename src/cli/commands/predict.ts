import { createInterface } from 'node:readline';
import { Command, InvalidArgumentError } from 'commander';
import { EspalierError } from '../../errors.js';
import { selectKernels } from '../../kernels/index.js';
import { loadClassifier } from '../../model/model-io.js';
import { type Prediction, predictRows, predictTexts, type SparseInput } from '../../model/predict.js';
import { out } from '../terminal.js';

interface PredictOptions {
  readonly k: number;
  readonly features?: boolean;
  readonly json?: boolean;
}

export function predictCommand(): Command {
  return new Command('predict')
    .description('answer lines of standard input with the best labels')
    .argument('<model>', 'run directory or model directory')
    .option('--k <n>', 'labels per line', positive, 5)
    .option('--features', 'lines are sparse rows (index:value ...) instead of text')
    .option('--json', 'one JSON object per line')
    .addHelpText(
      'after',
      '\nExample:\n  echo "small domesticated carnivore" | espalier predict runs/wn --k 5',
    )
    .action(predict);
}

function positive(text: string): number {
  const n = Number(text);
  if (Number.isInteger(n) && n > 0 && n <= 10_000) return n;
  throw new InvalidArgumentError('a whole number from 1 to 10000');
}

async function predict(path: string, options: PredictOptions): Promise<void> {
  const model = await loadClassifier(path, selectKernels());
  let line = 0;
  for await (const text of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
    line++;
    if (options.features) {
      const [predictions] = await predictRows(model, [parseRow(text, line)], options.k);
      print(text, predictions, options);
      continue;
    }
    const [{ predictions, knownWords }] = await predictTexts(model, [text], options.k);
    print(
      knownWords === 0 ? `${text} (no known word: what follows is only how frequent labels are)` : text,
      predictions,
      options,
    );
  }
}

function print(text: string, predictions: readonly Prediction[], options: PredictOptions): void {
  if (options.json) {
    out(JSON.stringify({ input: text, predictions }));
    return;
  }
  printPredictions(text, predictions);
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
