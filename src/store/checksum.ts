/** Files and their SHA-256: computed while writing, checked while reading, in pieces of bounded size. */
import { createHash } from 'node:crypto';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { EspalierError } from '../errors.js';
import { type FileContent, withFileErrors, writeFileAtomic } from '../files.js';

/** The one copy that data passes through on its way to or from a file. */
export const blockBytes = 1 << 20;

export interface WrittenFile {
  /** Without its directory. */
  readonly name: string;
  readonly bytes: number;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
}

/**
 * Writes a file as `writeFileAtomic` does and returns its size and checksum.
 *
 * Pieces may be of any size and may lie in shared memory: they pass through one plain buffer, so that a million
 * short lines are not a million writes and a tensor of many GiB is never copied whole.
 */
export async function writeChecked(path: string, content: FileContent): Promise<WrittenFile> {
  const hash = createHash('sha256');
  let bytes = 0;
  async function* blocks(): AsyncGenerator<Uint8Array> {
    const block = Buffer.allocUnsafeSlow(blockBytes);
    let used = 0;
    const take = () => {
      const full = block.subarray(0, used);
      hash.update(full);
      bytes += used;
      used = 0;
      return full;
    };
    const whole = typeof content === 'string' || content instanceof Uint8Array;
    for await (const piece of whole ? [content] : content) {
      const from = typeof piece === 'string' ? Buffer.from(piece, 'utf8') : piece;
      for (let at = 0; at < from.length; ) {
        const n = Math.min(from.length - at, blockBytes - used);
        block.set(from.subarray(at, at + n), used);
        used += n;
        at += n;
        // NOTE: the block is filled again as soon as this returns: the writer below awaits each write.
        if (used === blockBytes) yield take();
      }
    }
    if (used > 0) yield take();
  }
  await writeFileAtomic(path, blocks());
  return { name: basename(path), bytes, sha256: hash.digest('hex') };
}

/** Fills `buffer` from `position` on; returns the bytes read, fewer only at the end of the file. */
export async function readFully(handle: FileHandle, buffer: Uint8Array, position: number): Promise<number> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await handle.read(buffer, done, buffer.length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/** SHA-256 of a file, lower-case hexadecimal. */
export async function sha256OfFile(path: string): Promise<string> {
  return withFileErrors('sha256', path, async () => {
    const handle = await open(path, 'r');
    try {
      const hash = createHash('sha256');
      const block = Buffer.allocUnsafeSlow(blockBytes);
      for (let at = 0; ; ) {
        const n = await readFully(handle, block, at);
        hash.update(block.subarray(0, n));
        at += n;
        if (n < block.length) return hash.digest('hex');
      }
    } finally {
      await handle.close();
    }
  });
}

/** Refuses when a file of `directory` is missing, has another size, or (with `contents`) other bytes. */
export async function checkFiles(
  op: string,
  directory: string,
  files: Iterable<{ readonly name: string; readonly bytes?: number; readonly sha256: string }>,
  options: { readonly contents: boolean },
): Promise<void> {
  for (const { name, bytes, sha256 } of files) {
    const file = join(directory, name);
    const found = await withFileErrors(op, file, () => stat(file));
    if (bytes !== undefined && found.size !== bytes) {
      throw changed(op, file, `${bytes} bytes`, `${found.size} bytes`);
    }
    if (!options.contents) continue;
    const actual = await sha256OfFile(file);
    if (actual !== sha256) throw changed(op, file, `SHA-256 ${sha256}`, actual);
  }
}

function changed(op: string, file: string, expected: string, received: string): EspalierError {
  return new EspalierError({
    code: 'FILE_DAMAGED',
    kind: 'data',
    op,
    problem: 'the file is not the one that was saved',
    expected,
    received,
    hint: 'copy it again from its source, or fall back to an older save',
    file,
  });
}
