/**
 * What a Parquet file says of its own sizes, read before anybody believes it. Its footer, its page headers and its offset
 * indexes are Thrift's compact protocol: a list is announced by a number, and the decoder makes room for as many elements
 * before it has seen one, so that a few nested lists in a small file would take all memory.
 * Apache Parquet, parquet.thrift; Thrift compact protocol.
 */
import { type AsyncBuffer, type ColumnChunk, type RowGroup, readOffsetIndex } from 'hyparquet';
import { type Walked, walk } from './parquet-thrift.js';

/** Values and unpacked bytes of one page: writers cut pages at a mebibyte, or at some thousand rows. */
const PAGE_VALUES = 2 ** 23;
const PAGE_BYTES = 2 ** 27;
const FOOTER_BYTES = 2 ** 28;
/** Headers hold the least and the largest value of their page, which may be long texts. */
const HEADER_WINDOWS = [2 ** 12, 2 ** 20];

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
  /** Bytes of each page with its header, by its place. */
  const pages = new Map<number, number>();
  for await (const { at, next, number } of pagesOf(file, chunk)) {
    const unpacked = number('2');
    if (unpacked < 0 || unpacked > PAGE_BYTES) throw new Error(`a page of ${unpacked} bytes unpacked`);
    for (const field of ['5.1', '7.1', '8.1', '8.2', '8.3']) {
      const values = number(field);
      if (values < 0 || values > PAGE_VALUES) throw new Error(`a page of ${values} values`);
    }
    pages.set(at, next - at);
  }
  await checkIndex(file, chunk, pages);
}

/** A page of a column: bytes [at, body) are its header, [body, next) what it holds. */
export interface Page {
  readonly at: number;
  readonly body: number;
  readonly next: number;
  /** A number of the header, 0 where it is not there: see `Walked`. */
  readonly number: (field: string) => number;
  readonly has: (field: string) => boolean;
}

export async function* pagesOf(file: AsyncBuffer, chunk: ColumnChunk): AsyncGenerator<Page> {
  const meta = chunk.meta_data as NonNullable<ColumnChunk['meta_data']>;
  const begin = Number(meta.dictionary_page_offset || meta.data_page_offset);
  const end = begin + Number(meta.total_compressed_size);
  if (!(begin >= 0 && end >= begin && end <= file.byteLength))
    throw new Error('a column outside of the file');
  // The decoder takes a last byte for padding.
  for (let at = begin; at < end - 1; ) {
    const header = await headerAt(file, at, end);
    const number = (field: string) => header.numbers.get(field) ?? 0;
    const body = at + header.end;
    const next = body + number('3');
    if (next < body || next > end) throw new Error(`a page of ${number('3')} bytes`);
    yield { at, body, next, number, has: (field) => header.numbers.has(field) };
    at = next;
  }
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
