/** Files of the Extreme Classification Repository: sparse text, plain or gzip. */
import { type FileHandle, open } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import { createGunzip, createGzip } from 'node:zlib';
import { EspalierError } from '../errors.js';
import { withFileErrors, writeFileAtomic } from '../files.js';
import type { CsrDataset } from './dataset.js';
import { XcParser, type XcShape } from './xc-parser.js';

export interface XcProgress {
  /** Of the file as stored. */
  readonly bytes: number;
  readonly totalBytes: number;
  readonly rows: number;
}

export interface ReadXcOptions {
  /** For a file without its header line. */
  readonly shape?: XcShape;
  /** Longer lines are refused; default 64 MiB. */
  readonly maxLineBytes?: number;
  /** Called after every chunk, a few hundred times a second. */
  readonly onProgress?: (progress: XcProgress) => void;
}

const CHUNK = 1 << 18;

/**
 * Reads a file in the sparse text format of the Extreme Classification Repository; gzip is recognised by its
 * first bytes. Needs the memory of the dataset and a few chunks.
 *
 * @throws `XC_*` with line and column for what is malformed, out of range, not finite, repeated or cut off;
 *   `FILE_*` where the file cannot be read
 * @example const train = await readXc('bibtex/train.txt');
 */
export async function readXc(path: string, options: ReadXcOptions = {}): Promise<CsrDataset> {
  const { onProgress, shape, maxLineBytes } = options;
  return withFileErrors('readXc', path, async () => {
    const handle = await open(path, 'r');
    try {
      const totalBytes = (await handle.stat()).size;
      const parser = new XcParser({ file: path, shape, maxLineBytes });
      const magic = Buffer.alloc(2);
      await handle.read(magic, 0, 2, 0);
      const gzip = magic[0] === 0x1f && magic[1] === 0x8b;
      const chunks = gzip ? gunzipped(handle, path) : plain(handle);
      for await (const { chunk, bytes } of chunks) {
        parser.push(chunk);
        onProgress?.({ bytes, totalBytes, rows: parser.rows });
      }
      return parser.finish();
    } finally {
      await handle.close();
    }
  });
}

interface Piece {
  readonly chunk: Uint8Array;
  /** Read so far from the file. */
  readonly bytes: number;
}

/** Two buffers in turn: one is parsed while the other is read. */
async function* plain(handle: FileHandle): AsyncGenerator<Piece> {
  let [current, next] = [new Uint8Array(CHUNK), new Uint8Array(CHUNK)];
  let bytes = 0;
  let reading = handle.read(current, 0, CHUNK, 0);
  try {
    for (;;) {
      const { bytesRead } = await reading;
      if (bytesRead === 0) return;
      bytes += bytesRead;
      reading = handle.read(next, 0, CHUNK, bytes);
      yield { chunk: current.subarray(0, bytesRead), bytes };
      [current, next] = [next, current];
    }
  } finally {
    // A refusal of the parser leaves a read under way: the file is closed after it.
    await reading.catch(() => {});
  }
}

async function* gunzipped(handle: FileHandle, path: string): AsyncGenerator<Piece> {
  const file = handle.createReadStream({ autoClose: false, start: 0, highWaterMark: CHUNK });
  const gunzip = createGunzip({ chunkSize: CHUNK });
  pipeline(file, gunzip, () => {});
  try {
    for await (const chunk of gunzip) yield { chunk, bytes: file.bytesRead };
  } catch (cause) {
    if (!(cause instanceof Error && String((cause as { code?: unknown }).code).startsWith('Z_'))) throw cause;
    throw new EspalierError({
      code: 'XC_GZIP',
      kind: 'data',
      op: 'readXc',
      problem: /unexpected end/.test(cause.message)
        ? 'the gzip file is cut off'
        : `the gzip file is damaged (${cause.message})`,
      hint: 'copy or download the file again; `gzip -t` checks it',
      file: path,
      cause,
    });
  }
}

/**
 * Writes a dataset in the same format, gzip where the name ends in `.gz`; reading it gives the same numbers.
 * The file is written aside and renamed.
 */
export async function writeXc(path: string, dataset: CsrDataset): Promise<void> {
  const lines = xcLines(dataset);
  if (!path.endsWith('.gz')) return writeFileAtomic(path, lines);
  const gzip = createGzip();
  pipeline(Readable.from(lines), gzip, () => {});
  return writeFileAtomic(path, gzip);
}

/** The text of a dataset, in pieces of some 64 KiB. */
export function* xcLines(dataset: CsrDataset): Generator<string> {
  const { rows, features, labels, indptr, indices, values, labelIndptr, labelIds } = dataset;
  let text = `${rows} ${features} ${labels}\n`;
  for (let row = 0; row < rows; row++) {
    for (let e = labelIndptr[row]; e < labelIndptr[row + 1]; e++) {
      text += e === labelIndptr[row] ? labelIds[e] : `,${labelIds[e]}`;
    }
    // A row without labels begins with a space; a row of nothing is a space, not an empty line.
    if (indptr[row] === indptr[row + 1] && labelIndptr[row] === labelIndptr[row + 1]) text += ' ';
    for (let e = indptr[row]; e < indptr[row + 1]; e++) text += ` ${indices[e]}:${float32Text(values[e])}`;
    text += '\n';
    if (text.length >= 1 << 16) {
      yield text;
      text = '';
    }
  }
  yield text;
}

/** The shortest decimal that reads back as the same float32: nine digits always do. */
function float32Text(value: number): string {
  if (Object.is(value, -0)) return '-0';
  for (let digits = 6; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(Number(value.toPrecision(9)));
}
