/**
 * Reads JSON Lines of any length as a stream. Lines end at `\n` alone: JSON texts may hold U+2028, which readers
 * of text lines take for an end.
 */
import { open } from 'node:fs/promises';
import { withFileErrors } from '../files.js';
import { blockBytes, readFully } from './checksum.js';
import { damaged } from './json.js';

export interface JsonLine {
  readonly text: string;
  /** 1-based. */
  readonly line: number;
  /** Bytes of the file up to and with the end of this line. */
  readonly end: number;
  /** false: the file ends without a line end here. */
  readonly ended: boolean;
}

const longestLine = 64 << 20;

/**
 * Yields the lines of a file, empty ones too. An unfinished last line is yielded with `ended: false`, its text
 * empty when it breaks off within a character.
 */
export async function* readLines(op: string, path: string): AsyncGenerator<JsonLine> {
  const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const decode = (bytes: Uint8Array, line: number, ended: boolean): string => {
    try {
      return strict.decode(bytes);
    } catch {
      if (!ended) return '';
      throw damaged(op, path, line, 'the line is not UTF-8');
    }
  };
  const handle = await withFileErrors(op, path, () => open(path, 'r'));
  try {
    let rest = Buffer.alloc(0);
    let line = 1;
    let end = 0;
    for (let at = 0; ; ) {
      const block = Buffer.allocUnsafeSlow(blockBytes);
      const n = await withFileErrors(op, path, () => readFully(handle, block, at));
      at += n;
      let from = 0;
      for (let to = block.indexOf(10); to >= 0 && to < n; to = block.indexOf(10, from)) {
        const part = block.subarray(from, to);
        const bytes = from === 0 && rest.length > 0 ? Buffer.concat([rest, part]) : part;
        end += bytes.length + 1;
        yield { text: decode(bytes, line, true), line, end, ended: true };
        line++;
        from = to + 1;
      }
      const tail = block.subarray(from, n);
      rest = from === 0 ? Buffer.concat([rest, tail]) : tail;
      if (rest.length > longestLine)
        throw damaged(op, path, line, `the line is longer than ${longestLine} bytes`);
      if (n < block.length) break;
    }
    if (rest.length > 0)
      yield { text: decode(rest, line, false), line, end: end + rest.length, ended: false };
  } finally {
    await handle.close();
  }
}
