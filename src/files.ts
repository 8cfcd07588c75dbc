/**
 * Files that are never half there: written aside, flushed to the disk, then renamed into place.
 */
import { randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { EspalierError } from './errors.js';

export type Bytes = Uint8Array | string;
export type FileContent = Bytes | Iterable<Bytes> | AsyncIterable<Bytes>;

const REMEDIES: Record<string, { code: string; problem: string; hint: string }> = {
  ENOSPC: {
    code: 'FILE_DISK_FULL',
    problem: 'no space is left on the disk',
    hint: 'free some space or choose a path on another disk; what was there before is untouched',
  },
  EDQUOT: {
    code: 'FILE_DISK_FULL',
    problem: 'the disk quota is used up',
    hint: 'free some space or choose a path on another disk; what was there before is untouched',
  },
  EFBIG: {
    code: 'FILE_TOO_BIG',
    problem: 'the file would exceed the size limit of the file system or of this process',
    hint: 'raise the limit (`ulimit -f`) or choose another file system',
  },
  EACCES: {
    code: 'FILE_ACCESS',
    problem: 'permission denied',
    hint: 'check the owner and the mode of the path and of the directories above it',
  },
  EPERM: {
    code: 'FILE_ACCESS',
    problem: 'the operation is not permitted',
    hint: 'check the owner, the mode and the attributes of the path',
  },
  EROFS: {
    code: 'FILE_READ_ONLY',
    problem: 'the file system is read-only',
    hint: 'choose a path on a writable disk',
  },
  ENOENT: {
    code: 'FILE_MISSING',
    problem: 'no such file or directory',
    hint: 'check the path for a typo; relative paths start at the current directory',
  },
  ENOTDIR: {
    code: 'FILE_NOT_DIRECTORY',
    problem: 'a part of the path is a file, not a directory',
    hint: 'choose another path',
  },
  EISDIR: {
    code: 'FILE_IS_DIRECTORY',
    problem: 'the path is a directory, not a file',
    hint: 'name a file',
  },
  EMFILE: {
    code: 'FILE_TOO_MANY_OPEN',
    problem: 'this process has too many open files',
    hint: 'raise the limit (`ulimit -n`)',
  },
};

/** The error of the operating system `cause` as an `EspalierError` of kind `system` with a remedy. */
export function fileError(op: string, path: string, cause: unknown): EspalierError {
  if (cause instanceof EspalierError) return cause;
  const errno = typeof cause === 'object' && cause !== null ? (cause as { code?: unknown }).code : undefined;
  const known = typeof errno === 'string' ? REMEDIES[errno] : undefined;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new EspalierError({
    code: known?.code ?? 'FILE_SYSTEM',
    kind: 'system',
    op,
    problem: known?.problem ?? 'the operating system refused',
    received: message,
    hint: known?.hint,
    file: path,
    cause,
  });
}

/** Runs `work`, wording any error of the operating system for `path`; other errors pass unchanged. */
export async function withFileErrors<T>(op: string, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof EspalierError || !isSystemError(error)) throw error;
    throw fileError(op, path, error);
  }
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'errno' in error && 'syscall' in error;
}

/**
 * Makes a directory and those above it.
 *
 * NOTE: where the file system is read-only, Node's own way says that there is no such directory. The plain call says why.
 */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
    let [missing, parent] = [path, dirname(path)];
    while (parent !== missing && (await stat(parent).catch(() => null)) === null)
      [missing, parent] = [parent, dirname(parent)];
    await mkdir(missing);
    await mkdir(path, { recursive: true });
  }
}

/**
 * Writes a file so that `path` holds either all of the new content or what it held before.
 *
 * The directory of `path` is made when missing. Any failure, of the disk or of an iterable `content`, removes
 * the temporary file and rethrows: system errors as `EspalierError` of kind `system`.
 *
 * @example await writeFileAtomic('runs/a/config.json', JSON.stringify(config));
 */
export async function writeFileAtomic(path: string, content: FileContent): Promise<void> {
  const op = 'writeFileAtomic';
  await withFileErrors(op, path, async () => {
    await makeDirectory(dirname(path));
    const temporary = temporaryBeside(path);
    try {
      const handle = await open(temporary, 'wx');
      try {
        for await (const piece of pieces(content)) await writeAll(handle, piece);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      throw error;
    }
    await syncDirectory(dirname(path));
  });
}

/**
 * Builds a directory aside with `fill(temporary)` and swaps it in for `path`: a reader finds the old directory
 * or the whole new one.
 *
 * NOTE: a directory that is not empty cannot be replaced by one rename. Between the two renames used here the
 * path is absent for an instant; a crash exactly then leaves the old directory beside it as `.<name>.old-*`.
 * Where readers must never miss, keep immutable directories and a pointer file written by `writeFileAtomic`.
 */
export async function replaceDirectoryAtomic(
  path: string,
  fill: (temporary: string) => Promise<void>,
): Promise<void> {
  const op = 'replaceDirectoryAtomic';
  await withFileErrors(op, path, async () => {
    const parent = dirname(path);
    await makeDirectory(parent);
    const temporary = temporaryBeside(path);
    const old = temporaryBeside(path, 'old');
    try {
      await mkdir(temporary);
      await fill(temporary);
      await syncTree(temporary);
      const replaced = await moveIfThere(path, old);
      try {
        await rename(temporary, path);
      } catch (error) {
        if (replaced) await rename(old, path);
        throw error;
      }
    } catch (error) {
      await rm(temporary, { recursive: true, force: true }).catch(() => {});
      throw error;
    }
    await syncDirectory(parent);
    await rm(old, { recursive: true, force: true });
  });
}

/** Flushes the entries of a directory to the disk, so that a rename in it survives a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    // Windows cannot open directories; its renames need no flush.
    if (process.platform === 'win32') return;
    throw error;
  }
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncTree(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) await syncTree(child);
    else if (entry.isFile()) await syncFile(child);
  }
  await syncDirectory(path);
}

async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function moveIfThere(from: string, to: string): Promise<boolean> {
  try {
    await stat(from);
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return false;
    throw error;
  }
  await rename(from, to);
  return true;
}

function temporaryBeside(path: string, what = 'tmp'): string {
  return join(dirname(path), `.${basename(path)}.${what}-${process.pid}-${randomBytes(4).toString('hex')}`);
}

function pieces(content: FileContent): Iterable<Bytes> | AsyncIterable<Bytes> {
  return typeof content === 'string' || content instanceof Uint8Array ? [content] : content;
}

// One write call takes at most 2^31 - 1 bytes on Linux, and may take fewer than asked.
const LARGEST_WRITE = 1 << 26;

async function writeAll(handle: FileHandle, piece: Bytes): Promise<void> {
  const bytes = typeof piece === 'string' ? Buffer.from(piece, 'utf8') : piece;
  let at = 0;
  while (at < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, at, Math.min(LARGEST_WRITE, bytes.length - at));
    at += bytesWritten;
  }
}
