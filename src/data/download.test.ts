/** Nothing is downloaded here: files come from the data beside the project, or are made up. */
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { downloadable, downloadDataset } from './download.js';

const shared = '../shared/data';
let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'espalier-download-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

const never = async (url: string): Promise<Uint8Array> => {
  throw new Error(`asked for ${url}`);
};

describe('downloadDataset', () => {
  it.skipIf(!existsSync(shared))('has the true checksums: the files beside the project pass', async () => {
    for (const name of downloadable) {
      const seen: string[] = [];
      const onFile = (file: string, what: string) => seen.push(`${what} ${file}`);
      await downloadDataset(name, join(shared, name), { fetch: never, onFile });
      expect(seen.every((line) => line.startsWith('present'))).toBe(true);
      expect(seen).toHaveLength(name === 'tinyshakespeare' ? 1 : 4);
    }
  });

  it.skipIf(!existsSync(shared))(
    'writes what it fetches, gzipped or not, and only what is missing',
    async () => {
      const directory = join(scratch, 'mnist');
      const urls: string[] = [];
      const get = async (url: string) => {
        urls.push(url);
        const bytes = await readFile(join(shared, 'mnist', basename(url)));
        return url.includes('t10k-labels') ? gunzipSync(bytes) : bytes;
      };
      await downloadDataset('mnist', directory, { fetch: get });
      expect(await readdir(directory)).toHaveLength(4);
      expect(urls.every((url) => url.startsWith('https://'))).toBe(true);
      await writeFile(join(directory, 't10k-labels-idx1-ubyte.gz'), 'half a file');
      await downloadDataset('mnist', directory, { fetch: get });
      expect(urls).toHaveLength(5);
    },
  );

  it('writes nothing of a file with another checksum or length', async () => {
    const directory = join(scratch, 'bad');
    for (const bytes of [new Uint8Array(1_115_394), Uint8Array.of(1), Uint8Array.of(0x1f, 0x8b, 8)]) {
      const given = downloadDataset('tinyshakespeare', directory, { fetch: async () => bytes });
      await expect(given).rejects.toThrow(/DOWNLOAD_CHECKSUM/);
    }
    expect(await readdir(directory)).toEqual([]);
  });

  it('knows its datasets by name', async () => {
    await expect(downloadDataset('imagenet', scratch, { fetch: never })).rejects.toThrow(/DOWNLOAD_UNKNOWN/);
    await expect(downloadDataset('toString', scratch, { fetch: never })).rejects.toThrow(/DOWNLOAD_UNKNOWN/);
  });
});
