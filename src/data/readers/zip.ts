/**
 * ZIP archives (PKWARE APPNOTE 6.3.3), as far as NumPy writes them: stored or deflated entries, ZIP64. Sizes come
 * from the central directory, are held against the file, and what is unpacked is held against them.
 */
import type { FileHandle } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import { createInflateRaw } from 'node:zlib';
import { EspalierError } from '../../errors.js';

export interface ZipEntry {
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  readonly offset: number;
}

const END = 0x06054b50;
const END64 = 0x06064b50;
const END64_LOCATOR = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const LARGEST_DIRECTORY = 1 << 24;
const CHUNK = 1 << 18;
/** Deflate packs at most 258 bytes into two bits. */
const LARGEST_RATIO = 1032;

export class ZipReader {
  readonly entries: readonly ZipEntry[];
  readonly #handle: FileHandle;
  readonly #file: string;

  private constructor(handle: FileHandle, file: string, entries: readonly ZipEntry[]) {
    this.#handle = handle;
    this.#file = file;
    this.entries = entries;
  }

  /** Reads the directory of an archive; throws `ZIP_FILE` where it is none. */
  static async open(handle: FileHandle, file: string): Promise<ZipReader> {
    const { size } = await handle.stat();
    const tail = await readAt(handle, file, Math.max(0, size - 65_557), Math.min(size, 65_557));
    let at = tail.length - 22;
    while (at >= 0 && tail.readUInt32LE(at) !== END) at--;
    if (at < 0) throw damaged(file, 'no directory at its end: it is cut off, or no ZIP file');
    let count = tail.readUInt16LE(at + 10);
    let length = tail.readUInt32LE(at + 12);
    let offset = tail.readUInt32LE(at + 16);
    const locator = at - 20;
    if (locator >= 0 && tail.readUInt32LE(locator) === END64_LOCATOR) {
      const record = await readAt(handle, file, whole(tail, locator + 8, file), 56);
      if (record.readUInt32LE(0) !== END64) throw damaged(file, 'its ZIP64 record is not where it should be');
      count = whole(record, 32, file);
      length = whole(record, 40, file);
      offset = whole(record, 48, file);
    }
    if (length > LARGEST_DIRECTORY || offset + length > size)
      throw damaged(file, 'its directory does not fit the file');
    const directory = await readAt(handle, file, offset, length);
    const entries = parseDirectory(directory, count, file);
    for (const { name, packed, size: unpacked, offset: from, method } of entries) {
      if (
        from + packed > size ||
        (method === 0 && packed !== unpacked) ||
        unpacked > LARGEST_RATIO * packed + 64
      ) {
        throw damaged(file, `the sizes of ${JSON.stringify(name)} cannot be true`);
      }
    }
    return new ZipReader(handle, file, entries);
  }

  find(name: string): ZipEntry | undefined {
    return this.entries.find((entry) => entry.name === name);
  }

