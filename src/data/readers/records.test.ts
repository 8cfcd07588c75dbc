import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { parquetMetadata } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EspalierError } from '../../errors.js';
import { CsvSource, csvRecords } from './csv-source.js';
import { formatOf } from './index.js';
import { JsonLinesSource } from './json-lines-source.js';
import { ParquetSource } from './parquet-source.js';
import { decodeApart, patience } from './parquet-thread.js';
import { checkColumns, Notices, type RecordSource } from './record-source.js';

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-readers-'));
});
afterAll(() => rm(home, { recursive: true }));

let files = 0;
async function file(content: string | Uint8Array, ending = 'x'): Promise<string> {
  const path = join(home, `${files++}.${ending}`);
  await writeFile(path, content);
  return path;
}

async function all(source: RecordSource, columns?: readonly string[]) {
  const names = columns ?? (await source.columns());
  const rows: unknown[][] = [];
  const lines: number[] = [];
  for await (const batch of source.batches(names)) {
    rows.push(...batch.rows.map((row) => [...row]));
    lines.push(...Array.from(batch.lines));
  }
  return { names, rows, lines };
}

const code = (c: string, facts: object = {}) =>
  expect.objectContaining({ code: c, facts: expect.objectContaining(facts) });

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
    await expect(all(new CsvSource(join(home, 'nowhere'), new Notices()))).rejects.toEqual(
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

describe('Parquet', () => {
  const bytes = () =>
    new Uint8Array(
      parquetWriteBuffer({
        columnData: [
          { name: 'title', data: Array.from({ length: 9000 }, (_, i) => `title ${i} é`), type: 'STRING' },
          { name: 'n', data: Array.from({ length: 9000 }, (_, i) => BigInt(i)), type: 'INT64' },
        ],
        rowGroupSize: 5000,
      }),
    );

  it('reads rows of all groups in order', async () => {
    const source = new ParquetSource(await file(bytes()));
    expect(await source.columns()).toEqual(['title', 'n']);
    const { rows, lines } = await all(source, ['n', 'title']);
    expect([rows.length, lines[8999]]).toEqual([9000, 9000]);
    expect([rows[0], rows[5000], rows[8999]]).toEqual([
      [0n, 'title 0 é'],
      [5000n, 'title 5000 é'],
      [8999n, 'title 8999 é'],
    ]);
  });

  it('reads lists across the parts in which a large group is handed on', async () => {
    const tags = Array.from({ length: 20_000 }, (_, i) => [`a${i % 7}`, `b${i}`].slice(0, 1 + (i % 2)));
    const bytes = parquetWriteBuffer({
      columnData: [{ name: 'tags', data: tags }],
      rowGroupSize: 20_000,
      schema: [
        { name: 'root', num_children: 1 },
        { name: 'tags', converted_type: 'LIST', repetition_type: 'OPTIONAL', num_children: 1 },
        { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
        { name: 'element', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
      ],
    });
    const source = new ParquetSource(await file(new Uint8Array(bytes)));
    const sizes: number[] = [];
    for await (const { rows } of source.batches(['tags'])) sizes.push(rows.length);
    expect(sizes).toEqual([8192, 8192, 3616]);
    const { rows, lines } = await all(source);
    expect(rows).toEqual(tags.map((list) => [list]));
    expect([lines[0], lines[8192], lines[19_999]]).toEqual([1, 8193, 20_000]);
  });

  describe('that announces more than it holds is refused before room is made for it:', () => {
    /** Lists of lists, each announced with ten million elements: 80 MB apiece to a decoder that believes them. */
    const bomb = (depth: number) => [0x19, ...Array(depth).fill([0xf9, 0x80, 0xad, 0xe2, 0x04]).flat()];
    const peakOf = async (bad: Uint8Array) => {
      const before = process.memoryUsage().rss;
      const error = await all(new ParquetSource(await file(bad))).catch((e: unknown) => e);
      return { error, grown: process.memoryUsage().rss - before };
    };
    /** A file of one column of three numbers, with the place of its only page. */
    const numbers = () => {
      const bytes = new Uint8Array(
        parquetWriteBuffer({
          columnData: [{ name: 'n', data: [1, 2, 3], type: 'DOUBLE' }],
          codec: 'UNCOMPRESSED',
        }),
      );
      return { bytes, page: 4 };
    };

    it('lists within lists in the footer', async () => {
      const footer = bomb(40);
      const bad = Buffer.concat([
        Buffer.from('PAR1'),
        Buffer.from(footer),
        Buffer.from(Uint32Array.of(footer.length).buffer),
        Buffer.from('PAR1'),
      ]);
      const { error, grown } = await peakOf(bad);
      expect(error).toEqual(code('PARQUET_FILE'));
      expect(grown).toBeLessThan(2 ** 25);
    });

    it('lists within lists in the header of a page', async () => {
      const { bytes, page } = numbers();
      const bad = bytes.slice();
      bad.set(bomb(4).slice(0, 20), page);
      const { error, grown } = await peakOf(bad);
      expect(error).toEqual(code('PARQUET_FILE'));
      expect(grown).toBeLessThan(2 ** 25);
    });

    it('a page of more bytes or values than any writer makes', async () => {
      const { bytes, page } = numbers();
      const found = await all(new ParquetSource(await file(bytes)));
      expect(found.rows).toEqual([[1], [2], [3]]);
      // Field 2 of the header is the unpacked size: type byte, then a zigzag varint.
      const at = bytes.indexOf(0x15, page + 2);
      const longer = (from: number) =>
        Uint8Array.from([
          ...bytes.slice(0, from + 1),
          0xfe,
          0xff,
          0xff,
          0xff,
          0x0f,
          ...bytes.slice(from + 6),
        ]);
      const { error, grown } = await peakOf(longer(at));
      expect(error).toEqual(code('PARQUET_FILE'));
      expect((error as Error).message).toMatch(/a page of 2147483647 bytes unpacked/);
      expect(grown).toBeLessThan(2 ** 25);
    });
  });

  it('whose runs keep the decoder counting for ever is given up, and the next file is read', async () => {
    // As fuzzing found it: a run of some column has a count below zero.
    const endless = Buffer.from(
      [
        'UEFSMRUEFVQVQEwVDhUAAAAbKQD4j5Ss4Z0SQIAONmBsXsxSZKQ4oIQJK+xwwg3PARUGFRoVIlwVKBUAFSgVEBUEFQAAACgBCwWA',
        'AweIxhrRWCMaCwADFQYVxAIVlgFcFSgVABUoFQAVBBUAAAAoARufAFiOlKxboxRvn81mNhuG0dpLeSiFloWoK4r4gZrcvB3QR4Fx',
        'J2kwkVvRxY6JlbKVg1zNW7M/ln9DEUvogicYNdUshUqj3yAVBBVUFUBMFQ4VAAAAGykA+I+UrOGdEkCADTZgbF7MUmSkOKCECSvs',
        'cMINzwEVBhUaFSJcFSgVABUoFRAV/xUAAAAoAQsFgAMHiMYa0VgjGgsAAxUEGUxIBHJvb3QVBgAVDCUCGAF0JQAAFQolAhgBbgAV',
        'DCUCGAFsJQAAFigZHBk8JggcFQwZJQAQGRgBdBUIFigWsgEWpgEmYiYIHDYAKAJ0NhgCdDAAGSwVBBUAFQIAFQYVEBUCAAAAJq4B',
        'HBUKGRUAGRgBbhUIFigW8gIWxAEmrgE8NgAoCFVVVVVVVRlAGAgAAAAAAAAAgDYAABkcFQYVABUCAAAAJvICHBUMGSUAEBkYAWwV',
        'CBYoFrIBFqYBJswDJvICHDYAKAJsNhgCbDAAGSwVBBUAFQIAFQYVEBUCAAAAFtYFFig2kAQAKAloeXBhcnF1ZXQZPBwAABwAABwA',
        'AAADAQAAUEFSMQ==',
      ].join(''),
      'base64',
    );
    await expect(all(new ParquetSource(await file(new Uint8Array(endless))))).rejects.toMatchObject({
      code: 'PARQUET_FILE',
      message: expect.stringMatching(/cannot be decoded in a reasonable time/),
    });
    const { rows } = await all(new ParquetSource(await file(bytes())));
    expect(rows.length).toBe(9000);
  });

  it('is waited for by what is there, not by what it says', () => {
    const groups = { packed: 2 ** 26, unpacked: 2 ** 28, bytes: 2 ** 28 };
    const [ticks, honest] = [patience({ ...groups, values: 2 ** 17 }), 20 * 2 ** 8];
    expect(ticks).toBeGreaterThan(honest);
    // 500 bytes that speak of an exbibyte and as many rows as are decoded at once.
    const small = { packed: 500, unpacked: 2 ** 60, bytes: 2 ** 60, values: 3 * 2 ** 17 };
    expect(patience(small)).toBeLessThan(16);
  });

  it('whose few bytes become more than the decoder may hold is given up, and the process goes on', async () => {
    const rows = 3_000_000;
    const bytes = parquetWriteBuffer({
      columnData: [{ name: 'a', data: Array.from({ length: rows }, () => 'x'), type: 'STRING' }],
    });
    const task = {
      file: await file(new Uint8Array(bytes)),
      metadata: parquetMetadata(bytes),
      columns: ['a'],
      rowStart: 0,
    };
    // Told that it unpacks to less than a mebibyte, it gets the small heap.
    const said = { bytes: 2 ** 20 - 1, packed: 2 ** 20, unpacked: 2 ** 20, values: rows };
    await expect(decodeApart({ ...task, rowEnd: rows }, said)).rejects.toThrow(/unpack to too much/);
    const [[first]] = await decodeApart({ ...task, rowEnd: 1 }, said);
    expect(first).toBe('x');
  });

  it('a cut or flipped file gives rows or one error of ours, never a crash', async () => {
    const whole = bytes();
    const footer = whole.length - 600;
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: footer, max: whole.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        async (at, by, cut) => {
          const bad = cut ? whole.slice(0, at) : whole.slice();
          if (!cut) bad[at] ^= by;
          try {
            await all(new ParquetSource(await file(bad)));
          } catch (error) {
            expect(error).toEqual(code('PARQUET_FILE'));
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
