/** Writes safetensors files without a second copy of any tensor in memory. */
import { endianness } from 'node:os';
import { ensure } from '../errors.js';
import { type WrittenFile, writeChecked } from './checksum.js';
import { dtypeOf, elementBytes, holds, type StoredData, type StoredDtype } from './dtypes.js';
import { byteSize, encodeHeader, type HeaderEntry, quoted } from './safetensors-header.js';

/** An array with its name and shape, as `OutputLayer.state()` gives them. */
export interface StoredArray {
  readonly name: string;
  /** Row-major; the product is the length of `data`. */
  readonly shape: readonly number[];
  /** May lie in shared memory. */
  readonly data: StoredData;
  /** Default: the type of `data`. Needed for types that JavaScript holds as bits, e.g. `BF16` in a Uint16Array. */
  readonly dtype?: StoredDtype;
}

export interface WriteOptions {
  /** Texts of the caller, stored in the header. */
  readonly metadata?: Readonly<Record<string, string>>;
}

const window = 1 << 30;

export interface Entry extends HeaderEntry {
  readonly data: StoredData;
}

/**
 * Writes one safetensors file, whole or not at all; returns its size and SHA-256.
 *
 * @throws EspalierError `SAFETENSORS_*` of kind `usage` for arrays that cannot be stored, `FILE_*` of kind
 *   `system` from the disk
 * @example await writeSafetensors('out/w.safetensors', [{ name: 'w', shape: [2, 3], data: new Float32Array(6) }]);
 */
export async function writeSafetensors(
  path: string,
  arrays: Iterable<StoredArray>,
  options: WriteOptions = {},
): Promise<WrittenFile> {
  return writeEntries(path, checkedEntries(arrays), options.metadata ?? {});
}

export function writeEntries(
  path: string,
  entries: Entry[],
  metadata: Readonly<Record<string, string>>,
): Promise<WrittenFile> {
  // Widest elements first: then every tensor of a memory-mapped file is aligned to its elements.
  const ordered = entries.toSorted((a, b) => elementBytes(b.dtype) - elementBytes(a.dtype));
  function* pieces(): Generator<Uint8Array> {
    yield encodeHeader(ordered, metadata);
    // NOTE: a Float32Array may be longer than a Uint8Array over all its bytes may be (2^32 on Node 20).
    for (const { data, bytes } of ordered) {
      for (let at = 0; at < bytes; at += window) {
        yield new Uint8Array(data.buffer, data.byteOffset + at, Math.min(window, bytes - at));
      }
    }
  }
  return writeChecked(path, pieces());
}

/** Tensors are stored little-endian and copied as they lie in memory. */
export function ensureLittleEndian(op: string): void {
  ensure(endianness() === 'LE', () => ({
    code: 'SAFETENSORS_ENDIAN',
    kind: 'system',
    op,
    problem: 'this machine stores numbers big-endian, safetensors files are little-endian',
    hint: 'use a little-endian machine (x86-64, ARM64)',
  }));
}

/** The arrays, each fit to be stored. */
export function checkedEntries(arrays: Iterable<StoredArray>): Entry[] {
  ensureLittleEndian('writeSafetensors');
  const entries: Entry[] = [];
  const names = new Set<string>();
  for (const { name, shape, data, dtype = dtypeOf(data) } of arrays) {
    const refuse = (problem: string, expected?: string, received?: string) => () => ({
      code: 'SAFETENSORS_TENSOR',
      kind: 'usage' as const,
      op: 'writeSafetensors',
      problem: `tensor ${quoted(name)} ${problem}`,
      expected,
      received,
    });
    ensure(name !== '__metadata__', refuse('has the one name that the format reserves'));
    ensure(!/\p{Surrogate}/u.test(name), refuse('has a name that is not valid Unicode'));
    ensure(!names.has(name), refuse('is there twice', 'every name once'));
    ensure(
      dtype !== undefined && holds(dtype, data),
      refuse(
        'is of a type that cannot be stored',
        undefined,
        `${dtype ?? ''} ${data?.constructor?.name}`.trim(),
      ),
    );
    const sound = shape.every((side) => Number.isSafeInteger(side) && side >= 0);
    ensure(
      sound && byteSize(shape, dtype) === data.byteLength,
      refuse('has a shape that does not fit its data', `${data.length} elements`, `[${shape.join(', ')}]`),
    );
    names.add(name);
    entries.push({ name, dtype, shape, bytes: data.byteLength, data });
  }
  return entries;
}
