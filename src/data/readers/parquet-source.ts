/** Parquet, a few thousand rows at a time. */
import { open } from 'node:fs/promises';
import {
  type AsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetSchema,
  type RowGroup,
} from 'hyparquet';
import { EspalierError } from '../../errors.js';
import { withFileErrors } from '../../files.js';
import { bufferOf } from './parquet-decode.js';
import { checkFooter, checkGroup } from './parquet-guard.js';
import { decodeApart } from './parquet-thread.js';
import type { RecordBatch, RecordSource, SourceProgress } from './record-source.js';

/** Rows handed on at once. */
const ROWS = 8192;
/**
 * Bytes, unpacked, and rows that are decoded at once. A part of a row group costs nearly what the whole does: lists and
 * files without a page index are read from the beginning of the group.
 */
const DECODED_BYTES = 2 ** 26;
const DECODED_ROWS = 16 * ROWS;
const LARGEST_GROUP = 2 ** 31;
/** Bytes of a decoded value beside its own. */
const CELL = 8;

export class ParquetSource implements RecordSource {
  readonly file: string;
  #metadata: FileMetaData | undefined;

  constructor(file: string) {
    this.file = file;
  }

  async columns(): Promise<readonly string[]> {
    return this.#reading(async (buffer) => {
      const metadata = await this.#read(buffer);
      return parquetSchema(metadata).children.map(({ element }) => element.name);
    });
  }

  async *batches(
    columns: readonly string[],
    onProgress?: (at: SourceProgress) => void,
  ): AsyncGenerator<RecordBatch> {
    const handle = await withFileErrors('readParquet', this.file, () => open(this.file, 'r'));
    try {
      const { size } = await handle.stat();
      const buffer = bufferOf(handle, size);
      const metadata = await this.#guarded(() => this.#read(buffer));
      const wanted = [...new Set(columns)];
      const places = columns.map((column) => wanted.indexOf(column));
      let groupBegin = 0;
      for (const group of metadata.row_groups) {
        const rows = Number(group.num_rows);
        if (Number(group.total_byte_size) > LARGEST_GROUP) {
          throw this.#fault(
            'a row group is larger than 2 GiB unpacked',
            'write the file with smaller row groups',
          );
        }
        await this.#guarded(() => checkGroup(buffer, group, wanted));
        const { packed, unpacked } = bytesOf(group, wanted);
        const step = rowsAtOnce(rows, unpacked);
        const values = wanted.length * Math.min(rows, step);
        // The whole would be copied to the thread for each of its groups.
        const own = { ...metadata, row_groups: [group], num_rows: group.num_rows, key_value_metadata: [] };
        for (let from = 0; from < rows; from += step) {
          const rowStart = groupBegin + from;
          const rowEnd = groupBegin + Math.min(rows, from + step);
          const part = { rowStart: from, rowEnd: rowEnd - groupBegin };
          const task = { file: this.file, metadata: own, columns: wanted, ...part };
          const count = rowEnd - rowStart;
          const bytes = (unpacked * count) / Math.max(1, rows) + CELL * values;
          const decoded = await this.#guarded(() => decodeApart(task, { bytes, packed, unpacked, values }));
          if (decoded.some(({ length }) => length !== count))
            throw this.#fault('it holds fewer rows than it says');
          for (let at = 0; at < count; at += ROWS) {
            const some = Array.from({ length: Math.min(ROWS, count - at) }, (_, i) => at + i);
            const done = rowStart + at + some.length;
            yield {
              rows: some.map((row) => places.map((place) => decoded[place][row])),
              lines: some.map((row) => rowStart + row + 1),
            };
            onProgress?.({ bytes: Math.round((size * done) / Number(metadata.num_rows)), totalBytes: size });
          }
        }
        groupBegin += rows;
      }
    } finally {
      await handle.close();
    }
  }

  async #reading<T>(work: (buffer: AsyncBuffer) => Promise<T>): Promise<T> {
    const handle = await withFileErrors('readParquet', this.file, () => open(this.file, 'r'));
    try {
      const { size } = await handle.stat();
      return await this.#guarded(() => work(bufferOf(handle, size)));
    } finally {
      await handle.close();
    }
  }

  async #read(buffer: AsyncBuffer): Promise<FileMetaData> {
    if (this.#metadata === undefined) {
      await checkFooter(buffer);
      this.#metadata = await parquetMetadataAsync(buffer);
    }
    return this.#metadata;
  }

  /** Whatever a damaged file makes the decoder throw becomes one error. */
  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (cause instanceof EspalierError) throw cause;
      throw this.#fault(
        `it cannot be decoded (${cause instanceof Error ? cause.message : String(cause)})`,
        undefined,
        cause,
      );
    }
  }

  #fault(detail: string, hint = 'is it a Parquet file, and whole? Write or copy it again', cause?: unknown) {
    return new EspalierError({
      code: 'PARQUET_FILE',
      kind: 'data',
      op: 'readParquet',
      problem: `the Parquet file is damaged or of an unknown kind: ${detail}`,
      hint,
      file: this.file,
      cause,
    });
  }
}

/** Bytes of the `wanted` columns of a group: in the file, and what they unpack to by its account. */
function bytesOf({ columns }: RowGroup, wanted: readonly string[]) {
  let [packed, unpacked] = [0, 0];
  for (const { meta_data: column } of columns) {
    if (column === undefined || !wanted.includes(column.path_in_schema[0])) continue;
    packed += Number(column.total_compressed_size);
    unpacked += Number(column.total_uncompressed_size);
  }
  return { packed, unpacked };
}

/** Rows of a group of `bytes` that are decoded in one go. */
function rowsAtOnce(rows: number, bytes: number): number {
  const fitting = Math.floor((rows * DECODED_BYTES) / Math.max(1, bytes));
  return Math.max(ROWS, Math.min(DECODED_ROWS, fitting));
}
