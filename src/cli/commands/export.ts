import { Command } from 'commander';
import { selectKernels } from '../../kernels/index.js';
import { FactoredOutput } from '../../methods/factored/factored-output.js';
import { loadClassifier, saveClassifier, trainingOf } from '../../model/model-io.js';
import { plainClassifier } from '../../model/plain.js';
import { savedRows } from '../../model/remembered/file.js';
import { roundToBf16 } from '../../model/state.js';
import { openModel } from '../../store/index.js';
import { version } from '../../version.js';
import { out } from '../terminal.js';

export function exportCommand(): Command {
  return new Command('export')
    .description(
      'a model of its own with weights as one plain matrix (factored ones), or in half of the bytes',
    )
    .argument('<model>', 'run directory or model directory')
    .requiredOption('--out <dir>', 'directory that gets the model')
    .option('--bf16', 'store weights in bfloat16, which answers may notice in their third digit')
    .addHelpText(
      'after',
      '\nOf a factored model, the new one has the tensor output.weights [labels, hidden] in safetensors and answers alike.\n\nExamples:\n  espalier export runs/words --out plain/words\n  espalier export runs/wn --bf16 --out small/wn',
    )
    .action(async (model: string, options: { out: string; bf16?: boolean }) => {
      const loaded = await loadClassifier(model, selectKernels());
      const { labelNames, featurizer, calibration, frequencies, metrics } = loaded;
      const remembered = savedRows(loaded.remembered);
      const half = options.bf16 === true;
      const asItIs = half && !(loaded.classifier.output instanceof FactoredOutput);
      const classifier = asItIs ? loaded.classifier : plainClassifier(loaded);
      if (half) roundToBf16(classifier);
      const saved = await saveClassifier(options.out, classifier, {
        // A plain one is of another form than what was trained.
        training: asItIs ? await trainedBy(model) : undefined,
        precision: half ? 'bf16' : 'float32',
        metrics,
        version,
        labelNames: labelNames.length === 0 ? undefined : labelNames,
        featurizer,
        calibration,
        frequencies,
        remembered,
      });
      out(`model: ${saved.directory}`);
    });
}

async function trainedBy(model: string): Promise<unknown> {
  const stored = await openModel(model);
  await stored.close();
  return trainingOf(stored) ?? undefined;
}
