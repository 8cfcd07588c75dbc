import { writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileError, replaceDirectoryAtomic, writeFileAtomic } from './files.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'espalier-files-'));
});
afterEach(() => rm(directory, { recursive: true }));

async function* broken() {
  yield 'half of ';
  throw new Error('the source broke');
}

describe('writeFileAtomic', () => {
  it('writes strings, bytes and iterables of both, in directories that it makes', async () => {
    const path = join(directory, 'a/b/file');
    const contents = ['ü', new TextEncoder().encode('ü'), [new Uint8Array([0xc3]), new Uint8Array([0xbc])]];
    for (const content of contents) {
      await writeFileAtomic(path, content);
      expect(await readFile(path, 'utf8')).toBe('ü');
    }
  });

  it('leaves the old file and nothing else when the content breaks off', async () => {
    const path = join(directory, 'file');
    await writeFile(path, 'old');
    await expect(writeFileAtomic(path, broken())).rejects.toThrow('the source broke');
    expect(await readFile(path, 'utf8')).toBe('old');
    expect(await readdir(directory)).toEqual(['file']);
  });

  it('words what the system refuses, and leaves nothing behind', async () => {
    await writeFile(join(directory, 'file'), '');
    await expect(writeFileAtomic(join(directory, 'file/below'), 'x')).rejects.toMatchObject({
      code: expect.stringMatching(/^FILE_/),
      facts: { kind: 'system' },
    });
    await mkdir(join(directory, 'full'));
    await expect(writeFileAtomic(join(directory, 'full'), 'x')).rejects.toMatchObject({
      code: 'FILE_IS_DIRECTORY',
    });
    expect((await readdir(directory)).sort()).toEqual(['file', 'full']);
  });
});

describe('replaceDirectoryAtomic', () => {
  it('replaces a directory that is not empty, whole', async () => {
    const path = join(directory, 'd');
    await replaceDirectoryAtomic(path, (t) => writeFile(join(t, 'one'), '1'));
    await replaceDirectoryAtomic(path, async (t) => {
      await mkdir(join(t, 'sub'));
      await writeFile(join(t, 'sub/two'), '2');
      expect(await readdir(path)).toEqual(['one']);
    });
    expect(await readdir(path)).toEqual(['sub']);
    expect(await readdir(directory)).toEqual(['d']);
  });

  it('keeps the old directory and removes the new one when filling fails', async () => {
    const path = join(directory, 'd');
    await replaceDirectoryAtomic(path, (t) => writeFile(join(t, 'one'), '1'));
    const failing = replaceDirectoryAtomic(path, async (t) => {
      await writeFile(join(t, 'two'), '2');
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await readdir(path)).toEqual(['one']);
    expect(await readdir(directory)).toEqual(['d']);
  });
});

describe('fileError', () => {
  it.runIf(process.platform === 'linux')('says what to do about a full disk', () => {
    let full: unknown;
    try {
      writeFileSync('/dev/full', 'x');
    } catch (error) {
      full = error;
    }
    const error = fileError('save', 'model.bin', full);
    expect(error.facts).toMatchObject({ code: 'FILE_DISK_FULL', kind: 'system', cause: full });
    expect(error.message).toMatch(/model\.bin: save: no space is left on the disk.*Hint: free some space/);
  });

  it.each([
    ['EACCES', 'FILE_ACCESS'],
    ['EROFS', 'FILE_READ_ONLY'],
    ['ENOENT', 'FILE_MISSING'],
    ['EDQUOT', 'FILE_DISK_FULL'],
    ['EWEIRD', 'FILE_SYSTEM'],
  ])('maps %s to %s', (errno, code) => {
    expect(fileError('op', 'p', Object.assign(new Error('m'), { code: errno })).code).toBe(code);
  });
});
