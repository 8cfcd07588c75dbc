import { gzipSync } from 'node:zlib';
import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EspalierError } from '../../errors.js';
import { CsvSource, csvRecords } from './csv-source.js';
import { formatOf } from './index.js';
import { JsonLinesSource } from './json-lines-source.js';
import { all, code, filesOfTests } from './reading.testing.js';
import { checkColumns, Notices } from './record-source.js';

const file = filesOfTests();

const cell = fc
  .array(fc.constantFrom('a', 'é', '日', ',', ';', '"', '\n', '\r\n', ' ', '🙂', '1'), { maxLength: 6 })
  .map((c) => c.join(''));
const quoted = (value: string) => (/[",\n\r;]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

describe('CSV', () => {
  it('reads what csv-parse reads, whatever is in the fields and wherever blocks end', async () => {
    const table = fc
      .integer({ min: 2, max: 4 })
      .chain((width) =>
        fc
          .array(fc.array(cell, { minLength: width, maxLength: width }), { maxLength: 8 })
          .map((rows) => [Array.from({ length: width }, (_, c) => `c${c}`), ...rows]),
      );
    await fc.assert(
      fc.asyncProperty(
        table,
        fc.constantFrom('\n', '\r\n'),
        fc.boolean(),
        fc.integer({ min: 1, max: 40 }),
        async (rows, end, last, blockBytes) => {
          const text = rows.map((row) => row.map(quoted).join(',')).join(end) + (last ? end : '');
          const oracle = parse(text, { record_delimiter: [end] }) as string[][];
          const { names, rows: found } = await all(
            new CsvSource(await file(text), new Notices(), { delimiter: ',', blockBytes }),
          );
          expect([names, ...found]).toEqual(oracle);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('knows the line of each row, line ends in fields included', async () => {
    const path = await file('a,b\n1,"x\ny"\n\n2,z\n');
    expect(await all(new CsvSource(path, new Notices()))).toEqual({
      names: ['a', 'b'],
      rows: [
        ['1', 'x\ny'],
        ['2', 'z'],
      ],
      lines: [2, 5],
    });
  });

  it('finds the delimiter in the header, skips a byte order mark, takes given columns and bare quotes', async () => {
    expect(await all(new CsvSource(await file('\ufeffa;b\n1,5;2\n'), new Notices()))).toMatchObject({
      names: ['a', 'b'],
      rows: [['1,5', '2']],
    });
    const bare = new CsvSource(await file('5" disk\tx\n"\ty\n'), new Notices(), {
      delimiter: '\t',
      quotes: false,
      columns: ['p', 'q'],
    });
    expect((await all(bare)).rows).toEqual([
      ['5" disk', 'x'],
      ['"', 'y'],
    ]);
  });

  it('any text gives rows or faults with a line, never a crash or a loop', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a', '"', ',', '\n', '\r', '"",'), { maxLength: 40 }),
        fc.boolean(),
        (parts, quotes) => {
          const text = parts.join('');
          const lines = text.split('\n').length;
          for (const record of csvRecords(text, 1, ',', quotes, 'f')) {
            const line = record instanceof EspalierError ? (record.facts.line as number) : record.line;
            expect(line).toBeGreaterThanOrEqual(1);
            expect(line).toBeLessThanOrEqual(lines);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it.each([
    ['a,b\n1,2\n1,2,3\n', 'CSV_FIELDS', 3, undefined],
    ['a,b\n1,x"y\n', 'CSV_QUOTE', 2, 4],
    ['a,b\n"1" x,2\n', 'CSV_QUOTE', 2, 4],
    ['a,b\n1,2\n3,"open\n5,6\n', 'CSV_QUOTE', 3, undefined],
  ])('names the place of a fault (%#)', async (text, what, line, column) => {
    const path = await file(text);
    await expect(all(new CsvSource(path, new Notices()))).rejects.toEqual(
      code(what, { file: path, line, ...(column === undefined ? {} : { column }) }),
    );
    const notices = new Notices(5);
    await all(new CsvSource(path, notices));
    expect(notices.all).toEqual([
      { what: expect.stringContaining('left out'), count: 1, first: { file: path, line, column } },
    ]);
  });

  it('refuses two columns of one name', async () => {
    await expect(new CsvSource(await file('a,a\n'), new Notices()).columns()).rejects.toEqual(
      code('CSV_HEADER'),
    );
  });
});

describe('JSON Lines', () => {
  it('gives back the members of objects, wherever blocks end, gzip or not', async () => {
    const object = fc.dictionary(
      fc.constantFrom('a', 'b', '__proto__', 'toString'),
      fc.jsonValue({ maxDepth: 1 }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(object, { maxLength: 12 }),
        fc.integer({ min: 1, max: 60 }),
        fc.boolean(),
        async (objects, blockBytes, gzip) => {
          const text = objects.map((o) => JSON.stringify(o)).join('\r\n\n');
          const path = await file(gzip ? gzipSync(text) : text);
          const { rows } = await all(new JsonLinesSource(path, new Notices(), { blockBytes }), [
            'a',
            'b',
            'toString',
          ]);
          const again = objects.map((o) => JSON.parse(JSON.stringify(o)) as Record<string, unknown>);
          expect(rows).toEqual(
            again.map((o) => ['a', 'b', 'toString'].map((k) => (Object.hasOwn(o, k) ? o[k] : undefined))),
          );
        },
      ),
      { numRuns: 100 },
    );
  });

  it('reaches into objects by dots', async () => {
    const source = new JsonLinesSource(await file('{"a":{"b":[1]},"a.c":2}\n'), new Notices());
    expect(await source.columns()).toEqual(['a', 'a.b', 'a.c']);
    expect((await all(source, ['a.b', 'a.c', 'a.b.c'])).rows).toEqual([[[1], 2, undefined]]);
  });

  it.each([
    ['{"a":1}\n{"a":\n', 2],
    ['{"a":1}\n\n[1]\n', 3],
    ['{"a":1}\n{"a":1}}\n', 2],
  ])('names the line of a fault (%#)', async (text, line) => {
    const path = await file(text);
    await expect(all(new JsonLinesSource(path, new Notices()), ['a'])).rejects.toEqual(
      code('JSON_LINES', { file: path, line }),
    );
  });

  it('reads broken UTF-8 as U+FFFD, counted with the place of the first', async () => {
    const head = Buffer.from('{"a":"fine"}\n{"a":"日é');
    const bytes = Buffer.concat([
      head,
      Buffer.from([0xc3, 0x28, 0xff]),
      Buffer.from('"}\n{"a":"'),
      Buffer.from([0x80]),
      Buffer.from('"}\n'),
    ]);
    const notices = new Notices();
    const path = await file(bytes);
    const { rows } = await all(new JsonLinesSource(path, notices), ['a']);
    expect(rows).toEqual([['fine'], ['日é\ufffd(\ufffd'], ['\ufffd']]);
    expect(notices.all).toEqual([
      { what: expect.stringContaining('UTF-8'), count: 2, first: { file: path, line: 2, column: 9 } },
    ]);
  });
});

describe('compressed and foreign files', () => {
  it('a truncated or damaged gzip file is one clear error, and so are other packings', async () => {
    const packed = gzipSync('{"a":1}\n'.repeat(5000));
    const cut = new JsonLinesSource(await file(packed.subarray(0, packed.length - 20)), new Notices());
    await expect(all(cut, ['a'])).rejects.toThrow(/cut off.*COMPRESSION_DAMAGED/);
    const bad = Buffer.from(packed);
    bad[packed.length - 6] ^= 1;
    await expect(all(new JsonLinesSource(await file(bad), new Notices()), ['a'])).rejects.toThrow(
      /COMPRESSION_DAMAGED/,
    );
    for (const magic of ['BZh91', '\xfd7zXZ\0', '\xff\xfea\0']) {
      const source = new CsvSource(await file(Buffer.from(magic, 'latin1')), new Notices());
      await expect(source.columns()).rejects.toEqual(code('COMPRESSION_UNKNOWN'));
    }
    await expect(all(new CsvSource(`${await file('')} that is not there`, new Notices()))).rejects.toEqual(
      code('FILE_MISSING'),
    );
  });

  it('names of files say the format, or the error says how to', () => {
    expect(['a.jsonl.gz', 'b.CSV', 'c.tsv.zst', 'd.parquet', 'e.txt', 'f.npz'].map(formatOf)).toEqual([
      'jsonl',
      'csv',
      'tsv',
      'parquet',
      'xc',
      'npz',
    ]);
    expect(() => formatOf('data.xlsx')).toThrow(/DATA_FORMAT.*--format/);
  });

  it('a column that is not there is answered with those that are', () => {
    expect(() => checkColumns('f', ['titel'], ['title', 'body'])).toThrow(
      /"title", "body".*did you mean "title"/,
    );
  });
});
