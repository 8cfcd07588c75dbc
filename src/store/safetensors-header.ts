/**
 * The header of a safetensors file: 8 bytes of length (little-endian), a JSON object, then the data of all
 * tensors without gaps. Format: https://github.com/huggingface/safetensors#format
 *
 * Everything a header claims is checked against the size of the file before anything is allocated for it.
 */
import { EspalierError, ensure } from '../errors.js';
import { nestsDeeperThan } from '../nesting.js';
import { elementBytes, isStoredDtype, type StoredDtype, storedDtypes } from './dtypes.js';

export interface TensorInfo {
  readonly name: string;
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  /** First byte, counted from the end of the header. */
  readonly begin: number;
  readonly bytes: number;
}

export interface SafetensorsHeader {
  /** In the order of their data. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** Room for some 250,000 tensors; a longer header is a damaged or a hostile one. */
export const largestHeader = 32 << 20;

const damaged = 'the file is damaged or incomplete: copy or download it again, or save it anew';

export function unsound(
  code: string,
  file: string,
  problem: string,
  more: { readonly expected?: string; readonly received?: string; readonly hint?: string } = {},
): EspalierError {
  return new EspalierError({
    code,
    kind: 'data',
    op: 'openSafetensors',
    problem,
    hint: damaged,
    ...more,
    file,
  });
}

/** A text out of a file, fit for a message. */
export function quoted(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** The length that the first 8 bytes of a file of `fileBytes` bytes claim, checked. */
export function headerLength(first: Uint8Array, fileBytes: number, file: string): number {
  if (first.length < 8) {
    throw unsound('SAFETENSORS_TRUNCATED', file, 'the file is too short for a safetensors file', {
      expected: 'at least 8 bytes',
      received: `${fileBytes} bytes`,
    });
  }
  const length = new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(largestHeader) || length < 2n) {
    throw unsound('SAFETENSORS_HEADER', file, 'the header length is not plausible', {
      expected: `2 to ${largestHeader} bytes`,
      received: `${length} bytes`,
      hint: 'check that this is a safetensors file; if so, it is damaged: copy or download it again',
    });
  }
  if (Number(length) + 8 > fileBytes) {
    throw unsound('SAFETENSORS_TRUNCATED', file, 'the file ends inside its header', {
      expected: `${Number(length) + 8} bytes or more`,
      received: `${fileBytes} bytes`,
    });
  }
  return Number(length);
}

/** The header in `json`, which `dataBytes` bytes of tensor data follow. */
export function parseHeader(json: Uint8Array, dataBytes: number, file: string): SafetensorsHeader {
  const root = parseObject(json, file);
  const metadata = new Map<string, string>();
  const infos: TensorInfo[] = [];
  for (const [key, value] of Object.entries(root)) {
    if (key === '__metadata__') readMetadata(value, metadata, file);
    else infos.push(readInfo(key, value, file));
  }
  infos.sort((a, b) => a.begin - b.begin || a.bytes - b.bytes);
  let end = 0;
  for (const info of infos) {
    if (info.begin !== end) {
      throw unsound(
        'SAFETENSORS_OFFSETS',
        file,
        `the data of tensor ${quoted(info.name)} overlaps or leaves a gap`,
        {
          expected: `data_offsets that begin at ${end}`,
          received: `${info.begin}`,
        },
      );
    }
    end += info.bytes;
  }
  if (end > dataBytes) {
    throw unsound('SAFETENSORS_TRUNCATED', file, 'the file ends before the data that its header announces', {
      expected: `${end} bytes of tensor data`,
      received: `${dataBytes} bytes`,
    });
  }
  if (end < dataBytes) {
    throw unsound('SAFETENSORS_OFFSETS', file, 'bytes follow the last tensor that the header does not name', {
      expected: `${end} bytes of tensor data`,
      received: `${dataBytes} bytes`,
    });
  }
  return { tensors: new Map(infos.map((info) => [info.name, info])), metadata };
}

function parseObject(json: Uint8Array, file: string): Record<string, unknown> {
  const refuse = (received: string, cause?: unknown) =>
    unsound('SAFETENSORS_HEADER', file, 'the header is not a JSON object of tensors', {
      received: `${cause ?? received}`,
    });
  if (json[0] !== 0x7b) throw refuse(`a header that begins with byte ${json[0]}`);
  if (nestsDeeperThan(3, json)) throw refuse('values nested too deep');
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json));
  } catch (cause) {
    throw refuse('', cause);
  }
}

