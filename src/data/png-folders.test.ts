import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createDeflate, deflateSync } from 'node:zlib';
import { encode } from 'fast-png';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readPngFolder, readPngFolders } from './png-folders.js';
import { crc32 } from './readers/zip.js';

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'espalier-png-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

interface Picture {
  readonly width?: number;
  readonly channels?: number;
  readonly depth?: 8 | 16;
  readonly data: readonly number[];
}

async function put(path: string, { width = 2, channels = 1, depth = 8, data }: Picture): Promise<void> {
  const height = data.length / channels / width;
  const pixels = depth === 16 ? Uint16Array.from(data) : Uint8Array.from(data);
  await mkdir(dirname(join(scratch, path)), { recursive: true });
  await writeFile(join(scratch, path), encode({ width, height, channels, depth, data: pixels }));
}

describe('readPngFolder', () => {
  it('reads grey images by class and file name, whatever else lies there', async () => {
    await put('grey/zebra/b.png', { data: [1, 2, 3, 4] });
    await put('grey/zebra/a.PNG', { data: [5, 6, 7, 8] });
    await put('grey/ant/x.png', { data: [0, 9, 255, 128] });
    await writeFile(join(scratch, 'grey/zebra/notes.txt'), 'none');
    await put('grey/.hidden/x.png', { data: [1, 1, 1, 1] });
    const set = await readPngFolder(join(scratch, 'grey'));
    expect(set).toMatchObject({ rows: 3, channels: 1, height: 2, width: 2, classes: 2 });
    expect(set.classNames).toEqual(['ant', 'zebra']);
    expect(Array.from(set.labels)).toEqual([0, 1, 1]);
    expect(Array.from(set.pixels)).toEqual([0, 9, 255, 128, 5, 6, 7, 8, 1, 2, 3, 4]);
  });

  it('takes colours plane by plane, drops transparency, and makes grey of them where asked', async () => {
    await put('colour/a/1.png', { channels: 3, data: [255, 0, 0, 0, 255, 0] });
    await put('colour/a/2.png', { channels: 4, data: [9, 8, 7, 0, 6, 5, 4, 255] });
    await put('colour/a/3.png', { channels: 2, data: [40, 0, 50, 255] });
    const set = await readPngFolder(join(scratch, 'colour'));
    expect(set).toMatchObject({ rows: 3, channels: 3, height: 1, width: 2 });
    expect(Array.from(set.pixels)).toEqual([
      ...[255, 0, 0, 255, 0, 0],
      ...[9, 6, 8, 5, 7, 4],
      ...[40, 50, 40, 50, 40, 50],
    ]);
    const grey = await readPngFolder(join(scratch, 'colour'), { channels: 1 });
    expect(Array.from(grey.pixels)).toEqual([76, 150, 8, 5, 40, 50]);
  });

  it('takes the upper byte of 16-bit samples', async () => {
    await put('deep/a/1.png', { depth: 16, data: [0xff12, 0x0134] });
    expect(Array.from((await readPngFolder(join(scratch, 'deep'))).pixels)).toEqual([255, 1]);
  });

  it('names the file that is of another size, or damaged, and the folder that holds nothing', async () => {
    await put('sizes/a/1.png', { data: [1, 2, 3, 4] });
    await put('sizes/a/2.png', { data: [1, 2] });
    await expect(readPngFolder(join(scratch, 'sizes'))).rejects.toThrow(/IMAGES_SHAPE/);
    await put('broken/a/1.png', { data: [1, 2, 3, 4] });
    const whole = encode({ width: 2, height: 1, channels: 1, data: Uint8Array.of(1, 2) });
    whole[whole.length - 20] ^= 0xff;
    await writeFile(join(scratch, 'broken/a/2.png'), whole);
    await expect(readPngFolder(join(scratch, 'broken'))).rejects.toThrow(/PNG_DAMAGED/);
    await writeFile(join(scratch, 'broken/a/2.png'), 'GIF89a');
    await expect(readPngFolder(join(scratch, 'broken'))).rejects.toThrow(/PNG_DAMAGED/);
    await mkdir(join(scratch, 'empty/a'), { recursive: true });
    await expect(readPngFolder(join(scratch, 'empty'))).rejects.toThrow(/IMAGES_MISSING/);
    await expect(readPngFolder(join(scratch, 'nowhere'))).rejects.toThrow(/FILE_/);
  });

  describe('an image that unpacks to more than it says is refused, or what it drags along left out:', () => {
    const chunk = (name: string, data: Uint8Array) => {
      const body = Buffer.concat([Buffer.from(name, 'latin1'), data]);
      const [length, crc] = [Buffer.alloc(4), Buffer.alloc(4)];
      length.writeUInt32BE(data.length);
      crc.writeUInt32BE(crc32(body));
      return Buffer.concat([length, body, crc]);
    };
    const header = (width: number, height: number, interlaced = 0) => {
      const data = Buffer.alloc(13);
      data.writeUInt32BE(width, 0);
      data.writeUInt32BE(height, 4);
      data.set([8, 0, 0, 0, interlaced], 8);
      return chunk('IHDR', data);
    };
    const gathered = async (stream: AsyncIterable<Buffer>) => {
      const parts: Buffer[] = [];
      for await (const part of stream) parts.push(part);
      return parts;
    };
    const begin = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
    const end = chunk('IEND', Buffer.alloc(0));
    /** 512 MiB of zeros in half a megabyte; never whole in memory. */
    const zeros = async () => {
      const deflate = createDeflate();
      const packed = (async () => Buffer.concat(await gathered(deflate)))();
      const block = Buffer.alloc(2 ** 20);
      for (let i = 0; i < 512; i++) if (!deflate.write(block)) await once(deflate, 'drain');
      deflate.end();
      return packed;
    };
    const read = async (name: string, parts: readonly Uint8Array[]) => {
      await mkdir(join(scratch, name, 'a'), { recursive: true });
      await writeFile(join(scratch, name, 'a', 'x.png'), Buffer.concat([begin, ...parts, end]));
      const before = process.resourceUsage().maxRSS;
      const found = await readPngFolder(join(scratch, name)).catch((e: unknown) => e);
      return { found, grown: 1024 * (process.resourceUsage().maxRSS - before) };
    };
    const damaged = expect.objectContaining({ code: 'PNG_DAMAGED' });
    const pixels = deflateSync(Uint8Array.of(0, 7));

    it('a colour profile', async () => {
      const profile = Buffer.concat([Buffer.from('icc\0\0', 'latin1'), await zeros()]);
      const { found, grown } = await read('profile', [
        header(1, 1),
        chunk('iCCP', profile),
        chunk('IDAT', pixels),
      ]);
      expect(found).toMatchObject({ rows: 1, pixels: Uint8Array.of(7) });
      expect(grown).toBeLessThan(2 ** 26);
    });

    it('pixels beyond those of the header', async () => {
      const bomb = await zeros();
      const { found, grown } = await read('bomb', [header(1, 1), chunk('IDAT', bomb)]);
      expect(found).toEqual(damaged);
      expect(grown).toBeLessThan(2 ** 26);
    });

    it.each([
      {
        name: 'four thousand million pixels a side',
        parts: [header(2 ** 32 - 1, 2 ** 32 - 1), chunk('IDAT', pixels)],
      },
      { name: 'too few bytes for so many pixels', parts: [header(9000, 9000), chunk('IDAT', pixels)] },
      { name: 'no pixels', parts: [header(0, 4), chunk('IDAT', pixels)] },
      { name: 'no header', parts: [chunk('IDAT', pixels)] },
      {
        name: 'a chunk longer than the file',
        parts: [header(1, 1), Buffer.from([255, 255, 255, 255, 73, 68, 65, 84])],
      },
    ])('$name', async ({ name, parts }) => {
      expect((await read(name.replaceAll(' ', '-'), parts)).found).toEqual(damaged);
    });
  });

  it('refuses more classes than a byte can number', async () => {
    for (let i = 0; i < 257; i++) await mkdir(join(scratch, `many/c${i}`), { recursive: true });
    await expect(readPngFolder(join(scratch, 'many'))).rejects.toThrow(/IMAGES_CLASSES/);
  });
});

describe('readPngFolders', () => {
  it('numbers the classes of test as those of train, also where some are missing', async () => {
    for (const name of ['a', 'b', 'c']) await put(`splits/train/${name}/1.png`, { data: [1, 2, 3, 4] });
    await put('splits/test/c/1.png', { data: [4, 3, 2, 1] });
    const { train, test, classNames } = await readPngFolders(join(scratch, 'splits'), { name: 'letters' });
    expect(classNames).toEqual(['a', 'b', 'c']);
    expect([train.name, test.name, test.classes]).toEqual(['letters/train', 'letters/test', 3]);
    expect(Array.from(test.labels)).toEqual([2]);
  });

  it('refuses a class that training does not know, and images of another size', async () => {
    await put('unknown/train/a/1.png', { data: [1, 2] });
    await put('unknown/test/b/1.png', { data: [1, 2] });
    await expect(readPngFolders(join(scratch, 'unknown'))).rejects.toThrow(/IMAGES_CLASSES/);
    await put('other/train/a/1.png', { data: [1, 2] });
    await put('other/test/a/1.png', { data: [1, 2, 3, 4] });
    await expect(readPngFolders(join(scratch, 'other'))).rejects.toThrow(/IMAGES_SHAPE/);
  });
});
