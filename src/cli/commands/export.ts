import { Command } from 'commander';
import { selectKernels } from '../../kernels/index.js';
import { FactoredOutput } from '../../methods/factored/factored-output.js';
import { loadClassifier, saveChanged } from '../../model/model-io.js';
import { plainClassifier } from '../../model/plain.js';
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
      const half = options.bf16 === true;
      const asItIs = half && !(loaded.classifier.output instanceof FactoredOutput);
      const saved = await saveChanged(options.out, loaded, {
        precision: half ? 'bf16' : 'float32',
        // A plain one is of another form than what was trained.
        ...(asItIs ? {} : { classifier: plainClassifier(loaded), training: undefined }),
      });
      out(`model: ${saved.directory}`);
    });
}
