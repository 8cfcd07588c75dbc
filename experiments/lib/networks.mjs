/** What the experiments with small networks share: data, a validation slice of the training set, makers of networks. */
import { join } from 'node:path';
import { data, network, nn } from '../../dist/index.js';

/** Where datasets lie; `--data DIR` of the runner. */
export const dataDirectory = () => process.env.ESPALIER_DATA ?? '../shared/data';

const makers = {
  'lenet-300-100': (device, stream) => new nn.LeNet300100(device, { stream }),
  'lenet-5': (device, stream) => new nn.LeNet5(device, { stream }),
  resnet: (device, stream) => new nn.SmallResNet(device, { stream, width: 16, blocks: 1 }),
};

/** One recipe per network, for every method and its control alike. Chosen for the dense network on validation images. */
export const recipes = {
  'lenet-300-100': { batch: 128, optimizer: { kind: 'adam', rate: 1e-3 } },
  'lenet-5': { batch: 128, optimizer: { kind: 'adam', rate: 1e-3 } },
  resnet: { batch: 128, optimizer: { kind: 'sgd', rate: 0.05, momentum: 0.9, weightDecay: 5e-4 } },
  'char-lstm': { batch: 32, optimizer: { kind: 'adam', rate: 2e-3 } },
};

/** The task of a cell: 5,000 training images, always the same, or the middle of the text are for validation. */
export async function taskOf({ network: name, images: dataset, seed }) {
  const { batch } = recipes[name];
  if (name === 'char-lstm') {
    const text = await data.readText(join(dataDirectory(), dataset, 'input.txt'));
    const symbols = text.alphabet.length;
    return network.textTask({
      ...{ ...data.cutText(text.symbols), symbols, batch, steps: 64, seed },
      model: (device, stream) =>
        new nn.CharacterModel(device, { stream, symbols, batch, carry: batch, hidden: 128, embedding: 32 }),
    });
  }
  const { train, test } = await data.readMnist(join(dataDirectory(), dataset), dataset);
  const held = data.holdOutImages(train, 5000, 0);
  return network.imageTask({ ...held, test, batch, seed, model: makers[name] });
}

/** Shares of the numbers of `arrays` in `bins` equal bins; what lies outside is counted at the ends. */
export function histogram(arrays, { bins, from, to }) {
  const counts = new Array(bins).fill(0);
  let total = 0;
  for (const array of arrays) {
    for (const v of array) {
      counts[Math.max(0, Math.min(bins - 1, Math.floor(((v - from) / (to - from)) * bins)))]++;
      total++;
    }
  }
  return counts.map((count) => count / Math.max(1, total));
}

/** Half-width of the 95 % interval of a mean of differences (Student's t, n - 1 degrees of freedom); NaN for one. */
export function halfInterval(values) {
  const t = [Number.NaN, 12.706, 4.303, 3.182, 2.776][values.length - 1] ?? 2;
  const middle = values.reduce((sum, v) => sum + v, 0) / values.length;
  const variance = values.reduce((sum, v) => sum + (v - middle) ** 2, 0) / (values.length - 1);
  return t * Math.sqrt(variance / values.length);
}
