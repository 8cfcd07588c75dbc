/** A page unpacks to what was packed, and to no more than its header says. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { codecs } from './parquet-codecs.js';
import { ParquetSource } from './parquet-source.js';

/** A Zstandard frame of `n` blocks, each of `size` times the byte 7: RFC 8878, 3.1.1. */
function zstdRuns(n: number, size: number): Uint8Array {
  const block = (last: number) => {
    const head = (size << 3) | (1 << 1) | last;
    return [head & 255, (head >> 8) & 255, (head >> 16) & 255, 7];
  };
  const blocks = Array.from({ length: n }, (_, i) => block(i === n - 1 ? 1 : 0)).flat();
  return Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, ...blocks]);
}

const packed = {
  GZIP: (size: number) => gzipSync(Buffer.alloc(size, 7)),
  BROTLI: (size: number) => brotliCompressSync(Buffer.alloc(size, 7)),
  ZSTD: (size: number) => zstdRuns(size / 1000, 1000),
} as const;
let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-codecs-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

describe.each(Object.keys(packed) as (keyof typeof packed)[])('pages packed with %s', (codec) => {
  const unpack = codecs[codec] as NonNullable<(typeof codecs)[typeof codec]>;

  it('unpack to what they were', () => {
    expect(Buffer.from(unpack(packed[codec](5000), 5000)).equals(Buffer.alloc(5000, 7))).toBe(true);
  });

  it('unpack to no more than is said', () => {
    const page = packed[codec](200_000_000);
    const before = process.resourceUsage().maxRSS;
    let length = 0;
    try {
      length = unpack(page, 100).length;
    } catch {
      // As good.
    }
    expect(length).toBeLessThanOrEqual(100);
    expect(1024 * (process.resourceUsage().maxRSS - before)).toBeLessThan(2 ** 26);
  });
});

it.each(['GZIP', 'BROTLI'] as const)('a file packed with %s is read', async (codec) => {
  const compress = codec === 'GZIP' ? gzipSync : brotliCompressSync;
  const file = join(home, `${codec}.parquet`);
  const title = Array.from({ length: 3000 }, (_, i) => `title ${i}`);
  const bytes = parquetWriteBuffer({
    columnData: [{ name: 'title', data: title, type: 'STRING' }],
    codec,
    compressors: { [codec]: (input: Uint8Array) => compress(input) },
  });
  await writeFile(file, new Uint8Array(bytes));
  const rows: unknown[] = [];
  for await (const batch of new ParquetSource(file).batches(['title'])) rows.push(...batch.rows);
  expect(rows).toEqual(title.map((one) => [one]));
});
