// Tags for texts: a file of JSON lines in, suggestions out.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { data, load, train } from 'espalier';
import { nouns } from './lib/glosses.mjs';
import { inScratch } from './lib/scratch.mjs';

await inScratch(async (home) => {
  // One row per line: a title, a text, and a list of tags.
  const file = join(home, 'entries.jsonl');
  const entries = (await nouns(12_000)).filter(({ kindOf }) => kindOf.length > 0);
  const rows = entries.map(({ words, gloss, kindOf }) => ({
    title: words.join(', '),
    text: gloss,
    tags: kindOf,
  }));
  await writeFile(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));

  const dataset = join(home, 'data');
  const { report } = await data.ingest({ from: file, text: ['title', 'text'], labels: ['tags'] }, dataset);
  console.log(`${report.splits.train.rows} rows to train on, ${report.labels.count} tags`);

  await train({
    data: dataset,
    out: join(home, 'run'),
    // Each entry is of one kind: softmax over all tags, streamed.
    model: {
      encoder: { embedding: 256, activation: 'none', dropout: 0.4 },
      loss: 'softmax',
      output: { kind: 'dense' },
    },
    outputOptimizer: { kind: 'adagrad', rate: 0.05 },
    batch: 64,
    epochs: 8,
  });

  const model = await load(join(home, 'run'));
  for (const text of [
    'a genus of tropical birds',
    'a small dog with long hair',
    'taking what belongs to others',
  ]) {
    const { predictions } = await model.predict(text, { k: 3 });
    console.log(`${text}: ${predictions.map(({ name }) => name).join(', ')}`);
  }
});
