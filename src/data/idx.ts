/**
 * IDX files (LeCun's format of MNIST): two zero bytes, a type, the number of dimensions, their sizes as big-endian
 * 32-bit words, then the numbers. Plain or gzipped; bytes only, which is what images and labels are.
 */
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { EspalierError } from '../errors.js';
import { withFileErrors } from '../files.js';

export interface IdxArray {
  /** Sizes, slowest first. */
  readonly shape: readonly number[];
  /** [product of shape] */
  readonly data: Uint8Array;
}

export interface IdxOptions {
  /** Most bytes that the numbers may take, unpacked; default 2^30. */
  readonly maxBytes?: number;
}

const UNSIGNED_BYTE = 0x08;
const MOST_DIMENSIONS = 8;
const TYPE_NAMES: Readonly<Record<number, string>> = {
  9: 'signed bytes',
  11: '16-bit integers',
  12: '32-bit integers',
  13: '32-bit floats',
  14: '64-bit floats',
};

/**
 * Reads an IDX file of bytes.
 * @throws EspalierError `IDX_DAMAGED`, `IDX_TYPE`, `IDX_TOO_LARGE`, `FILE_*`
 * @example const { shape, data } = await readIdx('train-images-idx3-ubyte.gz'); // shape [60000, 28, 28]
 */
export async function readIdx(file: string, options: IdxOptions = {}): Promise<IdxArray> {
  const bytes = await withFileErrors('readIdx', file, () => readFile(file));
  return parseIdx(bytes, { ...options, file });
}

/** The same for the bytes of a file, gzipped or not. */
export function parseIdx(bytes: Uint8Array, options: IdxOptions & { readonly file?: string } = {}): IdxArray {
  const { file, maxBytes = 2 ** 30 } = options;
  const unpacked = isGzip(bytes) ? unpack(bytes, maxBytes, file) : bytes;
  if (unpacked.length < 4 || unpacked[0] !== 0 || unpacked[1] !== 0) {
    throw damaged(
      file,
      'this is not an IDX file',
      'two zero bytes, a type and a number of dimensions',
      start(unpacked),
    );
  }
  const [type, dimensions] = [unpacked[2], unpacked[3]];
  if (type !== UNSIGNED_BYTE) {
    const name = TYPE_NAMES[type];
    if (name === undefined)
      throw damaged(file, 'the file has no type that IDX knows', 'type 8', `type ${type}`);
    throw new EspalierError({
      code: 'IDX_TYPE',
      kind: 'data',
      op: 'readIdx',
      problem: 'the file holds other numbers than bytes',
      expected: 'unsigned bytes (type 8)',
      received: `${name} (type ${type})`,
      file,
    });
  }
  if (dimensions < 1 || dimensions > MOST_DIMENSIONS || unpacked.length < 4 + 4 * dimensions) {
    throw damaged(
      file,
      'the header is not complete',
      `1 to ${MOST_DIMENSIONS} dimensions and their sizes`,
      `${dimensions} dimensions in a file of ${unpacked.length} bytes`,
    );
  }
  const view = new DataView(unpacked.buffer, unpacked.byteOffset, unpacked.byteLength);
  const shape = Array.from({ length: dimensions }, (_, i) => view.getUint32(4 + 4 * i));
  // In doubles: eight sizes below 2^32 cannot overflow them.
  const length = shape.reduce((n, side) => n * side, 1);
  if (length > maxBytes) throw tooLarge(file, maxBytes, `${shape.join(' x ')} = ${length} bytes`);
  const held = unpacked.length - 4 - 4 * dimensions;
  if (held !== length) {
    throw damaged(
      file,
      'the sizes and the length of the file differ',
      `${length} bytes of ${shape.join(' x ')}`,
      `${held}`,
    );
  }
  return { shape, data: unpacked.subarray(4 + 4 * dimensions) };
}

const isGzip = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b;

function unpack(bytes: Uint8Array, maxBytes: number, file: string | undefined): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: maxBytes + 4 + 4 * MOST_DIMENSIONS });
  } catch (cause) {
    if ((cause as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE')
      throw tooLarge(file, maxBytes, 'more', cause);
    throw damaged(
      file,
      'the gzip data cannot be unpacked',
      'a whole gzip file',
      (cause as Error).message,
      cause,
    );
  }
}

function start(bytes: Uint8Array): string {
  return `${bytes.length} bytes beginning with ${Buffer.from(bytes.subarray(0, 4)).toString('hex')}`;
}

function damaged(
  file: string | undefined,
  problem: string,
  expected: string,
  received: string,
  cause?: unknown,
): EspalierError {
  const hint = 'fetch the file again';
  return new EspalierError({
    code: 'IDX_DAMAGED',
    kind: 'data',
    op: 'readIdx',
    problem,
    expected,
    received,
    hint,
    file,
    cause,
  });
}

function tooLarge(
  file: string | undefined,
  maxBytes: number,
  received: string,
  cause?: unknown,
): EspalierError {
  return new EspalierError({
    code: 'IDX_TOO_LARGE',
    kind: 'data',
    op: 'readIdx',
    problem: 'the file asks for more memory than is allowed',
    expected: `at most ${maxBytes} bytes`,
    received,
    hint: 'pass a larger maxBytes if you trust the file',
    file,
    cause,
  });
}