  /** The bytes of an entry, checked against its size and checksum. */
  async *read({ name, method, crc, packed, size, offset }: ZipEntry): AsyncGenerator<Uint8Array> {
    const local = await readAt(this.#handle, this.#file, offset, 30);
    if (local.readUInt32LE(0) !== LOCAL)
      throw damaged(this.#file, `${JSON.stringify(name)} is not where it should be`);
    const begin = offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
    let sum = 0;
    let length = 0;
    for await (const chunk of this.#unpacked(name, method, begin, packed)) {
      length += chunk.length;
      if (length > size) throw damaged(this.#file, `${JSON.stringify(name)} is longer than it says`);
      sum = crc32(chunk, sum);
      yield chunk;
    }
    if (length !== size) throw damaged(this.#file, `${JSON.stringify(name)} is shorter than it says`);
    if (sum !== crc) throw damaged(this.#file, `${JSON.stringify(name)} does not match its checksum`);
  }

  async *#unpacked(name: string, method: number, begin: number, packed: number): AsyncGenerator<Uint8Array> {
    if (method === 0) {
      yield* this.#packed(begin, packed);
      return;
    }
    if (method !== 8)
      throw damaged(this.#file, `${JSON.stringify(name)} is packed by method ${method}, not by deflate`);
    if (packed === 0) return;
    const stream = Readable.from(this.#packed(begin, packed));
    const inflate = createInflateRaw({ chunkSize: CHUNK });
    const done = new Promise<void>((resolve) => pipeline(stream, inflate, () => resolve()));
    try {
      for await (const chunk of inflate) yield chunk;
    } catch (cause) {
      if (!String((cause as { code?: unknown }).code).startsWith('Z_')) throw cause;
      throw damaged(this.#file, `${JSON.stringify(name)} cannot be unpacked`, cause);
    } finally {
      inflate.destroy();
      // A read may be under way: the file is closed after it.
      await done;
    }
  }

  async *#packed(begin: number, length: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < length; at += CHUNK) {
      yield await readAt(this.#handle, this.#file, begin + at, Math.min(CHUNK, length - at));
    }
  }
}

function parseDirectory(bytes: Buffer, count: number, file: string): ZipEntry[] {
  const entries: ZipEntry[] = [];
  let at = 0;
  for (let e = 0; e < count; e++) {
    if (at + 46 > bytes.length || bytes.readUInt32LE(at) !== CENTRAL)
      throw damaged(file, 'its directory is cut off');
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((o) => bytes.readUInt16LE(at + o));
    const end = at + 46 + nameLength + extraLength + commentLength;
    if (end > bytes.length) throw damaged(file, 'its directory is cut off');
    if ((bytes.readUInt16LE(at + 8) & 1) !== 0) throw damaged(file, 'it is encrypted');
    const name = bytes.toString('utf8', at + 46, at + 46 + nameLength);
    const extra = bytes.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
    const sizes = zip64(
      extra,
      [24, 20, 42].map((o) => bytes.readUInt32LE(at + o)),
      file,
    );
    if (entries.some((entry) => entry.name === name))
      throw damaged(file, `it holds ${JSON.stringify(name)} twice`);
    entries.push({
      name,
      method: bytes.readUInt16LE(at + 10),
      crc: bytes.readUInt32LE(at + 16),
      size: sizes[0],
      packed: sizes[1],
      offset: sizes[2],
    });
    if (entries.length > 64)
      throw damaged(file, 'it holds more than 64 entries, so it is no .npz of a sparse matrix');
    at = end;
  }
  return entries;
}

/** Numbers of 0xffffffff stand in the extra field of tag 1, as 64 bits, in order. */
function zip64(extra: Buffer, sizes: number[], file: string): number[] {
  if (!sizes.includes(0xffffffff)) return sizes;
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue;
    let from = at + 4;
    return sizes.map((size) => {
      if (size !== 0xffffffff) return size;
      if (from + 8 > extra.length) throw damaged(file, 'its ZIP64 sizes are cut off');
      from += 8;
      return whole(extra, from - 8, file);
    });
  }
  throw damaged(file, 'its ZIP64 sizes are missing');
}

function whole(bytes: Buffer, at: number, file: string): number {
  const value = bytes.readBigUInt64LE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged(file, 'a size in it cannot be true');
  return Number(value);
}

async function readAt(handle: FileHandle, file: string, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; ) {
    const { bytesRead } = await handle.read(bytes, at, length - at, position + at);
    if (bytesRead === 0) throw damaged(file, 'it is cut off');
    at += bytesRead;
  }
  return bytes;
}

function damaged(file: string, detail: string, cause?: unknown): EspalierError {
  return new EspalierError({
    code: 'ZIP_FILE',
    kind: 'data',
    op: 'readZip',
    problem: `the archive is damaged or of an unknown kind: ${detail}`,
    hint: 'write or copy the file again',
    file,
    cause,
  });
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = (c & 1) !== 0 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

/** CRC-32 of ISO 3309, continued from `before`. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let c = ~before;
  for (let i = 0; i < bytes.length; i++) c = CRC[(c ^ bytes[i]) & 0xff] ^ (c >>> 8);
  return ~c >>> 0;
}
