import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { EspalierError } from '../../errors.js';
import { withFileErrors } from '../../files.js';
import { selectKernels } from '../../kernels/index.js';
import { labelNamesOf } from '../../model/model-io.js';
import { removeLabels } from '../../model/remove-labels.js';
import { openModel } from '../../store/index.js';
import { out } from '../terminal.js';
import { collect } from './train.js';

interface LabelsOptions {
  readonly remove: string[];
  readonly removeFrom?: string;
  readonly out?: string;
  readonly json?: boolean;
}

export function labelsCommand(): Command {
  return new Command('labels')
    .description('the labels of a model, or the model without some of them')
    .argument('<model>', 'run directory or model directory')
    .option('--remove <name>', 'leave out this label (repeatable)', collect, [])
    .option('--remove-from <file>', 'leave out the labels in this file, one per line')
    .option('--out <dir>', 'run directory for the model without them')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Labels are added by training: espalier train DATA --continue MODEL --out DIR.

Examples:
  espalier labels runs/a > labels.txt
  espalier labels runs/a --remove obsolete --remove "no longer used" --out runs/b`,
    )
    .action(labels);
}

async function labels(model: string, { remove, removeFrom, out: run, json }: LabelsOptions): Promise<void> {
  if (remove.length === 0 && removeFrom === undefined) {
    const stored = await openModel(model);
    const names = await labelNamesOf(stored);
    await stored.close();
    if (json) out(JSON.stringify(names));
    else for (const name of names) out(name);
    return;
  }
  if (run === undefined) {
    throw new EspalierError({
      code: 'LABELS_OUT',
      kind: 'usage',
      op: 'espalier labels',
      problem: 'the model without these labels needs a place',
      expected: '--out DIR',
      hint: 'models are never changed: `espalier serve` can be pointed at the new one',
    });
  }
  const names = [...remove];
  if (removeFrom !== undefined) {
    const text = await withFileErrors('espalier labels', removeFrom, () => readFile(removeFrom, 'utf8'));
    names.push(...text.split(/\r?\n/).filter((name) => name !== ''));
  }
  const { removed, left, saved } = await removeLabels(model, names, run, selectKernels());
  if (json) out(JSON.stringify({ removed, left, model: saved.directory }));
  else
    out(
      `${removed.toLocaleString('en')} labels left out, ${left.toLocaleString('en')} stay: ${saved.directory}`,
    );
}
