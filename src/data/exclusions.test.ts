/** Lists of pairs that are no question: read exactly, however the file is cut, and refused by line. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { RandomStream } from '../kernels/random.js';
import { readExclusions } from './exclusions.js';

let home: string;
let files = 0;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-exclusions-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));
async function file(text: string): Promise<string> {
  const path = join(home, `${files++}.txt`);
  await writeFile(path, text);
  return path;
}

it('are those of the file, in any order and spacing, each once', async () => {
  const path = await file('2 7\r\n\n0\t3\n 2   4 \n2 7\n0 0');
  const found = await readExclusions(path, { rows: 3, labels: 8 });
  expect([0, 1, 2].map((row) => [...found.of(row)].sort())).toEqual([[0, 3], [], [4, 7]]);
  expect([found.pairs, found.most]).toEqual([4, 2]);
});

it('are none of an empty file', async () => {
  const found = await readExclusions(await file(''), { rows: 2, labels: 2 });
  expect([found.pairs, found.most, found.of(1).size]).toEqual([0, 0, 0]);
});

it('are the same wherever reading stops between two bytes', async () => {
  const random = RandomStream.named(1, 'exclusions');
  const pairs = Array.from({ length: 400 }, () => [random.below(50), random.below(1_000_000)]);
  const path = await file(pairs.map((pair) => pair.join(' ')).join('\n'));
  const expected = Array.from({ length: 50 }, (_, row) => {
    const own = pairs.filter(([r]) => r === row).map(([, label]) => label);
    return [...new Set(own)].sort((a, b) => a - b);
  });
  for (const chunkBytes of [1, 2, 3, 7, 64, 1 << 20]) {
    const found = await readExclusions(path, { rows: 50, labels: 1_000_000, chunkBytes });
    expect(expected.map((_, row) => [...found.of(row)].sort((a, b) => a - b))).toEqual(expected);
  }
});

it.each([
  ['one number alone', '0 1\n5\n', 2],
  ['three numbers', '0 1\n0 2\n0 1 2\n', 3],
  ['words', 'row label\n', 1],
  ['a negative number', '0 -1\n', 1],
  ['a row that is not there', '0 1\n3 1', 2],
  ['a label that is not there', '0 8\n', 1],
  ['a number without end', `0 ${'9'.repeat(1e6)}`, 1],
])('are refused by line with %s', async (_, text, line) => {
  const refused = readExclusions(await file(text), { rows: 3, labels: 8 });
  await expect(refused).rejects.toMatchObject({ code: 'DATA_EXCLUSIONS', facts: { line } });
});

it('are refused where there is no such file', async () => {
  const refused = readExclusions(join(home, 'nowhere'), { rows: 3, labels: 8 });
  await expect(refused).rejects.toMatchObject({ code: expect.stringMatching(/^FILE_/) });
});
