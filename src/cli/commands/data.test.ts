import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ingest } from '../../data/ingest/index.js';
import { findWordnet, readSynsets, type Synset } from '../../data/wordnet-files.js';
import { referenceKernels } from '../../kernels/reference/index.js';
import { Model } from '../../model/model.js';
import { train } from '../../train/train.js';
import { runProgram } from '../program.js';

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-journey-'));
});
afterAll(() => rm(home, { recursive: true }));

/** Nouns below a few common hypernyms: glosses and words in, hypernyms out. */
async function smallCsv(path: string): Promise<void> {
  const synsets = await readSynsets(findWordnet().directory);
  const above = (synset: Synset) =>
    synset.pointers.filter(({ symbol }) => symbol === '@').map(({ target }) => target);
  const count = new Map<string, number>();
  for (const synset of synsets.values())
    for (const key of above(synset)) count.set(key, (count.get(key) ?? 0) + 1);
  const common = new Set(
    [...count]
      .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
      .slice(0, 12)
      .map(([key]) => key),
  );
  const cell = (text: string) => `"${text.replaceAll('"', '""')}"`;
  const lines = ['key,words,gloss,tags,letters'];
  for (const synset of synsets.values()) {
    const tags = above(synset)
      .filter((key) => common.has(key))
      .map((key) => synsets.get(key)?.lemmas[0].replaceAll('_', ' ') as string);
    if (tags.length === 0) continue;
    const words = synset.lemmas.join(' ').replaceAll('_', ' ');
    lines.push([synset.key, cell(words), cell(synset.gloss), cell(tags.join('; ')), words.length].join(','));
  }
  await writeFile(path, `${lines.join('\n')}\n`);
}

describe('from a CSV file to answers', () => {
  it('words go in and labels come out, with text or with columns', async () => {
    const [csv, data, run] = [join(home, 'nouns.csv'), join(home, 'data'), join(home, 'run')];
    await smallCsv(csv);
    const { report } = await ingest(
      {
        from: csv,
        text: ['gloss', 'words'],
        numeric: ['letters'],
        labels: ['tags'],
        labelSeparator: ';',
        id: 'key',
        threads: 1,
      },
      data,
    );
    expect(report.rows.kept).toBe(report.rows.read);
    expect(report.labels.count).toBeGreaterThan(8);
    await train({
      ...{ data, out: run, backend: 'reference', epochs: 5, threads: 1 },
      model: { encoder: { embedding: 32, dropout: 0 }, output: { kind: 'dense' } },
      validation: { rows: 200 },
    });
    const model = await Model.load(run, referenceKernels('float32'));
    const rows = (await readFile(csv, 'utf8'))
      .split('\n')
      .slice(1, -1)
      .filter((_, i) => i % 10 === 0);
    let right = 0;
    const seen = new Map<string, number>();
    for (const row of rows) {
      const [, words, gloss, tags] = /^\w+,"(.*)","(.*)","(.*)",\d+$/.exec(row) ?? [];
      const { predictions } = await model.predict({ gloss, words, letters: words.length }, { k: 1 });
      for (const tag of tags.split('; ')) seen.set(tag, (seen.get(tag) ?? 0) + 1);
      if (tags.split('; ').includes(predictions[0].name)) right++;
    }
    // Always answering the most frequent label is what words must beat.
    expect(right).toBeGreaterThan(1.5 * Math.max(...seen.values()));
    const bare = await model.predict('a plant of the family', { k: 3 });
    expect(bare.knownFeatures).toBeGreaterThan(0);
    await expect(model.predict({ glos: 'x' })).rejects.toMatchObject({ facts: { code: 'PREDICT_FIELD' } });
  });

  it('the command names the right columns where they are wrong, with exit code 2', async () => {
    const csv = join(home, 'small.csv');
    await writeFile(csv, 'title,tags\nred,a\n');
    const errors: string[] = [];
    const write = process.stderr.write;
    process.stderr.write = ((text: string) => errors.push(text) > 0) as typeof write;
    try {
      expect(
        await runProgram([
          'data',
          '--from',
          csv,
          '--text',
          'titel',
          '--labels',
          'tags',
          '--out',
          join(home, 'x'),
        ]),
      ).toBe(2);
    } finally {
      process.stderr.write = write;
    }
    expect(errors.join('')).toMatch(/no column "titel"[\s\S]*"title", "tags"[\s\S]*did you mean "title"/);
  });
});
