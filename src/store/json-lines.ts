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
const mostLines = 4_096;

/**
 * Yields the lines of a file, empty ones too. An unfinished last line is yielded with `ended: false`, its text
 * empty when it breaks off within a character.
 */
export async function* readLines(op: string, path: string): AsyncGenerator<JsonLine> {
  for await (const lines of readLineBlocks(op, path)) yield* lines;
}

/** As `readLines`, up to `mostLines` at once: a promise for each would cost more than all the rest. */
export async function* readLineBlocks(op: string, path: string): AsyncGenerator<readonly JsonLine[]> {
  const handle = await withFileErrors(op, path, () => open(path, 'r'));
  try {
    let rest = Buffer.alloc(0);
    let line = 1;
    let end = 0;
    for (let at = 0; ; ) {
      const block = Buffer.allocUnsafeSlow(blockBytes);
      const n = await withFileErrors(op, path, () => readFully(handle, block, at));
      at += n;
      const read = block.subarray(0, n);
      // A line end can only be in what is new: a long line is not searched again with every block.
      const last = read.lastIndexOf(10);
      const whole = last < 0 ? 0 : rest.length + last + 1;
      const bytes = rest.length > 0 ? Buffer.concat([rest, read]) : read;
      for (const lines of linesOf(bytes.subarray(0, whole), { op, path, line, end })) {
        yield lines;
        line += lines.length;
      }
      end += whole;
      rest = bytes.subarray(whole);
      if (rest.length > longestLine)
        throw damaged(op, path, line, `the line is longer than ${longestLine} bytes`);
      if (n < block.length) break;
    }
    if (rest.length > 0) yield [{ text: decoded(rest) ?? '', line, end: end + rest.length, ended: false }];
  } finally {
    await handle.close();
  }
}

interface Place {
  readonly op: string;
  readonly path: string;
  /** Number of the first line. */
  readonly line: number;
  /** Bytes of the file before it. */
  readonly end: number;
}

/** The lines of `bytes`, which end with a line end. */
function* linesOf(bytes: Buffer, { op, path, line, end }: Place): Generator<JsonLine[]> {
  // Decoded at once: no character of UTF-8 holds the byte of a line end.
  const texts = decoded(bytes)?.split('\n');
  let lines: JsonLine[] = [];
  for (let from = 0, i = 0; from < bytes.length; i++) {
    const to = bytes.indexOf(10, from);
    const text = texts?.[i] ?? decoded(bytes.subarray(from, to));
    if (lines.length > 0 && (text === null || lines.length === mostLines)) {
      yield lines;
      lines = [];
    }
    if (text === null) throw damaged(op, path, line + i, 'the line is not UTF-8');
    from = to + 1;
    lines.push({ text, line: line + i, end: end + from, ended: true });
  }
  if (lines.length > 0) yield lines;
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** null: not UTF-8. */
function decoded(bytes: Uint8Array): string | null {
  try {
    return strict.decode(bytes);
  } catch {
    return null;
  }
}
