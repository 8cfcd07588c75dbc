// What the votes of remembered rows cost: the five best labels of few and of many rows, with them and without, with votes by
// features too, and with words that as many labels are called by, by one model of random weights and made-up rows (src/model/remembered/). After `npm run build`:
//   node bench/remember.mjs [--rows 68000] [--inputs 512] [--labels 16000] [--fan-in 96] [--rounds 15]
import { parseArgs } from 'node:util';
import { plantedDataset } from '../dist/data/planted.js';
import { loadNative } from '../dist/kernels/index.js';
import { Classifier } from '../dist/model/classifier.js';
import { topRows } from '../dist/model/predict.js';
import { postingsOf } from '../dist/model/remembered/postings.js';
import { defaultVotes, rememberRows } from '../dist/model/remembered/rows.js';
import { modelSpec } from '../dist/model/spec.js';
import { Device } from '../dist/tensor/device.js';
import { awaited, duel, printDuel, printMachine } from './lib/harness.mjs';

const { values: options } = parseArgs({
  options: {
    rows: { type: 'string', default: '68000' },
    inputs: { type: 'string', default: '512' },
    labels: { type: 'string', default: '16000' },
    'fan-in': { type: 'string', default: '96' },
    rounds: { type: 'string', default: '15' },
  },
});
const [rows, inputs, labels, fanIn, rounds] = [
  ...[options.rows, options.inputs, options.labels, options['fan-in'], options.rounds].map(Number),
];

printMachine();
const kernels = loadNative({ threads: 1 });
const features = 25_000;
const spec = modelSpec.parse({
  encoder: { embedding: inputs, activation: 'none' },
  output: { kind: 'fan-in', fanIn, form: 'compact', topology: { kind: 'static', start: 'random' } },
});
const shape = { features, labels };
const classifier = new Classifier(new Device(kernels), shape, spec, {
  seed: 1,
  outputOptimizer: { kind: 'sgd', rate: 1 },
});
classifier.output.prepareTopK?.();
const began = performance.now();
const remembered = rememberRows(classifier, plantedDataset({ ...shape, rows, seed: 1 }), defaultVotes);
const seconds = (performance.now() - began) / 1000;
const postings = postingsOf(remembered.examples);
const byFeatures = { ...remembered, postings, settings: { ...defaultVotes, featureWeight: 8 } };
const names = plantedDataset({ ...shape, rows: labels, seed: 2 });
const byWords = {
  ...{ ...remembered, texts: { examples: names, postings: postingsOf(names) } },
  settings: { ...defaultVotes, textWeight: 8, textTemperature: 0.1 },
};
const megabytes = remembered.directions.byteLength / 1e6;
console.log(
  `${kernels.name}, one thread, L ${labels}, d ${inputs}, F ${fanIn}: ${rows} rows made and remembered in ${seconds.toFixed(1)} s, directions of ${megabytes.toFixed(0)} MB`,
);
const asked = plantedDataset({ ...shape, rows: 256, seed: 1, split: 'test' });
const inputsOf = (n) =>
  Array.from({ length: n }, (_, row) => ({
    indices: asked.indices.subarray(asked.indptr[row], asked.indptr[row + 1]),
    values: asked.values.subarray(asked.indptr[row], asked.indptr[row + 1]),
  }));
const model = { classifier, shape, calibration: null, frequencies: null };
/** Of the speed without votes, what is left at least, by the batch. */
const floors = { 1: 0.015, 8: 0.025, 256: 0.05 };
for (const batch of /** @type {const} */ ([1, 8, 256])) {
  const questions = inputsOf(batch);
  const [plain, voted, both, called] = [null, remembered, byFeatures, byWords].map(
    (own) => () => topRows({ ...model, remembered: own }, questions, 5),
  );
  const repeat = batch > 8 ? 1 : 20;
  const result = await duel(awaited('with votes', voted, repeat), awaited('without', plain, repeat), rounds);
  const unit = (s) => `${(1e3 * s).toFixed(2)} ms`;
  printDuel(`B=${batch}`, result, { floor: floors[batch], unit });
  const more = await duel(
    awaited('by features too', both, repeat),
    awaited('by direction', voted, repeat),
    rounds,
  );
  printDuel(`B=${batch}`, more, { floor: 0.5, unit });
  const words = await duel(
    awaited('by words of names too', called, repeat),
    awaited('by direction', voted, repeat),
    rounds,
  );
  printDuel(`B=${batch}`, words, { floor: 0.5, unit });
}
