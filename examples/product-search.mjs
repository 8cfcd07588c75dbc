// From what people type to the product they mean: every product is a label, and most have few queries.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { data, load, train } from 'espalier';
import { nouns } from './lib/glosses.mjs';
import { inScratch } from './lib/scratch.mjs';

await inScratch(async (home) => {
  // Entries of a dictionary stand for products: what they are called, and parts of their description, were typed.
  const products = (await nouns(9000)).filter(({ gloss }) => gloss.split(' ').length >= 6).slice(-3000);
  const lines = ['query,product'];
  for (const { words, gloss, id } of products) {
    const parts = gloss.split(' ');
    const half = Math.ceil(parts.length / 2);
    const queries = [...words, gloss, parts.slice(0, half).join(' '), parts.slice(half).join(' ')];
    for (const query of queries) lines.push(`"${query.replaceAll('"', '""')}","${words[0]} #${id}"`);
  }
  const file = join(home, 'clicks.csv');
  await writeFile(file, `${lines.join('\n')}\n`);

  const dataset = join(home, 'data');
  await data.ingest(
    {
      from: file,
      text: ['query'],
      labels: ['product'],
      // Parts of words find what is misspelt.
      featurizer: { characterNGrams: { min: 3, max: 4 } },
      validationShare: 0.05,
      testShare: 0.05,
    },
    dataset,
  );
  await train({
    data: dataset,
    out: join(home, 'run'),
    model: { encoder: { embedding: 256, activation: 'none' }, output: { kind: 'fan-in', fanIn: 64 } },
    batch: 64,
    epochs: 6,
  });

  const model = await load(join(home, 'run'));
  const [{ words, gloss }] = products;
  console.log(`products: ${products.length}; looked for: ${words[0]} (${gloss})`);
  for (const query of [words[0], gloss.split(' ').slice(0, 4).join(' '), `${words[0].slice(0, -1)}x`]) {
    const { predictions } = await model.predict(query, { k: 3 });
    console.log(`  "${query}" finds ${predictions.map(({ name }) => name).join(' | ')}`);
  }
});