function readMetadata(value: unknown, into: Map<string, string>, file: string): void {
  const sound = isObject(value) && Object.values(value).every((text) => typeof text === 'string');
  if (!sound) {
    throw unsound('SAFETENSORS_HEADER', file, '__metadata__ is not an object of texts', {
      received: quoted(value),
    });
  }
  for (const [key, text] of Object.entries(value)) into.set(key, text as string);
}

function readInfo(name: string, value: unknown, file: string): TensorInfo {
  const place = `tensor ${quoted(name)}`;
  if (!isObject(value)) {
    throw unsound('SAFETENSORS_HEADER', file, `${place} is not described by an object`, {
      received: quoted(value),
    });
  }
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isStoredDtype(dtype)) {
    throw unsound('SAFETENSORS_DTYPE', file, `${place} has an unknown dtype`, {
      expected: storedDtypes.join(', '),
      received: quoted(dtype),
      hint: 'convert the file to one of these dtypes',
    });
  }
  if (!isSizes(shape)) {
    throw unsound('SAFETENSORS_SHAPE', file, `${place} has no sound shape`, {
      expected: 'a list of whole numbers, none negative',
      received: quoted(shape),
    });
  }
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[1] < offsets[0]) {
    throw unsound('SAFETENSORS_OFFSETS', file, `${place} has no sound data_offsets`, {
      expected: '[begin, end] with begin <= end',
      received: quoted(offsets),
    });
  }
  const bytes = byteSize(shape, dtype);
  if (bytes !== offsets[1] - offsets[0]) {
    throw unsound('SAFETENSORS_OFFSETS', file, `the data_offsets of ${place} do not fit its shape`, {
      expected: `${bytes ?? 'fewer than 2^53'} bytes for ${dtype} [${shape.slice(0, 8).join(', ')}]`,
      received: `${offsets[1] - offsets[0]} bytes`,
    });
  }
  // `+ 0` turns the -0 of JSON into 0.
  return { name, dtype, shape: shape.map((side) => side + 0), begin: offsets[0] + 0, bytes };
}

/** Bytes of a tensor; undefined when they exceed 2^53. */
export function byteSize(shape: readonly number[], dtype: StoredDtype): number | undefined {
  let bytes = elementBytes(dtype);
  for (const side of shape) bytes *= side;
  // A product that passed 2^53 on the way to a later 0 is 0, as it should be; Infinity * 0 is NaN.
  return Number.isSafeInteger(bytes) ? bytes + 0 : undefined;
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((side) => Number.isSafeInteger(side) && side >= 0);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export interface HeaderEntry {
  readonly name: string;
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Length and JSON of a file whose data follows in the order of `entries`; padded with spaces to 8 bytes. */
export function encodeHeader(
  entries: readonly HeaderEntry[],
  metadata: Readonly<Record<string, string>>,
): Buffer {
  const fields: string[] = [];
  if (Object.keys(metadata).length > 0) fields.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let begin = 0;
  for (const { name, dtype, shape, bytes } of entries) {
    const end = begin + bytes;
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
    begin = end;
  }
  const json = Buffer.from(`{${fields.join(',')}}`, 'utf8');
  const length = Math.ceil(json.length / 8) * 8;
  ensure(length <= largestHeader, () => ({
    code: 'SAFETENSORS_HEADER',
    kind: 'usage',
    op: 'writeSafetensors',
    problem: 'the names and shapes of the tensors need a longer header than readers accept',
    expected: `at most ${largestHeader} bytes`,
    received: `${length} bytes`,
    hint: 'join small tensors into larger ones',
  }));
  const header = Buffer.alloc(8 + length, ' ');
  header.writeBigUInt64LE(BigInt(length), 0);
  json.copy(header, 8);
  return header;
}
