/**
 * One dataset in one binary file, little-endian:
 *
 *   0  magic `ESPALCSR`    8  version u32 (1)    12  header bytes u32 (96)
 *  16  rows u64   24  features u64   32  labels u64   40  nnz u64   48  positives u64   56  zero u64
 *  64  SHA-256 of bytes 0..64 and of everything after the header
 *  96  row sizes u32[rows], indices u32[nnz], values f32[nnz], label row sizes u32[rows], label ids u32[positives]
 *
 * Sizes are compared with the length of the file before anything is allocated.
 */
import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { endianness } from 'node:os';
import { EspalierError } from '../errors.js';
import { withFileErrors, writeFileAtomic } from '../files.js';
import type { DatasetNames } from './builder.js';
import { CsrDataset, LARGEST_COUNT } from './dataset.js';

const MAGIC = Buffer.from('ESPALCSR', 'latin1');
const VERSION = 1;
const HEADER = 96;
export const SIGNED = 64;
/** Bytes read or hashed at once: other work of the process runs in between. */
const STEP = 1 << 23;

type Numbers = Uint32Array | Float32Array;

export interface DatasetCounts {
  readonly rows: number;
  readonly features: number;
  readonly labels: number;
  readonly nnz: number;
  readonly positives: number;
}

/** The header of a file but for its digest, which covers the first `SIGNED` bytes and goes behind them. */
export function datasetHeader(path: string, counts: DatasetCounts): Buffer {
  refuseBigEndian(path);
  const head = Buffer.alloc(HEADER);
  MAGIC.copy(head);
  head.writeUInt32LE(VERSION, 8);
  head.writeUInt32LE(HEADER, 12);
  const { rows, features, labels, nnz, positives } = counts;
  [rows, features, labels, nnz, positives].forEach((value, i) => {
    head.writeBigUInt64LE(BigInt(value), 16 + 8 * i);
  });
  return head;
}

/** Writes a dataset without its names; returns the hex digest that the file carries. */
export async function writeDatasetFile(path: string, dataset: CsrDataset): Promise<string> {
  const { digest, content } = datasetContent(path, dataset);
  await writeFileAtomic(path, content);
  return digest;
}

/** The bytes of such a file; `path` is for errors. */
export function datasetContent(
  path: string,
  dataset: CsrDataset,
): { readonly digest: string; readonly content: Iterable<Uint8Array> } {
  const head = datasetHeader(path, dataset);
  const hash = createHash('sha256').update(head.subarray(0, SIGNED));
  for (const piece of payload(dataset)) hash.update(piece);
  const digest = hash.digest();
  digest.copy(head, SIGNED);
  return { digest: digest.toString('hex'), content: withHead(head, payload(dataset)) };
}

/** Reads a dataset file; `digest`, when given, must be the one that `writeDatasetFile` returned. */
export async function readDatasetFile(
  path: string,
  names: DatasetNames = {},
  digest?: string,
): Promise<CsrDataset> {
  refuseBigEndian(path);
  return withFileErrors('readDatasetFile', path, async () => {
    const handle = await open(path, 'r');
    try {
      return await readFrom(handle, path, names, digest);
    } finally {
      await handle.close();
    }
  });
}

