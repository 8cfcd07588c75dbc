import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ErrorFacts, EspalierError } from '../errors.js';
import { arbitraryDataset, rowRecords } from './arbitrary.testing.js';
import type { CsrDataset } from './dataset.js';
import { holdOut } from './rows.js';
import { readXc, writeXc, type XcProgress, xcLines } from './xc.js';
import { XcParser, type XcParserOptions } from './xc-parser.js';

const parse = (text: string | Uint8Array, options: XcParserOptions = {}): CsrDataset => {
  const parser = new XcParser({ file: 'f.txt', ...options });
  parser.push(typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
  return parser.finish();
};

function refusalOf(act: () => unknown): ErrorFacts | undefined {
  try {
    act();
  } catch (error) {
    if (error instanceof EspalierError) return error.facts;
    throw error;
  }
  return undefined;
}

describe('parse and write', () => {
  it('parse(write(x)) is x, to the bit of every value', () => {
    fc.assert(
      fc.property(arbitraryDataset(), (dataset) => {
        const again = parse([...xcLines(dataset)].join(''));
        expect(rowRecords(again)).toEqual(rowRecords(dataset));
        expect([again.features, again.labels]).toEqual([dataset.features, dataset.labels]);
      }),
    );
  });

  it('where chunks are cut makes no difference', () => {
    fc.assert(
      fc.property(arbitraryDataset(), fc.array(fc.nat(40), { maxLength: 60 }), (dataset, sizes) => {
        const bytes = Buffer.from([...xcLines(dataset)].join('').replace(/\n$/, ''));
        const parser = new XcParser();
        let at = 0;
        for (const size of sizes) {
          // The buffer is overwritten after the call, as a reader that reuses it would.
          const chunk = Uint8Array.from(bytes.subarray(at, at + size));
          parser.push(chunk);
          chunk.fill(0x39);
          at += size;
        }
        parser.push(bytes.subarray(at));
        expect(rowRecords(parser.finish())).toEqual(rowRecords(dataset));
      }),
    );
  });

  it('values round as Number() and then float32 do', () => {
    const decimal = fc
      .tuple(
        fc.constantFrom('', '-'),
        fc.bigInt(0n, 10n ** 24n),
        fc.nat(24),
        fc.constantFrom('', 'e5', 'E-12'),
      )
      .map(([sign, digits, decimals, exponent]) => {
        const text = String(digits).padStart(decimals + 1, '0');
        const whole = text.slice(0, text.length - decimals);
        return `${sign}${whole}${decimals === 0 ? '' : `.${text.slice(-decimals)}`}${exponent}`;
      });
    fc.assert(
      fc.property(decimal, (text) => {
        expect(parse(`1 1 1\n 0:${text}`).values[0]).toBe(Math.fround(Number(text)));
      }),
      { numRuns: 500 },
    );
  });
});

describe('the parser accepts', () => {
  const one = { features: [1], values: [0.5], labels: [] };
  it.each([
    ['a row without labels, begun by a space', '1 3 4\n 1:.5\n', [one]],
    ['a row without labels, begun by a feature', '1 3 4\n1:5e-1', [one]],
    ['tabs, more spaces, carriage returns and a plus sign', '1 3 4\r\n \t1:+0.5  \r\n', [one]],
    ['a byte order mark', '\xef\xbb\xbf1 3 4\n 1:0.5\n', [one]],
    ['rows of nothing', '3 3 4\n\n \n\n', Array(3).fill({ features: [], values: [], labels: [] })],
    ['labels alone', '1 3 4\n3,1,2\n', [{ features: [], values: [], labels: [1, 2, 3] }]],
    ['empty lines at the end', '1 3 4\n 1:0.5\n\n\r\n', [one]],
    [
      'any order',
      '1 3 4\n2,0 2:2. 0:-0.25 1:1\n',
      [{ features: [0, 1, 2], values: [-0.25, 1, 2], labels: [0, 2] }],
    ],
  ])('%s', (_name, text, rows) => {
    expect(rowRecords(parse(text))).toEqual(rows);
  });

  it('a file without header when its shape is given; empty lines at its end are no rows', () => {
    const shape = { features: 3, labels: 4 };
    expect(rowRecords(parse('\n3 1:0.5\n\n', { shape })).map((r) => r.labels)).toEqual([[], [3]]);
    expect(parse('\n3 1:0.5\n\n', { shape: { ...shape, rows: 3 } }).rows).toBe(3);
  });
});

describe('the parser refuses, with the place', () => {
  const cases: [string, string, string, number, number | undefined][] = [
    ['an empty file', '', 'XC_EMPTY', 1, undefined],
    ['no header', '1,2 0:1\n', 'XC_HEADER', 1, undefined],
    ['a header that claims too much', `1 ${2 ** 33} 4\n`, 'XC_HEADER', 1, undefined],
    ['a feature without value', '1 3 4\n1 0:1 2\n', 'XC_TOKEN', 2, 7],
    ['an empty value', '1 3 4\n1 0: 2:1\n', 'XC_TOKEN', 2, 3],
    ['a point for a value', '1 3 4\n1 0:.\n', 'XC_TOKEN', 2, 3],
    ['two points', '1 3 4\n1 0:1.2.3\n', 'XC_TOKEN', 2, 3],
    ['two minus signs', '1 3 4\n1 0:--1\n', 'XC_TOKEN', 2, 3],
    ['a word for a value', '1 3 4\n1 0:one\n', 'XC_TOKEN', 2, 3],
    ['a negative feature', '1 3 4\n1 -1:1\n', 'XC_TOKEN', 2, 3],
    ['a negative label', '1 3 4\n-1 0:1\n', 'XC_TOKEN', 2, 1],
    ['a comma at the end', '1 3 4\n1, 0:1\n', 'XC_TOKEN', 2, 3],
    ['a label that is a word', '1 3 4\nabc 0:1\n', 'XC_TOKEN', 2, 1],
    ['labels glued to a feature', '1 3 4\n1,2:1\n', 'XC_TOKEN', 2, 3],
    ['a feature out of range', '2 3 4\n1 0:1\n1 2:1 3:1\n', 'XC_FEATURE_RANGE', 3, 7],
    ['a feature beyond all numbers', `1 3 4\n1 ${'9'.repeat(400)}:1\n`, 'XC_FEATURE_RANGE', 2, 3],
    ['a label out of range', '1 3 4\n3,4 0:1\n', 'XC_LABEL_RANGE', 2, 3],
    ['NaN', '1 3 4\n1 0:1 1:NaN\n', 'XC_NOT_FINITE', 2, 7],
    ['infinity', '1 3 4\n1 0:-inf\n', 'XC_NOT_FINITE', 2, 3],
    ['too large for float32', '1 3 4\n1 0:1e39\n', 'XC_NOT_FINITE', 2, 3],
    ['a feature twice', '1 3 4\n1 2:1 0:1 02:3\n', 'XC_FEATURE_REPEAT', 2, 11],
    ['a label twice', '1 3 4\n11,1,1 0:1\n'.replace('4', '40'), 'XC_LABEL_REPEAT', 2, 6],
    ['too many rows', '1 3 4\n1 0:1\n\n1 0:1\n', 'XC_ROWS', 4, undefined],
    ['too few rows', '3 3 4\n1 0:1\n', 'XC_ROWS', 3, undefined],
  ];
  it.each(cases)('%s', (_name, text, code, line, column) => {
    const facts = refusalOf(() => parse(text));
    expect([facts?.code, facts?.file, facts?.line, facts?.column]).toEqual([code, 'f.txt', line, column]);
  });

  it('in one sentence that says what came, what was expected and what to do', () => {
    expect(() => parse('1 3 4\n1 0:1 7:2\n')).toThrow(
      'f.txt:2:7: readXc: a feature is out of range; expected a feature below 3; received 7 [XC_FEATURE_RANGE]. ' +
        'Hint: features count from 0; the header says how many there are',
    );
    expect(() => parse('1 0:1')).toThrow(/XC_HEADER.*readXc\(path, \{ shape: \{ features, labels \} \}\)/);
    const shape = { features: 9, labels: 9 };
    expect(() => parse('1 3 4\n', { shape })).toThrow(/XC_TOKEN.*header line after all/);
  });

  it('a line longer than the limit, before it is all in memory', () => {
    const parser = new XcParser({ maxLineBytes: 100 });
    parser.push(Buffer.from('1 3 4\n'));
    const flood = () => {
      for (let i = 0; i < 100; i++) parser.push(Buffer.alloc(60, '1'));
    };
    expect(flood).toThrow(expect.objectContaining({ code: 'XC_LINE_LENGTH' }));
  });

  it('any damage of a file is read or refused by name, never anything else', () => {
    fc.assert(
      fc.property(arbitraryDataset(), fc.nat(), fc.nat(255), (dataset, at, byte) => {
        const bytes = Buffer.from([...xcLines(dataset)].join(''));
        bytes[at % bytes.length] = byte;
        try {
          parse(bytes);
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^XC_/) });
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('files', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'espalier-xc-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const dataset = parse('3 30 4\n0,3 1:0.5 29:-1\n 7:1e-20\n2\n');

  it.each(['x.txt', 'x.txt.gz'])('%s: written and read again', async (name) => {
    const path = join(directory, name);
    await writeXc(path, dataset);
    expect(rowRecords(await readXc(path))).toEqual(rowRecords(dataset));
    expect(await readdir(directory)).toEqual([name]);
  });

  it('larger than a chunk, plain and gzip, with progress to the end', async () => {
    const rows = 25_000;
    const line = `1,2 ${Array.from({ length: 20 }, (_, f) => `${f}:0.${f + 1}`).join(' ')}\n`;
    const text = `${rows} 30 4\n${line.repeat(rows)}`;
    expect(text.length).toBeGreaterThan(3 << 20);
    for (const bytes of [Buffer.from(text), gzipSync(text)]) {
      const path = join(directory, 'large');
      await writeFile(path, bytes);
      const seen: XcProgress[] = [];
      const large = await readXc(path, { onProgress: (progress) => seen.push(progress) });
      expect([large.rows, large.nnz, large.positives]).toEqual([rows, 20 * rows, 2 * rows]);
      expect(large.values[large.nnz - 1]).toBe(Math.fround(0.2));
      expect(seen.at(-1)).toEqual({ bytes: bytes.length, totalBytes: bytes.length, rows });
    }
  });

  it('gzip that is cut off or damaged, and files that are not there', async () => {
    const path = join(directory, 'x.gz');
    await writeXc(path, dataset);
    const good = await readFile(path);
    expect(gunzipSync(good).toString()).toContain('3 30 4');
    await writeFile(path, good.subarray(0, good.length - 9));
    await expect(readXc(path)).rejects.toThrow(/cut off.*COMPRESSION_DAMAGED/);
    good[good.length - 6] ^= 0xff;
    await writeFile(path, good);
    await expect(readXc(path)).rejects.toThrow(/damaged.*COMPRESSION_DAMAGED/);
    await expect(readXc(join(directory, 'none'))).rejects.toMatchObject({ code: 'FILE_MISSING' });
    await writeFile(path, '');
    await expect(readXc(path)).rejects.toMatchObject({ code: 'XC_EMPTY' });
  });

  it('a refusal in the middle of a large file closes it', async () => {
    const path = join(directory, 'x');
    await writeFile(path, `9 3 4\n1 0:1\n1 9:1\n${'1 0:1\n'.repeat(200_000)}`);
    await expect(readXc(path)).rejects.toMatchObject({ code: 'XC_FEATURE_RANGE' });
  });
});

const bibtex = '../shared/data/bibtex';

describe.skipIf(!existsSync(bibtex))('bibtex (skipped where ../shared/data/bibtex is absent)', () => {
  it('has its published shape, and reads the same after writing', async () => {
    const train = await readXc(`${bibtex}/train.txt`);
    const test = await readXc(`${bibtex}/test.txt`);
    expect([train.rows, test.rows, train.features, train.labels]).toEqual([4880, 2515, 1836, 159]);
    const again = parse([...xcLines(test)].join(''));
    expect(again.values).toEqual(test.values);
    expect(again.labelIds).toEqual(test.labelIds);
  });
});

describe('holdOut', () => {
  const dataset = parse(`10 10 10\n${Array.from({ length: 10 }, (_, i) => `${i} ${i}:1`).join('\n')}\n`);

  it('splits rows in two, the same way for a seed, in their order', () => {
    const { kept, heldOut } = holdOut(dataset, { share: 0.3, seed: 1 });
    expect([kept.rows, heldOut.rows]).toEqual([7, 3]);
    expect([...kept.labelIds, ...heldOut.labelIds].sort()).toEqual([...dataset.labelIds]);
    expect([...kept.labelIds]).toEqual([...kept.labelIds].sort());
    expect(holdOut(dataset, { share: 0.3, seed: 1 }).heldOut.labelIds).toEqual(heldOut.labelIds);
    const others = [2, 3, 4].map((seed) => [...holdOut(dataset, { share: 0.3, seed }).heldOut.labelIds]);
    expect(others.some((ids) => ids.join() !== [...heldOut.labelIds].join())).toBe(true);
  });

  it.each([0, 1, 0.01, -1, Number.NaN])('refuses a share of %d', (share) => {
    expect(() => holdOut(dataset, { share, seed: 1 })).toThrow(
      expect.objectContaining({ code: 'HOLD_OUT_SHARE' }),
    );
  });
});
