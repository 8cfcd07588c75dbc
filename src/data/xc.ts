/** Files of the Extreme Classification Repository: sparse text, plain or gzip. */
import { pipeline, Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import { withFileErrors, writeFileAtomic } from '../files.js';
import type { CsrDataset } from './dataset.js';
import { readBytes } from './readers/bytes.js';
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

/**
 * Reads a file in the sparse text format of the Extreme Classification Repository; gzip and zstd are recognised
 * by their first bytes. Needs the memory of the dataset and a few chunks.
 *
 * @throws `XC_*` with line and column for what is malformed, out of range, not finite, repeated or cut off;
 *   `FILE_*` and `COMPRESSION_*` where the file cannot be read
 * @example const train = await readXc('bibtex/train.txt');
 */
export async function readXc(path: string, options: ReadXcOptions = {}): Promise<CsrDataset> {
  const { onProgress, shape, maxLineBytes } = options;
  return withFileErrors('readXc', path, async () => {
    const parser = new XcParser({ file: path, shape, maxLineBytes });
    for await (const { chunk, bytes, totalBytes } of readBytes(path)) {
      parser.push(chunk);
      onProgress?.({ bytes, totalBytes, rows: parser.rows });
    }
    return parser.finish();
  });
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
