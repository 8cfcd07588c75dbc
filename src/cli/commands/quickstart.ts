import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { DatasetDirectory } from '../../data/cache.js';
import { EspalierError } from '../../errors.js';
import { chooseKernels } from '../../kernels/index.js';
import { loadClassifier } from '../../model/model-io.js';
import { predictRows, predictTexts } from '../../model/predict.js';
import { evaluateModel } from '../../train/evaluate.js';
import { quickstartPreset, referencePreset } from '../../train/presets.js';
import { note, out } from '../terminal.js';
import { build } from './build.js';
import { printDataset } from './data.js';
import { printEvaluation } from './evaluate.js';
import { printPredictions } from './predict.js';
import { printTraining, trainWithSignals } from './train.js';

export function quickstartCommand(): Command {
  return new Command('quickstart')
    .description('build the kernels, make a real dataset, train, score and predict, in a few minutes')
    .option('--data <dir>', 'where the dataset goes', 'data')
    .option('--out <dir>', 'where the run goes', 'runs/quickstart')
    .option('--epochs <n>', 'train longer or shorter', Number)
    .action(quickstart);
}

async function quickstart(options: { data: string; out: string; epochs?: number }): Promise<void> {
  const started = performance.now();
  await build(true);
  const { kernels, reason, fallback } = chooseKernels();
  const native = fallback === undefined && kernels.name.startsWith('native');
  const name = native ? 'wordnet-related' : 'wordnet-hypernym';
  if (!native) note(`a smaller job on the reference backend: ${name}, one epoch (${reason})`);
  const data = join(options.data, name);
  if ((await stat(join(data, 'dataset.json')).catch(() => null)) === null) {
    await makeDataset(name, data);
  } else {
    await printDataset(data);
  }
  out();

  const preset = native ? quickstartPreset : referencePreset;
  await rm(options.out, { recursive: true, force: true });
  const config = { ...preset, data, out: options.out, epochs: options.epochs ?? preset.epochs };
  const result = await trainWithSignals(config, false);
  if (!result.finished) {
    note(`stopped; go on with: espalier train --resume ${options.out}`);
    process.exitCode = 1;
    return;
  }
  printTraining(result);
  out();

  const model = await loadClassifier(options.out, kernels);
  const directory = await DatasetDirectory.open(data);
  printEvaluation(await evaluateModel(model, directory, 'test', kernels));
  out();
  await showPredictions(model, directory);
  out();
  out(`done in ${((performance.now() - started) / 60_000).toFixed(1)} minutes. Try your own words:`);
  out(`  echo "a small domesticated carnivore" | npx espalier predict ${options.out} --k 5`);
}

/** In a process of its own: what reading the sources takes must not stand in the memory of the training run. */
async function makeDataset(name: string, path: string): Promise<void> {
  const program = fileURLToPath(new URL('../main.js', import.meta.url));
  const child = spawn(process.execPath, [program, 'data', name, '--out', path], { stdio: 'inherit' });
  const [code] = await once(child, 'close');
  if (code === 0) return;
  throw new EspalierError({
    code: 'DATASET_FAILED',
    kind: 'data',
    op: 'quickstart',
    problem: `the dataset ${name} could not be made`,
    received: `exit code ${code}`,
    hint: 'the message above names the cause',
  });
}

type Model = Awaited<ReturnType<typeof loadClassifier>>;

/** A handful of test rows with what they are and what the model says, then a line of free text. */
async function showPredictions(model: Model, directory: DatasetDirectory): Promise<void> {
  const test = await directory.load('test');
  const texts = (await directory.testRows()) ?? [];
  const chosen = [0.1, 0.3, 0.5, 0.7, 0.9].map((at) => Math.floor(at * test.rows));
  const rows = chosen.map((row) => ({
    indices: test.indices.subarray(test.indptr[row], test.indptr[row + 1]),
    values: test.values.subarray(test.indptr[row], test.indptr[row + 1]),
  }));
  out('predictions for test rows (* marks the right ones):');
  for (const [i, predictions] of (await predictRows(model, rows, 4)).entries()) {
    const truth = test.labelIds.subarray(test.labelIndptr[chosen[i]], test.labelIndptr[chosen[i] + 1]);
    const marked = predictions.map((p) => ({
      ...p,
      name: `${truth.includes(p.label) ? '* ' : '  '}${p.name}`,
    }));
    printPredictions(texts[chosen[i]]?.text ?? `row ${chosen[i]}`, marked);
  }
  const text = 'a small domesticated carnivore with soft fur';
  const [{ predictions }] = await predictTexts(model, [text], 4);
  printPredictions(`free text: "${text}"`, predictions);
}
