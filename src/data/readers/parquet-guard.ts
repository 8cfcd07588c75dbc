/**
 * What a Parquet file says of its own sizes, read before anybody believes it. Its footer, its page headers and its offset
 * indexes are Thrift's compact protocol: a list is announced by a number, and the decoder makes room for as many elements
 * before it has seen one, so that a few nested lists in a small file would take all memory.
 * Apache Parquet, parquet.thrift; Thrift compact protocol.
 */
import { type AsyncBuffer, type ColumnChunk, type RowGroup, readOffsetIndex } from 'hyparquet';

/** Values and unpacked bytes of one page: writers cut pages at a mebibyte, or at some thousand rows. */
const PAGE_VALUES = 2 ** 23;
const PAGE_BYTES = 2 ** 27;
const FOOTER_BYTES = 2 ** 28;
/** Headers hold the least and the largest value of their page, which may be long texts. */
const HEADER_WINDOWS = [2 ** 12, 2 ** 20];
const DEPTH = 32;

/** A structure that was walked: where it ends, and its whole numbers, `3` of field 3, `5.1` of field 1 of a structure in 5. */
interface Walked {
  readonly end: number;
  readonly numbers: ReadonlyMap<string, number>;
}

/** Throws where the footer announces more than it holds. */
export async function checkFooter(file: AsyncBuffer): Promise<void> {
  if (file.byteLength < 12) throw new Error('a file of fewer than 12 bytes');
  const tail = new DataView(await file.slice(file.byteLength - 8, file.byteLength));
  const length = tail.getUint32(0, true);
  if (length > Math.min(file.byteLength - 8, FOOTER_BYTES)) throw new Error(`a footer of ${length} bytes`);
  const end = file.byteLength - 8;
  walk(new DataView(await file.slice(end - length, end)));
}

/** Throws where a page or an index of the `wanted` columns announces more than there is, or than can be unpacked. */
export async function checkGroup(
  file: AsyncBuffer,
  group: RowGroup,
  wanted: readonly string[],
): Promise<void> {
  for (const chunk of group.columns) {
    const path = chunk.meta_data?.path_in_schema;
    if (!Array.isArray(path) || path.length === 0) throw new Error('a column without a name');
    if (wanted.includes(path[0])) await checkChunk(file, chunk);
  }
}

async function checkChunk(file: AsyncBuffer, chunk: ColumnChunk): Promise<void> {
  const meta = chunk.meta_data as NonNullable<ColumnChunk['meta_data']>;
  const begin = Number(meta.dictionary_page_offset || meta.data_page_offset);
  const end = begin + Number(meta.total_compressed_size);
  if (!(begin >= 0 && end >= begin && end <= file.byteLength))
    throw new Error('a column outside of the file');
  /** Bytes of each page with its header, by its place. */
  const pages = new Map<number, number>();
  // The decoder takes a last byte for padding.
  for (let at = begin; at < end - 1; ) {
    const header = await headerAt(file, at, end);
    const number = (field: string) => header.numbers.get(field) ?? 0;
    const [unpacked, packed] = [number('2'), number('3')];
    const next = at + header.end + packed;
    if (packed < 0 || next > end) throw new Error(`a page of ${packed} bytes`);
    if (unpacked < 0 || unpacked > PAGE_BYTES) throw new Error(`a page of ${unpacked} bytes unpacked`);
    for (const field of ['5.1', '7.1', '8.1', '8.2', '8.3']) {
      const values = number(field);
      if (values < 0 || values > PAGE_VALUES) throw new Error(`a page of ${values} values`);
    }
    pages.set(at, next - at);
    at = next;
  }
  await checkIndex(file, chunk, pages);
}

async function headerAt(file: AsyncBuffer, at: number, end: number): Promise<Walked> {
  for (const window of HEADER_WINDOWS) {
    const stop = Math.min(end, at + window);
    try {
      return walk(new DataView(await file.slice(at, stop)));
    } catch (error) {
      if (stop === end || window === HEADER_WINDOWS.at(-1)) throw error;
    }
  }
  throw new Error('a page without a header');
}

/** Every page that an offset index names is one that was looked at. */
async function checkIndex(file: AsyncBuffer, chunk: ColumnChunk, pages: ReadonlyMap<number, number>) {
  const { offset_index_offset: offset, offset_index_length: length } = chunk;
  if (!offset || !length) return;
  const [begin, end] = [Number(offset), Number(offset) + length];
  if (!(begin >= 0 && length > 0 && end <= file.byteLength))
    throw new Error('an offset index outside of the file');
  const bytes = await file.slice(begin, end);
  walk(new DataView(bytes));
  for (const page of readOffsetIndex({ view: new DataView(bytes), offset: 0 }).page_locations) {
    if (pages.get(Number(page.offset)) !== page.compressed_page_size)
      throw new Error('an offset index of other pages');
  }
}

/** The structure at the beginning of `view`, every element of it met, nothing kept but numbers. */
function walk(view: DataView): Walked {
  const numbers = new Map<string, number>();
  let at = 0;
  const varint = (most: number): number => {
    let value = 0;
    for (let i = 0; i < most; i++) {
      const byte = view.getUint8(at++);
      value += (byte & 127) * 2 ** (7 * i);
      if (byte < 128) return value;
    }
    throw new Error('a number of too many bytes');
  };
  const zigZag = (most: number): number => {
    const value = varint(most);
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  };
  const skip = (bytes: number): void => {
    if (bytes > view.byteLength - at)
      throw new Error(`${bytes} bytes where ${view.byteLength - at} are left`);
    at += bytes;
  };
  const element = (type: number, path: string, depth: number, inList: boolean): void => {
    switch (type) {
      case 1:
      case 2:
        // True and false: within a list one byte each.
        if (inList) skip(1);
        return;
      case 3:
        skip(1);
        return;
      case 4:
      case 5: {
        const value = zigZag(5);
        if (!inList && depth <= 2) numbers.set(path, value);
        return;
      }
      case 6:
        zigZag(10);
        return;
      case 7:
        skip(8);
        return;
      case 8:
        skip(varint(5));
        return;
      case 9: {
        const head = view.getUint8(at++);
        const count = head >> 4 === 15 ? varint(5) : head >> 4;
        // Every element has a byte at least, or it is not there.
        if (count > view.byteLength - at)
          throw new Error(`a list of ${count} where ${view.byteLength - at} bytes are left`);
        if (depth > DEPTH) throw new Error('lists within lists');
        for (let i = 0; i < count; i++) element(head & 15, path, depth + 1, true);
        return;
      }
      case 12:
        if (depth > DEPTH) throw new Error('structures within structures');
        structure(`${path}.`, depth + 1, inList);
        return;
      default:
        throw new Error(`a field of type ${type}`);
    }
  };
  const structure = (prefix: string, depth: number, inList: boolean): void => {
    for (let field = 0; ; ) {
      const head = view.getUint8(at++);
      if ((head & 15) === 0) return;
      field = head >> 4 === 0 ? zigZag(3) : field + (head >> 4);
      element(head & 15, prefix + field, depth, inList);
    }
  };
  structure('', 1, false);
  return { end: at, numbers };
}
