/** Files of rows of any length, from a seed: what an importer of bounded memory must not notice. */
import { open } from 'node:fs/promises';
import { generator } from './report.mjs';

/** Words that every file has, the frequent ones short, as in a language; those of a row in 50 are not Latin. */
function lexicon(random, count) {
  const [onsets, vowels] = ['bcdfghklmnprstvwz', 'aeiou'];
  const some = (/** @type {string} */ of) => of[Math.floor(of.length * random())];
  const words = new Set();
  while (words.size < count) {
    const syllables = 1 + Math.floor((Math.log2(2 + words.size) / 5) * (0.5 + random()));
    let word = '';
    for (let s = 0; s < syllables; s++)
      word += some(onsets) + some(vowels) + (random() < 0.3 ? some('nrst') : '');
    words.add(word);
  }
  return [...words].map((word) => `${word} `);
}

/** Words are written by the phrase: the file is the importer's work, not ours. */
const [PHRASE, PHRASES, BODY_PHRASES] = [8, 1 << 15, 11];
const PIECE = 1 << 20;

/**
 * Writes a file of about `bytes` bytes: id, title, body, tags. Words and labels are drawn by frequency (Zipf, exponent 1)
 * out of 200,000 and `labels`; one word in `freshEvery` was never seen before, so the vocabulary never saturates; one row
 * in 64 repeats the one before it.
 * @param {string} path
 * @param {{ format: 'csv' | 'jsonl', bytes: number, seed: number, labels: number, freshEvery: number }} of
 */
export async function writeLongFile(path, { format, bytes, seed, labels, freshEvery }) {
  const random = generator(seed);
  const words = lexicon(random, 200_000);
  const spread = Math.log(words.length);
  const spreadLabels = Math.log(labels);
  const csv = format === 'csv';
  const word = () => words[Math.floor(Math.exp(spread * random()))];
  const phrase = () => Array.from({ length: PHRASE }, word).join('');
  const phrases = Array.from({ length: PHRASES }, phrase);
  const foreign = Array.from({ length: 512 }, () => phrase().replaceAll('a', 'ж').replaceAll('o ', '日本 '));
  const fresh = () => `x${Math.floor(random() * 2 ** 32).toString(36)} `;
  const rowOf = () => {
    let row = '';
    for (let w = 3 + Math.floor(6 * random()); w > 0; w--) row += word();
    row += csv ? ',"' : '","body":"';
    const from = random() < 0.02 ? foreign : phrases;
    for (let p = Math.floor(BODY_PHRASES * (0.25 + 1.5 * random())); p > 0; p--) {
      row += from[Math.floor(from.length * random())];
      for (let f = random(); f < PHRASE / freshEvery; f++) row += fresh();
      // Line ends, delimiters and quotes within a field, as the format writes them.
      if (p % 4 === 0) row += csv ? ',\n""and"" ' : ',\\n\\"and\\" ';
    }
    row += csv ? '",' : '","tags":"';
    for (let t = Math.floor(4 * random()); t >= 0; t--)
      row += `a label of the name ${Math.floor(Math.exp(spreadLabels * random()))}${t > 0 ? '|' : ''}`;
    return row + (csv ? '\n' : '"}\n');
  };
  const handle = await open(path, 'wx');
  let [rows, repeats, written] = [0, 0, 0];
  let piece = csv ? 'id,title,body,tags\n' : '';
  const flush = async () => {
    await handle.appendFile(piece);
    written += Buffer.byteLength(piece);
    piece = '';
  };
  try {
    while (written + piece.length < bytes) {
      const row = rowOf();
      const copies = rows % 64 === 63 ? 2 : 1;
      for (let c = 0; c < copies; c++)
        piece += (csv ? `row ${rows++},` : `{"id":"row ${rows++}","title":"`) + row;
      repeats += copies - 1;
      if (piece.length >= PIECE) await flush();
    }
    await flush();
  } finally {
    await handle.close();
  }
  return { rows, repeats, bytes: written };
}