async function readFrom(
  handle: FileHandle,
  path: string,
  names: DatasetNames,
  digest: string | undefined,
): Promise<CsrDataset> {
  const { size } = await handle.stat();
  const head = Buffer.alloc(HEADER);
  const { bytesRead } = await handle.read(head, 0, HEADER, 0);
  if (bytesRead < HEADER || !head.subarray(0, 8).equals(MAGIC)) {
    throw damaged(
      path,
      'DATASET_FILE_MAGIC',
      'not a dataset file of espalier',
      'a file that begins with ESPALCSR',
    );
  }
  const version = head.readUInt32LE(8);
  if (version !== VERSION) {
    throw damaged(
      path,
      'DATASET_FILE_VERSION',
      'unknown version',
      `version ${VERSION}`,
      `version ${version}`,
    );
  }
  const [rows, features, labels, nnz, positives] = Array.from({ length: 5 }, (_, i) =>
    Number(head.readBigUInt64LE(16 + 8 * i)),
  );
  const wanted = HEADER + 8 * rows + 8 * nnz + 4 * positives;
  if (wanted !== size || Math.max(rows, features, labels) > LARGEST_COUNT) {
    const problem = size < wanted ? 'the file is cut off' : 'the header and the length of the file disagree';
    throw damaged(path, 'DATASET_FILE_LENGTH', problem, `${wanted} bytes`, `${size} bytes`);
  }
  const reader = new SectionReader(path, handle, createHash('sha256').update(head.subarray(0, SIGNED)));
  const sizes = await reader.read(new Uint32Array(rows));
  const indices = await reader.read(new Uint32Array(nnz));
  const values = await reader.read(new Float32Array(nnz));
  const labelSizes = await reader.read(new Uint32Array(rows));
  const labelIds = await reader.read(new Uint32Array(positives));
  const found = reader.hash.digest();
  if (!found.equals(head.subarray(SIGNED)) || (digest !== undefined && digest !== found.toString('hex'))) {
    throw damaged(
      path,
      'DATASET_FILE_DIGEST',
      'the content does not match its checksum',
      digest ?? head.subarray(SIGNED).toString('hex'),
      found.toString('hex'),
    );
  }
  const parts = { indptr: pointers(sizes), indices, values, labelIndptr: pointers(labelSizes), labelIds };
  return new CsrDataset({ rows, features, labels, ...parts, ...names });
}

class SectionReader {
  readonly hash: Hash;
  readonly #path: string;
  readonly #handle: FileHandle;
  #position = HEADER;

  constructor(path: string, handle: FileHandle, hash: Hash) {
    this.#path = path;
    this.#handle = handle;
    this.hash = hash;
  }

  async read<T extends Numbers>(into: T): Promise<T> {
    const bytes = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
    for (let at = 0; at < bytes.length; ) {
      const want = Math.min(STEP, bytes.length - at);
      const { bytesRead } = await this.#handle.read(bytes, at, want, this.#position);
      if (bytesRead === 0) {
        const expected = `${bytes.length - at} more bytes`;
        throw damaged(
          this.#path,
          'DATASET_FILE_LENGTH',
          'the file became shorter while it was read',
          expected,
        );
      }
      this.hash.update(bytes.subarray(at, at + bytesRead));
      at += bytesRead;
      this.#position += bytesRead;
    }
    return into;
  }
}

function* payload(dataset: CsrDataset): Generator<Uint8Array> {
  const sections: Numbers[] = [
    rowSizes(dataset.indptr),
    dataset.indices,
    dataset.values,
    rowSizes(dataset.labelIndptr),
    dataset.labelIds,
  ];
  for (const section of sections) {
    for (let at = 0; at < section.byteLength; at += STEP) {
      yield new Uint8Array(section.buffer, section.byteOffset + at, Math.min(STEP, section.byteLength - at));
    }
  }
}

function* withHead(head: Uint8Array, rest: Iterable<Uint8Array>): Generator<Uint8Array> {
  yield head;
  yield* rest;
}

function rowSizes(indptr: Float64Array): Uint32Array {
  const sizes = new Uint32Array(indptr.length - 1);
  for (let row = 0; row < sizes.length; row++) sizes[row] = indptr[row + 1] - indptr[row];
  return sizes;
}

function pointers(sizes: Uint32Array): Float64Array {
  const indptr = new Float64Array(sizes.length + 1);
  for (let row = 0; row < sizes.length; row++) indptr[row + 1] = indptr[row] + sizes[row];
  return indptr;
}

function refuseBigEndian(path: string): void {
  if (endianness() === 'LE') return;
  throw new EspalierError({
    code: 'BIG_ENDIAN',
    kind: 'system',
    op: 'datasetFile',
    problem: 'dataset files are little-endian and this machine is not',
    file: path,
  });
}

function damaged(path: string, code: string, problem: string, expected: string, received?: string) {
  return new EspalierError({
    code,
    kind: 'data',
    op: 'readDatasetFile',
    problem,
    expected,
    received,
    hint: 'make the dataset directory again from its source',
    file: path,
  });
}
