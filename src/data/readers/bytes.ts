/** The bytes of a file, decompressed where its first bytes say that it is gzip or zstd. */
import { type FileHandle, open } from 'node:fs/promises';
import { pipeline, Readable, type Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { EspalierError } from '../../errors.js';
import { withFileErrors } from '../../files.js';

export interface Piece {
  /** Good until the next piece is asked for. */
  readonly chunk: Uint8Array;
  /** Read so far from the file as stored. */
  readonly bytes: number;
  readonly totalBytes: number;
}

const CHUNK = 1 << 18;
/** Of a small file no more than it holds, and a byte to see its end; a pipe has no size. */
const chunkOf = (size: number): number => (size === 0 ? CHUNK : Math.min(CHUNK, Math.max(4096, size + 1)));

type Packing = 'gzip' | 'zstd';

/** Streams a file in chunks; throws `FILE_*`, `COMPRESSION_DAMAGED`, `COMPRESSION_UNKNOWN` with its path. */
export async function* readBytes(path: string): AsyncGenerator<Piece> {
  const handle = await withFileErrors('readBytes', path, () => open(path, 'r'));
  try {
    const totalBytes = (await handle.stat()).size;
    const magic = Buffer.alloc(6);
    await withFileErrors('readBytes', path, () => handle.read(magic, 0, 6, 0));
    const packing = packingOf(magic, path);
    const pieces = packing === null ? plain(handle, totalBytes) : unpacked(handle, totalBytes, packing, path);
    yield* pieces;
  } finally {
    await handle.close();
  }
}

function packingOf(magic: Buffer, path: string): Packing | null {
  const starts = (hex: string) => magic.toString('hex').startsWith(hex);
  if (starts('1f8b')) return 'gzip';
  if (starts('28b52ffd')) return 'zstd';
  const other = starts('425a68')
    ? 'bzip2'
    : starts('fd377a585a00')
      ? 'xz'
      : starts('fffe') || starts('feff')
        ? 'UTF-16'
        : null;
  if (other === null) return null;
  throw new EspalierError({
    code: 'COMPRESSION_UNKNOWN',
    kind: 'usage',
    op: 'readBytes',
    problem: `the file is ${other}, which is not read`,
    expected: 'plain UTF-8, gzip or zstd',
    hint:
      other === 'UTF-16' ? 'convert it: iconv -f UTF-16 -t UTF-8' : 'unpack it first, or pack it with gzip',
    file: path,
  });
}

/** Two buffers in turn: one is parsed while the other is read. */
async function* plain(handle: FileHandle, totalBytes: number): AsyncGenerator<Piece> {
  const room = chunkOf(totalBytes);
  let [current, next] = [new Uint8Array(room), new Uint8Array(room)];
  let bytes = 0;
  let reading = handle.read(current, 0, room, 0);
  try {
    for (;;) {
      const { bytesRead } = await reading;
      if (bytesRead === 0) return;
      bytes += bytesRead;
      reading = handle.read(next, 0, room, bytes);
      yield { chunk: current.subarray(0, bytesRead), bytes, totalBytes };
      [current, next] = [next, current];
    }
  } finally {
    // A refusal of the parser leaves a read under way: the file is closed after it.
    await reading.catch(() => {});
  }
}

async function* unpacked(
  handle: FileHandle,
  totalBytes: number,
  packing: Packing,
  path: string,
): AsyncGenerator<Piece> {
  const room = chunkOf(totalBytes);
  let bytes = 0;
  // NOTE: a read stream of the handle would close it when it is destroyed; unpacking needs a buffer per chunk.
  const file = Readable.from(
    (async function* () {
      for (;;) {
        const { bytesRead, buffer } = await handle.read(new Uint8Array(room), 0, room, bytes);
        if (bytesRead === 0) return;
        bytes += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    })(),
  );
  const unpack = unpacker(packing, path);
  const done = new Promise<void>((resolve) => pipeline(file, unpack, () => resolve()));
  try {
    for await (const chunk of unpack) yield { chunk, bytes, totalBytes };
  } catch (cause) {
    const code = String((cause as { code?: unknown }).code);
    if (!(cause instanceof Error && (code.startsWith('Z_') || code.startsWith('ZSTD_')))) throw cause;
    throw new EspalierError({
      code: 'COMPRESSION_DAMAGED',
      kind: 'data',
      op: 'readBytes',
      problem: /unexpected end/.test(cause.message)
        ? `the ${packing} file is cut off`
        : `the ${packing} file is damaged (${cause.message})`,
      hint: `copy or download the file again; \`${packing} -t\` checks it`,
      file: path,
      cause,
    });
  } finally {
    unpack.destroy();
    // A read may be under way: the file is closed after it.
    await done;
  }
}

function unpacker(packing: Packing, path: string): Transform {
  if (packing === 'gzip') return zlib.createGunzip({ chunkSize: CHUNK });
  const make = (zlib as { createZstdDecompress?: (options: object) => Transform }).createZstdDecompress;
  if (make !== undefined) return make({ chunkSize: CHUNK });
  throw new EspalierError({
    code: 'COMPRESSION_UNKNOWN',
    kind: 'system',
    op: 'readBytes',
    problem: `Node ${process.version} cannot unpack zstd`,
    expected: 'Node 22.15 or later',
    hint: 'run `zstd -d` on the file first, or use a newer Node',
    file: path,
  });
}
