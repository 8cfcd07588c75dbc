/** Rows of a Parquet file, decoded here and now: what `parquet-worker.ts` does for `parquet-thread.ts`. */
import { type FileHandle, open } from 'node:fs/promises';
import { type AsyncBuffer, type FileMetaData, parquetReadObjects } from 'hyparquet';
import { codecs } from './parquet-codecs.js';
import { checkRuns } from './parquet-runs.js';

/** Rows [rowStart, rowEnd) of a file, the values of `columns`. */
export interface DecodeTask {
  readonly file: string;
  readonly metadata: FileMetaData;
  readonly columns: readonly string[];
  readonly rowStart: number;
  readonly rowEnd: number;
}

/** [columns][rows]: a few long arrays pass from thread to thread in a quarter of the time of many short ones. */
export async function decodeRows({
  file: path,
  metadata,
  columns,
  rowStart,
  rowEnd,
}: DecodeTask): Promise<unknown[][]> {
  const handle = await open(path, 'r');
  try {
    const { size } = await handle.stat();
    const file = bufferOf(handle, size);
    // Parts of a group have its pages in common: they are looked at once.
    if (rowStart === 0)
      for (const group of metadata.row_groups) await checkRuns(file, metadata, group, columns);
    const wanted = { file, metadata, columns: [...columns], rowStart, rowEnd };
    const records = await parquetReadObjects({ ...wanted, compressors: codecs, useOffsetIndex: true });
    return columns.map((column) => records.map((record) => record[column]));
  } finally {
    await handle.close();
  }
}

export function bufferOf(handle: FileHandle, byteLength: number): AsyncBuffer {
  return {
    byteLength,
    async slice(start, end = byteLength) {
      const [from, to] = [Math.max(0, start < 0 ? byteLength + start : start), Math.min(byteLength, end)];
      const into = new ArrayBuffer(Math.max(0, to - from));
      for (let at = 0; at < into.byteLength; ) {
        const { bytesRead } = await handle.read(new Uint8Array(into, at), 0, into.byteLength - at, from + at);
        if (bytesRead === 0) throw new Error('the file became shorter while it was read');
        at += bytesRead;
      }
      return into;
    },
  };
}
