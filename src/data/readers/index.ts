/** Which reader a file needs: by what it is called, or by what the user says. */
import { EspalierError } from '../../errors.js';
import { type CsvOptions, CsvSource } from './csv-source.js';
import { JsonLinesSource } from './json-lines-source.js';
import { ParquetSource } from './parquet-source.js';
import type { Notices, RecordSource } from './record-source.js';

export const dataFormats = ['jsonl', 'csv', 'tsv', 'parquet', 'xc', 'npz'] as const;
export type DataFormat = (typeof dataFormats)[number];

const ENDINGS: Readonly<Record<string, DataFormat>> = {
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  json: 'jsonl',
  csv: 'csv',
  tsv: 'tsv',
  tab: 'tsv',
  parquet: 'parquet',
  pq: 'parquet',
  npz: 'npz',
  txt: 'xc',
  xc: 'xc',
  svm: 'xc',
};

/** The format a file name promises; throws `DATA_FORMAT` where it promises none. */
export function formatOf(file: string): DataFormat {
  const ending = /\.([^./\\]+)$/.exec(file.replace(/\.(gz|gzip|zst|zstd)$/i, ''))?.[1] ?? '';
  const format = ENDINGS[ending.toLowerCase()];
  if (format !== undefined) return format;
  throw new EspalierError({
    code: 'DATA_FORMAT',
    kind: 'usage',
    op: 'espalier data',
    problem: 'the name of the file does not say what is in it',
    expected: `one of .${Object.keys(ENDINGS).join(', .')}, perhaps with .gz or .zst`,
    hint: `name the format: --format ${dataFormats.join(' | ')}`,
    file,
  });
}

/** A source of rows with columns. */
export function openSource(
  file: string,
  format: Exclude<DataFormat, 'xc' | 'npz'>,
  notices: Notices,
  csv: CsvOptions = {},
): RecordSource {
  if (format === 'jsonl') return new JsonLinesSource(file, notices);
  if (format === 'parquet') return new ParquetSource(file);
  return new CsvSource(file, notices, { ...(format === 'tsv' ? { delimiter: '\t' } : {}), ...csv });
}

export { columnsOf } from './json-lines-source.js';
export {
  checkColumns,
  type Notice,
  Notices,
  type RecordSource,
  type SourceProgress,
} from './record-source.js';
