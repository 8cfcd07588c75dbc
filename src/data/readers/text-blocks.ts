/**
 * Text files in blocks of whole records: decoded, with the line of each block, in the memory of one block. Bytes
 * that are no UTF-8 become U+FFFD and are counted with their place.
 */
import { isUtf8 } from 'node:buffer';
import { EspalierError } from '../../errors.js';
import { readBytes } from './bytes.js';
import type { Notices, SourceProgress } from './record-source.js';

export interface TextBlock {
  /** Ends with a line end, but perhaps at the end of the file. */
  readonly text: string;
  /** Line of its beginning, from 1. */
  readonly line: number;
  readonly progress: SourceProgress;
}

export interface TextBlockOptions {
  readonly notices: Notices;
  /** Line ends between two quotes do not end a record. */
  readonly quotes: boolean;
  /** Smallest block but the last; default 256 KiB. */
  readonly blockBytes?: number;
}

const [LF, QUOTE] = [0x0a, 0x22];
const LONGEST_RECORD = 1 << 26;

/** Throws `RECORD_TOO_LONG`, and what `readBytes` throws. */
export async function* textBlocks(path: string, options: TextBlockOptions): AsyncGenerator<TextBlock> {
  const { notices, quotes, blockBytes = 1 << 18 } = options;
  let held = Buffer.allocUnsafe(2 * blockBytes);
  let used = 0;
  let scanned = 0;
  let inside = false;
  let cut = 0;
  let line = 1;
  let progress: SourceProgress = { bytes: 0, totalBytes: 0 };
  let first = true;
  const take = (end: number): TextBlock => {
    let bytes = held.subarray(0, end);
    if (first && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) bytes = bytes.subarray(3);
    first = false;
    if (!isUtf8(bytes)) noteBrokenText(bytes, path, line, notices);
    const block = { text: bytes.toString('utf8'), line, progress };
    for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) line++;
    held.copyWithin(0, end, used);
    used -= end;
    scanned -= end;
    cut = 0;
    return block;
  };
  for await (const { chunk, bytes, totalBytes } of readBytes(path)) {
    progress = { bytes, totalBytes };
    if (used + chunk.length > held.length) {
      const larger = Buffer.allocUnsafe(Math.max(used + chunk.length, 2 * held.length));
      held.copy(larger, 0, 0, used);
      held = larger;
    }
    held.set(chunk, used);
    used += chunk.length;
    if (quotes) {
      for (; scanned < used; scanned++) {
        const byte = held[scanned];
        if (byte === QUOTE) inside = !inside;
        else if (byte === LF && !inside) cut = scanned + 1;
      }
    } else {
      const last = held.subarray(scanned, used).lastIndexOf(LF);
      if (last >= 0) cut = scanned + last + 1;
      scanned = used;
    }
    if (cut >= blockBytes) yield take(cut);
    if (used - cut > LONGEST_RECORD) throw tooLong(path, cut > 0 ? 0 : line, quotes);
  }
  if (used > 0) yield take(used);
}

function tooLong(file: string, line: number, quotes: boolean): EspalierError {
  return new EspalierError({
    code: 'RECORD_TOO_LONG',
    kind: 'data',
    op: 'readRecords',
    problem: `a row is longer than ${LONGEST_RECORD} bytes`,
    hint: quotes
      ? 'is a quote left open? Files whose quotes mean nothing are read with --no-quotes'
      : 'is this a file of lines?',
    file,
    ...(line > 0 ? { line } : {}),
  });
}

/** Counts runs of bytes that are no UTF-8, with the place of the first: column in characters, from 1. */
function noteBrokenText(bytes: Buffer, file: string, firstLine: number, notices: Notices): void {
  let line = firstLine;
  for (let begin = 0; begin < bytes.length; line++) {
    let end = bytes.indexOf(LF, begin);
    if (end < 0) end = bytes.length;
    const row = bytes.subarray(begin, end);
    if (!isUtf8(row)) {
      let good = 0;
      // The longest beginning that is sound: rows are short, and broken ones are few.
      for (let low = 0, high = row.length; low < high; ) {
        const middle = (low + high + 1) >> 1;
        if (soundPrefix(row, middle)) good = low = middle;
        else high = middle - 1;
      }
      while (!isUtf8(row.subarray(0, good))) good--;
      const column = row.subarray(0, good).toString('utf8').length + 1;
      notices.add('lines hold bytes that are no UTF-8, read as U+FFFD', { file, line, column });
    }
    begin = end + 1;
  }
}

/** Whether the first `length` bytes are UTF-8, the last character perhaps cut off. */
function soundPrefix(row: Buffer, length: number): boolean {
  for (let back = 0; back < 4 && back <= length; back++) {
    if (!isUtf8(row.subarray(0, length - back))) continue;
    if (back === 0) return true;
    const lead = row[length - back];
    return back < (lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 1);
  }
  return false;
}
