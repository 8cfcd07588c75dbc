/** NumPy arrays (`.npy`, versions 1 to 3): one-dimensional numbers, read as they come. */
import { EspalierError } from '../../errors.js';
import { type ChunkedArray, chunkedFloat32, chunkedFloat64 } from '../chunked.js';

const LARGEST_HEADER = 1 << 16;

type Read = (view: DataView, at: number) => number;

const KINDS: Readonly<Record<string, readonly [bytes: number, read: Read]>> = {
  f4: [4, (v, at) => v.getFloat32(at, true)],
  f8: [8, (v, at) => v.getFloat64(at, true)],
  i1: [1, (v, at) => v.getInt8(at)],
  i2: [2, (v, at) => v.getInt16(at, true)],
  i4: [4, (v, at) => v.getInt32(at, true)],
  i8: [8, (v, at) => Number(v.getBigInt64(at, true))],
  u1: [1, (v, at) => v.getUint8(at)],
  u2: [2, (v, at) => v.getUint16(at, true)],
  u4: [4, (v, at) => v.getUint32(at, true)],
  u8: [8, (v, at) => Number(v.getBigUint64(at, true))],
  b1: [1, (v, at) => v.getUint8(at)],
};

interface Header {
  readonly descr: string;
  readonly length: number;
}

/**
 * The numbers of an array: float32 for values, float64, exact for whole numbers to 2^53, for anything else.
 *
 * @throws `NPY_FORMAT` for other than little-endian numbers in one dimension, and for a length that is not kept
 */
export async function readNpy<W extends 'float32' | 'float64'>(
  chunks: AsyncIterable<Uint8Array>,
  as: W,
  place: { readonly file: string; readonly name: string },
): Promise<W extends 'float32' ? Float32Array : Float64Array> {
  const into: ChunkedArray<Float32Array> | ChunkedArray<Float64Array> =
    as === 'float32' ? chunkedFloat32() : chunkedFloat64();
  let kind: readonly [number, Read] | undefined;
  const { length } = await walkNpy(chunks, place, (bytes, { descr, length }) => {
    kind ??= kindOf(descr, place);
    const [size, read] = kind;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const count = Math.floor(bytes.length / size);
    into.reserve(count);
    const { tail } = into;
    for (let i = 0, to = into.used; i < count; i++, to++) tail[to] = read(view, i * size);
    into.used += count;
    if (into.used > length) throw wrong(place, `it says ${length} numbers and holds more`);
    return count * size;
  });
  if (into.length !== length) throw wrong(place, `it says ${length} numbers and holds ${into.length}`);
  return into.join() as never;
}

/** A text: SciPy stores the format of a matrix as an array without dimensions. */
export async function readNpyText(
  chunks: AsyncIterable<Uint8Array>,
  place: { readonly file: string; readonly name: string },
): Promise<string> {
  let text = '';
  await walkNpy(chunks, place, (bytes, { descr }) => {
    if (text.length > 100) throw wrong(place, 'its text is too long');
    text += Buffer.from(bytes).toString(descr.includes('U') ? 'utf16le' : 'latin1');
    return bytes.length;
  });
  return text.replaceAll('\0', '');
}

/** Hands the bytes behind the header to `take`, which says how many it took. */
async function walkNpy(
  chunks: AsyncIterable<Uint8Array>,
  place: { readonly file: string; readonly name: string },
  take: (bytes: Uint8Array, header: Header) => number,
): Promise<Header> {
  let held = new Uint8Array(0);
  let header: Header | undefined;
  for await (const chunk of chunks) {
    const bytes = new Uint8Array(held.length + chunk.length);
    bytes.set(held);
    bytes.set(chunk, held.length);
    held = bytes;
    if (header === undefined) {
      const parsed = parseHeader(held, place);
      if (parsed === undefined) continue;
      header = parsed;
      held = held.slice(parsed.end);
    }
    held = held.slice(take(held, header));
  }
  if (header === undefined) throw wrong(place, 'its header is cut off');
  if (held.length > 0) throw wrong(place, 'it ends within a number');
  return header;
}

function parseHeader(
  bytes: Uint8Array,
  place: { readonly file: string; readonly name: string },
): (Header & { readonly end: number }) | undefined {
  if (bytes.length < 12) return undefined;
  if (Buffer.from(bytes.subarray(0, 6)).toString('latin1') !== '\x93NUMPY')
    throw wrong(place, 'it is no .npy array');
  const long = bytes[6] > 1;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = long ? view.getUint32(8, true) : view.getUint16(8, true);
  if (bytes[6] > 3 || size > LARGEST_HEADER) throw wrong(place, 'its header is of an unknown version');
  const begin = long ? 12 : 10;
  if (bytes.length < begin + size) return undefined;
  const text = Buffer.from(bytes.subarray(begin, begin + size)).toString('latin1');
  const descr = /'descr':\s*'([^']{1,20})'/.exec(text)?.[1];
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(text)?.[1];
  if (descr === undefined || shape === undefined) throw wrong(place, 'its header cannot be read');
  const sizes = shape
    .split(',')
    .map((s) => s.trim())
    .filter(Boolean);
  if (sizes.length > 1) throw wrong(place, `it has ${sizes.length} dimensions, not one`);
  const length = sizes.length === 0 ? 1 : Number(sizes[0]);
  return { descr, length, end: begin + size };
}

function kindOf(
  descr: string,
  place: { readonly file: string; readonly name: string },
): readonly [number, Read] {
  const kind = KINDS[descr.slice(1)];
  if (kind !== undefined && (descr[0] === '<' || descr[0] === '|')) return kind;
  throw wrong(place, `it holds ${descr}, not little-endian numbers`);
}

function wrong(
  { file, name }: { readonly file: string; readonly name: string },
  detail: string,
): EspalierError {
  return new EspalierError({
    code: 'NPY_FORMAT',
    kind: 'data',
    op: 'readNpy',
    problem: `the array ${JSON.stringify(name)} cannot be read: ${detail}`,
    hint: 'write it with scipy.sparse.save_npz',
    file,
  });
}
