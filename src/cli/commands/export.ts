import { Command } from 'commander';
import { selectKernels } from '../../kernels/index.js';
import { loadClassifier, saveClassifier } from '../../model/model-io.js';
import { plainClassifier } from '../../model/plain.js';
import { savedRows } from '../../model/remembered/file.js';
import { version } from '../../version.js';
import { out } from '../terminal.js';

export function exportCommand(): Command {
  return new Command('export')
    .description('write the weights of a factored model out as one plain matrix, in a model of its own')
    .argument('<model>', 'run directory or model directory')
    .requiredOption('--out <dir>', 'directory that gets the model')
    .addHelpText(
      'after',
      '\nThe new model has the tensor output.weights [labels, hidden] in safetensors and answers like the old one.\n\nExample:\n  espalier export runs/words --out plain/words',
    )
    .action(async (model: string, options: { out: string }) => {
      const loaded = await loadClassifier(model, selectKernels());
      const { labelNames, featurizer, calibration, frequencies, metrics } = loaded;
      const remembered = savedRows(loaded.remembered);
      const saved = await saveClassifier(options.out, plainClassifier(loaded), {
        training: undefined,
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
