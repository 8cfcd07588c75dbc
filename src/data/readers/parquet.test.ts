/** Parquet: what writers write, and damaged or hostile files, which cost no more than they hold. */
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { parquetMetadata } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { describe, expect, it } from 'vitest';
import { ParquetSource } from './parquet-source.js';
import { decodeApart, patience } from './parquet-thread.js';
import { all, code, filesOfTests } from './reading.testing.js';

const file = filesOfTests();
/** A file that fuzzing found. */
const kept = (...lines: string[]) => new Uint8Array(Buffer.from(lines.join(''), 'base64'));

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

  it('reads columns of long texts, whose least and largest values the footer has in part', async () => {
    const texts = Array.from({ length: 300 }, (_, i) =>
      i % 100 === 0 ? 'a' : `a text that is longer than its statistics, ${i}`,
    );
    const long = parquetWriteBuffer({
      columnData: [{ name: 'a', data: texts, type: 'STRING' }],
      rowGroupSize: 100,
    });
    const { statistics } = parquetMetadata(long).row_groups[0].columns[0].meta_data ?? {};
    // One of the two flags alone: of both, a reader that is a byte off passes over the second.
    expect(statistics).toMatchObject({ is_max_value_exact: false });
    expect(statistics?.is_min_value_exact).toBeUndefined();
    expect((await all(new ParquetSource(await file(new Uint8Array(long))))).rows).toEqual(
      texts.map((one) => [one]),
    );
  });

  it('reads what other libraries write, value by value', async () => {
    const folder = new URL('../../../fixtures/parquet/', import.meta.url);
    const columns = ['id', 'title', 'body', 'price', 'ok', 'tags'];
    const lines = (await readFile(new URL('rows.jsonl', folder), 'utf8')).trim().split('\n');
    const wanted = lines.map((line) => JSON.parse(line)).map((row) => columns.map((column) => row[column]));
    const files = (await readdir(folder)).filter((name) => name.endsWith('.parquet'));
    expect(files.length).toBeGreaterThan(4);
    for (const name of files) {
      const { rows } = await all(new ParquetSource(fileURLToPath(new URL(name, folder))), columns);
      const plain = (value: unknown) => (typeof value === 'bigint' ? Number(value) : (value ?? null));
      expect(
        rows.map((row) => row.map(plain)),
        name,
      ).toEqual(wanted);
    }
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

  it('whose runs are longer than its pages is refused before the decoder counts them', async () => {
    // As fuzzing found them: levels of a length below zero, and a run of 27 million of 20 values.
    const negative = kept(
      'UEFSMRUEFVQVQEwVDhUAAAAbKQD4j5Ss4Z0SQIAONmBsXsxSZKQ4oIQJK+xwwg3PARUGFRoVIlwVKBUAFSgVEBUEFQAAACgBCwWA',
      'AweIxhrRWCMaCwADFQYVxAIVlgFcFSgVABUoFQAVBBUAAAAoARufAFiOlKxboxRvn81mNhuG0dpLeSiFloWoK4r4gZrcvB3QR4Fx',
      'J2kwkVvRxY6JlbKVg1zNW7M/ln9DEUvogicYNdUshUqj3yAVBBVUFUBMFQ4VAAAAGykA+I+UrOGdEkCADTZgbF7MUmSkOKCECSvs',
      'cMINzwEVBhUaFSJcFSgVABUoFRAV/xUAAAAoAQsFgAMHiMYa0VgjGgsAAxUEGUxIBHJvb3QVBgAVDCUCGAF0JQAAFQolAhgBbgAV',
      'DCUCGAFsJQAAFigZHBk8JggcFQwZJQAQGRgBdBUIFigWsgEWpgEmYiYIHDYAKAJ0NhgCdDAAGSwVBBUAFQIAFQYVEBUCAAAAJq4B',
      'HBUKGRUAGRgBbhUIFigW8gIWxAEmrgE8NgAoCFVVVVVVVRlAGAgAAAAAAAAAgDYAABkcFQYVABUCAAAAJvICHBUMGSUAEBkYAWwV',
      'CBYoFrIBFqYBJswDJvICHDYAKAJsNhgCbDAAGSwVBBUAFQIAFQYVEBUCAAAAFtYFFig2kAQAKAloeXBhcnF1ZXQZPBwAABwAABwA',
      'AAADAQAAUEFSMQ==',
    );
    await expect(all(new ParquetSource(await file(negative)))).rejects.toMatchObject({
      code: 'PARQUET_FILE',
      message: expect.stringMatching(/levels of less than no bytes/),
    });
    const long = kept(
      'UEFSMRUEFVQVVEwVDhUAAAACAAAAdDACAAAAdDECAAAAdDICAAAAdDMCAAAAdDQCAAAAdDUCAAAAdDYVBhUaFRpcFSgVABUoFRAVBBUA',
      'AAAoAQOAiMYa0VgjGgsAFQYVxAIVxAJcFSgVABUoFQAVBBUAAAAoAQAAAAAAAAAAVVVVVVVV1T9VVVVVVVXlPwAAAAAAAPA/VVVVVVVV',
      '9T+rqqqqqqr6PwAAAAAAAABAq6qqqqqqAkBVVVVVVVUFQAAAAAAAAAhAq6qqqqqqCkBVVVVVVVUNQAAAAAAAABBAVVVVVVVVEUCrqqqq',
      'qqoSQAAAAAAAABRAVVVVVVVVFUCrqqqqqqoWQAAAAAAAABhAVVVVVVVVGUAVBBVUFVRMFQ4VAAAAAgAAAGwwAgAAAGwxAgAAAGwyAgAA',
      'AGwzAgAAAGw0AgAAAGw1AgAAAGw2FQYVGhUaXBUoFQAVKBUQFQQVAAAAKAEDB4jGGtFYIxoLABUEGUxIBHJvb3QVBgAVDCUCGAF0JQAA',
      'FQolAhgBbgAVDCUCGAFsJQAAFigZHBk8JggcFQwZJQAQGRgBdBUAFigWsgEWsgEmdiYIHDYAKAJ0NhgCdDAAGSwVBBUAFQIAFQYVEBUC',
      'AAAAJroBHBUKGRUAGRgBbhUAFigW8gIW8gImugE8NgAoCFVVVVVVVRlAGAgAAAAAAAAAgDYAABkcFQYVABUCAAAAJqwEHBUMGSUAEBkY',
      'AWwVABYoFrIBFrIBJpoFJqwEHDYAKAJsNhgCbDAAGSwVBBUAFQIAFQYVEBUCAAAAFsYFFig21gUAKAloeXBhcnF1ZXQZPBwAABwAABwA',
      'AAADAQAAUEFSMQ==',
    );
    await expect(all(new ParquetSource(await file(long)))).rejects.toMatchObject({
      code: 'PARQUET_FILE',
      message: expect.stringMatching(/a run of 27836928 values where 20 are left/),
    });
    const nowhere = kept(
      'UEFSMRUEFVQVSkwVDhUAAAAqGAIAAAB0MAIBBgAxBQYAMgUGADMFBjA0AgAAAHQ1AgAAAHQ2FQYVGhUeXBUoFQAVKBUQFQQVAAAAKAEL',
      'KAMHiMYa0VgjGgsAFQYVxAIVzgFcFSgVABUoFQAVBBUAAAAoAaABAAANAQBVBQEE1QAAAIBV5T8JFwDwDRAM9T+rqgEBAPoNGAgAQKsB',
      'DwiqAkAJMAgFQAAFAQAIDRgACg0YAA0NGAAQDRAAEQ0gABINGAAUDRgAFQ0YABYNGCQYQFVVVVVVVRlAFQQVVBVITBUOFQAAACoUAgAA',
      'AGwwBQYAMQUGADIFBgAzBQYwNAIAAABsNQIAAABsNhUGFRoVHlwVKBUAUEFSMRUEFQAAACgBCygDB4jGGtFYIxoLABUEGUxIBHJvb3QV',
      'BgAVDCUCGAF0JQAAFQolAhgBbgAVDCUCGAFsJQAAFigZHBk8JggcFQwZJQAQGRgBdBUCFigWsgEWrAEmbCYIHDYAKAJ0NhgCdDAAGSwV',
      'BBUAFQIAFQYVEBUCAAAAJrQBHBUKGRUAGRgBbhUCFigW8gIW/AEmtAE8NgAoCFVVVVVVVRlAGAgAAAAAAAAAgDYAABkcFQYVABUCAAAA',
      'JrADHBUMGSUAEBkYAWwVAhYoFrIBFqoBJpIEJrADHDYAKAJsNhgCbDAAGSwVBBUAFQIAFQYVEBUCAAAAFtYFFig20gQAKAloeXBhcnF1',
      'ZXQZPBwAABwAABwAAAADAQAAUEFSMQ==',
    );
    await expect(all(new ParquetSource(await file(nowhere)))).rejects.toMatchObject({
      code: 'PARQUET_FILE',
      message: expect.stringMatching(/a page whose header has no field 8.4/),
    });
  });

  it('that keeps the decoder counting for ever is given up, and the next file is read', async () => {
    // Blocks of -16 numbers, each of one bit: a block ends where it began, two bytes before its numbers.
    const data = Int32Array.from({ length: 1000 }, (_, i) => (i * 7919) % 9973);
    const endless = new Uint8Array(
      parquetWriteBuffer({
        columnData: [
          {
            name: 'n',
            data,
            type: 'INT32',
            nullable: false,
            encoding: 'DELTA_BINARY_PACKED',
            codec: 'UNCOMPRESSED',
          },
        ],
      }),
    );
    expect((await all(new ParquetSource(await file(endless)))).rows.length).toBe(1000);
    const begin = Buffer.from(endless).indexOf(Buffer.from([0x80, 0x01, 4, 0xe8, 0x07]));
    expect(begin).toBeGreaterThan(0);
    endless.set([0xf0, 0xff, 0xff, 0xff, 0x0f, 1, 0xe8, 0x07, 0, 0, 1], begin);
    await expect(all(new ParquetSource(await file(endless)))).rejects.toMatchObject({
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
